"""Agents: who may sign for others, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scepra.agent import Agents
from scepra.provenance import REQUEST_AGENT
from scepra.scep import oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.certification import basic_constraints, extended_key_usage, key_usage
from tests.domain.test_renewal import certificate
from tests.rig.material import DAY, NOW, issued, key, request, self_signed_identity


def listed(*certificates: Certificate, **settings) -> Agents:
    """Agents by their certificates."""
    return Agents(frozenset(bytes.fromhex(each.fingerprint()) for each in certificates), **settings)


def sentences(agents: Agents, signer: Certificate, digest: Digest = Digest.SHA256, now=NOW) -> str:
    return "; ".join(map(str, agents.violations(signer, digest, now)))


@pytest.mark.proves("AC-055")
def test_who_is_an_agent():
    """An agent is who is listed, by the whole certificate or by its key; names, numbers and purposes make none."""
    agent, namesake = issued(request()), issued(request())
    assert listed(agent).lists(agent)
    assert not listed(agent).lists(namesake)
    assert not Agents().lists(agent)
    assert not Agents().lists(certificate(extensions=[extended_key_usage(oid.encode(REQUEST_AGENT))]))
    by_key = Agents(keys=frozenset((agent.public_key.sha256,)))
    assert by_key.lists(agent)
    assert by_key.lists(namesake)
    assert by_key.lists(self_signed_identity(request()).certificate)
    assert not by_key.lists(issued(request(private_key=key("new"))))


@pytest.mark.proves("AC-055", "AC-049")
@pytest.mark.parametrize(
    ("extensions", "elapsed", "digest", "said"),
    [
        ([], 0 * DAY, Digest.SHA256, ""),
        ([extended_key_usage(oid.encode(REQUEST_AGENT))], 0 * DAY, Digest.SHA256, ""),
        ([key_usage(["digitalSignature"])], 10 * DAY, Digest.SHA512, ""),
        ([key_usage(["keyEncipherment"])], 0 * DAY, Digest.SHA256, "lacks digitalSignature"),
        ([basic_constraints(ca=True)], 0 * DAY, Digest.SHA256, "CA certificate"),
        ([], 0 * DAY, Digest.SHA1, "SHA-1"),
        ([], 0 * DAY, Digest.MD5, "SHA-1 or MD5"),
        ([], 10 * DAY + timedelta(seconds=1), Digest.SHA256, "is over"),
        ([], -1 * DAY, Digest.SHA256, "has not begun"),
    ],
)
def test_what_an_agent_needs(extensions, elapsed, digest, said):
    """Also of who is listed, the certificate must be valid, fit to sign and no CA's, and the message's digest sound."""
    agent = certificate(extensions=extensions)
    answer = sentences(listed(agent), agent, digest, NOW + elapsed)
    assert said in answer
    assert bool(answer) == bool(said)


@pytest.mark.proves("AC-055")
def test_infrastructure():
    """The RA's own certificates vouch for nobody, even where somebody has listed them."""
    own = issued(request())
    assert "RA's own" in sentences(listed(own, infrastructure=frozenset((own,))), own)


def test_unreadable_extension():
    """An extension that cannot be read is a reason to refuse, not a crash."""
    broken = certificate(extensions=[key_usage(["digitalSignature"]), basic_constraints(ca=False)])
    broken = Certificate.parse(broken.der.replace(b"\x03\x02\x07\x80", b"\x05\x02\x07\x80"))
    assert "on-behalf: signer" in sentences(listed(broken), broken)
