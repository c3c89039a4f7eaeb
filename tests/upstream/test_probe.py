"""What a probe finds at each kind of CA, and what the section that it proposes comes to."""

from __future__ import annotations

import pytest
import yaml
from treq.testing import StubTreq
from twisted.internet.task import Clock

from scepra.config.kind import KINDS, KindName
from scepra.lab import BEHAVIOURS, CertificationService
from scepra.scep.identity import SoftwareKey
from scepra.upstream import proposal
from scepra.upstream.exchange import Exchange
from scepra.upstream.probe import Probe, Prober
from tests.rig.material import NOW, authority, key
from tests.upstream.material import URL, run


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
