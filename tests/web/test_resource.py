from __future__ import annotations

import gc
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from scepra.errors import Malformed, Refused
from scepra.scep import der, oid
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from scepra.web.source import NOBODY, Proxies
from tests.web.authority import Fake
from tests.web.wire import Answer, Connection, Wire, parse_answers, request

SIGNED = der.sequence(
    der.oid(oid.SIGNED_DATA), der.explicit(0, der.sequence(der.integer(1), der.octet_string(b"x" * 99)))
)
ENROL = b"/scep?operation=PKIOperation"
LIMITS = replace(Limits(), requests_per_connection=10_000)


def resource_of(*authorities: Fake, proxies: Proxies = NOBODY) -> ScepResource:
    return ScepResource(Routes(Route(fake, ["/scep"], [fake.name]) for fake in authorities), proxies)


def connect(*authorities: Fake, proxies: Proxies = NOBODY, address: str = "192.0.2.1") -> Connection:
    return Wire(leaf=resource_of(*authorities, proxies=proxies), limits=LIMITS).connect(address)


def ask(authority: Fake, data: bytes) -> Answer:
    [answer] = connect(authority).send(data)
    return answer


@pytest.fixture
def events() -> Iterator[list[Any]]:
    caught: list[Any] = []
    globalLogPublisher.addObserver(caught.append)
    yield caught
    globalLogPublisher.removeObserver(caught.append)


@pytest.mark.proves("HTTP-24", "HTTP-27", "HTTP-13")
@pytest.mark.parametrize(
    ("name", "content_type", "body"),
    [
        (b"GetCACaps", "text/plain", b"AES\nSCEPStandard\n"),
        (b"GetCACert", "application/x-x509-ca-cert", b"certificate of wifi"),
        (b"GetCACertChain", "application/x-x509-ca-ra-cert-chain", b"chain"),
        (b"GetCAChain", "application/x-x509-ca-ra-cert-chain", b"chain"),
        (b"GetNextCACert", "application/x-x509-next-ca-cert", b"next"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_what_anyone_may_ask_for(method: bytes, name: bytes, content_type: str, body: bytes) -> None:
    """Capabilities and certificates have exactly their content type, and are not kept by caches unasked."""
    answer = ask(Fake(), request(b"/scep?operation=" + name, method))
    assert (answer.status, answer.body) == (200, body)
    assert set(answer.headers) == {"content-type", "content-length", "cache-control"}
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (content_type, "no-cache")


@pytest.mark.proves("HTTP-24", "HTTP-27")
@pytest.mark.parametrize(
    "data",
    [
        request(ENROL, b"POST", SIGNED),
        request(ENROL + b"&message=" + quote(b64encode(SIGNED), safe="").encode()),
        request(ENROL, b"POST", SIGNED, (b'If-None-Match: "x"', b"If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT")),
        request(ENROL, b"POST", SIGNED, (b"If-None-Match: *", b"Range: bytes=0-1")),
    ],
    ids=["POST", "GET", "conditional", "range"],
)
def test_an_enrolment_is_answered(data: bytes) -> None:
    """A PKIOperation reaches the authority as it was, and its answer is a 200 that no cache may keep."""
    authority = Fake()
    answer = ask(authority, data)
    assert authority.asked == [(SIGNED, "192.0.2.1")]
    assert (answer.status, answer.body) == (200, b"CertRep")
    assert set(answer.headers) == {"content-type", "content-length", "cache-control", "pragma"}
    assert answer.headers["content-type"] == "application/x-pki-message"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")


@pytest.mark.proves("HTTP-18", "HTTP-19", "AC-001")
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"application/x-pki-message",
        b"application/octet-stream",
        b"application/pkcs7",
        b"application/pki-message",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"multipart/form-data",
        b"",
        b"\xff;;;",
    ],
)
def test_any_content_type_is_accepted(content_type: bytes | None) -> None:
    """A message is read whatever its content type claims, a form's included."""
    authority = Fake()
    headers = () if content_type is None else (b"Content-Type: " + content_type,)
    assert ask(authority, request(ENROL, b"POST", SIGNED, headers)).status == 200
    assert authority.asked[0][0] == SIGNED


@pytest.mark.proves("AC-001")
@pytest.mark.parametrize("label", [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"])
def test_a_form_is_no_query(label: bytes) -> None:
    """A form in the body does not turn GetCACert into an enrolment, and is none where the target names nothing."""
    authority = Fake()
    body = b"operation=PKIOperation&message=" + quote(b64encode(SIGNED), safe="").encode()
    for target in (b"/scep?operation=GetCACert", b"/scep"):
        answer = ask(authority, request(target, b"POST", body, (b"Content-Type: " + label,)))
        assert (answer.status, answer.body) == (400, b"")
    assert authority.asked == []


@pytest.mark.proves("AC-002", "HTTP-09", "HTTP-13", "HTTP-26")
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(b"/scep"), 400),
        (request(b"/scep", b"POST", b"hello"), 400),
        (request(b"/scep?operation=Foo"), 400),
        (request(b"/scep?operation=GetCACaps&operation=PKIOperation&message=QUJD"), 400),
        (request(b"/scep?operation=GetCACaps;operation=PKIOperation;message=QUJD"), 400),
        (request(ENROL + b"&message=A&message=B"), 400),
        (request(ENROL + b"&message=hello,world"), 400),
        (request(ENROL, b"POST", SIGNED[:-1]), 400),
        (request(b"/nowhere?operation=GetCACaps"), 404),
        (request(b"/nowhere", b"POST", b"hello"), 404),
        (request(b"/?operation=GetCACaps"), 404),
        (request(b"*", b"OPTIONS"), 405),
        (request(b"*"), 404),
    ],
)
def test_what_is_no_scep_request_has_an_empty_answer(data: bytes, status: int) -> None:
    """A request that is none gets its status and an empty body that repeats nothing; the connection stays usable."""
    authority = Fake()
    connection = connect(authority)
    [answer] = connection.send(data)
    assert (answer.status, answer.body, answer.headers["content-length"]) == (status, b"", "0")
    assert "content-type" not in answer.headers
    assert authority.asked == []
    assert connection.send(request(b"/scep?operation=GetCACaps"))[0].status == 200


@pytest.mark.proves("HTTP-15", "HTTP-26", "AC-008")
@pytest.mark.parametrize(
    "target",
    [
        b"/scep/..%2f..%2fadmin?operation=GetCACaps",
        b"/x/%2e%2e/scep?operation=GetCACaps",
        b"/x/../scep?operation=GetCACaps",
        b"//p",
        b"/scep/p%00x",
        b"/scep/%c0%ae",
        b"/scep%2f",
        b"http://127.0.0.1:8081/api",
        b"/a" * 8000,
    ],
)
def test_tricks_with_paths_find_nothing(target: bytes) -> None:
    """Traversal, NUL, encoded slashes, absolute targets and endless paths are a 404 without a body."""
    answer = ask(Fake(), request(target))
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.proves("AC-008", "AC-010", "HTTP-23", "HTTP-26")
@pytest.mark.parametrize("method", [b"PUT", b"OPTIONS", b"TRACE", b"DELETE", b"PATCH", b"get", b"X" * 200])
@pytest.mark.parametrize("target", [b"/scep?operation=GetCACaps", b"/nowhere"])
def test_other_methods_are_refused_with_what_there_is(method: bytes, target: bytes) -> None:
    """Any other method gets a 405 with the methods there are, and nothing of what it sent."""
    answer = ask(Fake(), request(target, method, b"body", (b"X-HTTP-Method-Override: POST",)))
    assert (answer.status, answer.headers["allow"], answer.body) == (405, "GET, POST, HEAD", b"")


@pytest.mark.proves("AC-008")
def test_connect_opens_no_tunnel() -> None:
    """CONNECT is a method like any other that is not served."""
    assert ask(Fake(), request(b"127.0.0.1:22", b"CONNECT")).status == 405


@pytest.mark.proves("HTTP-23", "AC-010")
@pytest.mark.parametrize(
    ("target", "status", "length"),
    [
        (b"/scep?operation=GetCACaps", 200, "17"),
        (b"/scep", 400, "0"),
        (b"/nowhere", 404, "0"),
        (ENROL + b"&message=QUJD", 400, "0"),
    ],
)
def test_head_is_get_without_a_body(target: bytes, status: int, length: str) -> None:
    """HEAD gets the headers that GET gets, and starts no enrolment."""
    authority = Fake()
    connection = connect(authority)
    connection.channel.dataReceived(request(target, b"HEAD"))
    [answer] = parse_answers(connection.transport.value(), bodies=False)
    assert (answer.status, answer.headers["content-length"]) == (status, length)
    assert authority.asked == []


@pytest.mark.proves("HTTP-26")
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Refused("cut short"), 400, None),
        (Malformed("cut short"), 400, None),
        (Refused("too many", 429, 7), 429, "7"),
        (Refused("no next", 501), 501, None),
        (Refused("upstream down", 502), 502, None),
        (Refused("overload", 503, 30), 503, "30"),
        (Refused("upstream slow", 504), 504, None),
        (ValueError("secret"), 500, None),
        (KeyError("secret"), 500, None),
        (RecursionError("secret"), 500, None),
    ],
)
@pytest.mark.parametrize("data", [request(ENROL, b"POST", SIGNED), request(b"/scep?operation=GetCACaps")])
@pytest.mark.parametrize("later", [False, True])
def test_each_trouble_has_its_status(
    error: Exception, status: int, retry_after: str | None, data: bytes, later: bool
) -> None:
    """What the authority refuses, and any bug of it, is a status with an empty body, now or later."""
    waiting: Deferred[bytes] = Deferred()
    authority = Fake(reply=waiting if later and b"PKIOperation" in data else error)
    connection = connect(authority)
    answers = connection.send(data)
    if authority.reply is waiting:
        assert answers == []
        waiting.errback(error)
        answers = connection.read()
    [answer] = answers
    assert (answer.status, answer.body) == (status, b"")
    assert answer.headers.get("retry-after") == retry_after
    assert answer.headers["cache-control"] == "no-store"
    assert connection.open


@pytest.mark.proves("FT-21")
@pytest.mark.parametrize("result", [b"CertRep", Refused("overload", 503), ValueError("x")])
def test_a_client_that_hangs_up_cancels_nothing(result: bytes | Exception, events: list[Any]) -> None:
    """An operation whose client has gone runs to its end, and its answer goes nowhere without an error."""
    waiting: Deferred[bytes] = Deferred()
    authority = Fake(reply=waiting)
    connection = connect(authority)
    connection.send(request(ENROL, b"POST", SIGNED))
    connection.hang_up()
    assert authority.finished == 0
    assert not waiting.called
    if isinstance(result, bytes):
        waiting.callback(result)
        assert authority.finished == 1
    else:
        waiting.errback(result)
    assert connection.read() == []
    gc.collect()
    assert not [event for event in events if "log_failure" in event]


@pytest.mark.proves("FT-21", "I9")
def test_an_answer_after_the_deadline_goes_nowhere(events: list[Any]) -> None:
    """An operation that outlasts the connection's patience runs on, and its answer is not written after the 503."""
    waiting: Deferred[bytes] = Deferred()
    wire = Wire(leaf=resource_of(Fake(reply=waiting)))
    connection = wire.connect()
    assert connection.send(request(ENROL, b"POST", der.sequence(der.integer(1)))) == []
    wire.clock.pump([10] * 6)
    assert connection.read()[0].status == 503
    waiting.callback(b"late")
    assert connection.read() == []
    gc.collect()
    assert not [event for event in events if "log_failure" in event]


@pytest.mark.proves("AC-004")
def test_a_slow_answer_and_a_fast_one_are_not_swapped() -> None:
    """Requests that share a connection are answered in their order, however long each takes."""
    authority = Fake()
    connection = connect(authority)
    caps = request(b"/scep?operation=GetCACaps")
    for _ in range(200):
        slow: Deferred[bytes] = Deferred()
        authority.reply = slow
        assert connection.send(request(ENROL, b"POST", SIGNED) + caps + request(ENROL, b"POST", SIGNED)) == []
        authority.reply = b"fast"
        slow.callback(b"slow")
        assert [answer.body for answer in connection.read()] == [b"slow", b"AES\nSCEPStandard\n", b"fast"]


@pytest.mark.proves("CERT-20", "CERT-21")
def test_an_identifier_chooses_the_authority() -> None:
    """A CA identifier picks a profile of the path; any other value gets the default's certificate, always the same."""
    connection = connect(Fake("wifi"), Fake("vpn"))

    def certificate(identifier: bytes) -> bytes:
        return connection.send(request(b"/scep?operation=GetCACert&message=" + identifier))[0].body

    assert certificate(b"vpn") == b"certificate of vpn"
    assert certificate(b"wifi") == b"certificate of wifi"
    values = (b"", b"*", b"0", b"CAIdentifier", b"default", b"ignored", b"%FF", *(b"%d" % n for n in range(1, 33)))
    assert {certificate(value) for value in values} == {b"certificate of wifi"}


@pytest.mark.proves("AC-011")
@pytest.mark.parametrize(
    ("address", "source"),
    [("192.0.2.1", "192.0.2.1"), ("10.0.0.1", "198.51.100.1"), ("::ffff:10.0.0.1", "198.51.100.1")],
)
def test_only_a_trusted_proxy_says_who_asks(address: str, source: str) -> None:
    """Headers that claim an address or a certificate are believed from trusted proxies only, and only the one."""
    claims = (
        b"X-Forwarded-For: 192.0.2.66, 198.51.100.1",
        b"Forwarded: for=203.0.113.1",
        b"X-Real-IP: 203.0.113.2",
        b"X-SSL-Client-Cert: MII",
        b"X-SSL-Client-Verify: SUCCESS",
    )
    authority = Fake()
    connection = connect(authority, proxies=Proxies((ip_network("10.0.0.0/8"),)), address=address)
    connection.send(request(ENROL, b"POST", SIGNED, claims))
    assert authority.asked == [(SIGNED, source)]


@pytest.mark.proves("SEC-17")
def test_the_access_log_holds_no_query(events: list[Any]) -> None:
    """Each answer but a CertRep, which has its audit record, is one event without the query or the body."""
    connection = connect(Fake())
    connection.send(request(b"/scep?operation=GetCACaps&message=c2VjcmV0&secret=1"))
    connection.send(request(b"/scep/nowhere?secret=1"))
    connection.send(request(b"/" + b"x" * 1000 + b"?secret=1"))
    connection.send(request(b"/scep?operation=secret"))
    logged = [event for event in events if event["log_namespace"] == "scepra.web.access"]
    assert [(event["path"][:8], event["profile"], event["operation"], event["status"]) for event in logged] == [
        ("/scep", "wifi", "GetCACaps", 200),
        ("/scep/no", "-", "-", 404),
        ("/xxxxxxx", "-", "-", 404),
        ("/scep", "wifi", "-", 400),
    ]
    assert {event["source"] for event in logged} == {"192.0.2.1"}
    assert max(len(event["path"]) for event in logged) == 200
    assert not [event for event in events if "secret" in repr(event) or "c2VjcmV0" in repr(event)]


@pytest.mark.proves("I10")
@pytest.mark.parametrize("data", [request(ENROL, b"POST", SIGNED), request(b"/scep?operation=GetCACaps")])
def test_a_bug_is_logged_without_its_text(data: bytes, events: list[Any]) -> None:
    """An unexpected exception is logged by its name and place: its text may quote anything."""
    ask(Fake(reply=ValueError("secret")), data)
    [event] = [event for event in events if event["log_level"].name == "critical"]
    assert event["kind"] == "ValueError"
    assert "authority.py" in event["where"]
    assert "secret" not in repr(events)


def test_the_resource_needs_no_bounded_site() -> None:
    """Under Twisted's own site, as in tests that use a client in memory, it answers the same."""
    case = SynchronousTestCase()
    treq = StubTreq(resource_of(Fake()))
    for answer, status in (
        (treq.get("http://ra/scep?operation=GetCACaps"), 200),
        (treq.post("http://ra/scep?operation=PKIOperation", data=SIGNED), 200),
        (treq.get("http://ra/nowhere"), 404),
        (treq.head("http://ra/scep?operation=GetCACaps"), 200),
    ):
        treq.flush()
        response = case.successResultOf(answer)
        assert response.code == status
        body = case.successResultOf(response.content())
        assert len(body) == (0 if status == 404 or response.request.method == b"HEAD" else int(response.length))
