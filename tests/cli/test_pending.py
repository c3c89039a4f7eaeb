"""``scepra pending``: what waits for people, and what they say about it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from scepra.audit import RECORDED, RECORDED_NAMES
from scepra.store import approvals
from scepra.transaction import State, Transaction
from tests.rig.enrolments import CANARY, HOSTILE, NOW, Desk, facts
from tests.rig.postgres import GUARDED, PASSWORD, Postgres

WHY = ("--why", "known device")


def digest(transaction: Transaction) -> str:
    """What an approval of a transaction is bound to."""
    return approvals.digest(approvals.shown(transaction))


def test_the_list_has_what_waits(desk: Desk) -> None:
    """Each held request is a line, the longest waiting first, with who has approved it; others are not listed."""
    second = desk.hold("second", approvals=2, received=NOW + timedelta(hours=1))
    first = desk.hold("first")
    desk.bench.record(state=State.QUEUED)
    assert desk.run("pending", "approve", second.id, "--digest", digest(second), *WHY).exit_code == 0
    result = desk.run("pending", "list")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "ID                SINCE (UTC)       EXPIRES (UTC)     PROFILE  SUBJECT    APPROVALS  BY",
        f"{first.id}  2026-05-04 12:00  2026-05-11 12:00  wifi     CN=first   0 of 1",
        f"{second.id}  2026-05-04 13:00  2026-05-11 13:00  wifi     CN=second  1 of 2     alice",
    ]
    found = desk.ask("pending", "list")
    given = found[1]["said"][0].pop("given")
    assert given.endswith("+00:00")
    assert found[1] == {
        "id": second.id,
        "profile": "wifi",
        "upstream": "ca",
        "subject": "CN=second",
        "received": "2026-05-04T13:00:00.000+00:00",
        "expires": "2026-05-11T13:00:00.000+00:00",
        "reason": "subject.OU matches servers",
        "quarantine": None,
        "approvals": 2,
        "said": [{"person": "alice", "approved": True, "why": "known device"}],
    }
    assert found[0]["id"] == first.id


@pytest.mark.proves("FT-37")
def test_the_list_is_no_longer_than_is_wanted(desk: Desk) -> None:
    """The longest waiting are listed, and that there may be more; nobody reads the whole table at once."""
    for number in range(3):
        desk.hold(f"number-{number}", received=NOW + timedelta(hours=number))
    result = desk.run("pending", "list", "--limit", "2")
    assert [line.split()[6] for line in result.stdout.splitlines()[1:]] == ["CN=number-0", "CN=number-1"]
    assert result.stderr == "No more than 2 are listed; --limit says how many.\n"
    assert len(desk.ask("pending", "list", "--limit", "2")) == 2
    for command in ("pending", "transactions"):
        assert desk.run(command, "list", "--limit", "10001").exit_code == 2


def test_an_empty_list_says_so(desk: Desk) -> None:
    """Nothing held is a sentence for people, and an empty array for scripts."""
    assert desk.run("pending", "list").output == "Nothing waits for anybody.\n"
    assert desk.ask("pending", "list") == []


def test_a_row_that_cannot_be_used_is_listed_all_the_same(desk: Desk) -> None:
    """One bad row hides no other, is marked as quarantined, and cannot be approved."""
    bad, good = desk.hold("bad"), desk.hold("good")
    desk.spoil(bad, quarantine="a row that cannot be read", csr_digest=b"short")
    lines = desk.run("pending", "list").output
    assert "CN=bad   quarantined\n" in lines
    assert good.id in lines
    result = desk.run("pending", "approve", bad.id, "--digest", "00" * 32, *WHY)
    assert result.exit_code == 1
    assert "a row that cannot be read" in result.output


@pytest.mark.proves("DR-18")
def test_everything_that_an_approval_is_about_is_shown(desk: Desk) -> None:
    """A held request is shown with every value that its digest covers, what people said, and how to approve it."""
    held = desk.hold(approvals=2, names=["dns:a.example", "ip:#c0000201"])
    desk.run("pending", "approve", held.id, "--digest", digest(held), *WHY)
    result = desk.run("pending", "show", held.id)
    assert result.exit_code == 0
    assert facts(result.output) >= {
        ("transaction", held.id),
        ("profile", "wifi"),
        ("subject", "CN=device"),
        ("names", "dns:a.example, ip:#c0000201"),
        ("authorised by", "static"),
        ("client's transactionID", "transaction of device"),
        ("approvals needed", "2"),
        ("received", "2026-05-04 12:00:00 UTC"),
        ("expires", "2026-05-11 12:00:00 UTC"),
        ("request, SHA-256", held.csr_digest.hex()),
        ("public key", held.public_key.hex()),
    }
    assert "approved by alice: known device\n" in result.output
    command = f"scepra pending approve {held.id} --config {desk.file} --digest {digest(held)} --why TEXT"
    assert result.output.splitlines()[-1] == f"  {command}"
    report = desk.ask("pending", "show", held.id)
    assert list(report) == ["shown", "digest", "expires", "said"]
    assert report["shown"]["names"] == ["dns:a.example", "ip:#c0000201"]
    text = json.dumps(report["shown"], sort_keys=True)
    assert report["digest"] == digest(held) == hashlib.sha256(text.encode()).hexdigest()


def test_what_is_shown_says_where_it_was_cut(desk: Desk) -> None:
    """Nobody takes a part of a long subject, or some of many names, for all of it."""
    held = desk.hold(subject="CN=" + "x" * (RECORDED - 3), names=["dns:a.example"] * RECORDED_NAMES)
    output = desk.run("pending", "show", held.id).output
    assert "x (cut here)\n" in output
    assert "dns:a.example (no more are kept: look at the device for others)\n" in output


@pytest.mark.proves("DR-18", "I7")
def test_an_approval_lets_the_request_go_on(desk: Desk) -> None:
    """After the one approval that its rule asks for, a request is queued; the record says who, why and what."""
    held = desk.hold()
    result = desk.run("pending", "approve", held.id, "--digest", digest(held).upper(), *WHY)
    assert result.output == f"{held.id} is queued: approved by alice: known device\n"
    assert result.exit_code == 0
    assert desk.bench.get(held).state is State.QUEUED
    (record,) = desk.bench.rows("audit", event="approved")
    assert record["record"] == {"person": "alice", "why": "known device", "shown": digest(held)}


@pytest.mark.proves("DR-18")
def test_an_approval_of_something_else_is_refused(desk: Desk) -> None:
    """An approval bound to another request, or to what a request was before, changes nothing."""
    held, other = desk.hold(), desk.hold("other")
    changed = desk.hold("changed")
    desk.spoil(changed, subject="CN=root")
    for identifier, shown in ((held.id, digest(other)), (changed.id, digest(changed))):
        for word in ("approve", "deny"):
            result = desk.run("pending", word, identifier, "--digest", shown, *WHY)
            assert result.exit_code == 1
            assert result.output == f"Error: {identifier} is not what was shown: look at it again\n"
    assert len(desk.ask("pending", "list")) == 3
    assert desk.bench.rows("approvals") == []


@pytest.mark.proves("DR-18")
def test_two_approvals_are_of_two_people(desk: Desk) -> None:
    """One person counts once, however often they say it; the second person lets the request go on."""
    held = desk.hold(approvals=2)
    bound = ("--digest", digest(held), *WHY)
    result = desk.run("pending", "approve", held.id, *bound)
    assert result.output == f"{held.id} is held: approved by 1 of 2 people\n"
    again = desk.run("pending", "approve", held.id, *bound, "--by", " alice ")
    assert again.exit_code == 1
    assert again.output == f"Error: alice has approved {held.id} already: somebody else has to\n"
    done = desk.ask("pending", "approve", held.id, *bound, "--by", "bob")
    assert [each.pop("given") is not None for each in done["said"]] == [True, True]
    assert done == {
        "id": held.id,
        "state": "queued",
        "approvals": 2,
        "said": [
            {"person": "alice", "approved": True, "why": "known device"},
            {"person": "bob", "approved": True, "why": "known device"},
        ],
    }


@pytest.mark.proves("DR-18")
def test_one_denial_is_enough(desk: Desk) -> None:
    """A denied request is refused, whoever approved it before; it is not held any more after that."""
    held = desk.hold(approvals=2)
    desk.run("pending", "approve", held.id, "--digest", digest(held), *WHY)
    result = desk.run("pending", "deny", held.id, "--digest", digest(held), "--why", "stolen", "--by", "bob")
    assert (result.exit_code, result.output) == (0, f"{held.id} is refused: denied by bob: stolen\n")
    assert desk.bench.get(held).state is State.REFUSED
    for words in (("show",), ("approve", "--digest", digest(held), *WHY)):
        result = desk.run("pending", words[0], held.id, *words[1:])
        assert result.exit_code == 1
        assert result.output == f"Error: {held.id} is not held any more: it is refused\n"


def test_who_acts_is_who_called_sudo_or_the_user(desk: Desk) -> None:
    """Without --by the record names whoever called sudo, else the user of the process."""
    process = pwd.getpwuid(os.geteuid()).pw_name
    for user, person in (("carol", "carol"), (None, process), ("", process)):
        held = desk.hold(f"device of {user}")
        assert desk.run("pending", "approve", held.id, "--digest", digest(held), *WHY, user=user).exit_code == 0
        assert desk.bench.rows("approvals", transaction=held.id)[0]["person"] == person


@pytest.mark.proves("DR-18")
def test_nothing_is_approved_unseen(desk: Desk) -> None:
    """Where there is no terminal to show it on, an approval needs the digest of what was shown elsewhere."""
    held = desk.hold()
    for words in ((), ("--yes",), ("--json",)):
        result = desk.run("pending", "approve", held.id, *WHY, *words)
        assert result.exit_code == 2
        assert "give --digest, from `scepra pending show`" in result.output
    assert desk.bench.get(held) == held


@pytest.mark.proves("DR-18")
@pytest.mark.slow
def test_on_a_terminal_it_is_shown_and_asked(desk: Desk) -> None:
    """Somebody at a terminal sees the whole request and is asked; a no changes nothing, a yes approves."""
    held = desk.hold(approvals=2)
    code, output, seen = desk.at_terminal("pending", "approve", held.id[:6], *WHY, answer="n\n")
    assert (code, output) == (1, "")
    assert ("subject", "CN=device") in facts(seen)
    assert "Approve this, as alice? [y/N]: " in seen
    assert desk.bench.get(held) == held
    code, output, seen = desk.at_terminal("pending", "approve", held.id, *WHY, "--json", answer="y\n")
    assert code == 0
    assert json.loads(output)["state"] == "held"
    code, output, seen = desk.at_terminal("pending", "deny", held.id, *WHY, "--by", "bob", "--yes", answer="")
    assert (code, output) == (0, f"{held.id} is refused: denied by bob: known device\n")
    assert "approved by alice: known device\n" in seen
    assert "[y/N]" not in seen


@pytest.mark.proves("DR-18")
@pytest.mark.slow
def test_what_changes_after_it_was_shown_is_not_approved(desk: Desk) -> None:
    """The answer on the terminal counts for what was on the terminal, not for what the row has become since."""
    held = desk.hold()
    code, output, seen = desk.at_terminal(
        "pending", "approve", held.id, *WHY, answer="y\n", meanwhile=lambda: desk.spoil(held, subject="CN=root")
    )
    assert (code, output) == (1, "")
    assert f"{held.id} is not what was shown: look at it again" in seen
    assert desk.bench.get(held).state is State.HELD


def test_the_first_digits_of_an_id_are_enough(desk: Desk) -> None:
    """An id may be cut short as long as it is that of one held request; else all candidates are named."""
    desk.hold("one", id="abcd000000000000")
    desk.hold("two", id="abce000000000000")
    desk.bench.record(state=State.QUEUED, id="abcf000000000000")
    assert desk.ask("pending", "show", "ABCD")["shown"]["id"] == "abcd000000000000"
    result = desk.run("pending", "show", "abc")
    assert result.exit_code == 1
    expected = "Error: abc may be any of abcd000000000000, abce000000000000: give more digits of it\n"
    assert result.output == expected
    result = desk.run("pending", "show", "abcf")
    assert result.output == "Error: abcf000000000000 is not held any more: it is queued\n"
    result = desk.run("pending", "show", "abcdef")
    assert (result.exit_code, result.output) == (1, "Error: there is no transaction abcdef\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("%", *WHY), "expected the hexadecimal digits of an id"),
        (("abcd", "--why", "  "), "expected a line of 1 to 500 characters"),
        (("abcd", "--why", "x" * 501), "expected a line of 1 to 500 characters"),
        (("abcd", "--why", "\x1b[2J"), "expected a line of 1 to 500 characters"),
        (("abcd", *WHY, "--by", "bob\u202e"), "expected a line of 1 to 128 characters"),
        (("abcd", *WHY, "--by", ""), "expected a line of 1 to 128 characters"),
        (("abcd", *WHY, "--digest", "5a5a"), "expected the 64 hexadecimal digits"),
        (("abcd",), "Missing option '--why'"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    """Ids, names, reasons and digests that cannot be right are refused with exit code 2."""
    result = desk.run("pending", "approve", *words)
    assert result.exit_code == 2
    assert sentence in result.output


@pytest.mark.proves("AC-028", "AC-121")
def test_hostile_text_does_not_act_on_the_terminal(desk: Desk) -> None:
    """Escapes, controls and marks that turn the writing direction come out as their names, on the line they are in."""
    held = desk.hold(subject=HOSTILE, names=[HOSTILE], client_transaction=HOSTILE, challenge=HOSTILE)
    for words in (("list",), ("show", held.id), ("list", "--json"), ("show", held.id, "--json")):
        result = desk.run("pending", *words)
        assert result.exit_code == 0
        assert all(line.isprintable() for line in result.output.split("\n")), words
    assert len(desk.run("pending", "list").output.splitlines()) == 2
    assert repr(HOSTILE) in desk.run("pending", "show", held.id).output
    assert desk.ask("pending", "list")[0]["subject"] == HOSTILE


def test_lines_are_no_longer_than_the_terminal(desk: Desk) -> None:
    """The widest columns are cut, wide characters counted as two; what is no terminal gets everything."""
    desk.hold("long", subject="CN=" + "\u8a2d\u5099e\u0301" * 60)
    wide = desk.run("pending", "list").output
    assert "\u8a2d\u5099e\u0301" * 60 in wide
    head, line = desk.run("pending", "list", columns=100).output.splitlines()
    assert len(head) <= 100
    assert "..." in line
    assert head.index("APPROVALS") == line.index("0 of 1") + line.count("\u8a2d") + line.count("\u5099") - line.count(
        "\u0301"
    )
    # There is no terminal so narrow that the id is cut.
    narrow = desk.run("pending", "list", columns=20).output.splitlines()[1]
    assert narrow.startswith(desk.ask("pending", "list")[0]["id"])


@pytest.mark.proves("I10")
def test_no_challenge_is_in_any_output(desk: Desk) -> None:
    """Neither the challenge in a held request nor its sealed form is printed, in any spelling."""
    held = desk.hold()
    written = "".join(
        desk.run("pending", *words).output
        for words in (
            ("list",),
            ("list", "--json"),
            ("show", held.id),
            ("show", held.id, "--json"),
            ("approve", held.id, *WHY),
            ("approve", held.id, "--digest", "00" * 32, *WHY),
            ("approve", held.id, "--digest", digest(held), *WHY, "--json"),
        )
    )
    assert held.id in written
    plain = CANARY.encode()
    for secret in (CANARY, plain.hex(), base64.b64encode(plain).decode()[:-4], held.csr.decode(), held.csr.hex()):
        assert secret not in written


# --- The store -------------------------------------------------------------------------------------------------------


def test_a_store_that_was_never_used(desk: Desk, tmp_path: Path) -> None:
    """Without the file, or without tables in it, the command says that the RA was not started; it makes no file."""
    other = tmp_path / "other.yaml"
    other.write_text(desk.file.read_text().replace("scepra.db", "other.db"))
    nobody = Desk(desk.bench, other)
    result = nobody.run("pending", "list")
    assert result.exit_code == 1
    assert "other.db: there is no such file: the RA has not been started" in result.output
    assert not (tmp_path / "other.db").exists()
    (tmp_path / "other.db").touch()
    result = nobody.run("pending", "list")
    assert result.exit_code == 1
    assert "other.db: there are no tables in it: the RA has not been started" in result.output
    (tmp_path / "other.db").write_bytes(b"no database" * 1000)
    result = nobody.run("pending", "list")
    assert result.exit_code == 1
    assert "other.db: the database refuses: file is not a database" in result.output
    other.write_text(desk.file.read_text().replace("scepra.db", "scepra.db/other.db"))
    assert "cannot be opened: Not a directory" in nobody.run("pending", "list").output


@pytest.mark.proves("AC-137")
@pytest.mark.parametrize(("version", "sentence"), [("9999", "newer than this program"), ("0000", "older than this")])
def test_a_store_of_another_version(desk: Desk, version: str, sentence: str) -> None:
    """Tables of a newer or older program are neither read nor changed."""
    held = desk.hold()
    change = sa.text("UPDATE alembic_version SET version_num = :version")
    desk.bench(lambda connection: connection.execute(change, {"version": version}))
    before = desk.bench.content()
    for words in (("list",), ("approve", held.id, "--digest", digest(held), *WHY)):
        result = desk.run("pending", *words)
        assert result.exit_code == 1
        assert f"scepra.db: the database has version {version}, which is {sentence}" in result.output
    assert desk.bench.content() == before


def test_only_the_section_on_the_store_matters(desk: Desk) -> None:
    """What is wrong elsewhere in the configuration keeps nobody from approving; what is wrong about the store does."""
    held = desk.hold()
    desk.file.write_text(desk.file.read_text().replace("profiles:", "profile:"))
    assert desk.ask("pending", "list")[0]["id"] == held.id
    desk.file.write_text("store: {url: mysql://x/y}\n")
    result = desk.run("pending", "list")
    assert result.exit_code == 2
    assert f"{desk.file}:1:9: store.url: expected sqlite:PATH or postgresql://" in result.output
    desk.file.unlink()
    result = desk.run("pending", "list")
    assert result.exit_code == 2
    assert f"{desk.file}: cannot be read" in result.output


@pytest.mark.slow
@pytest.mark.proves("DR-18", "I10")
def test_a_store_on_a_server(remote_desk: Desk, postgres: Postgres, tmp_path: Path) -> None:
    """On PostgreSQL the commands do the same; a server that refuses is named by its URL, without the password."""
    held = remote_desk.hold(approvals=2)
    bound = ("--digest", digest(held), *WHY)
    assert remote_desk.run("pending", "approve", held.id[:5], *bound).exit_code == 0
    assert remote_desk.run("pending", "approve", held.id, *bound).exit_code == 1
    assert "1 of 2     alice" in remote_desk.run("pending", "list").output
    assert remote_desk.ask("pending", "approve", held.id, *bound, "--by", "bob")["state"] == "queued"
    url = postgres.url(remote_desk.bench.settings.url.rpartition("/")[2], GUARDED)
    secret = tmp_path / "password"
    for content, code in ((PASSWORD, 0), ("wrong-password", 1)):
        secret.write_text(content)
        secret.chmod(0o600)
        remote_desk.file.write_text(f"store: {{url: {json.dumps(url)}, password-file: {secret}}}\n")
        result = remote_desk.run("pending", "list")
        assert result.exit_code == code
        assert content not in result.output
    assert f"Error: {url}: the database refuses: " in result.output
