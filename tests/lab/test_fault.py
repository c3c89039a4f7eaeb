"""HTTP answers that go wrong on their way."""

from __future__ import annotations

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from scepra.errors import Refused, ScepError
from scepra.lab import Behaviour, CertificationService, Client, Fault
from scepra.scep.capabilities import Capabilities
from scepra.scep.message import PKIStatus
from scepra.scep.transport import OperationKind

from .conftest import CHALLENGE, NOW, URL, run

DISCOVERY = frozenset((OperationKind.GET_CA_CAPS, OperationKind.GET_CA_CERT))


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.EMPTY])
def test_answer_that_is_none_is_refused(fault: Fault, client: Client, service: CertificationService) -> None:
    """A page of HTML, and nothing at all, are no CertRep; the CA has done its work nevertheless."""
    service.behaviour = Behaviour(fault=fault)
    with pytest.raises(ScepError):
        run(client.enrol("dev1", challenge=CHALLENGE))
    assert service.received[-1].status is PKIStatus.SUCCESS


@pytest.mark.parametrize(("fault", "error"), [(Fault.RESET, ResponseNeverReceived), (Fault.TRUNCATED, ResponseFailed)])
def test_connection_that_ends_early(
    fault: Fault, error: type[Exception], client: Client, service: CertificationService
) -> None:
    """A connection that ends before or within the answer is an error of the network; half an answer is never read."""
    run(client.discover())
    service.behaviour = Behaviour(fault=fault)
    with pytest.raises(error):
        run(client.enrol("dev1", challenge=CHALLENGE))
    assert service.received[-1].status is PKIStatus.SUCCESS


def test_silence_lasts(service: CertificationService) -> None:
    """A server that does not answer keeps its client waiting, until that gives up."""
    stub = StubTreq(service)
    client = Client(URL, stub, clock=lambda: NOW)
    run(client.discover())
    service.behaviour = Behaviour(fault=Fault.SILENCE)
    results: list[object] = []
    waiting = Deferred.fromCoroutine(client.enrol("dev1", challenge=CHALLENGE)).addBoth(results.append)
    stub.flush()
    assert results == []
    waiting.cancel()
    assert isinstance(results[0], Failure)
    assert results[0].check(CancelledError, ResponseNeverReceived)
    stub.flush()


@pytest.mark.parametrize(("status", "retry_after"), [(503, 7), (500, None), (404, None)])
def test_http_status(status: int, retry_after: int | None, client: Client, service: CertificationService) -> None:
    """Another status than 200 reaches the client, with the time after which to come back."""
    service.behaviour = Behaviour(http_status=status, retry_after=retry_after)
    with pytest.raises(Refused) as refusal:
        run(client.enrol("dev1", challenge=CHALLENGE))
    assert (refusal.value.status, refusal.value.retry_after) == (status, retry_after)


def test_faults_are_of_chosen_operations_and_methods(client: Client, service: CertificationService) -> None:
    """A fault may be that of GetCACaps alone, which lists nothing then, or of POST alone: GET gets the certificate."""
    service.behaviour = Behaviour(http_status=500, faulty=frozenset((OperationKind.GET_CA_CAPS,)))
    assert run(client.discover()).capabilities == Capabilities()
    assert run(client.enrol("dev1", challenge=CHALLENGE)).certificate is not None
    assert service.received[-1].method == "GET"
    service.behaviour = Behaviour(fault=Fault.EMPTY, faulty_methods=frozenset(("POST",)))
    post, get = (
        Client(URL, StubTreq(service), transport=transport, clock=lambda: NOW)  # type: ignore[arg-type]
        for transport in ("post", "get")
    )
    with pytest.raises(ScepError):
        run(post.enrol("dev1", challenge=CHALLENGE))
    assert run(get.enrol("dev1", challenge=CHALLENGE)).certificate is not None


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.EMPTY])
def test_discovery_that_brings_nothing(fault: Fault, client: Client, service: CertificationService) -> None:
    """A server that shows no certificate cannot be talked to."""
    service.behaviour = Behaviour(fault=fault, faulty=DISCOVERY)
    with pytest.raises(ScepError):
        run(client.discover())
