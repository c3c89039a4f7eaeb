"""A second policy beside the enforced one, a policy that is only observed, and what is recorded of every rule."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from twisted.internet.task import Clock
from twisted.logger import LogEvent, eventAsText, globalLogPublisher

from scepra.enrolment import Violation
from scepra.policy import Request
from scepra.shadow import EVERY, Shadow, ShadowSummary
from scepra.store import listing, tables
from tests import csrs
from tests.rig.denial import denials
from tests.rig.device import granted, post, rebuilt, request, sound
from tests.rig.durable import durable
from tests.rig.house import PROFILE, House, house

LONG = {"subject": {"require": ["CN"], "match": {"CN": "[a-z]{40,}\\.example"}}}
"""A rule that the devices of the tests do not satisfy."""
HELD = {"hold": {}}


def policy(*rules: Mapping[str, Any]) -> list[Any]:
    """The usual policy with rules in the place of those of their kinds."""
    kinds = {next(iter(rule)) for rule in rules}
    return [rule for rule in PROFILE["policy"] if next(iter(rule)) not in kinds] + list(rules)


@pytest.fixture
def shadowed(lab: Path) -> Iterator[House]:
    """A house whose second policy wants longer names."""
    (lab / "next.yaml").write_text(yaml.safe_dump({"policy": policy(LONG)}))
    with house(lab, {"shadow": "next.yaml"}) as made:
        yield made


def shadow(house: House) -> Shadow:
    """The second policy of a house."""
    assert house.authority.shadow is not None
    return house.authority.shadow


def stored(house: House) -> dict[str, Any]:
    """The one audit record of a decision in the database."""
    (row,) = (row for row in house.rows(tables.audit) if row.event in ("authorised", "held"))
    record: dict[str, Any] = row.record
    return record


def said(house: House) -> list[str]:
    """What the log says of second policies."""
    return texts(event for event in house.events if event["log_namespace"] == "scepra.shadow")


def texts(events: Iterable[LogEvent]) -> list[str]:
    """Log events as lines, without their time."""
    return [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in events]


# --- A second policy -------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-19", "I7")
def test_what_it_would_refuse_is_issued_and_recorded(shadowed: House) -> None:
    """A request that only the second policy objects to gets its certificate; record and log name the difference."""
    granted(shadowed, sound(shadowed))
    tried = shadow(shadowed)
    assert tried.version != shadowed.authority.policy_version
    assert stored(shadowed)["shadow"] == {
        "policy": tried.version,
        "outcome": "reject",
        "rules": {"subject": ["subject.CN: does not match [a-z]{40,}\\.example"]},
    }
    (event,) = [event for event in shadowed.events if event["log_namespace"] == "scepra.shadow"]
    assert {key: event[key] for key in ("profile", "enforced", "shadow", "rules", "reference")} == {
        "profile": "dev",
        "enforced": "approve",
        "shadow": "reject",
        "rules": "subject",
        "reference": shadowed.records[-1]["reference"],
    }
    assert (tried.tally.judged, tried.tally.same, tried.tally.would_reject) == (1, 0, 1)


def test_what_both_say_is_recorded_and_not_logged(shadowed: House) -> None:
    """Where both policies come to the same, the record says so in two words, and the log says nothing."""
    name = f"{'x' * 40}.example"
    granted(shadowed, sound(shadowed, csr=request(shadowed, subject=csrs.subject(name))))
    tried = shadow(shadowed)
    assert stored(shadowed)["shadow"] == {"policy": tried.version, "outcome": "approve"}
    assert said(shadowed) == []
    assert (tried.tally.judged, tried.tally.same) == (1, 1)


def test_what_only_the_enforced_policy_refuses_is_refused(lab: Path) -> None:
    """A second policy that would approve opens nothing: the standard denial, and a difference that is counted."""
    (lab / "next.yaml").write_text(yaml.safe_dump({"policy": PROFILE["policy"]}))
    strict = policy({"subject": {"match": {"CN": "device.*"}}})
    with house(lab, {"shadow": "next.yaml", "policy": strict}) as made, denials(made) as deny:
        deny(sound(made, csr=request(made, subject=csrs.subject("other.example"))), because="does not match")
        assert made.records[-1]["shadow"] == {
            "policy": shadow(made).version,
            "outcome": "approve",
            "rules": {},
        }
        assert shadow(made).tally.would_approve == 1


def test_a_wrong_challenge_is_no_difference_between_policies(shadowed: House) -> None:
    """What is refused whatever its policy counts as refused by both."""
    with denials(shadowed) as deny:
        liked = csrs.subject(f"{'x' * 40}.example")
        deny(sound(shadowed, csr=request(shadowed, challenge="wrong", subject=liked)), because="challenge")
        tally = shadow(shadowed).tally
        assert (tally.judged, tally.same) == (1, 1)
        assert shadowed.records[-1]["shadow"]["outcome"] == "reject"


def test_what_it_would_hold_is_counted(lab: Path) -> None:
    """A second policy that would ask people asks nobody."""
    (lab / "next.yaml").write_text(yaml.safe_dump({"policy": policy(HELD)}))
    with house(lab, {"shadow": "next.yaml"}) as made:
        granted(made, sound(made))
        assert shadow(made).tally.would_hold == 1
        recorded = stored(made)["shadow"]
        assert recorded["outcome"] == "hold"
        assert recorded["rules"] == {"hold": "waits for one approval, 7d at most: every request"}


class Broken:
    """A rule that fails."""

    name: ClassVar[str] = "broken"

    def check(self, request: Request) -> Iterator[Violation]:
        """Fails, quoting what must not be quoted."""
        raise RuntimeError(request.csr.challenge_password)

    def look(self, request: Request) -> str:
        """Nothing."""
        return ""


class Slow(Broken):
    """A rule that takes its time."""

    name: ClassVar[str] = "slow"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def check(self, request: Request) -> Iterator[Violation]:
        """Takes a second."""
        self._clock.advance(1)
        yield Violation("slow", "", "objects in the end")


@pytest.mark.proves("I10")
def test_one_that_fails_changes_no_answer(shadowed: House) -> None:
    """What a second policy raises, or how long it takes, is nobody's enrolment's concern; the log names the kind."""
    clock = shadowed.clock
    for rules, kind in (((Broken(),), "RuntimeError"), ((Slow(clock), Broken()), "TooSlow")):
        tried = Shadow("dev", rules, "0" * 16, clock.seconds)
        changed = rebuilt(shadowed, shadow=tried)
        granted(changed, sound(changed))
        assert (tried.tally.judged, tried.tally.failed, tried.tally.same) == (1, 1, 0)
        reference = shadowed.records[-1]["reference"]
        assert said(shadowed)[-1] == f"shadow policy of profile dev failed ({kind}), ref {reference}"
    assert not any(shadowed.challenge in line for line in said(shadowed))


def test_it_is_summed_up_every_hour_and_at_the_end(shadowed: House) -> None:
    """The log sums up each profile's second policy in numbers, which begin anew; of nothing it says nothing."""
    clock, tried = Clock(), shadow(shadowed)
    summary = ShadowSummary((tried,), clock)
    summary.startService()
    granted(shadowed, sound(shadowed))
    clock.advance(EVERY)
    expected = (
        f"shadow policy of profile dev, version {tried.version}: 1 judged, 0 the same; it would refuse 1, approve 0,"
        " hold 0; 0 failed"
    )
    assert said(shadowed)[1:] == [expected]
    clock.advance(EVERY)
    assert said(shadowed)[1:] == [expected]
    granted(shadowed, sound(shadowed))
    summary.stopService()
    assert said(shadowed)[-1] == expected
    assert clock.getDelayedCalls() == []


# --- A policy that is only observed ----------------------------------------------------------------------------------


@pytest.fixture
def observing(lab: Path) -> Iterator[House]:
    """A house that enforces no policy."""
    with house(lab, {"observe": True, "policy": policy(LONG)}) as made:
        yield made


@pytest.mark.proves("I7")
def test_what_the_policy_objects_to_is_recorded_and_issued(observing: House) -> None:
    """In an observe-only profile an objection costs nobody anything; the stored record and the log have it."""
    granted(observing, sound(observing))
    objection = "subject: subject.CN: does not match [a-z]{40,}\\.example"
    assert stored(observing)["reported"] == [objection]
    assert stored(observing)["outcome"] == "authorised"
    # The certificate is judged again, and not refused either; what is the same is said once.
    assert observing.records[-1]["reported"] == [objection]


def test_it_is_said_loudly_when_it_starts(lab: Path) -> None:
    """An observe-only profile is named in the log at every start."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        with house(lab, {"observe": True}):
            pass
    finally:
        globalLogPublisher.removeObserver(events.append)
    sentence = "profile dev ENFORCES NO POLICY (observe): what it objects to is recorded only"
    assert sentence in texts(events)


@pytest.mark.proves("AC-080", "I12")
def test_credential_and_powers_are_enforced_all_the_same(observing: House) -> None:
    """A wrong challenge, another's key, and the powers of a CA are refused as ever where the policy is observed."""
    with denials(observing) as deny:
        deny(sound(observing, csr=request(observing, challenge="wrong")), because="challenge")
        ca = csrs.extension("2.5.29.19", csrs.der.sequence(csrs.der.tlv(csrs.der.BOOLEAN, b"\xff")))
        deny(sound(observing, csr=request(observing, csrs.carried(ca))), because="asks to be a CA")
        signs = csrs.carried(csrs.key_usage(b"\x02\x04"))
        deny(sound(observing, csr=request(observing, signs)), because="belongs to CAs")
        stolen = replace(sound(observing), csr=request(observing, key=csrs.rsa_key(which=9)))
        deny(stolen, because="signed by another key")
        assert all("reported" in record for record in observing.records[:3] if "rules" in record)


def test_people_are_still_asked(lab: Path) -> None:
    """A rule that makes requests wait objects to nothing, so it counts where the policy is only observed."""
    with durable(lab, {"observe": True, "policy": policy(LONG, HELD)}) as made:
        post(made, sound(made).message())
        record = stored(made)
        assert (record["outcome"], len(record["reported"])) == ("held", 1)
        assert record["rules"]["hold"] == "waits for one approval, 7d at most: every request"


# --- What each rule said ---------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-19", "I7")
def test_a_stored_decision_has_what_each_rule_said(built: House) -> None:
    """The record in the database has every rule's word and the version of the policy; the log need not repeat it."""
    granted(built, sound(built))
    record = stored(built)
    rules = (
        "challenge",
        "ca-powers",
        "key",
        "subject",
        "san",
        "extensions",
        "attributes",
        "eku",
        "key-usage",
        "microsoft",
    )
    assert record["rules"] == dict.fromkeys(rules, "ok")
    assert record["policy"] == built.authority.policy_version
    assert "rules" not in built.records[-1]
    (happening, *_) = built.database.call(listing.history, record["enrolment"])
    assert happening.record == record


@pytest.mark.proves("DR-19", "I7")
def test_a_refusal_has_it_in_the_log(shared: House) -> None:
    """A refusal's one line says what each rule said, at most ten sentences of one, and nothing of the challenge."""
    with denials(shared) as deny:
        names = csrs.carried(csrs.san(*(csrs.dns(f"host-{number}.evil") for number in range(30))))
        deny(sound(shared, csr=request(shared, names)), because="does not match")
        record = shared.records[-1]
        assert record["policy"] == shared.authority.policy_version
        assert record["rules"]["challenge"] == record["rules"]["subject"] == "ok"
        assert len(record["rules"]["san"]) == 11
        assert record["rules"]["san"][-1] == "21 more"
        deny(sound(shared, csr=request(shared, challenge="guess")), because="challenge")
        assert shared.records[-1]["rules"]["challenge"] != "ok"
        assert "guess" not in json.dumps(shared.records[-1])
