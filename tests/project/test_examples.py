"""The worked examples of docs/policy.rst: each is a configuration without mistakes, and enrols what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from treq.testing import StubTreq
from twisted.internet.task import Clock

from scepra.binding import Binding
from scepra.config.load import load, read
from scepra.construction import build
from scepra.ground import Ground
from scepra.keys.check import examine
from scepra.lab import CertificationService, LabState
from scepra.lab.authority import utc_now
from scepra.minting import Order, give
from scepra.ra import RegistrationAuthority
from scepra.scep import der, oid
from scepra.scep.message import PKIStatus
from scepra.scep.transport import read_path
from scepra.store.database import Database
from scepra.upstream.client import Upstream
from tests import csrs
from tests.rig.forge import Forge, read_answer
from tests.rig.house import VAULT, at_once, in_memory, run

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
FILES = ("wifi-mdm.yaml", "routers-cisco.yaml", "servers-approval.yaml")
KEY = csrs.rsa_key(3072)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples beside a lab's certificates and keys, under the names that they have there."""
    made = tmp_path_factory.mktemp("examples")
    LabState.load_or_create(made / "lab")
    for identity in ("ra", "ra-signing", "ra-encryption"):
        for kind in ("crt", "key"):
            shutil.copy2(made / "lab" / f"{identity}.{kind}", made)
    shutil.copy2(made / "lab" / "ca.crt", made)
    for file in EXAMPLES.iterdir():
        shutil.copy(file, made)
    (made / "routers.csv").chmod(0o600)
    return made


@contextmanager
def example(directory: Path, name: str) -> Iterator[tuple[RegistrationAuthority, Database]]:
    """The RA of an example, in front of the lab's CA, and its store."""
    config = load(directory / name)
    clock, database = Clock(), Database(in_memory())
    ca = CertificationService(LabState.load_or_create(directory / "lab").authority)
    ((upstream, settings),) = config.upstreams.items()
    asked = Upstream(upstream, settings, clock, utc_now, client=StubTreq(ca))
    built = build(config, {upstream: asked}, Ground(database, VAULT, clock, utc_now, at_once))
    run(asked.discover())
    ((_, profile),) = config.profiles.items()
    authority = built.routes.resolve(read_path(profile.paths[0].encode()))
    assert isinstance(authority, RegistrationAuthority)
    yield authority, database
    database.close()


def asking(
    authority: RegistrationAuthority, challenge: str, *attributes: bytes, source: str, subject: bytes
) -> PKIStatus:
    """What the RA answers to a request."""
    csr = csrs.build(csrs.challenge(challenge), *attributes, key=KEY, subject=subject)
    forge = Forge(recipient=authority.keyring.current.encryption.certificate, key=KEY, csr=csr)
    answer = run(authority.pki_operation(forge.message(), source))
    return PKIStatus(read_answer(answer, authority.keyring.current.signing.certificate, KEY).text(oid.PKI_STATUS))


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize("name", FILES)
def test_an_example_has_no_mistakes(directory: Path, name: str) -> None:
    """Nothing is wrong with it but what it says in as many words: algorithms that are broken, and are meant."""
    found = read(directory / name)
    problems = list(map(str, (*found.problems, *examine(found.sections, utc_now()).findings)))
    meant = ("is accepted although it is broken", "one key signs and decrypts") if "cisco" in name else ()
    assert [problem for problem in problems if not any(each in problem for each in meant)] == []


@pytest.mark.proves("AC-091", "DR-17", "AC-080")
def test_wifi_with_challenges_that_an_mdm_has_made(directory: Path) -> None:
    """A device enrols with the challenge made for it, and neither a server nor an administrator with the same one."""
    name = "laptop-17.wifi.corp.example"
    with example(directory, "wifi-mdm.yaml") as (authority, database):
        order = Order("wifi", Binding(common_name=name, upn=("ann@corp.example",), device="laptop-17"), "mdm")
        profiles = {"wifi": authority.profile}
        challenge = database.call(give, order, profiles, VAULT, utc_now()).text
        subject = csrs.subject(name)
        for attributes in (
            csrs.carried(csrs.san(csrs.upn("bob@corp.example"))),
            csrs.carried(csrs.eku("1.3.6.1.5.5.7.3.1")),
            csrs.carried(csrs.san(csrs.dns("dc1.wifi.corp.example"))),
        ):
            assert asking(authority, challenge, attributes, source="192.0.2.1", subject=subject) is PKIStatus.FAILURE
        user = csrs.carried(csrs.san(csrs.upn("ann@corp.example")), csrs.eku("1.3.6.1.5.5.7.3.2"))
        assert asking(authority, challenge, user, source="192.0.2.1", subject=subject) is PKIStatus.SUCCESS
        assert asking(authority, "F" * 32, user, source="192.0.2.1", subject=subject) is PKIStatus.FAILURE


@pytest.mark.proves("AC-091", "SEC-01")
def test_routers_of_a_legacy_cisco_ca(directory: Path) -> None:
    """A router of the file enrols from the routers' network, under its own name and serial number alone."""
    challenge = "7Q4M-2ZKD-9W1T-XB6C-H5RE"
    serial = oid.encode("2.5.4.5")

    def subject(name: str, number: str) -> bytes:
        return csrs.name(csrs.value(csrs.CN, name), csrs.value(serial, number, der.PRINTABLE_STRING))

    own = subject("core-1.net.example", "FOC1731V0AB")
    with example(directory, "routers-cisco.yaml") as (authority, _):
        assert asking(authority, challenge, source="192.0.2.1", subject=own) is PKIStatus.FAILURE
        for other in (subject("core-1.net.example", "FOC9999X"), subject("edge-7.net.example", "FOC1842X1CD")):
            assert asking(authority, challenge, source="198.51.100.7", subject=other) is PKIStatus.FAILURE
        assert asking(authority, challenge, source="198.51.100.7", subject=own) is PKIStatus.SUCCESS


@pytest.mark.proves("DR-18")
def test_servers_with_approval(directory: Path) -> None:
    """A server's request waits for people; one from elsewhere, or for another name, is refused at once."""
    name = "db-1.srv.corp.example"
    with example(directory, "servers-approval.yaml") as (authority, database):
        order = Order("servers", Binding(common_name=name, dns=(name,)), "ann")
        challenge = database.call(give, order, {"servers": authority.profile}, VAULT, utc_now()).text
        names = csrs.carried(csrs.san(csrs.dns(name)), csrs.eku("1.3.6.1.5.5.7.3.1"))
        subject = csrs.subject(name)
        assert asking(authority, challenge, names, source="10.21.0.1", subject=subject) is PKIStatus.FAILURE
        other = csrs.subject("db-2.srv.corp.example")
        assert asking(authority, challenge, names, source="10.20.0.1", subject=other) is PKIStatus.FAILURE
        assert asking(authority, challenge, names, source="10.20.0.1", subject=subject) is PKIStatus.PENDING


def test_every_example_is_shown() -> None:
    """Each file stands on the page, and the page shows no other."""
    page = (EXAMPLES.parent / "policy.rst").read_text("utf-8")
    for file in EXAMPLES.iterdir():
        assert f"literalinclude:: examples/{file.name}" in page
    assert page.count("literalinclude::") == len(list(EXAMPLES.iterdir()))
