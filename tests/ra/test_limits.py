"""Limits and uniqueness through the whole RA: what is beyond them is refused like everything else, or waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scepra.scep.certificate import Certificate
from scepra.scep.message import PKIStatus
from scepra.scep.publickey import PublicKeyInfo
from scepra.store import approvals, tables
from tests import csrs
from tests.csrs import carried, dns, san
from tests.rig.denial import Denials, denials
from tests.rig.device import (
    KEY,
    NEW,
    OLD,
    STRANGER,
    THIEF,
    granted,
    pki_status,
    post,
    renewal,
    request,
    request_without_challenge,
    sound,
    subject,
)
from tests.rig.forge import Forge
from tests.rig.house import PROFILE, House, house

FIRST = "one.example"


def profile(*rules: dict[str, Any]) -> dict[str, Any]:
    """The usual profile with more rules."""
    return {"policy": [*PROFILE["policy"], *rules]}


def enrolment(built: House, name: str, key: Any, *names: str) -> Forge:
    """An initial enrolment of a device by its key."""
    extensions = [carried(san(*map(dns, names)))] if names else []
    return sound(built, key=key, csr=request(built, *extensions, key=key, subject=subject(name)))


@pytest.mark.proves("I12", "DR-7", "I8")
def test_a_second_certificate_of_a_subject_is_refused(lab: Path) -> None:
    """One subject has one certificate, however it is spelt; whoever asks for a second gets the standard denial."""
    with house(lab, profile({"limit": {"per": "subject", "active": 1}})) as built, denials(built) as deny:
        granted(built, enrolment(built, FIRST, OLD), OLD)
        reason = "limit: limit[0].subject: is beyond 1 valid or under way"
        deny(enrolment(built, FIRST, THIEF), because=reason)
        spelt = csrs.name(csrs.value(csrs.CN, FIRST, csrs.der.PRINTABLE_STRING))
        deny(sound(built, key=THIEF, csr=request(built, key=THIEF, subject=spelt)), because=reason)


def test_what_asks_again_is_not_counted_twice(lab: Path) -> None:
    """The device that has its certificate gets it again, and its renewal is no second one."""
    rules = [{"limit": [{"per": "subject", "active": 1}, {"per": "key", "active": 1}]}, {"unique": {"keys": "profile"}}]
    with house(lab, profile(*rules)) as built:
        first = enrolment(built, FIRST, OLD)
        answer = granted(built, first, OLD)
        granted(built, replace(first, transaction_id="again"), OLD)
        certificate = Certificate.parse(answer.certificates()[0])
        csr = request_without_challenge(key=NEW, subject=subject(FIRST))
        renewed = granted(built, renewal(built, certificate, csr=csr), OLD)
        same = request_without_challenge(key=NEW, subject=subject(FIRST))
        granted(built, renewal(built, Certificate.parse(renewed.certificates()[0]), key=NEW, csr=same), NEW)
        Denials(built)(enrolment(built, FIRST, THIEF), because="limit[0].subject")


@pytest.mark.parametrize("per", ["challenge", "profile"])
def test_limits_of_another_kind(lab: Path, per: str) -> None:
    """New ones within an hour are counted by whatever is configured; the next ones come after the hour."""
    with house(lab, profile({"limit": {"per": per, "new": 2, "within": "1h"}})) as built:
        for name, key in (("one.example", OLD), ("two.example", NEW)):
            granted(built, enrolment(built, name, key), key)
        Denials(built)(
            enrolment(built, "three.example", THIEF), because=f"limit: limit[0].{per}: is beyond 2 within 1h"
        )


@pytest.mark.proves("I12", "AC-071", "SEC-05")
def test_a_name_is_one_key_s(lab: Path) -> None:
    """Who asks for a name that another key has, as a common name or an alternative one, is refused."""
    with house(lab, profile({"unique": {"names": "profile"}})) as built, denials(built) as deny:
        granted(built, enrolment(built, FIRST, OLD, "a.example"), OLD)
        for name, names in (("thief.example", ["A.example"]), ("thief.example", [FIRST]), ("a.example", [])):
            deny(enrolment(built, name, THIEF, *names), because="unique: unique.names: a name is another key's")
        granted(built, enrolment(built, FIRST, OLD, "a.example", "b.example"), OLD)


@pytest.mark.proves("I12")
def test_a_key_is_certified_once(lab: Path) -> None:
    """The same key with another subject is refused."""
    with house(lab, profile({"unique": {"keys": "all-profiles"}})) as built:
        granted(built, enrolment(built, FIRST, OLD), OLD)
        Denials(built)(enrolment(built, "two.example", OLD), because="unique: unique.keys: the key has been certified")


def test_a_takeover_waits_for_people(lab: Path) -> None:
    """Where it may be held, a device with a new key and an old name waits, and goes on when somebody has approved."""
    with house(lab, profile({"unique": {"names": "profile", "takeover": "hold"}})) as built:
        granted(built, enrolment(built, FIRST, OLD), OLD)
        again = enrolment(built, FIRST, STRANGER)
        assert pki_status(built, post(built, again.message())) is PKIStatus.PENDING
        assert len(built.forwarded) == 1
        record = built.records[-1]
        assert (record["outcome"], record["reasons"]) == ("held", ["a name is another key's"])
        found = built.transaction(record["enrolment"])
        built.database.call(
            approvals.say,
            found.id,
            approve=True,
            person="ann",
            why="a new motherboard",
            shown_digest=approvals.digest(approvals.shown(found)),
            now=built.authority.now(),
        )
        built.reconcile(5)
        granted(built, again, STRANGER)


def test_what_is_reported_is_recorded(lab: Path) -> None:
    """Limits and rules that only report stand in the log's record and in the stored one; nothing is refused."""
    rules = [
        {"limit": {"per": "subject", "active": 1}, "severity": "report"},
        {"source": {"networks": "203.0.113.0/24"}, "severity": "report"},
    ]
    with house(lab, profile(*rules)) as built:
        granted(built, enrolment(built, FIRST, OLD), OLD)
        granted(built, enrolment(built, FIRST, KEY), KEY)
        said = ["source: source: is in none of the networks", "limit: limit[0].subject: is beyond 1 valid or under way"]
        assert [record["reported"] for record in built.records] == [said[:1], said]
        stored = [row.record["reported"] for row in built.rows(tables.audit) if row.event == "authorised"]
        assert stored == [said[:1], said]


def test_what_is_reported_of_a_refusal(lab: Path) -> None:
    """A refusal says beside its reasons what was only reported."""
    rules = [{"source": {"networks": "203.0.113.0/24"}, "severity": "report"}, {"time": {"not-after": "2020-01-01"}}]
    with house(lab, profile(*rules)) as built:
        Denials(built)(enrolment(built, FIRST, OLD), because="time: time.not-after: is after 2020-01-01")
        assert built.records[-1]["reported"] == ["source: source: is in none of the networks"]


@pytest.mark.proves("I8", "I12", "AC-086")
@pytest.mark.parametrize(
    ("rule", "because"),
    [
        ({"infrastructure": {"names": "one\\.example"}}, "infrastructure: subject.CN: belongs to the infrastructure"),
        ({"microsoft": {"sid": "require"}}, "microsoft: sid: is required and not there"),
        ({"time": {"not-before": "2999-01-01"}}, "time: time.not-before"),
        ({"key": {"rsa": {}, "refuse-file": "broken.txt"}}, "key: key.refuse-file: a key that is in a list"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_rule_is_named_in_the_record_alone(lab: Path, rule: dict[str, Any], because: str) -> None:
    """What a rule objects to stands in the audit record; the client learns that it is refused, and the reference."""
    listed = "\n".join(["# broken keys", "", PublicKeyInfo.parse(csrs.spki(OLD)).sha256.hex()])
    (lab / "broken.txt").write_text(listed)
    rules = [each for each in PROFILE["policy"] if next(iter(each)) != next(iter(rule))]
    with house(lab, {"policy": [*rules, rule]}) as built:
        Denials(built)(enrolment(built, FIRST, OLD), because=because)
