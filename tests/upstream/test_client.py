"""An upstream that is looked at, kept known and asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, LogLevel, capturedLogs, eventAsText
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepra.errors import UpstreamError
from scepra.lab import Authority, Behaviour, CertificationService, Faces, Fault
from scepra.scep.certrep import Expectation, choose_issued, read_cert_rep
from scepra.scep.cms import degenerate
from scepra.scep.identity import SoftwareKey
from scepra.scep.message import MessageType, PKIStatus, build_request
from scepra.scep.transport import OperationKind, parse_operation, split_target
from scepra.upstream.client import Upstream
from tests.rig.material import NOW, authority, key, request, self_signed_identity

from .hostile import Conversation
from .material import run, settings
from .test_exchange import HASTY, OK, TYPED, ExchangeCase, saying

CAPS, CERT, PKI = OperationKind.GET_CA_CAPS, OperationKind.GET_CA_CERT, OperationKind.PKI_OPERATION
# A SignedData as far as an upstream's client looks.
SIGNED = degenerate()
REQUEST = degenerate([authority().certificate.der])


class Rig:
    """An upstream over the lab's CA, with a clock and a calendar that tests set."""

    def __init__(self, behaviour: Behaviour = Behaviour(), **more: Any) -> None:  # noqa: B008 - frozen
        self.service = CertificationService(authority(), None, behaviour)
        self.clock = Clock()
        self.now: datetime = NOW
        pinned = self.service.authority.certificate
        stub = StubTreq(self.service)
        self.upstream = Upstream("ca", settings(pinned, **more), self.clock, lambda: self.now, client=stub)

    def behave(self, **changes: Any) -> None:
        self.service.behaviour = replace(self.service.behaviour, **changes)

    def error(self, call: Callable[[], Any]) -> UpstreamError:
        with pytest.raises(UpstreamError) as caught:
            run(call())
        return caught.value

    @property
    def asked(self) -> list[OperationKind]:
        """What the CA was asked for since the last time."""
        kinds = [received.kind for received in self.service.received]
        self.service.received.clear()
        return kinds


class Scripted(Resource):
    """A CA whose answers to PKIOperation are a test's: a status, a media type and a body for each method."""

    isLeaf = True

    def __init__(self, **answers: tuple[int, str, bytes]) -> None:
        super().__init__()
        self.answers = answers
        self.messages: list[tuple[str, bytes]] = []
        self.capabilities = b"POSTPKIOperation"

    def render(self, request: Request) -> bytes | int:
        method = request.method.decode()
        body = request.content.read() if request.content is not None else b""
        operation = parse_operation(method, split_target(request.uri)[1], body)
        if operation.kind is CAPS:
            return self.capabilities
        if operation.kind is CERT:
            return authority().certificate.der
        self.messages.append((method, operation.message))
        status, label, content = self.answers[method.lower()]
        request.setResponseCode(status)
        request.setHeader(b"content-type", label.encode())
        return content


def scripted(resource: Resource, **more: Any) -> Upstream:
    """An upstream over a resource, which pins the lab's CA."""
    return Upstream("ca", settings(authority().certificate, **more), Clock(), lambda: NOW, client=StubTreq(resource))


@contextmanager
def logged(level: LogLevel) -> Iterator[list[LogEvent]]:
    """The events of a level that are logged meanwhile; filled at the end."""
    chosen: list[LogEvent] = []
    with capturedLogs() as events:
        yield chosen
    chosen += [event for event in events if event["log_level"] is level and event["log_namespace"].startswith("scepra")]


@pytest.mark.parametrize("transport", ["post", "get", "auto"])
@pytest.mark.parametrize("faces", list(Faces))
def test_enrolment(transport: str, faces: Faces) -> None:
    """What is known of a CA is what a request and its answer need, whichever certificates and method it has."""
    rig = Rig(Behaviour(faces=faces), transport=transport)
    view = run(rig.upstream.current())
    csr = request("device.example")
    signer = self_signed_identity(csr)
    algorithms = settings(authority().certificate).algorithms
    message = build_request(MessageType.PKCS_REQ, "1", b"n" * 16, csr.der, signer, view.encryption, algorithms)
    answer = run(rig.upstream.operate(message)).message
    floor = settings(authority().certificate).floor
    rep = read_cert_rep(answer, Expectation("1", b"n" * 16, view.signers, SoftwareKey(key()), floor))
    assert rep.status is PKIStatus.SUCCESS
    assert choose_issued(rep.certificates, csr.spki).signed_by(view.issuers[0].public_key)
    assert [item.method for item in rig.service.received] == ["GET", "GET", "GET" if transport == "get" else "POST"]
    assert rig.service.received[-1].message == message


# What is offered


@pytest.mark.proves("CAPS-08", "AC-107")
@pytest.mark.parametrize(
    "answer",
    [
        {"fault": Fault.EMPTY},
        {"fault": Fault.HTML},
        {"fault": Fault.RESET},
        {"fault": Fault.TRUNCATED},
        {"http_status": 404},
        {"http_status": 500},
    ],
    ids=str,
)
def test_no_answer_to_get_ca_caps(answer: dict[str, Any]) -> None:
    """A CA that answers GetCACaps with nothing, an error, a page or a reset lists nothing, and is asked by GET."""
    rig = Rig(Behaviour(faulty=frozenset((CAPS,)), **answer))
    view = run(rig.upstream.discover())
    assert view.capabilities.keywords == set()
    assert not view.post
    assert rig.upstream.failure is None


@pytest.mark.proves("CAPS-11", "AC-107", "SEC-14")
def test_weaker_list_than_expected() -> None:
    """Capabilities that are expected and not listed are an alarm in the log, and change no algorithm of a request."""
    rig = Rig(Behaviour(capabilities=b"DES3\nSHA-1\nPOSTPKIOperation\n"), expect_capabilities=["AES", "SCEPStandard"])
    with logged(LogLevel.error) as events:
        view = run(rig.upstream.discover())
    assert [
        eventAsText(event).split("] ")[-1] if "] " in eventAsText(event) else eventAsText(event) for event in events
    ]
    assert "does not list what it should: AES, SCEPStandard;" in eventAsText(events[0])
    csr = request("device.example")
    algorithms = settings(authority().certificate).algorithms
    identity = self_signed_identity(csr)
    message = build_request(MessageType.PKCS_REQ, "1", b"n" * 16, csr.der, identity, view.encryption, algorithms)
    run(rig.upstream.operate(message))
    assert rig.service.received[-1].algorithms == algorithms


@pytest.mark.proves("CAPS-11", "AC-107", "SEC-14")
def test_weaker_list_than_before() -> None:
    """A list that loses something later is an alarm too, once; a look without an answer takes nothing away."""
    rig = Rig()
    before = run(rig.upstream.discover()).capabilities
    rig.behave(faulty=frozenset((CAPS,)))
    with logged(LogLevel.error) as events:
        for trouble in ({"http_status": 503}, {"http_status": None, "fault": Fault.RESET}):
            rig.behave(**trouble)
            assert run(rig.upstream.discover()).capabilities == before
    assert events == []
    rig.behave(fault=None, capabilities=b"SHA-1\n")
    with logged(LogLevel.error) as events:
        run(rig.upstream.discover())
        run(rig.upstream.discover())
    assert len(events) == 1
    assert "SCEPStandard" in eventAsText(events[0])


@pytest.mark.proves("CERT-12", "CERT-13")
def test_new_ra_certificate_is_believed_by_its_chain_and_logged() -> None:
    """RA certificates may change: the next look believes what the pinned CA issued, and says whom it believes."""
    rig = Rig(Behaviour(faces=Faces.RA))
    with logged(LogLevel.info) as events:
        first = run(rig.upstream.discover())
        run(rig.upstream.discover())
    assert [event["role"] for event in events] == ["CA", "RA"]
    rig.service._generations.clear()
    with logged(LogLevel.info) as events:
        second = run(rig.upstream.discover())
    assert second.encryption != first.encryption
    assert [event["fingerprint"] for event in events] == [second.encryption.fingerprint()]
    assert rig.upstream.view is second


@pytest.mark.proves("AC-106", "CERT-12", "DR-11")
def test_ca_that_is_not_the_pinned_one() -> None:
    """Another CA of the same name is not believed: nothing is sent to it, and whom it shows is in the log."""
    rig = Rig()
    rig.service.authority = false = Authority.create("CA", key("stranger"), lambda: NOW)
    with logged(LogLevel.error) as events:
        error = rig.error(lambda: rig.upstream.operate(REQUEST))
    assert not error.sent
    assert false.certificate.fingerprint() in eventAsText(events[0])
    assert PKI not in rig.asked
    assert rig.upstream.view is None
    assert rig.upstream.failure is not None
    assert "none is pinned" in rig.upstream.failure.reason


@pytest.mark.proves("AC-106", "CERT-13", "MSG-60", "DR-11")
def test_false_ca_at_a_later_look() -> None:
    """What was believed stays believed when a later look shows something else, and the trouble is known."""
    rig = Rig()
    view = run(rig.upstream.discover())
    rig.service.authority = Authority.create("CA", key("stranger"), lambda: NOW)
    rig.service._generations.clear()
    assert not rig.error(rig.upstream.discover).sent
    assert rig.upstream.view is view
    assert run(rig.upstream.current()) is view
    assert "none is pinned" in str(rig.upstream.failure)
    rig.clock.advance(60)
    assert run(rig.upstream.refresh()) is view
    rig.service.authority = authority()
    rig.service._generations.clear()
    rig.clock.advance(60)
    assert run(rig.upstream.refresh()) == view
    assert rig.upstream.failure is None


@pytest.mark.proves("FT-09")
@pytest.mark.parametrize(
    ("status", "hint"), [(401, "password"), (403, "address"), (404, "path"), (500, ""), (503, ""), (302, "")]
)
def test_no_certificates(status: int, hint: str) -> None:
    """Without a GetCACert answer nothing is sent, and the reason names the status and what might be wrong."""
    rig = Rig(Behaviour(http_status=status, faulty=frozenset((CERT,))))
    error = rig.error(lambda: rig.upstream.operate(REQUEST))
    assert not error.sent
    assert f"status {status}" in error.reason
    assert hint in error.reason


@pytest.mark.proves("FT-06")
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.TRUNCATED, Fault.HTML, Fault.EMPTY])
def test_broken_get_ca_cert(fault: Fault) -> None:
    """An answer to GetCACert that is lost on its way is a failed look, of which nothing was sent."""
    rig = Rig(Behaviour(fault=fault, faulty=frozenset((CERT,))))
    assert not rig.error(rig.upstream.discover).sent


# When it is looked at


def test_view_is_kept() -> None:
    """What is known is not asked for again."""
    rig = Rig()
    assert run(rig.upstream.current()) is run(rig.upstream.current())
    assert rig.asked == [CAPS, CERT]


@pytest.mark.proves("CERT-12", "CERT-13")
def test_view_ends_with_a_certificate() -> None:
    """When a certificate that is believed expires, the CA is looked at before it is used again."""
    rig = Rig()
    view = run(rig.upstream.current())
    rig.now = view.expires
    assert run(rig.upstream.current()) is view
    rig.now += timedelta(seconds=1)
    assert "valid now" in rig.error(rig.upstream.current).reason


@pytest.mark.proves("MSG-60", "CERT-13")
def test_refresh_is_limited() -> None:
    """Answers that are not believed lead to one look in a while, however many there are."""
    rig = Rig(retry_after=30.0)
    run(rig.upstream.current())
    assert rig.asked == [CAPS, CERT]
    rig.clock.advance(29)
    assert run(rig.upstream.refresh()) is rig.upstream.view
    assert rig.asked == []
    rig.clock.advance(1)
    for _ in range(10):
        run(rig.upstream.refresh())
    assert rig.asked == [CAPS, CERT]


def test_refresh_before_anything_is_known() -> None:
    """Where nothing is known yet, a refresh is a look, and fails as one."""
    rig = Rig()
    rig.behave(http_status=500, faulty=frozenset((CERT,)))
    assert not rig.error(rig.upstream.refresh).sent
    rig.behave(http_status=None)
    assert run(rig.upstream.refresh()) is rig.upstream.view


class Slow(Resource):
    """Answers when it is told to."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Request] = []

    def render(self, request: Request) -> int:
        self.waiting.append(request)
        return NOT_DONE_YET


@pytest.mark.proves("DR-15")
@pytest.mark.parametrize("status", [200, 500])
def test_those_who_wait_share_one_look(status: int) -> None:
    """Requests that come while a CA is looked at wait for that look, and share how it ends; one may give up."""
    slow, stub_answers = Slow(), (b"SCEPStandard", authority().certificate.der)
    stub = StubTreq(slow)
    upstream = Upstream("ca", settings(authority().certificate), Clock(), lambda: NOW, client=stub)
    outcomes: list[Any] = []
    attempts = [Deferred.fromCoroutine(upstream.current()) for _ in range(5)]
    for attempt in attempts:
        attempt.addBoth(outcomes.append)
    attempts[2].cancel()
    for content in stub_answers:
        [waiting] = slow.waiting
        slow.waiting.clear()
        waiting.setResponseCode(status)
        waiting.write(content)
        waiting.finish()
        stub.flush()
    assert slow.waiting == []
    assert len(outcomes) == 5
    if status == 200:
        assert [outcome is upstream.view for outcome in outcomes] == [False, True, True, True, True]
    else:
        assert all(outcome.check(UpstreamError) for outcome in outcomes[1:])


@pytest.mark.proves("CERT-13")
def test_looks_by_the_clock() -> None:
    """A running upstream is looked at at once and then once a period; after a failure sooner; and stopped, never."""
    rig = Rig(refresh=600.0, retry_after=30.0)
    rig.upstream.startService()
    rig.clock.advance(0)
    assert rig.asked == [CAPS, CERT]
    rig.clock.pump([300] * 4)
    assert rig.asked == [CAPS, CERT] * 2
    rig.behave(http_status=500, faulty=frozenset((CERT,)))
    rig.clock.advance(600)
    rig.asked.clear()
    rig.clock.pump([30] * 3)
    assert rig.asked == [CAPS, CERT] * 3
    rig.behave(http_status=None)
    rig.clock.pump([30] * 4)
    assert rig.asked == [CAPS, CERT]
    rig.upstream.stopService()
    assert rig.clock.getDelayedCalls() == []
    rig.clock.advance(6000)
    assert rig.asked == []


def test_stopped_while_it_is_looked_at() -> None:
    """An upstream that is stopped during a look is not looked at again; one that never ran can be stopped."""
    slow, clock = Slow(), Clock()
    stub = StubTreq(slow)
    upstream = Upstream("ca", settings(authority().certificate), clock, lambda: NOW, client=stub)
    upstream.stopService()
    upstream.startService()
    clock.advance(0)
    upstream.stopService()
    slow.waiting[0].finish()
    stub.flush()
    slow.waiting[1].finish()
    stub.flush()
    assert clock.getDelayedCalls() == []


def test_bug_does_not_end_the_looking() -> None:
    """An error that is ours is logged with its traceback, and the next look comes nevertheless."""
    rig = Rig()
    rig.now = None  # type: ignore[assignment]
    rig.upstream.startService()
    with capturedLogs() as events:
        rig.clock.advance(0)
    assert [event["log_failure"].type for event in events if "log_failure" in event] == [TypeError]
    rig.now = NOW
    rig.clock.advance(30)
    assert rig.upstream.view is not None
    rig.upstream.stopService()


# Messages


@pytest.mark.proves("FT-11", "CAPS-10")
def test_post_that_is_answered_with_nothing() -> None:
    """A CA that answers POST with nothing gets the same message by GET, and from then on by GET alone."""
    ca = Scripted(post=(200, "application/x-pki-message", b""), get=(200, "application/x-pki-message", SIGNED))
    upstream = scripted(ca)
    with logged(LogLevel.warn) as events:
        assert run(upstream.operate(REQUEST)).message == SIGNED
        assert run(upstream.operate(REQUEST)).message == SIGNED
    assert ca.messages == [("POST", REQUEST), ("GET", REQUEST), ("GET", REQUEST)]
    assert len(events) == 1


@pytest.mark.proves("FT-11")
def test_post_alone_is_answered_with_nothing() -> None:
    """Where only POST is permitted, no answer is no answer, and nothing is sent again."""
    ca = Scripted(post=(200, "application/x-pki-message", b""))
    with pytest.raises(UpstreamError, match="no message but status 200 with 0 octets") as caught:
        run(scripted(ca, transport="post").operate(REQUEST))
    assert caught.value.sent
    assert len(ca.messages) == 1


@pytest.mark.proves("CAPS-12", "CAPS-08")
def test_ca_that_does_not_list_post() -> None:
    """A CA that does not list POST is asked by GET, unless the configuration says otherwise."""
    ca = Scripted(post=(200, "", SIGNED), get=(200, "", SIGNED))
    ca.capabilities = b"Renewal\nSHA-512\nSHA-256\nSHA-1\nDES3\n"
    run(scripted(ca).operate(REQUEST))
    run(scripted(ca, transport="post").operate(REQUEST))
    assert [method for method, _ in ca.messages] == ["GET", "POST"]


@pytest.mark.proves("FT-10", "FT-09")
@pytest.mark.parametrize("status", [200, 400, 403, 500, 503])
@pytest.mark.parametrize("label", ["application/x-pki-message", "text/html", "nonsense", ""])
@pytest.mark.parametrize("after", [b"", b"\r\n"])
def test_message_is_known_by_what_it_is(status: int, label: str, after: bytes) -> None:
    """A message is taken whatever it is labelled as, and with whatever status: its signature is what counts."""
    assert run(scripted(Scripted(post=(status, label, SIGNED + after))).operate(REQUEST)).message == SIGNED


@pytest.mark.proves("FT-09", "FT-10", "SEC-15", "FT-06", "FT-07")
@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 405, 413, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in</html>",
        b"0",
        b"0\x80",
        b"0\x82\xff\xff",
        SIGNED[:-1],
        SIGNED + b"0",
        authority().certificate.der,
        b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",
        bytes(2000),
    ],
    ids=range(9),
)
def test_what_is_no_message(status: int, body: bytes) -> None:
    """What is no whole message is no answer: the outcome is unknown, and the reason names the status alone."""
    with pytest.raises(UpstreamError) as caught:
        run(scripted(Scripted(post=(status, "text/html", body))).operate(REQUEST))
    assert caught.value.sent
    assert f"status {status} with {len(body)} octets of text/html" in caught.value.reason


@pytest.mark.proves("AC-113")
def test_redirect_with_a_message() -> None:
    """A redirect is no answer, whatever it carries."""
    with pytest.raises(UpstreamError, match="status 302"):
        run(scripted(Scripted(post=(302, "application/x-pki-message", SIGNED))).operate(REQUEST))


def test_message_in_ber() -> None:
    """A message of indefinite length is taken as it is, without the white space after it."""
    ber = b"\x30\x80" + SIGNED[2:] + b"\0\0"
    assert run(scripted(Scripted(post=(200, "", ber + b"\n"))).operate(REQUEST)).message == ber


@pytest.mark.proves("AC-116")
@pytest.mark.parametrize(("host", "address"), [("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]", "2001:db8::1")])
def test_upstream_connects_by_itself(host: str, address: str) -> None:
    """Without a client it is given one of its own, which leads to its URL."""
    memory = MemoryReactorClock()
    ca = settings(authority().certificate, url=f"http://{host}:8080/scep")
    outcomes: list[Any] = []
    Deferred.fromCoroutine(Upstream("ca", ca, memory).current()).addErrback(outcomes.append)
    assert memory.tcpClients[0][:2] == (address, 8080)
    memory.advance(5)
    assert "no connection within 5 s" in str(outcomes[0].value)


class NetworkTests(ExchangeCase):
    """An upstream over a network."""

    def upstream(self, port: int) -> Upstream:
        url = f"http://127.0.0.1:{port}/scep"
        ca = settings(authority().certificate, url=url, connect_timeout=1.0, timeout=self.limits.total)
        return Upstream("ca", ca, reactor)

    async def answered(self, answer: Callable[[Conversation], None]) -> UpstreamError:
        """What becomes of a message to a CA that is fine until then."""

        def script(conversation: Conversation) -> None:
            if b"GetCACaps" in conversation.request:
                saying(OK, b"Content-Length: 12\r\n\r\nSCEPStandard")(conversation)
            elif b"GetCACert" in conversation.request:
                body = authority().certificate.der
                saying(OK, b"Content-Length: %d\r\n\r\n" % len(body), body)(conversation)
            else:
                answer(conversation)

        upstream = self.upstream(int(self.serve(script)._url.split(":")[2].partition("/")[0]))
        error = await self.failure_of(upstream.operate(REQUEST))
        operations = [request for request in self.server.requests if b"PKIOperation" in request]
        assert len(operations) == 1
        return error

    @pytest.mark.proves("FT-01", "DR-10")
    async def test_host_is_down(self) -> None:
        """While nobody listens, a message is certainly not sent, however often it is tried."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        upstream = self.upstream(number)
        for _ in range(3):
            error = await self.failure_of(upstream.operate(REQUEST))
            assert not error.sent
        assert upstream.failure is error or str(upstream.failure) == str(error)

    @pytest.mark.proves("FT-06", "FT-07", "FT-05", "DR-10", "FT-14")
    async def test_message_whose_answer_is_lost(self) -> None:
        """An answer that is cut off, however it is framed, is none: the outcome is unknown, and nothing is repeated."""
        self.limits = HASTY
        half = SIGNED[: len(SIGNED) // 2]
        for answer in (
            saying(TYPED, b"Content-Length: %d\r\n\r\n" % len(SIGNED), half),
            saying(TYPED, b"\r\n", half),
            saying(TYPED, b"\r\n", half, end=Conversation.reset),
            saying(TYPED, b"\r\n", half, end=lambda it: None),
            Conversation.reset,
            Conversation.close,
            lambda it: None,
        ):
            assert (await self.answered(answer)).sent
