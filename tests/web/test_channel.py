from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.web import server
from twisted.web.resource import Resource

from scepra.web.channel import BoundedRequest, Phase
from scepra.web.limits import SHORT, Limits
from tests.web.wire import SMALL, TLS, Leaf, Wire, parse_answers, request

REFUSED = {"connection": "close", "content-length": "0"}


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@pytest.fixture(autouse=True, scope="module")
def no_loose_ends() -> Any:
    """No exception is lost in a Deferred."""
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield
    gc.collect()
    globalLogPublisher.removeObserver(events.append)
    assert not [event for event in events if "log_failure" in event]


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_request_is_answered_however_it_arrives(size: int) -> None:
    """A request in one piece, in octets or in between reaches the resource whole, and its answer is plain."""
    wire = Wire()
    [answer] = wire.connect().send(request(b"/a?b", b"POST", b"body", (b"Host: x", b"A: b")), size)
    assert wire.leaf.seen == [(b"POST", b"/a?b", b"body")]
    assert (answer.status, answer.body) == (200, b"ok")
    assert set(answer.headers) == {"content-length"}


@pytest.mark.proves("HTTP-16")
@pytest.mark.parametrize("size", [15_000, 17_000, 60_000, 65_536])
def test_long_request_targets_are_read(size: int) -> None:
    """A request target of up to 64 KiB is read."""
    wire = Wire(limits=Limits())
    target = b"/?" + b"a" * (size - 2)
    [answer] = wire.connect().send(request(target, headers=(b"X: " + b"y" * 8000,)), 16_384)
    assert answer.status == 200
    assert wire.leaf.seen[0][1] == target


@pytest.mark.proves("HTTP-16")
@pytest.mark.parametrize(
    "data",
    [request(b"a" * 65_537), request(b"a" * 70_000), request(b"a" * 1_000_000), b"GET " + b"a" * 70_000, b"a" * 70_000],
    ids=["one more", "70 kB", "1 MB", "without end", "method without end"],
)
@pytest.mark.parametrize("size", [1460, 65_536])
def test_longer_request_targets_get_a_414(data: bytes, size: int) -> None:
    """A longer request target gets a 414, whether or not its line ever ends, and the connection is closed."""
    wire = Wire(limits=Limits())
    connection = wire.connect()
    [answer] = connection.send(data, size)
    assert (answer.status, answer.headers, answer.body) == (414, REFUSED, b"")
    assert not connection.open
    assert wire.leaf.seen == []


@pytest.mark.proves("HTTP-17", "AC-005")
@pytest.mark.parametrize(
    "length", [b"101", b"99999999999999999999", b"9" * 5000, b"0" * 60 + b"9", b"9" * 60 + b" " * 10], ids=len
)
def test_a_body_that_declares_too_much_is_not_read(length: bytes) -> None:
    """A Content-Length over the limit, however large, gets a 413 before any of the body, and no 100-continue."""
    wire = Wire(limits=replace(SMALL, headers=10_000, request_target=10_000))
    connection = wire.connect()
    head = request(method=b"POST", headers=(b"Content-Length: " + length, b"Expect: 100-continue"))
    [answer] = connection.send(head)
    assert (answer.status, answer.headers) == (413, REFUSED)
    assert connection.send(b"x" * 1000) == []
    assert wire.leaf.seen == []


@pytest.mark.proves("HTTP-17", "AC-005")
@pytest.mark.parametrize(
    "body",
    [
        chunked(b"x" * 101),
        chunked(b"x" * 60, b"x" * 41),
        b"fffffff\r\n" + b"x" * 200,
        b"1\r\nx\r\n" * 100_000,
        b"1;" + b"x" * 900 + b"\r\n",
        b"1;a\r\nx\r\n" * 60,
    ],
    ids=["one chunk", "two", "cut short", "octets without end", "extension", "extensions"],
)
@pytest.mark.parametrize("size", [50, 4096])
def test_a_chunked_body_that_becomes_too_long_is_cut_off(body: bytes, size: int) -> None:
    """A chunked body gets a 413 once it, or what it takes on the wire, exceeds the limit; no part of it is used."""
    wire = Wire()
    connection = wire.connect()
    connection.send(request(method=b"POST", headers=(b"Transfer-Encoding: chunked",)))
    answers = connection.send(body, size) or connection.send(b"1\r\nx\r\n" * 100, size)
    assert [(answer.status, answer.headers) for answer in answers] == [(413, REFUSED)]
    assert wire.leaf.seen == []


@pytest.mark.proves("FT-53", "DR-13", "I9")
def test_long_bodies_together_are_bounded() -> None:
    """Who sends a long body while others fill the memory is told to come again; a short one is always taken in, and a
    long one when the others have been answered or have gone.
    """
    wire = Wire(limits=replace(Limits(), body=3 * SHORT, bodies=4 * SHORT))
    long = request(method=b"POST", body=b"x" * 3 * SHORT)
    first, second, third, short = (wire.connect() for _ in range(4))
    assert first.send(long[:-1]) == second.send(long[:-1]) == []
    (refused,) = third.send(long)
    assert (refused.status, refused.headers["connection"]) == (503, "close")
    assert int(refused.headers["retry-after"]) > 0
    assert [answer.status for answer in short.send(request(method=b"POST", body=b"x" * SHORT))] == [200]
    assert [answer.status for answer in first.send(long[-1:])] == [200]
    again = wire.connect()
    assert [answer.status for answer in again.send(long)] == [200]
    assert again.send(long[:-1]) == []
    assert [answer.status for answer in wire.connect().send(long)] == [503]
    second.hang_up()
    assert [answer.status for answer in wire.connect().send(long)] == [200]


@pytest.mark.proves("FT-53")
def test_one_long_body_is_read_whatever_is_configured() -> None:
    """The largest body fits, even where all together may be no longer than that."""
    wire = Wire(limits=replace(Limits(), body=3 * SHORT, bodies=SHORT))
    assert [answer.status for answer in wire.connect().send(request(method=b"POST", body=b"x" * 3 * SHORT))] == [200]


@pytest.mark.proves("HTTP-17", "AC-005")
def test_a_body_at_the_limit_is_read() -> None:
    """A body of exactly the limit is read, by length and in chunks, and the next request after it."""
    wire = Wire()
    connection = wire.connect()
    by_length = request(method=b"POST", body=b"x" * 100)
    in_chunks = request(method=b"POST", body=chunked(b"x" * 50, b"x" * 50), headers=(b"Transfer-Encoding: Chunked",))
    answers = connection.send(by_length + in_chunks + request())
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [body for _, _, body in wire.leaf.seen] == [b"x" * 100, b"x" * 100, b""]


@pytest.mark.proves("AC-005", "HTTP-19")
@pytest.mark.parametrize(
    "label", [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"multipart/form-data"]
)
def test_a_body_is_never_a_form_nor_a_file(label: bytes) -> None:
    """A body labelled as a form is handed over untouched, from memory, whatever its size."""
    wire = Wire(leaf=Leaf(at_once=False), limits=Limits())
    body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"b" * 200_000 + b"\r\n--x--\r\n&c=d"
    wire.connect().send(request(b"/?a=b", b"POST", body, (b"Content-Type: " + label,)), 65_536)
    [pending] = wire.leaf.open
    assert wire.leaf.seen[0][2] == body
    assert pending.args == {}
    assert type(pending.content) is BytesIO
    assert not isinstance(pending.content, tempfile.SpooledTemporaryFile)
    wire.leaf.finish()


@pytest.mark.proves("AC-010")
@pytest.mark.parametrize(
    "headers",
    [
        (b"a:b",) * 11,
        (b"a:b",) * 501,
        (b"a: " + b"b" * 17_000,),
        (b"a: " + b"b" * 600,),
        (b"a: " + b"b" * 240,) * 2 + (b"c: d" * 4,),
        (b"a: " + b"b" * 100_000,),
    ],
    ids=["eleven", "501", "17 kB", "long", "together", "endless"],
)
def test_too_many_headers_get_a_431(headers: tuple[bytes, ...]) -> None:
    """More header lines or octets than the limit get a 431 and a closed connection."""
    wire = Wire()
    connection = wire.connect()
    [answer] = connection.send(request(headers=headers), 4096)
    assert (answer.status, answer.headers) == (431, REFUSED)
    assert wire.leaf.seen == []
    assert not connection.open


def test_headers_at_the_limit_are_read() -> None:
    """As many headers as the limit allows are read, and count anew for each request."""
    wire = Wire()
    connection = wire.connect()
    for _ in range(3):
        [answer] = connection.send(request(headers=(b"a: " + b"b" * 43,) * 10))
        assert answer.status == 200


@pytest.mark.proves("AC-010")
@pytest.mark.parametrize(
    "headers",
    [
        (b"Content-Length: 3", b"Content-Length: 3"),
        (b"Content-Length: 3", b"Content-Length: 4"),
        (b"Content-Length: 3, 3",),
        (b"Content-Length: +3",),
        (b"Content-Length: -1",),
        (b"Content-Length: 0x3",),
        (b"Content-Length: 3_0",),
        (b"Content-Length:",),
        (b"Content-Length: \xb2",),
        (b"Content-Length : 3",),
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 3"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: identity", b"Content-Length: 3"),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: \x0bchunked",),
        (b"Transfer-Encoding:\r\n chunked",),
        (b"Content-Length: 1\r\n 2",),
        (b" Content-Length: 3",),
        (b"A: b\r\n\tc",),
        (b"A: b\nTransfer-Encoding: chunked",),
        (b"A: b\rc",),
        (b"A\0: b",),
        (b"A: \0",),
        (b": b",),
        (b"no colon",),
    ],
)
def test_heads_that_a_proxy_may_read_otherwise_get_a_400(headers: tuple[bytes, ...]) -> None:
    """Lengths doubled, odd or contradicted, folded lines and stray characters are refused, with all that follows."""
    wire = Wire()
    connection = wire.connect()
    smuggled = b"0\r\n\r\n" + request(b"/smuggled")
    [answer] = connection.send(request(method=b"POST", headers=headers) + smuggled)
    assert (answer.status, answer.headers) == (400, REFUSED)
    assert connection.send(smuggled) == []
    assert wire.leaf.seen == []


@pytest.mark.proves("AC-013", "AC-008")
@pytest.mark.parametrize(
    "line",
    [
        b"PRI * HTTP/2.0",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/0.9",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / x HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"G\xc3T / HTTP/1.1",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n",
    ],
)
def test_request_lines_of_other_protocols_get_a_400(line: bytes) -> None:
    """HTTP/2, a PROXY preamble, TLS and other things that are no request line of HTTP/1 are refused."""
    wire = Wire()
    [answer] = wire.connect().send(line + b"\r\n\r\n")
    assert answer.status == 400
    assert wire.leaf.seen == []


def test_transfer_encoding_needs_http_1_1() -> None:
    """A chunked body in HTTP/1.0 is refused: its proxies would not see where it ends."""
    body = chunked(b"abc")
    [answer] = (
        Wire()
        .connect()
        .send(request(method=b"POST", body=body, headers=(b"Transfer-Encoding: chunked",), version=b"1.0"))
    )
    assert answer.status == 400


def test_nonsense_in_chunks_gets_a_400() -> None:
    """A chunk without a size is refused."""
    wire = Wire()
    [answer] = wire.connect().send(request(method=b"POST", body=b"zz\r\n", headers=(b"Transfer-Encoding: chunked",)))
    assert (answer.status, answer.headers) == (400, REFUSED)
    assert wire.leaf.seen == []


@pytest.mark.parametrize("coding", [b"gzip", b"identity", b"x"])
def test_coded_content_gets_a_415(coding: bytes) -> None:
    """A body with a content coding is refused unread: nothing is ever decompressed."""
    wire = Wire()
    for body in (b"abc", b""):
        [answer] = wire.connect().send(request(method=b"POST", body=body, headers=(b"Content-Encoding: " + coding,)))
        assert (answer.status, answer.headers) == (415, REFUSED)
    assert wire.leaf.seen == []


@pytest.mark.proves("HTTP-21")
@pytest.mark.parametrize("headers", [(), (b"Host: ra",), (b"Connection: close",), (b"Connection: x",)])
def test_http_1_0_is_answered_and_closed(headers: tuple[bytes, ...]) -> None:
    """HTTP/1.0 gets an answer with its length, without chunks, and a closed connection."""
    connection = Wire().connect()
    [answer] = connection.send(request(headers=headers, version=b"1.0"))
    assert (answer.version, answer.status, answer.body) == ("HTTP/1.0", 200, b"ok")
    assert set(answer.headers) == {"content-length"}
    assert connection.transport.half_closed


@pytest.mark.proves("HTTP-21")
def test_http_1_0_may_ask_for_more() -> None:
    """HTTP/1.0 keeps its connection when it asks to, and is told."""
    connection = Wire().connect()
    for _ in range(2):
        [answer] = connection.send(request(headers=(b"Connection: Keep-Alive",), version=b"1.0"))
        assert answer.headers["connection"] == "keep-alive"
    assert connection.open


@pytest.mark.proves("HTTP-22")
def test_http_1_1_needs_no_host() -> None:
    """HTTP/1.1 without a Host header is served."""
    wire = Wire()
    assert wire.connect().send(request())[0].status == 200


@pytest.mark.parametrize("option", [b"close", b"Close", b"x, close", b"x,close"])
def test_http_1_1_may_ask_for_less(option: bytes) -> None:
    """A client that says it will close gets its answer, and nothing after it is read."""
    wire = Wire()
    connection = wire.connect()
    [answer] = connection.send(request(headers=(b"Connection: " + option,)) + request(b"/next"))
    assert answer.headers["connection"] == "close"
    assert connection.transport.half_closed
    assert connection.send(request(b"/next")) == []
    assert len(wire.leaf.seen) == 1


def test_a_connection_has_so_many_requests() -> None:
    """The last request of a connection is answered with its end announced."""
    wire = Wire()
    connection = wire.connect()
    answers = connection.send(request() * 6)
    assert [answer.headers.get("connection") for answer in answers] == [None, None, None, "close"]
    assert not connection.open


@pytest.mark.proves("HTTP-23")
def test_100_continue_is_honoured() -> None:
    """A client that waits for it gets 100 Continue, and then its answer."""
    connection = Wire().connect()
    head = request(method=b"POST", headers=(b"Content-Length: 4", b"Expect: 100-Continue"))
    assert [answer.status for answer in connection.send(head)] == [100]
    assert [answer.status for answer in connection.send(b"body")] == [200]


@pytest.mark.proves("AC-004")
def test_pipelined_requests_are_answered_in_order() -> None:
    """One request of a connection is answered at a time, in the order of their arrival."""
    wire = Wire(leaf=Leaf(at_once=False))
    connection = wire.connect()
    assert (
        connection.send(request(b"/1", b"POST", b"one") + request(b"/2") + request(b"/3", b"POST", b"three"), 9) == []
    )
    for number in (b"1", b"2", b"3"):
        assert [uri for _, uri, _ in wire.leaf.seen][-1:] == [b"/" + number]
        wire.leaf.finish(number)
        assert [answer.body for answer in connection.read()] == [number]
    assert wire.leaf.seen[-1][2] == b"three"


def test_a_client_that_pipelines_too_much_has_to_wait() -> None:
    """While a request is answered, only so much of the next ones is taken in."""
    wire = Wire(leaf=Leaf(at_once=False), limits=Limits())
    connection = wire.connect()
    connection.send(request())
    connection.send(request() * 2000, 16_384)
    assert connection.transport.producerState == "paused"
    wire.leaf.at_once = True
    wire.leaf.finish()
    assert connection.transport.producerState == "producing"


@pytest.mark.proves("AC-013")
def test_an_upgrade_is_ignored() -> None:
    """A client that offers to speak HTTP/2 is answered in HTTP/1.1."""
    upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
    connection = Wire().connect()
    for _ in range(2):
        [answer] = connection.send(request(headers=upgrade))
        assert (answer.version, answer.status) == ("HTTP/1.1", 200)
        assert "upgrade" not in answer.headers
    assert Wire().site.acceptableProtocols() == [b"http/1.1"]


@pytest.mark.proves("I9")
@pytest.mark.parametrize(
    "started",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: b", request(method=b"POST", headers=(b"Content-Length: 99",))],
)
def test_a_request_has_to_arrive_in_time(started: bytes) -> None:
    """A request that drips in gets a 408 at its deadline, counted from its first octet, not from its last."""
    wire = Wire()
    connection = wire.connect()
    wire.clock.advance(20)
    assert connection.send(started) == []
    for _ in range(9):
        wire.clock.advance(1)
        assert connection.send(b"x") == []
    wire.clock.advance(0.5)
    assert connection.open
    wire.clock.advance(0.5)
    [answer] = connection.read()
    assert (answer.status, answer.headers) == (408, REFUSED)
    assert wire.leaf.seen == []


@pytest.mark.proves("I9")
def test_the_deadline_counts_anew_for_each_request() -> None:
    """Requests that follow each other on one connection have the whole time each, pipelined ones too."""
    wire = Wire()
    connection = wire.connect()
    half = len(request()) // 2
    for _ in range(3):
        connection.send(request()[:half])
        wire.clock.advance(9)
        # The second half, and the first one of the next request with it.
        assert connection.send(request()[half:])[0].status == 200
    connection.send(request()[:half])
    wire.clock.advance(9.9)
    assert connection.open
    wire.clock.advance(0.2)
    assert connection.read()[0].status == 408


@pytest.mark.proves("I9")
def test_a_part_of_a_pipelined_request_has_the_deadline() -> None:
    """What follows a request in the same packet is a request that has begun."""
    wire = Wire()
    connection = wire.connect()
    assert len(connection.send(request() + b"GET / HT")) == 1
    wire.clock.pump([2.5] * 4)
    assert connection.read()[0].status == 408


def test_an_empty_line_begins_no_request() -> None:
    """The line break that old clients send after a body starts no deadline."""
    wire = Wire()
    connection = wire.connect()
    connection.send(request(method=b"POST", body=b"abc") + b"\r\n")
    wire.clock.pump([1] * 29)
    assert connection.open
    assert connection.send(request())[0].status == 200


@pytest.mark.proves("I9")
def test_a_silent_connection_is_closed() -> None:
    """A connection without a request, or between requests, is closed after the idle time, without words."""
    wire = Wire()
    fresh, used = wire.connect(), wire.connect()
    wire.clock.advance(1)
    used.send(request())
    wire.clock.pump([1] * 29)
    assert not fresh.open
    assert used.open
    wire.clock.advance(1)
    assert not used.open
    assert fresh.read() == used.read() == []


@pytest.mark.proves("I9")
def test_an_answer_has_to_come_in_time() -> None:
    """A request that is not answered gets a 503 in the end, and a later answer goes nowhere."""
    wire = Wire(leaf=Leaf(at_once=False))
    connection = wire.connect()
    connection.send(request() + request(b"/next") * 1000)
    assert connection.transport.producerState == "paused"
    [pending] = wire.leaf.open
    lost: list[object] = []
    pending.notifyFinish().addErrback(lost.append)
    wire.clock.pump([10] * 5 + [9])
    assert connection.open
    wire.clock.advance(1)
    [answer] = connection.read()
    assert (answer.status, answer.headers) == (503, REFUSED | {"retry-after": "60"})
    assert len(lost) == len(wire.leaf.seen) == 1
    pending.write(b"too late")
    assert connection.read() == []
    assert connection.transport.producerState == "producing"
    connection.hang_up()
    assert len(lost) == 1


@pytest.mark.proves("I9")
def test_a_refused_client_may_read_its_answer_but_not_stay() -> None:
    """After a refusal what still arrives is dropped for two seconds, then the connection is cut off."""
    wire = Wire()
    connection = wire.connect()
    connection.send(b"GET " + b"a" * 2000)
    assert connection.transport.half_closed
    for _ in range(19):
        wire.clock.advance(0.1)
        assert connection.send(b"a" * 2000) == []
    assert not connection.transport.aborted
    wire.clock.advance(0.2)
    assert connection.transport.aborted
    assert wire.clock.getDelayedCalls() == []


@pytest.mark.proves("I9")
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_client_that_never_reads_is_cut_off(version: bytes) -> None:
    """An answer that nobody takes in holds the connection no longer than the idle time and the moment after it."""
    wire = Wire()
    connection = wire.connect()
    connection.send(request(version=version))
    wire.clock.pump([1] * 29)
    assert not connection.transport.aborted
    wire.clock.pump([1] * 3)
    assert connection.transport.aborted
    connection.hang_up()
    assert wire.clock.getDelayedCalls() == []


@pytest.mark.proves("I9")
@pytest.mark.parametrize("at_once", [True, False])
def test_no_request_is_read_while_answers_pile_up(at_once: bool) -> None:
    """A client that does not take in an answer gets no other: what it pipelined waits, and it is not read from."""
    wire = Wire(leaf=Leaf(at_once=False))
    connection = wire.connect()
    connection.send(request(b"/1") + request(b"/2") + b"GET / HT")
    wire.leaf.at_once = at_once
    connection.channel.pauseProducing()
    wire.leaf.finish()
    assert [uri for _, uri, _ in wire.leaf.seen] == [b"/1"]
    assert connection.transport.producerState == "paused"
    wire.clock.advance(29)
    assert connection.open
    assert len(connection.read()) == 1
    connection.channel.resumeProducing()
    assert connection.transport.producerState == "producing"
    assert [uri for _, uri, _ in wire.leaf.seen] == [b"/1", b"/2"]
    wire.clock.advance(10)
    assert [answer.status for answer in connection.read()] == ([200, 408] if at_once else [])


@pytest.mark.proves("I9")
def test_a_client_that_takes_in_nothing_is_closed() -> None:
    """A client whose answers pile up has the idle time to take them in."""
    wire = Wire(leaf=Leaf(at_once=False))
    connection = wire.connect()
    connection.send(request(b"/1") + request(b"/2"))
    connection.channel.pauseProducing()
    wire.leaf.finish()
    wire.clock.pump([1] * 30)
    assert not connection.open
    wire.clock.pump([1] * 2)
    assert connection.transport.aborted
    assert len(wire.leaf.seen) == 1


def test_tls_is_closed_its_own_way() -> None:
    """Under TLS a refused connection ends with TLS's own closing, which no half-close replaces."""
    connection = Wire().connect(transport=TLS)
    assert connection.send(b"x\r\n")[0].status == 400
    assert connection.transport.disconnecting
    assert not connection.transport.half_closed


@pytest.mark.parametrize(
    "data", [b"", b"GET / HT", request(method=b"POST", headers=(b"Content-Length: 9",)) + b"x", request()]
)
def test_a_client_that_hangs_up_leaves_nothing_behind(data: bytes) -> None:
    """Wherever a client hangs up, its timer, its count and its request end with it."""
    wire = Wire(leaf=Leaf(at_once=False))
    connection = wire.connect()
    if data:
        connection.send(data)
    connection.hang_up()
    assert wire.clock.getDelayedCalls() == []
    assert (wire.site._counts, wire.site._neighbourhoods, wire.site._waiting) == ({}, {}, {})


def raising(act: Callable[[server.Request], None]) -> Resource:
    class Raising(Resource):
        isLeaf = True

        def render(self, request: server.Request) -> int:
            act(request)
            raise ValueError("secret")

    return Raising()


@pytest.mark.proves("HTTP-26", "I10")
def test_a_resource_that_raises_is_an_empty_500() -> None:
    """A bug below gets an empty 500, and the log learns the exception's name only."""
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    [answer] = Wire(leaf=raising(lambda request: None)).connect().send(request())
    globalLogPublisher.removeObserver(events.append)
    assert (answer.status, answer.headers, answer.body) == (500, REFUSED, b"")
    assert [event["kind"] for event in events if "kind" in event] == ["ValueError"]
    assert "secret" not in repr(events)


def test_a_resource_that_raises_in_the_middle_is_cut_off() -> None:
    """After a part of an answer there is no other to give."""

    def write(request: server.Request) -> None:
        request.setHeader(b"content-length", b"9")
        request.write(b"part")

    connection = Wire(leaf=raising(write)).connect()
    connection.channel.dataReceived(request())
    assert connection.transport.aborted
    assert connection.transport.value().endswith(b"\r\n\r\npart")


@pytest.mark.proves("HTTP-23")
def test_head_is_answered_by_a_head() -> None:
    """An answer to HEAD has the length but not the body."""
    connection = Wire().connect()
    connection.channel.dataReceived(request(method=b"HEAD"))
    [answer] = parse_answers(connection.transport.value(), bodies=False)
    assert (answer.status, answer.headers["content-length"]) == (200, "2")


@pytest.mark.proves("SEC-17")
def test_what_is_refused_is_logged_without_what_it_said() -> None:
    """A refusal is an event with the peer and the status, and without a word of the request."""
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    Wire().connect("192.0.2.9").send(b"GET /secret?secret=secret HTTP/1.1\r\nsecret\r\n\r\n")
    globalLogPublisher.removeObserver(events.append)
    assert [(event["peer"], event["status"]) for event in events if "status" in event] == [("192.0.2.9", 400)]
    assert "secret" not in repr(events)


@given(
    st.lists(
        st.sampled_from([*b"\r\n :;/?", *range(256)]).map(lambda octet: bytes((octet,)))
        | st.sampled_from(
            [
                b"\r\n",
                b"\r\n\r\n",
                b"GET / HTTP/1.1\r\n",
                b"POST / HTTP/1.0\r\n",
                b"Content-Length: 5\r\n",
                b"Content-Length: 999\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"5\r\nabcde\r\n",
                b"0\r\n\r\n",
                b"Expect: 100-continue\r\n",
                b"Connection: close\r\n",
            ]
        ),
        max_size=40,
    )
)
@pytest.mark.proves("I9")
def test_whatever_arrives_is_answered_or_closed(pieces: list[bytes]) -> None:
    """Any bytes leave a connection that is well-formed to its client, and closed once it falls silent."""
    wire = Wire()
    connection = wire.connect()
    for piece in pieces:
        connection.channel.dataReceived(piece)
    connection.read()
    wire.clock.pump([1] * 33)
    assert connection.transport.aborted
    assert connection.channel.phase is Phase.CLOSING
    assert wire.clock.getDelayedCalls() == []


def test_requests_have_no_cookies() -> None:
    """Cookies are not even looked at."""
    wire = Wire(leaf=Leaf(at_once=False))
    wire.connect().send(request(headers=(b"Cookie: a=b",)))
    [pending] = wire.leaf.open
    assert isinstance(pending, BoundedRequest)
    assert pending.received_cookies == {}
    wire.leaf.finish()


def test_an_answer_may_come_later() -> None:
    """A resource that answers later does so on the same connection."""
    wire = Wire(leaf=Leaf(at_once=False))
    connection = wire.connect()
    assert connection.send(request()) == []
    waited: Deferred[None] = Deferred()
    waited.addCallback(lambda _: wire.leaf.finish(b"later"))
    wire.clock.callLater(20, waited.callback, None)
    wire.clock.advance(20)
    assert [answer.body for answer in connection.read()] == [b"later"]
    assert connection.open


def test_closing_twice_is_closing_once() -> None:
    """A resource that hangs up itself may still finish, and the client reads what it wrote before."""
    wire = Wire(leaf=Leaf(at_once=False))
    connection = wire.connect()
    connection.send(request(headers=(b"Connection: close",)))
    wire.leaf.open[0].loseConnection()
    wire.leaf.finish()
    assert connection.transport.half_closed


def test_a_pause_between_requests_is_only_a_pause() -> None:
    """A full buffer that empties before the next request changes nothing."""
    connection = Wire().connect()
    connection.channel.pauseProducing()
    assert connection.transport.producerState == "paused"
    connection.channel.resumeProducing()
    assert connection.transport.producerState == "producing"
    assert connection.send(request())[0].status == 200
