"""Challenges that others judge, through the whole RA: signed tokens, webhooks, Intune, files of devices; alone and
together (security 4.5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scepra.errors import FailInfo
from scepra.http.connection import NotConnected
from scepra.lab.files import write_private
from scepra.scep.message import PKIStatus
from scepra.store import approvals, tables
from scepra.transaction import State
from tests import csrs
from tests.challenge.sample import AUDIENCE, ISSUER, SECRET, claims, token
from tests.challenge.test_intune import CHALLENGE as INTUNE_CHALLENGE
from tests.challenge.test_signed import FORGED
from tests.challenge.test_webhook import KEY, WORTHLESS, answering
from tests.config.test_devices import FIRST
from tests.rig.denial import Denials, denials
from tests.rig.device import NAME, NEW, THIEF, granted, pki_status, post, request, sound, subject
from tests.rig.durable import only
from tests.rig.forge import Forge
from tests.rig.house import House, house
from tests.rig.intune import APPLICATION, CLIENT_SECRET, TENANT, Intune
from tests.rig.service import Asked, Reply, Script

STATIC = {"type": "static", "file": "challenge.txt"}
SIGNED = {
    "type": "signed",
    "issuer": ISSUER,
    "audience": AUDIENCE,
    "keys": [{"algorithm": "HS256", "secret-file": "mdm.secret"}],
}
WEBHOOK = {"type": "webhook", "url": "https://inventory.example/scep", "secret-file": "webhook.secret"}
INTUNE = {"type": "intune", "tenant": TENANT, "application-id": APPLICATION, "secret-file": "intune.secret"}
DIRECTORY = {"type": "directory", "file": "devices.csv"}


def any_of(*providers: dict[str, Any]) -> dict[str, Any]:
    """A profile with several kinds, of which one is enough."""
    return {"challenge": {"type": "any-of", "providers": list(providers)}}


@contextmanager
def asking(lab: Path, profile: dict[str, Any], script: Script | None = None) -> Iterator[tuple[House, Asked]]:
    """A house, and who is asked about its challenges."""
    write_private(lab / "mdm.secret", SECRET.encode())
    write_private(lab / "webhook.secret", KEY)
    write_private(lab / "intune.secret", CLIENT_SECRET.encode())
    write_private(lab / "devices.csv", f"name,challenge,uses,device\n{NAME},{FIRST},1,asset 7\n".encode())
    asked = Asked(script or answering(decision="allow"))
    with house(lab, profile, asked=asked.client) as made:
        yield made, asked


def carrying(built: House, challenge: str, name: str = NAME, **changes: Any) -> Forge:
    """A device's message with a challenge."""
    options = {"key": changes.pop("csr_key", csrs.rsa_key())}
    settings: dict[str, Any] = {"csr": request(built, challenge=challenge, subject=subject(name), **options)}
    return sound(built, key=options["key"], **settings | changes)


def fresh(**changes: Any) -> str:
    """A token that is good now, for the device."""
    return token(claims(datetime.now(UTC), **{"binding": {"common_name": NAME}} | changes))


# --- Signed tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("SEC-05", "AC-091", "AC-100", "DR-6", "I3")
def test_tokens_that_are_not_good(lab: Path) -> None:
    """Each way of being wrong is the standard denial, and the right token is as good as before."""
    with asking(lab, any_of(SIGNED, STATIC)) as (built, _):
        right = fresh()
        with denials(built, SECRET, right, right.rpartition(".")[2]) as deny:
            for forged in FORGED.values():
                deny(carrying(built, forged), because="token: ")
            for changes, because in (
                ({"exp": 1}, "expired"),
                ({"iss": "x"}, "iss"),
                ({"aud": "x"}, "aud"),
                ({"jti": None}, "jti"),
                ({"profile": "other"}, "profile"),
                ({"binding": {}}, "names nobody"),
            ):
                deny(carrying(built, fresh(**changes)), because=because)
            deny(carrying(built, right, "other.example"), because="something else")
            deny(carrying(built, "unknown"), because="no token; wrong challenge")
            answer = granted(built, carrying(built, right))
            assert answer.certificates()
            assert built.records[-1]["challenge"].startswith("signed ")
            assert right not in json.dumps(built.records)


@pytest.mark.proves("AC-092", "DR-8", "I2")
def test_a_token_is_good_for_one_key(lab: Path) -> None:
    """The device that has used it gets the same certificate again; another key, and another profile's, nothing."""
    with asking(lab, any_of(SIGNED, STATIC)) as (built, _):
        right = fresh()
        first = granted(built, carrying(built, right))
        # The same claims signed anew are the same token; so is the same one in another message.
        again = fresh()
        with denials(built, right) as deny:
            deny(carrying(built, right, csr_key=THIEF), because="used by another key", reached=0)
            deny(carrying(built, again, csr_key=NEW), because="used by another key", reached=0)
        assert first.certificates()[0] in granted(built, carrying(built, right)).certificates()
        assert len({row.public_key for row in built.rows(tables.reservations)}) == 1


# --- Webhooks --------------------------------------------------------------------------------------------------------


def unavailable(built: House, message: Forge) -> None:
    """Check that a message is neither granted nor refused, and that nothing came of it (FT-57)."""
    stored, forwarded = built.stored, len(built.forwarded)
    response = post(built, message.message())
    assert (response.status, response.body) == (503, b"")
    assert "retry-after" in response.headers
    assert (built.stored, len(built.forwarded)) == (stored, forwarded)
    assert built.records[-1]["outcome"] == "unavailable"
    said = json.dumps(built.records[-1]) + repr(built.events[-3:])
    assert "canary" not in said
    assert built.challenge not in said


@pytest.mark.proves("AC-103", "FT-57", "I3", "DR-6")
def test_a_webhook_that_fails_fails_closed(lab: Path) -> None:
    """Whatever it answers but its word about this request: 503, nothing forwarded, nothing stored; then it is good."""
    with asking(lab, {"challenge": WEBHOOK}) as (built, asked):
        message = sound(built)
        for name, reply in WORTHLESS.items():
            asked.script = lambda question, reply=reply: reply  # type: ignore[misc]
            unavailable(built, message)
            built.clock.advance(60)  # type: ignore[attr-defined]
            assert name
        asked.script = answering(decision="allow", csr_sha256="5a" * 32)
        unavailable(built, message)
        asked.script = answering(decision="allow")
        granted(built, message)


@pytest.mark.proves("AC-091", "AC-103", "SEC-05")
def test_what_a_webhook_denies(lab: Path) -> None:
    """Its denial, and names beyond those that it allows, are the standard denial; no other kind makes them good."""
    with asking(lab, any_of(SIGNED, WEBHOOK)) as (built, asked):
        deny = Denials(built, KEY.decode())
        asked.script = answering(decision="deny", id="order-17")
        deny(sound(built), because="webhook order-17 denies it")
        for binding in ({"common_name": "x.example"}, {"dns": ["a.example"]}, {"sid": "S-1-5-21-1"}):
            asked.script = answering(decision="allow", binding=binding)
            deny(sound(built), because="allows something else")
        asked.script = answering(decision="allow", binding={"common_name": NAME})
        granted(built, carrying(built, built.challenge))


@pytest.mark.proves("AC-103", "DR-18")
def test_what_a_webhook_wants_held(lab: Path) -> None:
    """It waits for as many people as the configuration says; what they say is told."""
    with asking(lab, {"challenge": WEBHOOK | {"hold-approvals": 2}}, answering(decision="hold", id="17")) as (
        built,
        asked,
    ):
        assert pki_status(built, post(built, sound(built).message())) is PKIStatus.PENDING
        found = only(built)
        assert (found.state, found.approvals, found.reason) == (State.HELD, 2, "webhook 17 wants it looked at")
        digest = approvals.digest(approvals.shown(found))
        built.database.call(
            approvals.say, found.id, approve=False, person="ann", why="no", shown_digest=digest, now=found.received
        )
        asked.questions.clear()
        built.tell()
        (question,) = asked.questions
        assert (question.json["event"], question.json["reason"]) == ("refused", "denied")
        assert question.json["enrolment"] == found.id


@pytest.mark.proves("AC-103")
def test_a_webhook_is_told_what_became_of_it(lab: Path) -> None:
    """Once, when it has confirmed; what it denied, and what another kind accepted, it is told nothing of."""
    with asking(lab, any_of(STATIC, WEBHOOK)) as (built, asked):
        granted(built, sound(built))
        assert asked.questions == []
        answer = granted(built, carrying(built, "canary-for-the-webhook"))
        asked.script = lambda question: Reply(500)
        built.tell()
        asked.script = lambda question: Reply(204)
        asked.questions.clear()
        built.tell()
        assert asked.questions == [], "it is not due yet"
        (notice,) = built.rows(tables.notices)
        assert notice.attempts == 1
        assert notice.next_at - notice.made > timedelta(seconds=3)
        built.database.call(
            lambda connection: connection.execute(tables.notices.update().values(next_at=notice.made)) and None
        )
        built.tell()
        (question,) = asked.questions
        assert question.json["id"] == notice.id
        assert question.json["certificate_sha256"] == hashlib.sha256(answer.certificates()[0]).hexdigest()
        assert "canary" not in question.body.decode()
        assert built.rows(tables.notices) == []


# --- Intune ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("P10-11", "P10-04", "AC-103", "FT-57", "I3", "DR-6")
def test_intune(lab: Path) -> None:
    """A long challenge is judged by Intune with the unmodified request; what it refuses is the standard denial; while
    it is away nobody is refused."""
    intune = Intune({INTUNE_CHALLENGE})
    with asking(lab, any_of(STATIC, INTUNE), intune) as (built, _):
        message = carrying(built, INTUNE_CHALLENGE)
        with denials(built, CLIENT_SECRET, INTUNE_CHALLENGE, "canary-token") as deny:
            deny(carrying(built, INTUNE_CHALLENGE[:-8]), because="Intune: the challenge cannot be decrypted")
            intune.code = "SubjectNameMismatch"
            deny(message, because="Intune: the subject is another")
            intune.code = ""
            for instead in (Reply.of({"code": "Success", "transactionId": "x"}), Reply(500), NotConnected("away")):
                intune.instead = lambda question, reply=instead: reply if "ScepActions" in question.url else None
                unavailable(built, message)
            intune.instead = lambda question: None
            built.clock.advance(60)  # type: ignore[attr-defined]
            answer = granted(built, message)
            deny(carrying(built, INTUNE_CHALLENGE, csr_key=THIEF), because="used by another key")
        built.tell()
        (notice,) = intune.named("successNotification")
        assert notice["notification"]["transactionId"] == message.transaction_id
        thumbprint = hashlib.sha1(answer.certificates()[0], usedforsecurity=False).hexdigest().upper()
        assert notice["notification"]["certificateThumbprint"] == thumbprint


# --- Files of devices ------------------------------------------------------------------------------------------------


@pytest.mark.proves("SEC-05", "AC-091", "AC-092", "I2", "I3")
def test_a_file_of_devices(lab: Path) -> None:
    """A device's challenge is good for its names and for one key; nobody can burn it."""
    with asking(lab, any_of(DIRECTORY, STATIC)) as (built, _):
        with denials(built, FIRST) as deny:
            deny(carrying(built, FIRST, "other.example"), because="something else")
            deny(carrying(built, FIRST.lower()), because="unknown challenge")
            deny(carrying(built, FIRST, signature=lambda signed: bytes(256)), FailInfo.BAD_MESSAGE_CHECK)
            granted(built, carrying(built, FIRST))
            deny(carrying(built, FIRST, csr_key=THIEF), because="used by another key")
        assert {each.device for each in built.rows(tables.transactions)} == {"asset 7", ""}


@pytest.mark.proves("SEC-05", "DR-6")
def test_devices_by_name_beside_a_password(lab: Path) -> None:
    """All of it must be right: the shared password, and a name that is expected."""
    profile = {"challenge": {"type": "all-of", "providers": [STATIC, {"type": "directory", "file": "names.csv"}]}}
    (lab / "names.csv").write_text(f"name\n{NAME}\n")
    with asking(lab, profile) as (built, _):
        deny = Denials(built)
        deny(carrying(built, built.challenge, "other.example"), because="no device is expected by these names")
        deny(carrying(built, "wrong"), because="wrong challenge")
        granted(built, carrying(built, built.challenge))
        assert built.records[-1]["challenge"] == "static and directory"


# --- Together --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("DR-6", "SEC-05", "AC-091")
def test_what_one_kind_knows_and_refuses_no_other_makes_good(lab: Path) -> None:
    """A credential that is there and wrong is never ignored, whoever would accept it."""
    with asking(lab, any_of(SIGNED, DIRECTORY, WEBHOOK)) as (built, asked):
        deny = Denials(built, SECRET, FIRST)
        deny(carrying(built, fresh(exp=1)), because="expired")
        deny(carrying(built, FORGED["no signature"]), because="token")
        deny(carrying(built, FIRST, "other.example"), because="something else")
        assert asked.questions == []
        granted(built, carrying(built, "what only the webhook knows"))
        assert len(asked.questions) == 1


@pytest.mark.proves("DR-6", "SEC-05", "FT-57")
def test_all_kinds_must_agree(lab: Path) -> None:
    """What each of them wants is wanted: the token's names and its one key, and the webhook's word."""
    profile = {"challenge": {"type": "all-of", "providers": [SIGNED, WEBHOOK]}}
    with asking(lab, profile) as (built, asked):
        deny = Denials(built, SECRET)
        right = fresh()
        deny(carrying(built, fresh(exp=1)), because="expired")
        assert asked.questions == []
        asked.script = answering(decision="deny")
        deny(carrying(built, right), because="denies")
        asked.script = lambda question: Reply(500)
        unavailable(built, carrying(built, right))
        asked.script = answering(decision="allow", device="d7")
        granted(built, carrying(built, right))
        record = built.records[-1]
        assert record["challenge"].startswith("signed ")
        assert record["challenge"].endswith(" and webhook")
        assert [row.notify for row in built.rows(tables.transactions)] == [["webhook"]]
        deny(carrying(built, right, csr_key=THIEF), because="used by another key")
