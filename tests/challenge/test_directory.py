"""A file of expected devices: who is in it, for whom a challenge is, and what becomes of it when it changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from scepra.challenge.directory import EVERY, DirectoryChallenge
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, Reservation, Verdict
from scepra.errors import ConfigError
from scepra.lab.files import write_private
from scepra.scep import der, oid
from scepra.store.vault import Vault
from tests import csrs
from tests.challenge.sample import NAME, request
from tests.rig.house import at_once, run

VAULT = Vault((Fernet.generate_key(),))
FIRST, SECOND = "canary-7Hq2Lx9Zw4", "canary-1Bn5Tm8Kd3"
DEVICES = f"""\
name,challenge,uses,dns,device
{NAME},{FIRST},,www.example,asset 1
printer-8.example,{SECOND},3,,
"""


class Rig:
    """A provider over a file."""

    def __init__(self, directory: Path, content: str = DEVICES, *, by_name: bool = False, name: str = "d.csv") -> None:
        self.clock = Clock()
        self.file = directory / name
        self.write(content)
        self.provider = DirectoryChallenge(self.file, VAULT.digest, self.clock, at_once, by_name=by_name)

    def write(self, content: str) -> None:
        """Another content."""
        write_private(self.file, content.encode())

    def check(self, challenge: str | None, *names: bytes, **settings: Any) -> Verdict:
        """The verdict."""
        return run(self.provider.check(request(challenge, *names, **settings)))


def refused(verdict: Verdict) -> ChallengeRefused:
    """A refusal that shows no challenge."""
    assert isinstance(verdict, ChallengeRefused)
    assert "canary" not in verdict.reason
    return verdict


@pytest.mark.proves("SEC-05", "AC-091", "DR-8")
def test_who_is_in_it(tmp_path: Path) -> None:
    """A challenge is good for its device's names, and for as many keys as its line says."""
    rig = Rig(tmp_path)
    accepted = rig.check(FIRST, csrs.dns("www.example"))
    assert isinstance(accepted, ChallengeAccepted)
    assert accepted.device == "asset 1"
    assert accepted.reserve == (Reservation(accepted.credential_id, 1),)
    assert accepted.credential_id.startswith("directory ")
    assert "canary" not in accepted.credential_id
    third = rig.check(SECOND, subject=csrs.subject("printer-8.example"))
    assert isinstance(third, ChallengeAccepted)
    assert third.reserve[0].uses == 3
    for wrong in (rig.check(SECOND), rig.check(FIRST, csrs.dns("evil.example")), rig.check(FIRST, csrs.upn("a@b"))):
        assert not refused(wrong).foreign


@pytest.mark.proves("AC-095", "AC-101", "DR-6")
@pytest.mark.parametrize("challenge", [None, "", "unknown", FIRST.lower(), FIRST + " ", "%", "*", "' OR 1=1--"])
def test_who_is_not(tmp_path: Path, challenge: str | None) -> None:
    """What is no line's challenge may be another provider's."""
    assert refused(Rig(tmp_path).check(challenge)).foreign


def test_the_name_of_a_credential_outlives_changes(tmp_path: Path) -> None:
    """A line that is moved or edited has been used all the same; without the key nobody can try challenges out."""
    rig = Rig(tmp_path)
    before = rig.check(FIRST)
    other = Rig(tmp_path, f"challenge,name\n{SECOND},x\n{FIRST},{NAME}\n", name="other.csv")
    after = other.check(FIRST)
    assert isinstance(before, ChallengeAccepted)
    assert isinstance(after, ChallengeAccepted)
    assert before.credential_id == after.credential_id
    vault = Vault((Fernet.generate_key(),))
    elsewhere = DirectoryChallenge(rig.file, vault.digest, Clock(), at_once, by_name=False)
    found = run(elsewhere.check(request(FIRST)))
    assert isinstance(found, ChallengeAccepted)
    assert found.credential_id != before.credential_id


@pytest.mark.proves("AC-098")
def test_a_changed_file_is_read(tmp_path: Path) -> None:
    """At the next request after a second, and no more often than it is another."""
    rig = Rig(tmp_path)
    rig.write("name,challenge\n")
    assert isinstance(rig.check(FIRST), ChallengeAccepted)
    rig.clock.advance(EVERY)
    with capturedLogs() as logs:
        assert refused(rig.check(FIRST)).foreign
        rig.clock.advance(EVERY)
        rig.check(FIRST)
    assert [event["count"] for event in logs] == [0]
    rig.write(DEVICES)
    rig.clock.advance(EVERY)
    assert isinstance(rig.check(FIRST), ChallengeAccepted)


@pytest.mark.proves("FT-57")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,challenge,colour\na,b,c\n", "d.csv:1:1: 'colour': unknown column"),
        (DEVICES + f"x,{FIRST},,,\n", "d.csv:4:1: challenge: the device at line 2 has the same"),
        ('name,challenge\n"a', "not CSV"),
        ("", "the file is empty"),
        (None, "cannot be read"),
        ("name\na\n", "for all-of"),
    ],
)
def test_a_broken_file_changes_nothing(tmp_path: Path, content: str | None, said: str) -> None:
    """The devices that were read last stay in force, and the log says once what is wrong, and where."""
    rig = Rig(tmp_path)
    if content is None:
        rig.file.unlink()
    else:
        rig.write(content)
    with capturedLogs() as logs:
        for _ in range(3):
            rig.clock.advance(EVERY)
            assert isinstance(rig.check(FIRST), ChallengeAccepted)
    (event,) = logs
    assert event["log_level"].name == "error"
    assert said in event["problem"]
    assert "canary" not in repr(event)
    rig.write(DEVICES)
    os.utime(rig.file, ns=(1, 1))
    rig.clock.advance(EVERY)
    assert isinstance(rig.check(FIRST), ChallengeAccepted)


def test_a_broken_file_is_no_start(tmp_path: Path) -> None:
    """With its problems where they are."""
    with pytest.raises(ConfigError) as caught:
        Rig(tmp_path, "name,challenge\na,b\n")
    assert str(caught.value).endswith("d.csv:2:1: challenge: can be guessed: about 0 bits, at least 32 needed")


NAMES = """\
devices:
  - {name: printer-7.example, serial: 4711, device: asset 7}
  - {dns: [www.example, ftp.example]}
  - {ip: 192.0.2.7}
  - {name: printer-8.example, challenge: canary-7Hq2Lx9Zw4}
"""


@pytest.mark.proves("SEC-05", "DR-6")
def test_devices_without_a_challenge(tmp_path: Path) -> None:
    """Where another kind judges the challenge, a device is known by its names, and has no others."""
    rig = Rig(tmp_path, NAMES, by_name=True, name="d.yaml")
    found = rig.check("another's", subject=csrs.subject(NAME))
    assert found == ChallengeAccepted("directory", device="asset 7")
    serial = csrs.name(csrs.value(csrs.CN, NAME), csrs.value(oid.encode("2.5.4.5"), "4711"))
    assert isinstance(rig.check("another's", subject=serial), ChallengeAccepted)
    for names in ((csrs.dns("FTP.example"),), (csrs.dns("www.example"), csrs.dns("ftp.example"))):
        assert isinstance(rig.check("x", *names, subject=csrs.name()), ChallengeAccepted)
    address = der.tlv(0x87, bytes([192, 0, 2, 7]))
    assert isinstance(rig.check("x", address, subject=csrs.name()), ChallengeAccepted)
    for subject, names in (
        (csrs.subject("printer-9.example"), ()),
        (csrs.subject("printer-8.example"), ()),
        (csrs.subject(NAME), (csrs.dns("www.example"),)),
        (csrs.name(), (csrs.dns("www.example"), csrs.dns("evil.example"))),
        (csrs.name(), (der.tlv(0x87, bytes([192, 0, 2, 8])),)),
        (csrs.name(), (der.tlv(0x87, b"\1"),)),
    ):
        assert not refused(rig.check("another's", *names, subject=subject)).foreign
    assert refused(rig.check(None)).foreign
    # One with a challenge is known by that.
    known = rig.check(FIRST, subject=csrs.subject("printer-8.example"))
    assert isinstance(known, ChallengeAccepted)
    assert known.reserve
