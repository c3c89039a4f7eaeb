"""The rule about subjectAltName."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from scepra.scep import der, oid
from tests import csrs
from tests.csrs import CN, dns, name, other, san, upn, value, with_extensions
from tests.policy.sample import EMPTY_SUBJECT, judged, objected

URN = "urn:device:1104"
SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1104"
DNS = {"suffix": "corp.example"}


def email(text: str | bytes) -> bytes:
    return der.tlv(0x81, text.encode() if isinstance(text, str) else text)


def uri(text: str | bytes) -> bytes:
    return der.tlv(0x86, text.encode() if isinstance(text, str) else text)


def ip(octets: str | bytes) -> bytes:
    return der.tlv(0x87, ip_address(octets).packed if isinstance(octets, str) else octets)


def refusals(*names: bytes, **spec: Any) -> list[str]:
    """The paths that a san rule objects to."""
    return objected(with_extensions(san(*names)), {"san": spec})


NAMES = {
    "dns": dns("a.corp.example"),
    "email": email("a@corp.example"),
    "upn": upn("a@corp.example"),
    "uri": uri("https://a.corp.example/"),
    "ip": ip("10.0.0.1"),
    "registered-id": der.tlv(0x88, oid.encode("1.2.3")),
    "directory": der.tlv(0xA4, name(value(CN, "a"))),
    "other": other("1.3.6.1.5.2.2", der.sequence()),
    "x400": der.tlv(0xA3, der.sequence()),
    "edi-party": der.tlv(0xA5, der.tlv(0xA1, der.tlv(der.UTF8_STRING, b"a"))),
}
SPECS: dict[str, Any] = {
    "dns": DNS,
    "email": {"domains": "corp.example"},
    "upn": {"domains": "corp.example"},
    "uri": {"match": "https://.*"},
    "ip": {"networks": ["10.0.0.0/8"]},
    "registered-id": {"allow": ["1.2.3"]},
    "directory": {"match": {"CN": "a"}},
    "other": {"allow": ["1.3.6.1.5.2.2"]},
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.proves("AC-071", "I12", "AC-068")
def test_each_type_must_be_listed(kind: str) -> None:
    """A name is accepted only where its type is listed: alone, beside an allowed DNS name, and where all others are."""
    others = {each: spec for each, spec in SPECS.items() if each != kind}
    assert refusals(NAMES[kind]) == [f"san.{kind}[0]"]
    assert refusals(NAMES[kind], **others) == [f"san.{kind}[0]"]
    assert refusals(NAMES["dns"], NAMES[kind], **(others | {"dns": DNS})) == (
        [] if kind == "dns" else [f"san.{kind}[1]"]
    )
    if kind in SPECS:
        assert refusals(NAMES[kind], **{kind: SPECS[kind]}) == []


@pytest.mark.proves("AC-071", "I12")
def test_no_rule() -> None:
    """Without a san rule every name is refused, even where the extension is allowed."""
    encoding = with_extensions(san(*NAMES.values()))
    paths = [f"san.{kind}[{index}]" for index, kind in enumerate(NAMES)]
    assert objected(encoding) == [*paths, "extensions.subjectAltName"]
    assert objected(encoding, {"extensions": {"allow": "subjectAltName"}}) == paths


@pytest.mark.parametrize("carrier", [oid.EXTENSION_REQUEST, oid.MICROSOFT_EXTENSIONS, oid.VERISIGN_EXTENSIONS])
@pytest.mark.proves("AC-068", "P10-05")
def test_every_carrier_is_judged(carrier: bytes) -> None:
    """A name in the unusual carriers is judged like any other, and accepted like any other."""
    rule = {"san": {"dns": DNS}}
    for text, paths in (("administrator.evil.example", ["san.dns[0]"]), ("a.corp.example", [])):
        assert objected(csrs.build(csrs.carried(san(dns(text)), carrier=carrier)), rule) == paths


@pytest.mark.proves("AC-073")
def test_good_subject_and_evil_names() -> None:
    """An allowed common name does not help an evil DNS name, nor the reverse."""
    rules: list[dict[str, Any]] = [{"subject": {"match": {"CN": "good"}}}, {"san": {"dns": DNS}}]
    for common_name, alternative, paths in (
        ("good", "a.corp.example", []),
        ("good", "evil.example", ["san.dns[0]"]),
        ("evil", "a.corp.example", ["subject.CN"]),
    ):
        encoding = with_extensions(san(dns(alternative)), subject=csrs.subject(common_name))
        assert objected(encoding, *rules) == paths


ATTEMPTS = [
    "x.corp.example.evil.com",
    "xcorpXexample",
    "evilcorp.example",
    "x.corp.example.",
    ".corp.example",
    "*.corp.example",
    "*",
    "w*.corp.example",
    "x.*.corp.example",
    "x.corp.example\n",
    "x.corp.example\0",
    " x.corp.example",
    "x.corp.example ",
    "x..corp.example",
    "-x.corp.example",
    "x-.corp.example",
    "x_y.corp.example",
    "xn--80ak6aa92e.corp.example",
    "XN--80ak6aa92e.corp.example",
    "x" * 64 + ".corp.example",
    ("x." * 130) + "corp.example",
    "",
    b"x.corp.ex\xc3\xa4mple",
    "x.c\u043erp.example",
    "x\uff0ecorp.example",
    "x.corp.example\u202e",
    "x\u200d.corp.example",
    "\u212a.corp.example",
]


@pytest.mark.parametrize("spec", [{"suffix": "corp.example"}, {"match": r".*\.corp\.example"}], ids=["suffix", "match"])
@pytest.mark.parametrize("text", ATTEMPTS)
@pytest.mark.proves("AC-074", "AC-076", "AC-077", "AC-085")
def test_dns_names_that_only_look_right(text: str | bytes, spec: dict[str, Any]) -> None:
    """Tricks with dots, anchors, wildcards, controls, Punycode and look-alikes are refused in both forms."""
    assert refusals(dns(text), dns=spec) == ["san.dns[0]"]


@pytest.mark.parametrize(
    "spec", [{"suffix": ".Corp.example"}, {"match": r"[a-z0-9.-]+\.corp\.example"}], ids=["suffix", "match"]
)
@pytest.mark.parametrize(
    "text", ["x.corp.example", "X.CORP.EXAMPLE", "a.b.corp.example", "1.corp.example", "a--b.corp.example"]
)
@pytest.mark.proves("AC-077")
def test_dns_names_that_are_right(text: str, spec: dict[str, Any]) -> None:
    """Names below the domain are accepted in either letter case."""
    assert refusals(dns(text), dns=spec) == []


@pytest.mark.proves("AC-077")
def test_suffix_itself() -> None:
    """The domain itself is not below itself; several domains may be given."""
    assert refusals(dns("corp.example"), dns=DNS) == ["san.dns[0]"]
    assert refusals(dns("a.b.example"), dns={"suffix": ["corp.example", "b.example"]}) == []


@pytest.mark.proves("AC-077")
def test_bare_dot_in_a_pattern() -> None:
    """In a pattern a dot is any character, so that xcorpXexample matches: which is what the remark is about."""
    assert refusals(dns("xxcorpXexample"), dns={"match": ".*.corp.example"}) == []


@pytest.mark.parametrize("spec", [{"suffix": "corp.example"}, {"match": r".*\.corp\.example"}], ids=["suffix", "match"])
@pytest.mark.proves("AC-077")
def test_stated_wildcard(spec: dict[str, Any]) -> None:
    """Where wildcards are stated, the whole first label may be one, and nothing else."""
    spec = spec | {"wildcard": True}
    assert refusals(dns("*.corp.example"), dns=spec) == []
    assert refusals(dns("*.a.corp.example"), dns=spec) == []
    for text in ("*", "w*.corp.example", "*.*.corp.example", "a.*.corp.example", "*.example", "*.evil.example"):
        assert refusals(dns(text), dns=spec) == ["san.dns[0]"]


@pytest.mark.proves("AC-076")
def test_punycode_where_enabled() -> None:
    """Punycode labels are accepted where the profile says so."""
    assert refusals(dns("xn--80ak6aa92e.corp.example"), dns=DNS | {"idn": True}) == []


@pytest.mark.parametrize(
    "text", ["127.1", "0x7f.1", "2130706433", "127.0.0.1", "0x7f000001", "a.0x7f", "a.1", "0X7F.1", "a.0x"]
)
@pytest.mark.proves("AC-079")
def test_numbers_are_no_dns_names(text: str) -> None:
    """What programs read as an address is no DNS name, whatever the pattern."""
    assert refusals(dns(text), dns={"match": ".*"}) == ["san.dns[0]"]


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("11.0.0.1", False),
        ("::ffff:11.0.0.1", False),
        ("2001:db9::1", False),
        (b"\0\0\0\0", False),
        ("::", False),
        ("::ffff:0.0.0.0", False),
        (b"", False),
        (b"\x0a\0\0", False),
        (b"\x0a\0\0\1\xff", False),
        (b"\x0a\0\0\0\xff\0\0\0", False),
        (b"\x20\x01\x0d\xb8" + b"\0" * 28, False),
    ],
)
@pytest.mark.proves("AC-079")
def test_addresses(address: str | bytes, accepted: bool) -> None:
    """Addresses have 4 or 16 octets, IPv4 is the same in IPv6's clothes, and each is in one of the networks."""
    networks = ["10.0.0.0/8", "2001:db8::/32"]
    assert refusals(ip(address), ip={"networks": networks}) == ([] if accepted else ["san.ip[0]"])


@pytest.mark.proves("AC-079")
def test_unspecified_address() -> None:
    """The unspecified addresses are refused even where every address is allowed."""
    everything = {"networks": ["0.0.0.0/0", "::/0"]}
    assert refusals(ip("192.0.2.1"), ip("2001:db8::1"), ip=everything) == []
    assert refusals(ip(b"\0\0\0\0"), ip("::"), ip=everything) == ["san.ip[0]", "san.ip[1]"]


@pytest.mark.parametrize("make", [email, upn])
@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("dev.7+x@corp.example", True),
        ("dev@CORP.example", True),
        ("dev@a.corp.example", False),
        ("dev@evil.example", False),
        ("dev@evil@corp.example", False),
        ('"a b"@corp.example', False),
        ("dev", False),
        ("@corp.example", False),
        ("dev@", False),
        (".dev@corp.example", False),
        ("dev@corp.example\0", False),
        ("dev@corp.example.", False),
        ("dev\n@corp.example", False),
        ("d\u0435v@corp.example", False),
        ("d" * 250 + "@corp.example", False),
    ],
)
@pytest.mark.proves("AC-071", "AC-074", "AC-076")
def test_mailboxes(make: Any, text: str, accepted: bool) -> None:
    """Mail addresses and principal names have one @, a plain local part, and a domain that is compared whole."""
    kind = "email" if make is email else "upn"
    paths = [] if accepted else [f"san.{kind}[0]"]
    assert refusals(make(text), **{kind: {"domains": "corp.example"}}) == paths
    assert refusals(make(text), **{kind: {"match": r"[a-z.7+]+@corp\.example"}}) == paths


@pytest.mark.proves("AC-071")
def test_undecodable_principal_name() -> None:
    """A principal name that is no text is refused where principal names are allowed."""
    broken = other("1.3.6.1.4.1.311.20.2.3", der.octet_string(b"a@corp.example"))
    assert refusals(broken, upn={"match": ".*"}) == ["san.upn[0]"]


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        (URN, True),
        (URN + "\n", False),
        ("x" + URN, False),
        ("urn:device:5", False),
    ],
)
@pytest.mark.proves("P10-11", "AC-071")
def test_uris(text: str, accepted: bool) -> None:
    """URIs match in full."""
    spec = {"match": r"urn:device:11\d\d"}
    assert refusals(uri(text), uri=spec) == ([] if accepted else ["san.uri[0]"])


@pytest.mark.parametrize(
    "text", [SID + "\n", "//no.scheme", "tag:with space", b"tag:\xc3\xa4", "tag:" + "x" * 4096, "tag:"]
)
@pytest.mark.proves("AC-074", "AC-076", "AC-085")
def test_what_is_no_uri(text: str | bytes) -> None:
    """What is no absolute ASCII URI of a bearable length is refused, whatever the pattern."""
    assert refusals(uri(text), uri={"match": ".*"}) == ["san.uri[0]"]


@pytest.mark.proves("AC-071")
def test_identifiers() -> None:
    """Registered identifiers and other names are accepted by identifier, and no other is."""
    other_identifier = der.tlv(0x88, oid.encode("1.2.4"))
    assert refusals(NAMES["registered-id"], other_identifier, **{"registered-id": {"allow": "1.2.3"}}) == [
        "san.registered-id[1]"
    ]
    another = other("1.2.3", der.NULL)
    assert refusals(NAMES["other"], another, other={"allow": "1.3.6.1.5.2.2"}) == ["san.other[1]"]
    assert refusals(NAMES["upn"], other={"allow": "1.3.6.1.4.1.311.20.2.3"}) == ["san.upn[0]"]


@pytest.mark.proves("AC-071", "AC-073")
def test_directory_names() -> None:
    """A directory name is judged like a subject."""
    encoded = der.tlv(0xA4, name(value(CN, "evil"), value(csrs.UNIT, "x")))
    assert refusals(encoded, directory={"match": {"CN": "good"}}) == ["san.directory[0].CN", "san.directory[0].OU"]
    assert refusals(encoded, directory={"allow": ["CN", "OU"]}) == []


@pytest.mark.parametrize(("count", "accepted"), [(10, True), (11, False), (100, False)])
@pytest.mark.proves("AC-085")
def test_number_of_names(count: int, accepted: bool) -> None:
    """There may be ten names of a type, or as many as the rule says."""
    names = [dns(f"x{index}.corp.example") for index in range(count)]
    assert refusals(*names, dns=DNS) == ([] if accepted else ["san.dns"])
    assert refusals(*names, dns=DNS | {"max": count}) == []
    assert refusals(*names, dns=DNS | {"max": count - 1}) == ["san.dns"]


@pytest.mark.proves("I10")
def test_names_are_not_repeated() -> None:
    """Violations do not quote what the client sent, for no type of name."""
    canary = [dns("canary.example"), email("canary@x.example"), upn("canary@x.example"), uri("canary:x")]
    spec = {"dns": DNS, "email": {"domains": "a.example"}, "upn": {"match": "a"}, "uri": {"match": "a"}}
    violations = judged(with_extensions(san(*canary)), {"san": spec}, EMPTY_SUBJECT)
    assert len(violations) == 5
    assert not any("canary" in str(violation) for violation in violations)
