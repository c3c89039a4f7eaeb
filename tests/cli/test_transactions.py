"""``scepra transactions``: where enrolments stand, and what people can do about one that is stuck."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from scepra.errors import FailInfo
from scepra.store import outcomes
from scepra.transaction import Event, State, Transaction
from tests.rig.enrolments import CANARY, HOSTILE, NOW, Desk, facts
from tests.store.sample import DAY, HOUR, MINUTE, certificate

WHY = ("--why", "asked the CA's operator")
FAR = datetime(2126, 5, 4, tzinfo=UTC)


def waiting(desk: Desk, name: str = "device", **changes: object) -> Transaction:
    """A transaction that its CA holds back."""
    held = desk.bench.record(desk.request(name, state=State.SENDING))
    return desk.bench.happen(
        held, Event.PENDED, sends=1, **{"next_at": FAR, "reason": "the CA holds it back"} | changes
    )


def test_the_list_says_what_happens_next(desk: Desk) -> None:
    """Each line, the newest first, has the state and what comes next, or why somebody should look at it."""
    soon = datetime.now(UTC) + timedelta(days=2, minutes=5)
    made = [
        desk.bench.record(desk.request("now", state=State.QUEUED)),
        waiting(desk, "later", next_at=soon),
        waiting(desk, "stuck", attention="the CA has not decided for 3 days"),
        desk.hold("held"),
        desk.bench.happen(
            desk.bench.record(desk.request("refused", state=State.SENDING)), Event.REFUSED, reason="refused by upstream"
        ),
        desk.bench.happen(
            desk.bench.record(desk.request("issued", state=State.SENDING)), Event.GRANTED, certificate=certificate()
        ),
        desk.bench.record(desk.request("bad", state=State.QUEUED)),
    ]
    desk.bench(outcomes.quarantine, made[-1].id, "a row that cannot be read", NOW)
    for minutes, each in enumerate(made):
        desk.spoil(each, received=NOW - minutes * MINUTE)
    result = desk.run("transactions", "list")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == ["ID", "RECEIVED", "(UTC)", "STATE", "PROFILE", "SUBJECT", "NEXT"]
    assert [line[:16] for line in lines[1:]] == [each.id for each in made]
    assert lines[1][18:34] == "2026-05-04 12:00"
    assert [" ".join(line[36:].split()) for line in lines[1:]] == [
        "queued wifi CN=now looked at now",
        "waiting wifi CN=later looked at in 2d",
        "waiting wifi CN=stuck the CA has not decided for 3 days",
        "held wifi CN=held people approve or deny it",
        "refused wifi CN=refused refused by upstream",
        "issued wifi CN=issued",
        "queued wifi CN=bad quarantined: a row that cannot be read",
    ]
    assert desk.ask("transactions", "list")[2] == {
        "id": made[2].id,
        "profile": "wifi",
        "upstream": "ca",
        "state": "waiting",
        "subject": "CN=stuck",
        "received": "2026-05-04T11:58:00.000+00:00",
        "changed": "2026-05-04T12:00:00.000+00:00",
        "next_at": "2126-05-04T00:00:00.000+00:00",
        "sends": 1,
        "polls": 0,
        "reason": "the CA holds it back",
        "attention": "the CA has not decided for 3 days",
        "quarantine": None,
    }


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(59, "[0-9]{1,2}s"), (59 * 60, "5[0-9]m"), (3 * 3600 + 3000, "3h"), (4 * 86400 + 3000, "4d")],
)
def test_how_long_until_it_is_looked_at_is_rounded(desk: Desk, ahead: int, said: str) -> None:
    """The next look is told in the largest unit that says something."""
    waiting(desk, next_at=datetime.now(UTC) + timedelta(seconds=ahead))
    assert re.search(f"  looked at in {said}\n", desk.run("transactions", "list").output)


def test_the_list_can_be_narrowed(desk: Desk) -> None:
    """By states, by profile, to what somebody should look at, and to a number, which is then told."""
    queued = desk.bench.record(desk.request("one", state=State.QUEUED))
    stuck = waiting(desk, "two", attention="look at it")
    office = desk.bench.record(desk.request("three", state=State.QUEUED, profile="office"))
    bad = desk.hold("four")
    desk.bench(outcomes.quarantine, bad.id, "a row that cannot be read", NOW)

    def listed(*words: str) -> set[str]:
        return {each["id"] for each in desk.ask("transactions", "list", *words)}

    assert listed("--state", "waiting") == {stuck.id}
    assert listed("--state", "waiting", "--state", "queued") == {queued.id, stuck.id, office.id}
    assert listed("--profile", "office") == {office.id}
    assert listed("--attention") == {stuck.id, bad.id}
    assert listed("--attention", "--state", "held") == {bad.id}
    assert len(listed("--limit", "2")) == 2
    result = desk.run("transactions", "list", "--limit", "2")
    assert result.stderr == "No more than 2 are listed; --limit says how many.\n"
    assert len(result.stdout.splitlines()) == 3
    assert desk.run("transactions", "list", "--state", "lost").exit_code == 2


def test_an_empty_list_says_so(desk: Desk) -> None:
    """Nothing to list is a sentence for people, and an empty array for scripts."""
    assert desk.run("transactions", "list").output == "There are none.\n"
    assert desk.ask("transactions", "list", "--attention") == []
    assert desk.run("transactions", "list", "--attention").output == "There are no such transactions.\n"


def test_an_issued_certificate_is_shown(desk: Desk) -> None:
    """What was issued is shown with what people compare, and what happened in its order."""
    sent = desk.bench.record(desk.request("device", state=State.SENDING))
    record = {"subject": "CN=device", "upstream_status": "SUCCESS", "reasons": ["a", "b"]}
    desk.bench.happen(sent, Event.GRANTED, NOW + MINUTE, certificate=certificate(), sends=1, record=record)
    result = desk.run("transactions", "show", sent.id)
    assert result.exit_code == 0
    assert result.output.startswith(f"transaction {sent.id} is issued: the certificate is stored\n")
    assert facts(result.output) >= {
        ("profile", "wifi"),
        ("subject", "CN=device"),
        ("names", "dns:device.example"),
        ("transactionID at the CA", sent.upstream_transaction),
        ("request, SHA-256", sent.csr_digest.hex()),
        ("sends", "1"),
        ("received", "2026-05-04 12:00:00 UTC"),
        ("sha256", certificate().fingerprint()),
        ("issuer", str(certificate().issuer)),
        ("1", "2026-05-04 12:00:00 UTC  authorised"),
        ("2", "2026-05-04 12:01:00 UTC  granted     upstream_status: SUCCESS; reasons: a, b"),
    }
    report = desk.ask("transactions", "show", sent.id[:4])
    assert report["certificate"]["serial"].lstrip("0") == f"{certificate().serial:x}"
    assert report["certificate"]["ends"].endswith("+00:00")
    assert (report["state"], report["misissued"], report["problem"]) == ("issued", None, None)
    assert report["history"][1]["record"] == record
    assert report["public_key"] == sent.public_key.hex()


def test_a_certificate_that_is_given_to_nobody_is_shown(desk: Desk) -> None:
    """What the CA issued instead is summed up beside the reason; octets that are no certificate are said to be none."""
    sent = desk.bench.record(desk.request("device", state=State.SENDING))
    desk.bench.happen(sent, Event.MISISSUED, certificate=certificate("other"), reason="another key", attention="look")
    output = desk.run("transactions", "show", sent.id).output
    assert "certificate that the CA issued instead, given to nobody\n" in output
    assert {
        ("failInfo", "BAD_REQUEST"),
        ("needs somebody", "look"),
        ("sha256", certificate("other").fingerprint()),
    } <= (facts(output))
    desk.spoil(sent, misissued=b"0")
    report = desk.ask("transactions", "show", sent.id)
    assert report["fail_info"] == FailInfo.BAD_REQUEST.name
    assert list(report["misissued"]) == ["problem"]


@pytest.mark.proves("FT-58")
def test_a_row_that_cannot_be_used_is_shown_as_far_as_it_can_be(desk: Desk) -> None:
    """A row that is no transaction any more still shows what of it can be read, and what is wrong with it."""
    bad = desk.bench.record(desk.request("bad", state=State.QUEUED))
    desk.spoil(bad, state="lost")
    desk.bench(outcomes.quarantine, bad.id, "'lost' is no state", NOW)
    output = desk.run("transactions", "show", bad.id).output
    assert output.startswith(f"transaction {bad.id} is lost: its row cannot be used\n")
    assert ("quarantine", "'lost' is no state") in facts(output)
    report = desk.ask("transactions", "show", bad.id)
    assert "'lost' is not a valid State" in report["problem"]
    assert "request" not in report
    assert [each["event"] for each in report["history"]] == ["authorised", "quarantined"]
    result = desk.run("transactions", "redrive", bad.id, *WHY)
    assert result.exit_code == 1
    assert "a row that cannot be read" in result.output
    assert desk.ask("transactions", "list", "--attention")[0]["quarantine"] == "'lost' is no state"


@pytest.mark.proves("I7")
def test_a_redriven_enrolment_is_asked_about_at_once(desk: Desk) -> None:
    """What waits at the CA becomes unknown and due; whoever is at work on it loses it; the record says who and why."""
    stuck = waiting(desk, attention="look")
    taken = desk.bench.claim(stuck, NOW)
    report = desk.ask("transactions", "redrive", stuck.id, *WHY)
    assert report == {"id": stuck.id, "state": "unknown"}
    after = desk.bench.get(stuck)
    assert (after.state, after.attention, after.fence) == (State.UNKNOWN, "", taken.fence + 1)
    assert after.next_at is not None
    assert after.next_at <= datetime.now(UTC)
    shown = desk.ask("transactions", "show", stuck.id)
    assert (shown["owner"], shown["lease_ends"]) == (None, None)
    assert shown["history"][-1]["record"] == {"person": "alice", "why": WHY[1], "was": "waiting"}
    said = desk.run("transactions", "redrive", stuck.id, *WHY, "--by", "bob").output
    assert said.startswith(f"{stuck.id} is unknown: ")


@pytest.mark.proves("FT-58")
def test_a_quarantined_enrolment_is_tried_again(desk: Desk) -> None:
    """Redriving takes the quarantine away, and so does closing."""
    for word, state in (("redrive", "queued"), ("close", "refused")):
        bad = desk.bench.record(desk.request(word, state=State.QUEUED))
        desk.bench(outcomes.quarantine, bad.id, "sealed under another key", NOW)
        options = ("--yes",) if word == "close" else ()
        assert desk.ask("transactions", word, bad.id, *WHY, *options)["state"] == state
    assert desk.ask("transactions", "list", "--attention") == []


def test_a_closed_enrolment_is_refused(desk: Desk) -> None:
    """Closing ends what the CA never decides; nobody is asked only where --yes says so."""
    stuck = waiting(desk)
    result = desk.run("transactions", "close", stuck.id, *WHY)
    assert result.exit_code == 2
    assert "there is no terminal to ask on" in result.output
    assert desk.bench.get(stuck) == stuck
    result = desk.run("transactions", "close", stuck.id, *WHY, "--yes")
    assert result.output == f"{stuck.id} is refused: closed by alice: asked the CA's operator\n"
    assert desk.bench.get(stuck).state is State.REFUSED
    result = desk.run("transactions", "redrive", stuck.id, *WHY)
    assert result.exit_code == 1
    assert result.output.startswith("Error: what is refused cannot be redriven")
    assert desk.run("transactions", "redrive", "5a5a", *WHY).output == "Error: there is no transaction 5a5a\n"


@pytest.mark.slow
def test_closing_on_a_terminal_is_asked(desk: Desk) -> None:
    """Whoever closes an enrolment on a terminal sees it, is told what may be lost, and can think better of it."""
    stuck = waiting(desk)
    code, output, seen = desk.at_terminal("transactions", "close", stuck.id, *WHY, answer="n\n")
    assert (code, output) == (1, "")
    assert ("subject", "CN=device") in facts(seen)
    assert "The CA may have issued a certificate for it, which nobody would get. Close it, as alice? [y/N]: " in seen
    assert desk.bench.get(stuck) == stuck
    code, output, _ = desk.at_terminal("transactions", "close", stuck.id, *WHY, answer="y\n")
    assert (code, output) == (0, f"{stuck.id} is refused: closed by alice: asked the CA's operator\n")


@pytest.mark.proves("AC-028", "AC-121")
def test_hostile_text_does_not_act_on_the_terminal(desk: Desk) -> None:
    """Nothing that a client, a CA or a broken row brings acts upon the terminal, and every line stays one line."""
    held = desk.hold(
        **dict.fromkeys(("subject", "source", "client_transaction", "challenge"), HOSTILE), names=[HOSTILE]
    )
    bad = waiting(desk, "bad", reason=HOSTILE, attention=HOSTILE, record={"upstream_status": HOSTILE, HOSTILE: "1"})
    desk.bench(outcomes.quarantine, bad.id, HOSTILE, NOW)
    desk.spoil(bad, state=HOSTILE[:16], profile=HOSTILE, upstream=HOSTILE)
    for words in (("list",), ("show", held.id), ("show", bad.id), ("redrive", bad.id, *WHY)):
        for more in ((), ("--json",)):
            output = desk.run("transactions", *words, *more).output
            assert all(line.isprintable() for line in output.split("\n")), words
    assert len(desk.run("transactions", "list").output.splitlines()) == 3


@pytest.mark.proves("I10")
def test_no_challenge_is_in_any_output(desk: Desk) -> None:
    """Neither the challenge in a request nor its sealed form is printed, in any spelling."""
    stuck = desk.hold()
    desk.spoil(stuck, state="waiting", next_at=NOW - HOUR, expires=NOW + DAY)
    sealed = desk.bench.rows("transactions")[0]["csr"]
    written = "".join(
        desk.run("transactions", *words, *more).output
        for words in (
            ("list",),
            ("show", stuck.id),
            ("redrive", stuck.id, *WHY),
            ("close", stuck.id, *WHY),
            ("close", stuck.id, *WHY, "--yes"),
            ("show", stuck.id),
        )
        for more in ((), ("--json",))
    )
    assert stuck.id in written
    plain = CANARY.encode()
    for secret in (CANARY, plain.hex(), base64.b64encode(plain).decode()[:-4], sealed.decode(), sealed.hex()):
        assert secret not in written


@pytest.mark.slow
def test_a_store_on_a_server(remote_desk: Desk) -> None:
    """On PostgreSQL the commands do the same."""
    stuck = waiting(remote_desk, attention="look")
    assert remote_desk.ask("transactions", "list", "--attention", "--state", "waiting")[0]["id"] == stuck.id
    assert remote_desk.ask("transactions", "redrive", stuck.id[:6], *WHY)["state"] == "unknown"
    assert remote_desk.ask("transactions", "close", stuck.id, *WHY, "--yes")["state"] == "refused"
    events = [each["event"] for each in remote_desk.ask("transactions", "show", stuck.id)["history"]]
    assert events == ["authorised", "pended", "redriven", "closed"]
