"""An enrolment over HTTP as clients really speak it, to the whole RA (conformance 1; security response rules)."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import pytest

from scepra.scep import oid
from scepra.scep.message import PKIStatus
from tests import csrs
from tests.rig.denial import Denials, denials
from tests.rig.device import KEY, PEER, Response, ask, granted, post, request, sound
from tests.rig.forge import ReadAnswer, read_answer
from tests.rig.house import House

PKI = "/scep?operation=PKIOperation"


def read(house: House, response: Response) -> ReadAnswer:
    """A CertRep, opened."""
    assert response.status == 200
    return read_answer(response.body, house.authority.keyring.current.signing.certificate, KEY)


def outcome(house: House, response: Response) -> str:
    """The pkiStatus of a CertRep."""
    assert response.status == 200
    return read_answer(response.body, house.authority.keyring.current.signing.certificate).text(oid.PKI_STATUS)


def escaped(text: str) -> str:
    return quote(text, safe="")


WAYS_OF_GET: dict[str, Callable[[str], str]] = {
    "all escaped": escaped,
    "plus and newline escaped": lambda text: text.replace("+", "%2B").replace("\n", "%0A"),
    "equals escaped": lambda text: text.replace("=", "%3D"),
    "nothing escaped": lambda text: text,
    "spaces for plus": lambda text: escaped(text.replace("+", " ")),
    "lines": lambda text: escaped("\n".join(textwrap.wrap(text, 64)) + "\n"),
    "carriage returns": lambda text: escaped("\r\n".join(textwrap.wrap(text, 76)) + "\r\n"),
    "without padding": lambda text: escaped(text.rstrip("=")),
    "URL-safe": lambda text: text.replace("+", "-").replace("/", "_"),
    "escaped twice": lambda text: escaped(escaped(text)),
}


@pytest.mark.proves("HTTP-01", "HTTP-02", "HTTP-03", "HTTP-04", "HTTP-05", "HTTP-06", "HTTP-07", "HTTP-08", "PEER-08")
@pytest.mark.parametrize("way", WAYS_OF_GET)
def test_get_and_post_are_one(shared: House, way: str) -> None:
    """A message by GET, however it is spelt, has the answer that it has by POST: the same certificate."""
    forge = sound(shared, transaction_id="by GET and by POST")
    message = forge.message()
    posted = granted(shared, forge)
    encoded = WAYS_OF_GET[way](base64.b64encode(message).decode())
    for target in (f"{PKI}&message={encoded}", f"/scep?message={encoded}&operation=PKIOperation"):
        got = read(shared, ask(shared, "GET", target))
        assert got.certificates() == posted.certificates()
        varying = oid.dotted(oid.SENDER_NONCE), oid.dotted(oid.MESSAGE_DIGEST)
        assert {kind: value for kind, value in got.attributes.items() if kind not in varying} == {
            kind: value for kind, value in posted.attributes.items() if kind not in varying
        }


@pytest.mark.proves("HTTP-18", "HTTP-19", "AC-001", "HTTP-11")
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/x-pki-message",
        "application/octet-stream",
        "application/pkcs7",
        "application/pki-message",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "nonsense",
    ],
)
def test_content_types_of_requests(shared: House, content_type: str | None) -> None:
    """A message is enrolled whatever its content type claims, with a known operation, an unknown one and none."""
    headers = {"content-type": content_type} if content_type else {}
    for target in (PKI, "/scep", "/scep?operation=Enrol", "/scep?Operation=pkioperation"):
        response = ask(shared, "POST", target, data=sound(shared).message(), headers=headers)
        assert outcome(shared, response) == PKIStatus.SUCCESS.value


@pytest.mark.proves("AC-001", "HTTP-19", "I1")
def test_a_form_does_not_override_the_query(shared: House, deny: Denials) -> None:
    """A form that asks for an enrolment behind a query that does not is no enrolment."""
    body = b"operation=PKIOperation&message=" + base64.b64encode(sound(shared).message())
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"content-type": content_type}
        deny.request("POST", "/scep?operation=GetCACert", 400, data=body, headers=headers)
        deny.request("POST", PKI, 400, data=body, headers=headers)
        deny.request("POST", "/scep", 400, data=body, headers=headers)


@pytest.mark.proves("AC-002", "HTTP-30", "I1")
def test_parameters_that_contradict_each_other(shared: House, deny: Denials) -> None:
    """Two operations or two messages are refused; a semicolon separates nothing."""
    message = escaped(base64.b64encode(sound(shared).message()).decode())
    for query in (
        f"operation=GetCACaps&operation=PKIOperation&message={message}",
        f"operation=PKIOperation&operation=GetCACaps&message={message}",
        f"operation=GetCACaps;operation=PKIOperation;message={message}",
        f"operation=PKIOperation&message=MIIB&message={message}",
        f"operation=PKIOperation&message={message}&Message=MIIB",
        f"operation=PKIOperation;message={message}",
        f"operation%00=PKIOperation&message={message}",
        f"message={message}",
        "operation=PKIOperation",
        "operation=PKIOperation&message=",
        "",
    ):
        deny.request("GET", f"/scep?{query}", 400)
    equal = f"operation=PKIOperation&operation=PKIOperation&message={message}&message={message}&x=y"
    response = ask(shared, "GET", f"/scep?{equal}")
    assert outcome(shared, response) == PKIStatus.SUCCESS.value


@pytest.mark.proves("HTTP-20", "AC-020")
def test_bodies_in_text(shared: House, deny: Denials) -> None:
    """A body in base64, in lines or in PEM, and one with white space behind it, is enrolled; other octets are not."""
    message = sound(shared).message()
    encoded = base64.b64encode(message)
    for body in (
        encoded,
        base64.encodebytes(message),
        csrs.pem(message, "PKCS7"),
        csrs.pem(message, "CMS").replace(b"\n", b"\r\n"),
        message + b"\r\n",
        message + b" \t\r\n",
    ):
        assert outcome(shared, post(shared, body)) == PKIStatus.SUCCESS.value
    others = message + b"\0", message + b"x", encoded + b"!", b"\n" + message, message[:-1], b"", b"MIIB", b"-----BEGIN"
    for body in others:
        deny.bare(body)


@pytest.mark.proves("HTTP-09", "HTTP-26")
def test_rubbish_by_get(shared: House, deny: Denials) -> None:
    """What is no base64, and what is no message in it, is a 400 that repeats none of it."""
    for rubbish in ("%00", "nonsense!", "%25%25", "MIIB", escaped("<script>"), "AA" * 5000, "%F0%9F", "====", "A"):
        deny.request("GET", f"{PKI}&message={rubbish}", 400)


@pytest.mark.proves("HTTP-13", "CERT-22", "HTTP-12", "CERT-34", "HTTP-24")
def test_operations(shared: House, deny: Denials) -> None:
    """Every name that clients use for an operation is known in any case; the others are refused without a body."""
    chain = ask(shared, "GET", "/scep?operation=GetCACert").body
    for name in ("GetCACertChain", "GetCAChain", "getcachain", "GETCACERTCHAIN"):
        answer = ask(shared, "GET", f"/scep?operation={name}")
        assert (answer.status, answer.body) == (200, chain)
        assert answer.headers["content-type"] == "application/x-x509-ca-ra-cert-chain"
    for name in ("Foo", "GetCACertificate", "PKIOperation2", "%47etCAFoo", "GetCACert%0A"):
        assert deny.request("GET", f"/scep?operation={name}", 400).headers["content-length"] == "0"
    for method in ("GET", "POST"):
        assert deny.request(method, "/scep?operation=GetNextCACert", 501).headers["content-length"] == "0"
        caps = ask(shared, method, "/scep?operation=GetCACaps")
        assert (caps.status, caps.headers["content-type"]) == (200, "text/plain")


@pytest.mark.proves("CERT-20", "CERT-21", "HTTP-10")
@pytest.mark.parametrize("operation", ["GetCACaps", "GetCACert", "GetCACertChain"])
def test_identifiers(shared: House, operation: str) -> None:
    """Whatever identifier a client sends, it gets what it gets without one."""
    expected = ask(shared, "GET", f"/scep?operation={operation}").body
    identifiers = (
        "",
        "=",
        "=*",
        "=0",
        "=1",
        "=32",
        "=CAIdentifier",
        "=default",
        "=ra.example",
        "=%00",
        "=a%20b",
        "=../x",
    )
    for identifier in identifiers:
        answer = ask(shared, "GET", f"/scep?operation={operation}&message{identifier}")
        assert (answer.status, answer.body) == (200, expected)


@pytest.mark.proves("HTTP-14", "HTTP-15", "AC-008", "AC-014", "HTTP-26")
def test_paths(shared: House, deny: Denials) -> None:
    """The spellings that clients make of a path lead to its profile, and all other paths to an empty 404."""
    message = sound(shared).message()
    for path in ("/scep", "/scep/", "//scep//", "/SCEP", "/scep/pkiclient.exe", "/Scep//PKIClient.exe", "/%73cep"):
        response = ask(shared, "POST", f"{path}?operation=PKIOperation", data=message)
        assert outcome(shared, response) == PKIStatus.SUCCESS.value
    tricks = "/scep/../scep", "/scep/%2e%2e/scep", "/scep%2f", "/scep/..%2f", "/scep%00", "/%c0%ae", "/scep/%252e%252e"
    for path in (*tricks, "/", "/other", "/scep/other", "/certsrv/mscep_admin/", "/metrics", "/healthz", "/admin"):
        deny.request("POST", f"{path}?operation=PKIOperation", 404, data=message)


@pytest.mark.proves("HTTP-23", "AC-010", "HTTP-26", "I1")
def test_methods(shared: House, deny: Denials) -> None:
    """Other methods than GET, POST and HEAD are refused with those that are allowed; HEAD enrols nobody."""
    encoded = escaped(base64.b64encode(sound(shared).message()).decode())
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "post", "INVENTED"):
        refused = deny.request(method, f"{PKI}&message={encoded}", 405, headers={"X-HTTP-Method-Override": "POST"})
        assert refused.headers["allow"] == "GET, POST, HEAD"
    deny.request("HEAD", f"{PKI}&message={encoded}", 400)


@pytest.mark.proves("HTTP-25", "HTTP-24", "HTTP-27")
def test_every_cert_rep_is_a_200(shared: House) -> None:
    """A certificate, a refused challenge, a bad signature and a poll for nothing: each is a 200 that nobody stores."""
    messages = {
        "issued": sound(shared),
        "challenge": sound(shared, csr=request(shared, challenge="wrong")),
        "signature": sound(shared, signature=lambda signed: bytes(256)),
        "poll": sound(shared, message_type="20", transaction_id="unknown"),
        "content": sound(shared, content=b"x"),
    }
    conditional = {"if-none-match": "*", "if-modified-since": "Fri, 31 Dec 2049 23:59:59 GMT", "range": "bytes=0-1"}
    for name, forge in messages.items():
        encoded = escaped(base64.b64encode(forge.message()).decode())
        for answer in (
            post(shared, forge.message()),
            post(shared, forge.message(), headers=conditional),
            ask(shared, "GET", f"{PKI}&message={encoded}", headers=conditional),
        ):
            assert answer.status == 200, name
            assert answer.headers["content-type"] == "application/x-pki-message"
            assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
            assert int(answer.headers["content-length"]) == len(answer.body)
            assert not answer.headers.keys() & {"etag", "last-modified", "location", "server"}
            assert shared.records[-1]["outcome"] == ("issued" if name == "issued" else "refused")


@pytest.mark.proves("AC-011", "RA-33", "I7")
def test_addresses_by_headers(shared: House, deny: Denials) -> None:
    """What headers say about the peer is not believed: the record has the address that connected."""
    wrong = sound(shared, csr=request(shared, challenge="wrong")).message()
    claims = {
        "X-Forwarded-For": "198.51.100.66",
        "Forwarded": "for=198.51.100.66",
        "X-Real-IP": "198.51.100.66",
        "X-SSL-Client-Cert": "MIIB",
        "X-SSL-Client-Verify": "SUCCESS",
    }
    assert outcome(shared, post(shared, wrong, headers=claims)) == PKIStatus.FAILURE.value
    assert shared.records[-1]["source"] == PEER
    assert "198.51.100.66" not in repr(shared.events[-3:])


@pytest.mark.proves("SEC-17", "I10", "RA-33", "DR-20")
def test_secrets_in_the_target(shared: House) -> None:
    """A message by GET holds everything in its target: the log has the path alone, and no challenge in any form."""
    secret = "Canary+Challenge/in=GET"
    with denials(shared, secret) as deny:
        forge = sound(shared, csr=request(shared, challenge=secret))
        deny(forge)
        for message in (forge, replace(forge, transaction_id="")):
            events = len(shared.events)
            encoded = escaped(base64.b64encode(message.message()).decode())
            ask(shared, "GET", f"{PKI}&message={encoded}")
            ours = [event for event in shared.events[events:] if not event["log_namespace"].startswith("scepra.lab")]
            assert len(ours) == 1
            assert encoded[:40] not in repr(ours)
            assert secret not in repr(ours)
        deny.request("GET", f"/scep?operation={escaped(secret)}&message={escaped(secret)}", 400)


@pytest.mark.proves("RA-33", "I7")
def test_record_of_an_enrolment(shared: House) -> None:
    """The record of a decision names peer, transactions, request, names, credential and certificate."""
    granted(shared, sound(shared, csr=request(shared, csrs.carried(csrs.san(csrs.dns("a.example"))))))
    record = shared.records[-1]
    assert record.keys() >= {
        "profile",
        "source",
        "outcome",
        "reference",
        "message_type",
        "transaction",
        "signer_key",
        "request",
        "subject",
        "names",
        "credential",
        "challenge",
        "upstream",
        "upstream_transaction",
        "upstream_status",
        "serial",
        "certificate",
    }
    assert record["challenge"] == "static"


@pytest.mark.proves("PEER-05", "RA-16", "MSG-25", "I4")
def test_the_same_request_again(shared: House) -> None:
    """Another message with the same CSR, under the same transactionID or another one, is the same enrolment; another
    CSR under the same transactionID is another one, also at the CA."""
    forge = sound(shared, transaction_id="polling by PKCSReq")
    forwarded = len(shared.forwarded)
    first = granted(shared, forge)
    for again in (forge, replace(forge, sender_nonce=b"another nonce"), replace(forge, transaction_id="another")):
        assert granted(shared, again).certificates() == first.certificates()
    assert len(shared.forwarded) == forwarded + 1
    other = granted(shared, sound(shared, transaction_id="polling by PKCSReq"))
    assert other.certificates() != first.certificates()
    one, two = [item for item in shared.ca.received if item.message][-2:]
    assert one.transaction_id != two.transaction_id
