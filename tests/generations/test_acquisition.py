"""How the RA gets its own certificates from a real CA."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scepra.acquisition import NotAcquired, Waiting
from scepra.errors import ConfigError, UpstreamError
from scepra.generation import Installed
from scepra.keys.directory import Busy
from scepra.keys.disk import Disk
from scepra.lab.authority import Authority
from scepra.lab.behaviour import Fault, Forgery
from scepra.scep.message import MessageType, PKIStatus
from scepra.scep.transport import OperationKind
from tests.generations.rig import DAY, Rig, rig
from tests.rig.house import run


@pytest.fixture
def own(tmp_path: Path) -> Rig:
    """A CA that issues at once, and an empty directory."""
    return rig(tmp_path)


def kinds(rig: Rig) -> list[MessageType | None]:
    """What the CA was asked for."""
    return [item.message_type for item in rig.ca.received if item.message]


@pytest.mark.proves("CERT-06", "SEC-03")
def test_two_certificates(own: Rig) -> None:
    """As it comes, one certificate signs and another, for another key, is encrypted to; each says just that."""
    generation = own.enrol().generation
    signing, encryption = generation.signing.certificate, generation.encryption.certificate
    assert signing.key_usage == {"digitalSignature"}
    assert encryption.key_usage == {"keyEncipherment"}
    assert not signing.public_key.same_key(encryption.public_key)
    assert str(signing.subject) == str(encryption.subject) == own.settings.subject
    assert kinds(own) == [MessageType.PKCS_REQ] * 2


@pytest.mark.proves("CERT-06")
def test_one_certificate(tmp_path: Path) -> None:
    """Where the administrator wants it, one certificate does both."""
    own = rig(tmp_path, {"keys": "dual", "key": {"bits": 3072}})
    generation = own.enrol().generation
    assert generation.signing.certificate == generation.encryption.certificate
    assert generation.signing.certificate.key_usage == {"digitalSignature", "keyEncipherment"}
    assert generation.signing.certificate.public_key.bits == 3072


@pytest.mark.proves("AC-130")
def test_permissions(own: Rig) -> None:
    """Nobody else can read a key, or look into the directory; what others could is not read."""
    own.enrol()
    for path in (own.settings.directory, *own.settings.directory.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    own.settings.directory.chmod(0o755)
    with pytest.raises(ConfigError, match=r"is open to others \(mode 0755\): chmod 700 it"):
        own.store.installed()
    own.settings.directory.chmod(0o700)
    (own.settings.directory / "0001" / "signing.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"signing\.key: is open to others"):
        own.store.installed()


@pytest.mark.proves("CERT-35")
def test_a_ca_that_has_taken_over_unseen(own: Rig) -> None:
    """The CA that was to follow has taken over since it was looked at: its certificates are used."""
    begins = own.day.now() + timedelta(days=30)
    own.ca.announce(Authority.create("scepra lab CA", clock=own.day.now, begins=begins))
    run(own.upstream.discover())
    own.day.advance(31 * DAY)
    own.ca.roll_over()
    for each in own.enrol().certificates:
        assert each.signed_by(own.ca.authority.certificate.public_key)


def test_a_ca_that_takes_its_time(own: Rig) -> None:
    """What is held back is polled for, by whatever process goes on, under the same transactionID by the same key."""
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.PENDING)
    assert own.advance() == Waiting(1, ("signing", "encryption"))
    assert own.advance() == Waiting(1, ("signing", "encryption"))
    first, second, third, fourth = (item for item in own.ca.received if item.message)
    assert (third.message_type, fourth.message_type) == (MessageType.CERT_POLL, MessageType.CERT_POLL)
    assert (first.transaction_id, second.transaction_id) == (third.transaction_id, fourth.transaction_id)
    own.ca.approve(first.transaction_id or "")
    assert own.advance() == Waiting(1, ("encryption",))
    own.ca.approve(second.transaction_id or "")
    assert isinstance(own.advance(), Installed)
    assert kinds(own).count(MessageType.PKCS_REQ) == 2


def test_a_ca_that_denies(own: Rig) -> None:
    """What is denied in the end is given up, keys and all, and the next attempt is a new one."""
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.PENDING)
    own.advance()
    own.ca.deny(next(iter(own.ca.transactions)))
    with pytest.raises(NotAcquired, match="the CA refuses the signing certificate: BAD_REQUEST"):
        own.advance()
    assert own.store.under_way() is None
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.SUCCESS)
    assert own.enrol().number == 1


def test_a_ca_that_forgets(own: Rig) -> None:
    """A request that the CA has forgotten is sent again."""
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.PENDING)
    own.advance()
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.SUCCESS, forgets=True)
    assert isinstance(own.advance(), Installed)


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.EMPTY])
def test_an_answer_that_is_lost(own: Rig, fault: Fault) -> None:
    """A lost answer is polled for, so that nothing is issued twice."""
    operations = frozenset({OperationKind.PKI_OPERATION})
    behaviour = own.ca.behaviour
    own.ca.behaviour = replace(behaviour, fault=fault, faulty=operations)
    with pytest.raises(UpstreamError):
        own.advance()
    own.ca.behaviour = behaviour
    installed = own.enrol()
    assert kinds(own)[:2] in ([MessageType.PKCS_REQ, MessageType.CERT_POLL], [MessageType.PKCS_REQ] * 2)
    issued = [item for item in own.ca.authority.issued.values() if item.subject == installed.certificates[0].subject]
    assert len(issued) == 2


@pytest.mark.parametrize(
    ("forgery", "said"),
    [
        (Forgery.KEY, "an answer without exactly one certificate for the request's key"),
        (Forgery.ISSUER, "its issuer is not the pinned CA"),
        (Forgery.SUBJECT, "its subject is not the requested one"),
        (Forgery.CA, "is a CA certificate"),
        (Forgery.EXPIRED, "it has expired"),
    ],
)
@pytest.mark.proves("CERT-06", "CERT-07", "RA-03")
def test_what_is_not_installed(own: Rig, forgery: Forgery, said: str) -> None:
    """What the CA should not have issued is not installed, and the reason is told."""
    own.ca.behaviour = replace(own.ca.behaviour, forgery=forgery)
    with pytest.raises(NotAcquired, match=said):
        own.advance()
    assert own.store.installed() == ()


class WrongTemplate(Authority):
    """A CA with one template for everything."""

    def issue(self, csr: Any, lifetime: timedelta = timedelta(days=1)) -> Any:
        return super().issue_ra("scepra RA").certificate if csr is None else super().issue(_without_usage(csr))


def _without_usage(csr: Any) -> Any:
    return replace(csr, key_usage=frozenset({"dataEncipherment"}))


@pytest.mark.proves("CERT-06")
def test_a_template_that_does_not_fit(own: Rig) -> None:
    """A certificate with the wrong keyUsage is refused in words that say what the CA must give."""
    own.ca.authority = WrongTemplate(own.ca.authority.identity, own.day.now)
    with pytest.raises(NotAcquired, match="the CA's template must give the keyUsage digitalSignature"):
        own.advance()
    assert own.store.installed() == ()


def test_a_challenge(tmp_path: Path) -> None:
    """A challenge goes with the first request, where the CA asks for one; without it nothing is sent."""
    (tmp_path / "secret.txt").write_text("Sesame-42-open\n")
    (tmp_path / "secret.txt").chmod(0o600)
    own = rig(tmp_path, {"challenge-file": "secret.txt"}, {"authorisation": "challenge"}, challenge="Sesame-42-open")
    assert own.enrol().number == 1
    assert [item.challenge for item in own.ca.received if item.message] == ["Sesame-42-open"] * 2
    written = b"".join(path.read_bytes() for path in own.settings.directory.rglob("*") if path.is_file())
    assert b"Sesame" not in written
    bare = rig(tmp_path, {"directory": "other"}, {"authorisation": "challenge"}, challenge="Sesame-42-open")
    with pytest.raises(NotAcquired, match="the CA asks for a challenge, and there is no challenge-file"):
        bare.advance()
    assert kinds(bare) == []


@pytest.mark.parametrize(
    ("renewal", "kind", "own_key"),
    [
        ("renewal-req", MessageType.RENEWAL_REQ, False),
        ("pkcs-req", MessageType.PKCS_REQ, False),
        ("none", MessageType.PKCS_REQ, True),
    ],
)
def test_the_second(tmp_path: Path, renewal: str, kind: MessageType, own_key: bool) -> None:
    """The next generation is asked for in the way in which the CA renews."""
    own = rig(tmp_path, upstream={"renewal": renewal})
    first = own.enrol()
    own.ca.received.clear()
    assert own.enrol().number == 2
    for item in own.ca.received:
        if item.message:
            assert item.message_type is kind
            assert item.signer is not None
            assert item.signer.is_self_signed is own_key
            assert own_key or item.signer == first.generation.signing.certificate


def test_by_hand(own: Rig) -> None:
    """Requests that somebody has certified are installed, each certificate for its key; one may come later."""
    acquisition = own.acquisition()
    with acquisition.store.changing():
        under_way = run(acquisition.prepare(by_hand=True))
        certificates = {role: own.ca.authority.issue(order.csr) for role, order in under_way.orders.items()}
        with pytest.raises(NotAcquired, match="none of these certificates is for a key that is under way"):
            run(acquisition.install([own.ca.authority.certificate]))
        assert run(acquisition.install([certificates["encryption"]])) == Waiting(1, ("signing",))
        outcome = run(acquisition.install([own.ca.authority.certificate, certificates["signing"]]))
        assert isinstance(outcome, Installed)
        assert outcome.generation.signing.certificate == certificates["signing"]
        with pytest.raises(NotAcquired, match="no request is under way"):
            run(acquisition.install([certificates["signing"]]))
    assert kinds(own) == []


def test_by_the_wrong_hand(own: Rig) -> None:
    """What another CA has certified is not installed."""
    acquisition = own.acquisition()
    stranger = Authority.create("another CA", clock=own.day.now)
    with acquisition.store.changing():
        under_way = run(acquisition.prepare(by_hand=True))
        with pytest.raises(NotAcquired, match="its issuer is not the pinned CA"):
            run(acquisition.install([stranger.issue(under_way.orders["signing"].csr)]))


def test_one_at_a_time(own: Rig) -> None:
    """While somebody changes the directory, nobody else does."""
    with own.store.changing(), pytest.raises(Busy, match="is being changed by another process"), own.store.changing():
        pass


class Cut(Exception):
    """The power is gone."""


class FailingDisk(Disk):
    """A disk whose computer loses its power before its nth change; what was written before is there."""

    def __init__(self, left: int) -> None:
        self.left = left

    def _step(self) -> None:
        if self.left == 0:
            raise Cut
        self.left -= 1

    def write(self, path: Path, content: bytes) -> None:
        self._step()
        super().write(path, content)

    def make(self, path: Path) -> None:
        self._step()
        super().make(path)

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)


def test_power_failures(tmp_path: Path) -> None:
    """Cut off before any change on the disk: the old generation is there, whole, or the new one is; whoever goes on
    brings it to an end, and leaves nothing behind."""
    own = rig(tmp_path, {"keys": "dual"})
    first = own.enrol()
    step = 0
    while True:
        before = len(own.store.installed())
        try:
            own.advance(FailingDisk(step))
        except Cut:
            step += 1
        else:
            break
        found = own.store.installed()
        assert found[0] == first or found[0].certificates == first.certificates
        assert len(found) in (before, before + 1)
        assert isinstance(own.advance(), Installed)
        numbers = sorted(name for name in os.listdir(own.settings.directory) if name != ".lock")
        assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
        for path in own.settings.directory.glob("000[2-9]"):
            shutil.rmtree(path)
    assert step > 10


def test_what_is_no_generation(own: Rig) -> None:
    """What this program has not written is refused, naming the file."""
    own.enrol()
    file = own.settings.directory / "0001" / "generation.json"
    for content in ("{}", "[]", "no JSON", '{"installed": 7}'):
        file.write_text(content)
        with pytest.raises(ConfigError, match=r"generation\.json: is not what this program has written"):
            own.store.installed()
