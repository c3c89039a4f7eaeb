"""``scepra challenge`` and ``scepra token``: made once, shown once, listed and revoked."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from scepra.store import brokered, challenges, tables, tokens
from scepra.store.challenges import Challenge
from scepra.store.vault import read_vault
from tests.rig.enrolments import Desk
from tests.store.sample import HOUR, NOW

MINTED = "{type: minted, longest: 2d, outstanding: 2, bind: [common-name]}"


@pytest.fixture
def counter(desk: Desk) -> Desk:
    """A desk whose profile gives out challenges."""
    text = desk.file.read_text("utf-8").replace("{type: static, environment: CHALLENGE}", MINTED)
    desk.file.write_text(text, "utf-8")
    read_vault(desk.file.parent / "scepra.key", create=True)
    return desk


def mint(counter: Desk, *more: str, name: str = "printer-7") -> str:
    """A new challenge."""
    result = counter.run("challenge", "mint", "--profile", "wifi", "--cn", name, *more)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


@pytest.mark.proves("DR-17", "AC-104")
def test_a_challenge_is_printed_once(counter: Desk) -> None:
    """Alone on standard output, so that a script can take it; for whom and until when stands on standard error."""
    result = counter.run(
        "challenge", "mint", "--profile", "wifi", "--cn", "printer-7", "--dns", "a.example", "--dns", "b"
    )
    assert re.fullmatch("[0-9A-F]{32}\n", result.stdout)
    assert "for      common-name printer-7, dns a.example+b\n" in result.stderr
    (row,) = counter.bench.rows("challenges")
    assert row["minter"] == "alice"
    assert result.stdout.strip() not in repr(counter.bench.content())
    listed = counter.run("challenge", "list").output.splitlines()
    assert listed[0].split() == ["ID", "PROFILE", "FOR", "EXPIRES", "(UTC)", "USED", "STATE", "BY"]
    assert re.fullmatch(rf"{row['id']}  wifi     printer-7 \+2  .*  0/1   good   alice", listed[1])
    found = counter.ask("challenge", "mint", "--profile", "wifi", "--cn", "printer-8")
    assert len(found["challenge"]) == 32
    assert found["binding"] == {"common_name": "printer-8"}


@pytest.mark.proves("AC-104")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--profile", "wifi"), 1, "profile wifi wants challenges bound: say the common-name"),
        (("--profile", "none", "--cn", "a"), 1, "there is no profile none"),
        (("--profile", "wifi", "--cn", "a", "--lifetime", "3d"), 1, "longest"),
        (("--profile", "wifi", "--cn", "a", "--lifetime", "soon"), 2, "expected a duration"),
        (("--profile", "wifi", "--cn", "a", "--uses", "2"), 1, "at most 1 uses"),
        (("--profile", "wifi", "--cn", "a", "--ip", "300.1.1.1"), 2, "ip: expected IP addresses"),
        (("--profile", "wifi", "--cn", "a\n"), 2, "common_name: expected printable text"),
        (("--cn", "a"), 2, "Missing option '--profile'"),
    ],
)
def test_orders_that_are_refused(counter: Desk, words: tuple[str, ...], code: int, said: str) -> None:
    """What may not be made is not: with the reason, and with 2 where the command line is wrong."""
    result = counter.run("challenge", "mint", *words)
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert counter.bench.rows("challenges") == []


def test_one_that_names_nobody(counter: Desk) -> None:
    """It has to be asked for in as many words, and where the profile allows it."""
    text = counter.file.read_text("utf-8").replace(", bind: [common-name]", "")
    counter.file.write_text(text, "utf-8")
    refused = counter.run("challenge", "mint", "--profile", "wifi")
    assert (refused.exit_code, "say whom it is for" in refused.output) == (1, True)
    assert counter.run("challenge", "mint", "--profile", "wifi", "--anybody").exit_code == 0
    assert "  anybody  " in counter.run("challenge", "list").output


@pytest.mark.proves("AC-104")
def test_the_quota_and_what_frees_it(counter: Desk) -> None:
    """As many as the profile may have; revoked ones count no more, and are listed only if asked for."""
    mint(counter)
    mint(counter, name="printer-8")
    full = counter.run("challenge", "mint", "--profile", "wifi", "--cn", "c")
    assert (full.exit_code, "has 2 challenges outstanding" in full.output) == (1, True)
    first = counter.ask("challenge", "list")[0]["id"]
    assert counter.run("challenge", "revoke", first, "--why", "lost").output == f"{first} is revoked.\n"
    again = counter.run("challenge", "revoke", first, "--why", "lost")
    assert (again.exit_code, "that could be revoked" in again.output) == (1, True)
    assert len(counter.ask("challenge", "list")) == 1
    assert {each["revoked"] is None for each in counter.ask("challenge", "list", "--all")} == {True, False}
    assert "revoked" in counter.run("challenge", "list", "--all").output
    assert counter.ask("challenge", "list", "--profile", "vpn") == []
    mint(counter, name="printer-9")
    assert counter.ask("challenge", "revoke", counter.ask("challenge", "list")[0]["id"], "--why", "x")["revoked"]


def test_nothing_to_list(counter: Desk) -> None:
    """No challenge and no token is a sentence for people, and an empty array for scripts."""
    assert counter.run("challenge", "list").output == "No challenge is outstanding.\n"
    assert counter.run("challenge", "list", "--all").output == "There are no challenges.\n"
    assert counter.run("token", "list").output == "There are no tokens.\n"
    assert counter.ask("challenge", "list") == counter.ask("token", "list") == []


def test_a_profile_without_minted_challenges(desk: Desk) -> None:
    """It says so; and so does a configuration that cannot be read."""
    read_vault(desk.file.parent / "scepra.key", create=True)
    result = desk.run("challenge", "mint", "--profile", "wifi", "--cn", "a")
    assert (result.exit_code, "has no challenges of the type minted" in result.output) == (1, True)
    desk.file.write_text("profiles: [", "utf-8")
    for words in (("challenge", "mint", "--profile", "wifi"), ("token", "create", "--name", "a", "--role", "reader")):
        assert desk.run(*words).exit_code == 2


@pytest.mark.proves("AC-119", "AC-124", "I10")
def test_a_token_is_printed_once(counter: Desk) -> None:
    """It is kept as a digest, listed by its name, and revoked by it."""
    made = counter.run("token", "create", "--name", "mdm", "--role", "minter", "--role", "reader", "--profile", "wifi")
    text = made.stdout.strip()
    assert re.fullmatch("[0-9a-f]{48}", text)
    vault = read_vault(counter.file.parent / "scepra.key")
    found = counter.bench(tokens.find, tokens.digest(vault, text))
    assert found is not None
    assert (found.name, found.reaches("wifi"), found.reaches("vpn")) == ("mdm", True, False)
    assert text not in repr(counter.bench.content())
    ended = counter.ask("token", "create", "--name", "short", "--role", "revoker", "--lifetime", "1s")
    assert (ended["roles"], ended["profiles"]) == (["revoker"], None)
    lines = counter.run("token", "list").output.splitlines()
    assert lines[1].split()[:4] == ["mdm", "minter,", "reader", "wifi"]
    assert counter.run("token", "revoke", "mdm").output == "mdm is revoked.\n"
    assert "revoked" in counter.run("token", "list").output
    assert counter.ask("token", "revoke", "short")["name"] == "short"
    again = counter.run("token", "revoke", "mdm")
    assert (again.exit_code, "that could be revoked" in again.output) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--name", "a:b", "--role", "reader"), 2, "without a colon"),
        (("--name", "a", "--role", "root"), 2, "'root' is not one of"),
        (("--name", "a"), 2, "Missing option '--role'"),
        (("--name", "a", "--role", "reader", "--profile", "vpn"), 2, "there is no profile vpn"),
        (("--name", "taken", "--role", "reader"), 1, "there is a token taken already"),
    ],
)
def test_tokens_that_are_not_made(counter: Desk, words: tuple[str, ...], code: int, said: str) -> None:
    """What is wrong with the command line is said, and a name is taken for ever."""
    assert counter.run("token", "create", "--name", "taken", "--role", "reader").exit_code == 0
    result = counter.run("token", "create", *words)
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert len(counter.bench.rows("tokens")) == 1


def test_challenges_that_have_ended_are_marked(counter: Desk) -> None:
    """One whose time is over is listed as expired."""
    mint(counter)
    counter.bench(lambda connection: connection.execute(tables.challenges.update().values(expires=NOW)) and None)
    assert "  expired  " in counter.run("challenge", "list", "--all").output
    assert counter.bench(challenges.listing, None, None, 5)[0].expires == NOW


@pytest.mark.proves("RA-11")
def test_a_password_of_ndes_is_given_out_when_there_is_one(counter: Desk) -> None:
    """The command takes what a running RA has drawn; where there is none, or the order is another, it says so."""
    (counter.file.parent / "ndes.pass").touch(mode=0o600)
    (counter.file.parent / "ndes.pass").write_text("password\n")
    ndes = "{type: ndes, url: 'https://ndes.example/', user: ra, password-file: ndes.pass}"
    text = counter.file.read_text("utf-8").replace(MINTED, ndes)
    counter.file.write_text(text.replace("ca-fingerprint:", "authorisation: challenge\n    ca-fingerprint:"), "utf-8")
    result = counter.run("challenge", "mint", "--profile", "wifi", "--cn", "printer-7")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "profile wifi has no password of its NDES at hand now" in result.stderr
    vault, now = read_vault(counter.file.parent / "scepra.key"), datetime.now(UTC)
    kept = Challenge("0" * 16, "wifi", {}, 1, "ndes ndes.example", "", now, now + HOUR, None, 0, None)
    sealed = vault.seal(b"8CE317021F690069")
    assert counter.bench(brokered.keep, kept, sealed, b"0" * 32, lambda other: b"")
    result = counter.run("challenge", "mint", "--profile", "wifi", "--cn", "printer-7", "--lifetime", "1h")
    assert "NDES says: ask for no lifetime" in result.stderr
    assert mint(counter) == "8CE317021F690069"
    assert counter.run("challenge", "mint", "--profile", "wifi", "--cn", "printer-7").exit_code == 1
