"""What a probe finds at each kind of CA, and what the section that it proposes comes to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from treq.testing import StubTreq
from twisted.internet.task import Clock

from scepra.config.kind import KINDS, KindName
from scepra.errors import ScepError
from scepra.lab import BEHAVIOURS, Behaviour, CertificationService, Faces, Fault, Forgery
from scepra.lab.service import Outcome
from scepra.scep.algorithm import ContentCipher, Digest, Floor
from scepra.scep.capabilities import Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.identity import SoftwareKey
from scepra.upstream import proposal
from scepra.upstream.exchange import Exchange
from scepra.upstream.offer import Offer
from scepra.upstream.probe import Probe, Prober, Reading, recipient
from tests.rig.material import NOW, authority, key
from tests.upstream.material import URL, made, run

TRIPLE = frozenset((ContentCipher.DES_EDE3_CBC,))


def probed(service: CertificationService) -> Probe:
    """What is found at a CA."""
    exchange = Exchange("ca", URL, StubTreq(service), Clock(), 1_000_000)
    return run(Prober(exchange, URL, SoftwareKey(key("probe")), NOW).look())


@pytest.mark.proves("CAPS-09", "CAPS-10", "CAPS-12")
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_told_by_its_habits(kind: KindName) -> None:
    """The verdict is the kind; what it proposes says little more than that, loads, and leaves nothing at the CA."""
    service = CertificationService(authority(), "challenge", BEHAVIOURS[kind])
    found = probed(service)
    assert found.verdict.kind == kind
    section = proposal.propose(found)
    written = yaml.safe_load(proposal.write(section, "CN=CA"))["upstreams"][proposal.NAME]
    assert written == section
    assert section.keys() - {"legacy"} == {"url", "ca-fingerprint", "kind"}
    assert proposal.read(written).kind == kind
    assert not service.transactions


@pytest.mark.proves("RA-18", "CAPS-11")
@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("generic", {"capabilities": b"AES\nSHA-256\n", "get": False}, {"transport": "post"}),
        ("generic", {"post": False}, {"transport": "get"}),
        ("generic", {"floor": Floor(ciphers=TRIPLE)}, {"cipher": "DES-EDE3-CBC"}),
        ("generic", {"floor": Floor(digests=frozenset((Digest.SHA1,)))}, {"digest": "SHA-1"}),
        ("ndes", {"capabilities": b"POSTPKIOperation\nSHA-256\n"}, {"expect-capabilities": ["SHA-256"]}),
        ("ndes-2008", {"post": True, "get": False}, {"transport": "post"}),
    ],
)
def test_where_it_differs_from_its_kind_the_section_says_so(
    kind: KindName, changes: dict[str, Any], said: dict[str, Any]
) -> None:
    """What was found otherwise than the kind has it stands in the section."""
    usual = BEHAVIOURS[kind] if kind != "generic" else Behaviour(faces=Faces.RA)
    found = probed(CertificationService(authority(), "challenge", replace(usual, **changes)))
    assert found.verdict.kind == kind
    section = proposal.propose(found)
    assert {key: section[key] for key in section.keys() - {"url", "ca-fingerprint", "kind", "legacy"}} == said
    written = yaml.safe_load(proposal.write(section, "CN=CA"))["upstreams"][proposal.NAME]
    assert written == section


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fault": Fault.RESET}, "before the whole answer was there"),
        ({"fault": Fault.HTML}, "status 200 with 86 octets of text/html"),
        ({"forgery": Forgery.SIGNER}, "which is not believed: "),
        ({"forgery": Forgery.NONCE}, "which is not believed: an answer to another request (recipientNonce)"),
    ],
)
def test_an_answer_that_is_none(changes: dict[str, Any], said: str) -> None:
    """What is no signed answer is told as what it is, and nothing is concluded about algorithms."""
    found = probed(CertificationService(authority(), behaviour=Behaviour(faces=Faces.RA, **changes)))
    assert found.methods.keys() == {"POST", "GET"}
    for heard in found.methods.values():
        assert said in heard.said
    assert found.readings == {}
    assert found.verdict.kind == "generic"


def test_a_ca_that_says_the_same_to_everything() -> None:
    """Where the answer to a message that nobody can open is the same, nothing is said to be read."""
    found = probed(Deaf(authority(), behaviour=Behaviour(faces=Faces.RA)))
    assert set(found.readings.values()) == {Reading.UNTOLD}


class Deaf(CertificationService):
    """Refuses every poll with the words that it has for what it cannot open."""

    def _poll(self, transaction_id: str, signer: Certificate) -> Outcome:
        raise ScepError("no")


def test_a_ca_that_says_keycertsign_alone() -> None:
    """Where no certificate says that it is for encryption, the CA's is used; it is what the RA would use."""
    root = made("CA", ca=True, usage=("keyCertSign",))
    intermediate = made("below", root, ca=True, usage=("keyCertSign",))
    offer = Offer(URL, Capabilities(), (root.certificate, intermediate.certificate))
    assert recipient(offer) == intermediate.certificate
