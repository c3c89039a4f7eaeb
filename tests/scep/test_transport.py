from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import Refused
from scepra.scep import der, oid
from scepra.scep.transport import (
    CONTENT_TYPE_CA_CAPS,
    CONTENT_TYPE_CA_CERT,
    CONTENT_TYPE_CA_RA_CERT,
    CONTENT_TYPE_CA_RA_CERT_CHAIN,
    CONTENT_TYPE_NEXT_CA_CERT,
    CONTENT_TYPE_PKI_MESSAGE,
    Operation,
    OperationKind,
    encode_query,
    parse_operation,
    read_path,
    split_target,
)

PLUSES = b"++++++++++++++++//4="
FOURTEEN = bytes.fromhex("fbefbefbefbefbefbefbefbefffe")
SIGNED = der.sequence(
    der.oid(oid.SIGNED_DATA), der.explicit(0, der.sequence(der.integer(1), der.octet_string(b"x" * 200)))
)
INDEFINITE = b"\x30\x80" + der.oid(oid.SIGNED_DATA) + b"\xa0\x80\x30\x80\x00\x00\x00\x00\x00\x00"


def get(message: bytes) -> bytes:
    """What a GET with this text as its message carries."""
    operation = parse_operation("GET", b"operation=PKIOperation&message=" + message, b"")
    assert operation.kind is OperationKind.PKI_OPERATION
    assert operation.ca_identifier is None
    return operation.message


def post(body: bytes, query: bytes = b"operation=PKIOperation") -> bytes:
    operation = parse_operation("POST", query, body)
    assert operation.kind is OperationKind.PKI_OPERATION
    return operation.message


def refusal(method: str, query: bytes, body: bytes = b"") -> Refused:
    with pytest.raises(Refused) as caught:
        parse_operation(method, query, body)
    return caught.value


@pytest.mark.proves("HTTP-02", "HTTP-03")
@pytest.mark.parametrize(
    "escaped",
    [
        quote_from_bytes(PLUSES, safe="").encode(),
        PLUSES.replace(b"+", b"%2B") + b"%0A",
        PLUSES.replace(b"=", b"%3D"),
        PLUSES,
    ],
    ids=["all", "plus and newline", "padding only", "nothing"],
)
def test_base64_is_read_from_the_raw_query_however_much_of_it_is_escaped(escaped: bytes) -> None:
    """A message by GET means the same whether all, some or none of its base64 is percent-encoded."""
    assert get(escaped) == FOURTEEN


@pytest.mark.proves("HTTP-04")
@pytest.mark.parametrize("space", [b" ", b"%20"])
def test_a_space_is_the_plus_that_a_proxy_took_away(space: bytes) -> None:
    """A space in the base64 reads as the plus sign that somebody form-decoded."""
    assert get(PLUSES.replace(b"+", space)) == FOURTEEN


@pytest.mark.proves("HTTP-05")
@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("ending", [b"%0A", b"%0D%0A", b"%09%0a", b"\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_are_joined(width: int, ending: bytes, last: bool) -> None:
    """Base64 broken into lines of any usual width, with or without a last line break, is read."""
    text = b64encode(SIGNED)
    lines = ending.join(text[i : i + width].replace(b"+", b"%2B") for i in range(0, len(text), width))
    assert get(lines + (ending if last else b"")) == SIGNED


@pytest.mark.proves("HTTP-06")
@pytest.mark.parametrize("content", [b"123", b"1234", b"12345"])
def test_padding_may_be_missing_or_surplus(content: bytes) -> None:
    """No padding, too little and too much of it read as the right amount."""
    bare = b64encode(content).rstrip(b"=")
    for padding in (b"", b"=", b"==", b"===", b"%3D%3D"):
        assert get(bare + padding) == content


@pytest.mark.proves("HTTP-07")
def test_either_alphabet_but_not_both() -> None:
    """URL-safe base64 is read like the other, and a mixture is refused."""
    content = bytes(range(256))
    assert get(b64encode(content)) == get(urlsafe_b64encode(content)) == content
    for mixed in (b"+_AA", b"-/AA", b"AA-%2B", b"_ AA"):
        assert refusal("GET", b"operation=PKIOperation&message=" + mixed).status == 400


@pytest.mark.proves("HTTP-08")
@pytest.mark.parametrize("text", [PLUSES, b64encode(SIGNED)[:64] + b"\n" + b64encode(SIGNED)[64:]])
def test_one_extra_round_of_percent_encoding(text: bytes) -> None:
    """Escaping twice is undone, escaping three times is refused."""
    once = quote_from_bytes(text, safe="")
    twice = quote(once, safe="")
    assert get(twice.encode()) == get(once.encode()) != b""
    for thrice in (quote(twice, safe=""), "AA%252B%25252B"):
        assert refusal("GET", b"operation=PKIOperation&message=" + thrice.encode()).status == 400


@pytest.mark.proves("HTTP-09")
@pytest.mark.parametrize(
    "text",
    [b"A", b"AAAAA", b"AA=A", b"%", b"%zz", b"AA!A", b"\xff\xfe", b"AAAA%00", b"AAAA;AAAA", b"AAA,", b"====", b"%0A"],
)
def test_anything_else_is_no_base64(text: bytes) -> None:
    """What is left after all tolerance is decoded strictly, and the refusal does not quote it."""
    refused = refusal("GET", b"operation=PKIOperation&message=" + text)
    assert refused.status == 400
    assert text.decode("latin-1") not in refused.reason


@pytest.mark.proves("HTTP-10")
@pytest.mark.parametrize("query", [b"", b"&message=", b"&message"])
def test_an_enrolment_needs_a_message(query: bytes) -> None:
    """PKIOperation by GET without a message is refused."""
    assert refusal("GET", b"operation=PKIOperation" + query).status == 400


@pytest.mark.proves("HTTP-10", "CERT-20")
@pytest.mark.parametrize("name", ["GetCACaps", "GetCACert", "GetNextCACert"])
@pytest.mark.parametrize(
    ("query", "identifier"),
    [
        (b"", None),
        (b"&message=", None),
        (b"&message", None),
        (b"&message=*", "*"),
        (b"&message=0", "0"),
        (b"&message=CAIdentifier", "CAIdentifier"),
        (b"&message=default", "default"),
        (b"&message=ra.example.com", "ra.example.com"),
        (b"&message=A%20CA%2C%20%C3%A4", "A CA, ä"),
        (b"&message=%FF", "�"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_other_operations_take_any_identifier(method: str, name: str, query: bytes, identifier: str | None) -> None:
    """On the other operations the message is plain text that names a CA, and never an error."""
    operation = parse_operation(method, b"operation=" + name.encode() + query, b"")
    assert operation == Operation(OperationKind(name), b"", identifier)


@pytest.mark.proves("HTTP-11")
@pytest.mark.parametrize("query", [b"", b"operation=", b"operation=Enroll", b"x=y", b"message=text"])
@pytest.mark.parametrize("body", [SIGNED, INDEFINITE], ids=["DER", "BER"])
def test_a_post_of_signed_data_is_an_enrolment_whatever_it_is_called(query: bytes, body: bytes) -> None:
    """A POST whose operation is absent or unknown is a PKIOperation when its body is CMS SignedData."""
    assert post(body, query) == body


@pytest.mark.proves("HTTP-11")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"operation=PKIOperation",
        b"\x30\x00",
        der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"x"))),
        der.sequence(der.oid(oid.SIGNED_DATA), der.octet_string(b"x")),
        der.sequence(der.integer(1), der.explicit(0)),
        b"\x30\x80" + der.oid(oid.SIGNED_DATA),
    ],
)
def test_any_other_post_needs_an_operation(body: bytes) -> None:
    """A POST that names no operation and holds no SignedData is refused."""
    assert refusal("POST", b"", body).status == 400


@pytest.mark.proves("HTTP-11")
def test_a_get_needs_an_operation() -> None:
    """A GET without an operation is refused."""
    for query in (b"", b"operation", b"operation=", b"message=AAAA"):
        assert refusal("GET", query).status == 400


@pytest.mark.proves("AC-001")
@pytest.mark.parametrize("name", [b"GetCACert", b"GetCACaps", b"GetNextCACert", b"GetCACertChain"])
def test_a_body_does_not_change_the_operation(name: bytes) -> None:
    """A form in the body of a POST does not turn a harmless operation into an enrolment."""
    body = b"operation=PKIOperation&message=" + quote_from_bytes(b64encode(SIGNED), safe="").encode()
    assert refusal("POST", b"operation=" + name, body).status == 400
    assert refusal("POST", b"operation=" + name, SIGNED).status == 400


@pytest.mark.proves("HTTP-12", "HTTP-13", "CERT-22")
@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (b"Operation=getcacaps", OperationKind.GET_CA_CAPS),
        (b"OPERATION=GETCACERT", OperationKind.GET_CA_CERT),
        (b"%6Fperation=GetCA%43ert", OperationKind.GET_CA_CERT),
        (b"operation=GetCACertChain", OperationKind.GET_CA_CERT_CHAIN),
        (b"operation=GetCAChain", OperationKind.GET_CA_CERT_CHAIN),
        (b"operation=getcachain", OperationKind.GET_CA_CERT_CHAIN),
        (b"operation=GetNextCaCert", OperationKind.GET_NEXT_CA_CERT),
        (b"operation=pkioperation&Message=QUJD", OperationKind.PKI_OPERATION),
    ],
)
def test_names_are_read_in_any_case(query: bytes, kind: OperationKind) -> None:
    """Operations and parameters are found in any case, and by certmonger's name for the chain."""
    assert parse_operation("GET", query, b"").kind is kind


@pytest.mark.proves("HTTP-13")
def test_an_unknown_operation_is_refused() -> None:
    """An operation that SCEP does not have is refused."""
    assert refusal("GET", b"operation=Foo").status == 400


@pytest.mark.proves("HTTP-20")
@pytest.mark.parametrize(
    "content", [SIGNED, INDEFINITE, der.sequence(der.integer(1))], ids=["long", "indefinite", "short"]
)
@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b" \t\r\n\r\n"])
def test_white_space_may_follow_a_binary_body(content: bytes, tail: bytes) -> None:
    """A body is binary first, and the line break that some clients add is dropped."""
    assert post(content + tail) == content


@pytest.mark.proves("HTTP-20")
def test_text_bodies_are_read() -> None:
    """A body in base64, in lines or not, or in PEM is the message it encodes."""
    text = b64encode(SIGNED)
    lines = b"\r\n".join(text[i : i + 64] for i in range(0, len(text), 64)) + b"\r\n"
    assert text.startswith(b"MI")
    for body in (
        text,
        lines,
        text + b" \n",
        text.rstrip(b"="),
        urlsafe_b64encode(SIGNED),
        b"-----BEGIN PKCS7-----\r\n" + lines + b"-----END PKCS7-----\r\n",
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + text + b"\n-----END CERTIFICATE REQUEST-----",
    ):
        assert post(body) == SIGNED


@pytest.mark.proves("HTTP-20")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x30",
        b"\x30\x05\x02\x01",
        b"\x30\xff",
        b"\x30\x84\xff\xff\xff\xff",
        SIGNED[:-1],
        SIGNED + b"x",
        SIGNED + b"\0",
        SIGNED + b"\n.",
        b"\n" + SIGNED,
        b64encode(SIGNED) + b"!",
        b64encode(b64encode(SIGNED)),
        b"MIII",
        b"MAMCAQE=",
        b"MI\xff",
        b"-----BEGIN PKCS7-----\nMIII",
        b"-----BEGIN PKCS7-----\n-----END PKCS7-----",
        b"-----BEGIN PKCS7-----\nAQID\n-----END PKCS7-----",
        b"-----BEGIN A-----\nMAA=\n-----END A-----\n-----BEGIN A-----\nMAA=\n-----END A-----",
        b"message=" + b64encode(SIGNED),
    ],
)
def test_other_bodies_are_refused(body: bytes) -> None:
    """A body that is cut short, followed by anything but white space, or encoded twice is refused."""
    assert refusal("POST", b"operation=PKIOperation", body).status == 400


def test_head_asks_for_no_enrolment() -> None:
    """HEAD cannot start what GET would."""
    assert refusal("HEAD", b"operation=PKIOperation&message=QUJD").status == 400


@pytest.mark.proves("HTTP-23", "AC-010")
@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "CONNECT", "get", "", "X" * 1000])
def test_other_methods_have_a_status_of_their_own(method: str) -> None:
    """Only GET, HEAD and POST, spelled so, are methods of SCEP."""
    assert refusal(method, b"operation=GetCACaps").status == 405


@pytest.mark.proves("HTTP-30", "AC-002")
@pytest.mark.parametrize(
    "query",
    [
        b"operation=GetCACaps&operation=PKIOperation&message=QUJD",
        b"operation=PKIOperation&message=QUJD&message=QUJE",
        b"operation=PKIOperation&message=QUJD&message=",
        b"Operation=GetCACaps&operation=GetCACert",
        b"operation=GetCACaps&%6Fperation=GetCACert",
        b"operation=GetCACaps&operation",
        b"operation=GetCACaps&operation%00=PKIOperation",
        b"operation%00=GetCACaps",
        b"operation=GetCACaps;operation=PKIOperation;message=QUJD",
        b"operation=GetCACaps%00",
        b"operation=GetCACaps" + b"&a=b" * 64,
    ],
)
def test_a_query_that_can_be_read_in_two_ways_is_refused(query: bytes) -> None:
    """Duplicates that contradict each other are refused; a semicolon separates nothing and NUL ends nothing."""
    assert refusal("GET", query).status == 400


@pytest.mark.proves("HTTP-30", "AC-002")
@pytest.mark.parametrize(
    "query",
    [
        b"operation=GetCACaps&operation=getcacaps",
        b"operation=GetCACaps&message=a&message=a",
        b"operation=GetCACaps&foo=bar&foo=baz&&=",
        b"a;operation=PKIOperation&operation=GetCACaps",
    ],
)
def test_repeated_and_unknown_parameters_do_no_harm(query: bytes) -> None:
    """Equal duplicates count once, and parameters that SCEP does not have are ignored."""
    assert parse_operation("GET", query, b"").kind is OperationKind.GET_CA_CAPS


@given(st.sampled_from(["GET", "POST", "HEAD"]), st.binary(max_size=300), st.binary(max_size=300))
@pytest.mark.proves("HTTP-09")
def test_no_bytes_raise_anything_else(method: str, query: bytes, body: bytes) -> None:
    """Any query and any body give an operation or a refusal."""
    for started in (query, b"operation=PKIOperation&message=" + query, b"operation=PKIOperation&" + query):
        for content in (body, b"\x30" + body, b"MI" + body, b"-----BEGIN X-----" + body + b"-----END X-----"):
            try:
                operation = parse_operation(method, started, content)
            except Refused as refused:
                assert refused.status == 400
            else:
                assert isinstance(operation.kind, OperationKind)


@given(st.binary(min_size=1, max_size=400))
@pytest.mark.proves("HTTP-02", "HTTP-12")
def test_what_we_send_is_what_we_read(message: bytes) -> None:
    """A query made for an upstream is canonical, fully escaped, and decodes to the same message."""
    query = encode_query(OperationKind.PKI_OPERATION, message)
    assert query.startswith("operation=PKIOperation&message=")
    assert not set("+/ ") & set(query)
    assert parse_operation("GET", query.encode(), b"") == Operation(OperationKind.PKI_OPERATION, message)


def test_queries_that_carry_no_message() -> None:
    """A query names the operation alone, or with the CA's identifier as text."""
    assert encode_query(OperationKind.PKI_OPERATION) == "operation=PKIOperation"
    assert encode_query(OperationKind.GET_CA_CAPS) == "operation=GetCACaps"
    assert encode_query(OperationKind.GET_CA_CERT, ca_identifier="My CA") == "operation=GetCACert&message=My%20CA"


@pytest.mark.proves("HTTP-24")
def test_content_types_are_letter_by_letter() -> None:
    """The content types of answers are those of the RFC and the drafts, in lower case, without parameters."""
    assert CONTENT_TYPE_CA_CAPS == "text/plain"
    assert CONTENT_TYPE_CA_CERT == "application/x-x509-ca-cert"
    assert CONTENT_TYPE_CA_RA_CERT == "application/x-x509-ca-ra-cert"
    assert CONTENT_TYPE_CA_RA_CERT_CHAIN == "application/x-x509-ca-ra-cert-chain"
    assert CONTENT_TYPE_NEXT_CA_CERT == "application/x-x509-next-ca-cert"
    assert CONTENT_TYPE_PKI_MESSAGE == "application/x-pki-message"


@pytest.mark.proves("HTTP-14")
@pytest.mark.parametrize(
    ("path", "segments"),
    [
        (b"/", ()),
        (b"", ()),
        (b"/scep", ("scep",)),
        (b"/scep/", ("scep",)),
        (b"//SCEP//WiFi/", ("scep", "wifi")),
        (b"/scep/wifi/pkiclient.exe", ("scep", "wifi")),
        (b"/cgi-bin/pkiclient.exe", ("cgi-bin",)),
        (b"/CGI-BIN/PKIClient.exe/", ("cgi-bin",)),
        (b"/certsrv/mscep", ("certsrv", "mscep")),
        (b"/CertSrv/mscep/", ("certsrv", "mscep")),
        (b"/certsrv/mscep/mscep.dll", ("certsrv", "mscep")),
        (b"/CertSrv/mscep/mscep.dll/pkiclient.exe", ("certsrv", "mscep")),
        (b"/certsrv/mscep_admin/mscep.dll", ("certsrv", "mscep_admin", "mscep.dll")),
        (b"/certsrv/mscep_admin/mscep.dll/pkiclient.exe", ("certsrv", "mscep_admin", "mscep.dll")),
        (b"/certsrv/mscep_admin/", ("certsrv", "mscep_admin")),
        (b"/sc%65p/caf%C3%A9", ("scep", "café")),
        (b"/%2573cep", ("%73cep",)),
        (b"/scep\\..\\x", ("scep\\..\\x",)),
    ],
)
def test_paths_are_reduced_to_what_tells_profiles_apart(path: bytes, segments: tuple[str, ...]) -> None:
    """Case, empty segments and the file names that clients append to any URL do not matter."""
    assert read_path(path) == segments


@pytest.mark.proves("HTTP-15", "AC-008")
@pytest.mark.parametrize(
    "path",
    [
        b"/scep/..%2f..%2fadmin",
        b"/scep/%2e%2e/metrics",
        b"/scep/../metrics",
        b"/./scep",
        b"/scep%2Fwifi",
        b"/scep/p%00x",
        b"/scep/\0",
        b"/scep/%c0%ae",
        b"/scep/\xff",
        b"/a" * 8000,
        b"/a" * 33,
        b"/" + b"a" * 1024,
    ],
)
def test_paths_that_play_tricks_lead_nowhere(path: bytes) -> None:
    """Traversal, NUL, encoded slashes, overlong UTF-8 and endless paths are refused like an unknown path."""
    with pytest.raises(Refused) as caught:
        read_path(path)
    assert caught.value.status == 404


@pytest.mark.proves("AC-008")
@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/scep", b"/scep", b""),
        (b"/scep?a?b#c", b"/scep", b"a?b#c"),
        (b"//h/p?q", b"//h/p", b"q"),
        (b"http://127.0.0.1:8081/api?x=/scep", b"/api", b"x=/scep"),
        (b"HTTPS://ra/scep?operation=GetCACaps", b"/scep", b"operation=GetCACaps"),
        (b"http://ra?operation=GetCACaps", b"", b"operation=GetCACaps"),
        (b"http://ra", b"", b""),
    ],
)
def test_targets_are_split_at_the_first_question_mark(target: bytes, path: bytes, query: bytes) -> None:
    """The authority of an absolute target chooses nothing: only its path and query count."""
    assert split_target(target) == (path, query)


@pytest.mark.proves("AC-008")
@pytest.mark.parametrize("target", [b"*", b"ra.example.com:443", b"ftp://ra/scep", b"http:///scep", b"scep", b""])
def test_targets_without_a_path_lead_nowhere(target: bytes) -> None:
    """The forms of CONNECT and OPTIONS, and other schemes, are refused."""
    with pytest.raises(Refused) as caught:
        split_target(target)
    assert caught.value.status == 404


@given(st.binary(max_size=200))
@pytest.mark.proves("HTTP-15")
def test_no_target_raises_anything_else(target: bytes) -> None:
    """Any request target gives segments or a 404."""
    try:
        path, _ = split_target(b"/" + target)
        segments = read_path(path)
    except Refused as refused:
        assert refused.status == 404
    else:
        assert all(segment and "/" not in segment and "\0" not in segment for segment in segments)
        assert ".." not in segments
