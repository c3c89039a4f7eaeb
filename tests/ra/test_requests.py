"""CSRs that want more than they say, through the whole RA: every one has the right challenge (security 4.4)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from scepra.errors import FailInfo
from scepra.lab import PERMISSIVE, Behaviour
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from tests import csrs
from tests.csrs import CN, UNIT, carried, dns, eku, extension, name, other, san, upn, value
from tests.rig.denial import Denials, denials
from tests.rig.device import KEY, NAME, THIEF, granted, request, sound
from tests.rig.forge import certificate, sign
from tests.rig.house import House, house

F0 = FailInfo.BAD_ALG
GOOD, EVIL = dns("good.example"), dns("administrator.corp.other")
PKCS9, MICROSOFT, VERISIGN = oid.EXTENSION_REQUEST, oid.MICROSOFT_EXTENSIONS, oid.VERISIGN_EXTENSIONS


def numbered(number: int, content: bytes = b"") -> bytes:
    """A GeneralName of any tag number, primitive."""
    return der.tlv(0x80 | number, content)


def wanting(*extensions: bytes, **options: Any) -> dict[str, Any]:
    """Extensions in the usual attribute, and what else differs."""
    return {"attributes": (carried(*extensions),), **options}


def named(*values: bytes | list[bytes]) -> dict[str, Any]:
    """A subject."""
    return {"subject": name(*values)}


def common(text: str | bytes, tag: int = der.UTF8_STRING) -> dict[str, Any]:
    """A subject of one common name."""
    return named(value(CN, text, tag))


# What a request asks for, and what stands in the record of its refusal.
REFUSED: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "AC-067": [
        (f"{first[-1]} and {second[-1]}, {order}", {"attributes": pair}, "more than one attribute")
        for first, second in ((PKCS9, MICROSOFT), (MICROSOFT, VERISIGN), (PKCS9, VERISIGN))
        for order, pair in (
            ("good first", (carried(san(GOOD), carrier=first), carried(san(EVIL), carrier=second))),
            ("evil first", (carried(san(EVIL), carrier=first), carried(san(GOOD), carrier=second))),
            ("equal", (carried(san(GOOD), carrier=first), carried(san(GOOD), carrier=second))),
        )
    ]
    + [("the same twice", {"attributes": (carried(san(GOOD)), carried(san(EVIL)))}, "repeated")],
    "AC-068": [
        ("Microsoft's", {"attributes": (carried(san(EVIL), carrier=MICROSOFT),)}, "san"),
        ("VeriSign's", {"attributes": (carried(san(EVIL), carrier=VERISIGN),)}, "san"),
        ("unreadable", {"attributes": (csrs.attribute(MICROSOFT, der.octet_string(b"x")),)}, ""),
        ("two values", {"attributes": (csrs.attribute(PKCS9, der.sequence(san(GOOD)), der.sequence(san(EVIL))),)}, ""),
        ("no value", {"attributes": (csrs.attribute(PKCS9),)}, ""),
    ],
    "AC-070": [
        ("names", wanting(san(GOOD), san(EVIL)), "repeated"),
        ("equal names", wanting(san(GOOD), san(GOOD)), "repeated"),
        ("purposes", wanting(eku("1.3.6.1.5.5.7.3.2"), eku("1.3.6.1.5.5.7.3.1")), "repeated"),
        ("usages", wanting(csrs.key_usage(b"\x05\xa0"), csrs.key_usage(b"\x01\x06")), "repeated"),
    ],
    "AC-071": [
        (f"{kind}, {place}", wanting(san(*before, item)), "san")
        for kind, item in {
            "UPN": upn("administrator@corp.example"),
            "other name": other("1.2.3.4", der.octet_string(b"x")),
            "Kerberos": other("1.3.6.1.5.2.2", der.sequence()),
            "mail": numbered(1, b"admin@corp.example"),
            "directory": der.tlv(0xA4, name(value(CN, "administrator"))),
            "URI": numbered(6, b"https://good.example/"),
            "SID": numbered(6, b"tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500"),
            "IP": numbered(7, bytes(4)),
            "registered": numbered(8, oid.encode("1.2.3")),
            "X.400": der.tlv(0xA3, der.sequence()),
            "EDI": der.tlv(0xA5, der.tlv(0xA1, der.tlv(der.UTF8_STRING, b"a"))),
        }.items()
        for place, before in (("alone", ()), ("beside a good name", (GOOD,)))
    ]
    + [
        ("tag 9", wanting(san(GOOD, numbered(9, b"x"))), ""),
        ("tag 31", wanting(san(GOOD, b"\x9f\x1f\x01x")), ""),
        ("universal tag", wanting(san(GOOD, der.tlv(der.IA5_STRING, b"x.example"))), ""),
        ("no name", wanting(san()), ""),
    ],
    "AC-073": [
        ("good and evil", named(value(CN, NAME), value(CN, "evil")), "subject"),
        ("evil and good", named(value(CN, "evil"), value(CN, NAME)), "subject"),
        ("two good", named(value(CN, NAME), value(CN, "other.example")), "subject"),
        ("in one RDN", named([value(CN, NAME), value(CN, "evil")]), "subject"),
        ("behind another", named(value(CN, NAME), [value(UNIT, "x"), value(CN, "evil")]), "subject"),
        ("a comma", common("good\\,CN=device.example"), "subject.CN"),
        ("a plus sign", common("device.example+CN=evil"), "subject.CN"),
        ("another attribute", named(value(CN, NAME), value(UNIT, "administrators")), "subject"),
        ("a padded type", named(value(CN, NAME), value(b"\x55\x80\x04\x03", "evil")), "identifier"),
        ("evil names", wanting(san(EVIL)), "san"),
        ("an evil subject", wanting(san(GOOD), **common("administrator")), "subject.CN"),
    ],
    "AC-074": [
        (repr(text), changes, rule)
        for text in (
            "good.example\0.evil",
            "good.example\n",
            "good.example\r",
            " good.example",
            "good.example ",
            "good.example\t",
            "good.example\x7f",
        )
        for rule, changes in (("subject.CN", common(text)), ("san", wanting(san(dns(text)))))
    ]
    + [("next line", common("good.example\x85"), "subject.CN")],
    "AC-076": [
        ("Cyrillic", common("dеvice.example"), "subject.CN"),
        ("Kelvin sign", common("Kelvin.example".replace("K", "\u212a")), "subject.CN"),
        ("full-width dot", common("device．example"), "subject.CN"),
        ("right to left", common("device\u202e.example"), "subject.CN"),
        ("zero-width joiner", common("dev\u200dice.example"), "subject.CN"),
        ("decomposed", common("de\u0301vice.example"), "subject.CN"),
        ("UTF-8 in a DNS name", wanting(san(dns("dévice.example"))), "san"),
        ("Punycode", wanting(san(dns("xn--e1afmkfd.example"))), "san"),
        ("invalid UTF-8", common(b"device\xff.example"), "subject"),
    ],
    "AC-077": [
        (text, wanting(san(dns(text))), "san")
        for text in (
            "x.example.evil.com",
            "xexample",
            "x.example.",
            ".example",
            "*.example",
            "*",
            "w*.example",
            "x..example",
            "good.example\ngood.example",
        )
    ],
    "AC-079": [
        *((f"{size} octets", wanting(san(GOOD, numbered(7, bytes(size)))), "") for size in (0, 3, 4, 5, 8, 16, 32)),
        *((text, wanting(san(dns(text))), "san") for text in ("127.1", "0x7f.1", "2130706433", "127.0.0.1")),
    ],
    "AC-080": [
        ("a CA", wanting(extension(oid.BASIC_CONSTRAINTS, der.sequence(b"\1\1\xff"))), "basicConstraints"),
        (
            "critical",
            wanting(extension(oid.BASIC_CONSTRAINTS, der.sequence(b"\1\1\xff"), critical=True)),
            "basicConstraints",
        ),
        (
            "with a path",
            wanting(extension(oid.BASIC_CONSTRAINTS, der.sequence(b"\1\1\xff", der.integer(3)))),
            "basicConstraints",
        ),
        ("keyCertSign", wanting(csrs.key_usage(b"\x02\x84")), "key-usage"),
        ("cRLSign", wanting(csrs.key_usage(b"\x01\x82")), "key-usage"),
        *(
            (kind, wanting(extension(f"2.5.29.{arc}", der.sequence())), "extensions")
            for kind, arc in (
                ("name constraints", 30),
                ("policy mappings", 33),
                ("policy constraints", 36),
                ("any policy", 54),
            )
        ),
    ],
    "AC-082": [
        (
            "template name",
            wanting(extension("1.3.6.1.4.1.311.20.2", der.tlv(der.BMP_STRING, "CA".encode("utf-16-be")))),
            "extensions",
        ),
        (
            "template",
            wanting(extension("1.3.6.1.4.1.311.21.7", der.sequence(der.oid(oid.encode("1.2.3"))))),
            "extensions",
        ),
        ("SID", wanting(extension("1.3.6.1.4.1.311.25.2", der.sequence())), "extensions"),
        ("name and value", {"attributes": (csrs.attribute("1.3.6.1.4.1.311.13.2.1", der.sequence()),)}, "attributes"),
        ("any purpose", wanting(eku("2.5.29.37.0")), "eku"),
        ("enrolment agent", wanting(eku("1.3.6.1.4.1.311.20.2.1")), "eku"),
        ("application policies", wanting(extension("1.3.6.1.4.1.311.21.10", der.sequence())), ""),
    ],
    "AC-083": [
        (f"{kind}, {place}", wanting(extension(kind, bytes(10_000), critical=critical)), "extensions")
        for kind in ("1.2.3.4", "1.3.6.1.4.1.11129.2.1.17", "2.5.29.99")
        for place, critical in (("critical", True), ("not critical", False), ("unsaid", None))
    ]
    + [("attribute", {"attributes": (csrs.attribute("1.2.3.4", der.octet_string(bytes(10_000))),)}, "attributes")],
    "AC-085": [
        ("no name at all", named(), "subject"),
        ("names alone", wanting(san(GOOD), **named()), "subject"),
        ("an empty common name", common(""), "subject.CN"),
        ("65 characters", common("a" * 57 + ".example"), "subject.CN"),
        ("60 000 characters", common("a" * 60_000 + ".example"), ""),
        (
            "a country of 5 letters",
            named(value(CN, NAME), value(csrs.COUNTRY, "LATIN", der.PRINTABLE_STRING)),
            "subject",
        ),
        ("100 names", wanting(san(*(dns(f"a{number}.example") for number in range(100)))), "san"),
        ("a name of 4 kB", wanting(san(dns("a" * 4000 + ".example"))), "san"),
        ("33 RDNs", named(*[value(CN, NAME)] * 33), ""),
    ],
    "AC-089": [
        ("version 3", {"version": der.integer(3)}, "version"),
        ("version -1", {"version": der.integer(-1)}, "version"),
        ("padded version", {"version": b"\2\2\0\0"}, "shortest form"),
        ("attributes as a primitive", {"attributes_field": b"\x80\0"}, ""),
        ("attributes as a SET", {"attributes_field": der.tlv(der.SET)}, ""),
        ("attributes behind a SET", {"attributes_field": der.tlv(0xA1)}, ""),
        (
            "boolean 1",
            wanting(der.sequence(der.oid(oid.SUBJECT_ALT_NAME), b"\1\1\1", der.octet_string(san(GOOD)))),
            "boolean",
        ),
        (
            "octets behind a value",
            wanting(extension(oid.SUBJECT_ALT_NAME, der.sequence(GOOD) + b"\0")),
            "octets follow",
        ),
        (
            "long length in a value",
            wanting(extension(oid.SUBJECT_ALT_NAME, b"\x30\x81" + bytes((len(GOOD),)) + GOOD)),
            "shortest form",
        ),
        (
            "indefinite length in a value",
            wanting(extension(oid.SUBJECT_ALT_NAME, b"\x30\x80" + GOOD + b"\0\0")),
            "indefinite",
        ),
        ("a constructed name", wanting(san(der.tlv(0xA2, der.octet_string(b"good.example")))), ""),
        ("more behind the key", {"attributes_field": der.tlv(0xA0) + der.tlv(0xA1)}, "too many elements"),
    ],
}
CASES = [
    pytest.param(changes, because, id=f"{identifier}-{what}")
    for identifier, cases in REFUSED.items()
    for what, changes, because in cases
]


def csr_of(house: House, changes: dict[str, Any]) -> bytes:
    """A request with the house's challenge that differs in this from the usual one."""
    options = dict(changes)
    return request(house, *options.pop("attributes", ()), **options)


@pytest.mark.proves(
    *("AC-067", "AC-068", "AC-070", "AC-071", "AC-073", "AC-074", "AC-076", "AC-077", "AC-079", "AC-080", "AC-082"),
    *("AC-083", "AC-085", "AC-089", "I1", "I3", "I8", "I12", "P10-05", "P10-06", "P10-07", "DR-5"),
)
@pytest.mark.parametrize(("changes", "because"), CASES)
def test_requests_that_are_refused(shared: House, deny: Denials, changes: dict[str, Any], because: str) -> None:
    """What policy does not allow, and what two readers could read differently, is refused before it goes north."""
    deny(sound(shared, csr=csr_of(shared, changes)), because=because)


GRANTED: dict[str, dict[str, Any]] = {
    "P10-05, the usual attribute": wanting(san(GOOD)),
    "AC-068, Microsoft's attribute alone": {"attributes": (carried(san(GOOD), carrier=MICROSOFT),)},
    "AC-068, VeriSign's attribute alone": {"attributes": (carried(san(GOOD), carrier=VERISIGN),)},
    "P10-09, version 1": {"version": der.integer(1)},
    "P10-09, version 2": {"version": der.integer(2)},
    "PEER-10, empty extensions": wanting(),
    "AC-077, upper case": wanting(san(dns("GOOD.EXAMPLE"))),
    "four names": wanting(san(*(dns(f"a{number}.example") for number in range(4)))),
    "PrintableString": common(NAME, der.PRINTABLE_STRING),
    "T61String": common(NAME, der.T61_STRING),
    "BMPString": common(NAME.encode("utf-16-be"), der.BMP_STRING),
}


@pytest.mark.proves("AC-068", "P10-05", "P10-08", "P10-09", "P10-10", "PEER-10", "P10-01", "DR-21", "AC-082", "AC-077")
@pytest.mark.parametrize("changes", GRANTED.values(), ids=GRANTED)
def test_requests_that_are_granted(shared: House, changes: dict[str, Any]) -> None:
    """What real devices write is granted, goes north octet by octet, and the record names what the CA certifies."""
    csr = csr_of(shared, changes)
    answer = granted(shared, sound(shared, csr=csr))
    received = shared.ca.received[-1].csr
    assert received.der == csr
    issued = Certificate.parse(answer.certificates()[0])
    assert issued.subject.der == received.subject.der
    assert tuple(shared.records[-1].get("names", ())) == tuple(map(str, received.alternative_names))
    carried_names = issued.extension(oid.SUBJECT_ALT_NAME)
    asked = next((item.value for item in received.extensions if item.oid == oid.SUBJECT_ALT_NAME), None)
    assert (carried_names.value if carried_names else None) == asked


@pytest.mark.proves("AC-082", "P10-10", "PEER-10", "I12")
def test_attributes_that_a_policy_lists(lab: Any) -> None:
    """Where the profile lists what Windows adds, it is granted and goes north; what is not listed is refused."""
    windows = (
        csrs.attribute("1.3.6.1.4.1.311.13.2.3", der.tlv(der.IA5_STRING, b"10.0.19045.2")),
        csrs.attribute("1.3.6.1.4.1.311.13.2.2", der.sequence()),
    )
    selecting = csrs.attribute("1.3.6.1.4.1.311.13.2.1", der.sequence())
    rules = [
        {"key": {"rsa": {}}},
        {"subject": {"match": {"CN": "[a-z0-9-]+\\.example"}}},
        {"attributes": {"allow": ["osVersion", "enrollmentCSP"]}},
    ]
    with house(lab, {"policy": rules}) as built, denials(built) as deny:
        csr = request(built, *windows)
        granted(built, sound(built, csr=csr))
        assert built.ca.received[-1].csr.der == csr
        deny(sound(built, csr=request(built, *windows, selecting)), because="attributes")


@pytest.mark.proves("AC-089", "PEER-10", "P10-09", "DR-21")
def test_attributes_out_of_order(shared: House) -> None:
    """Attributes in either order, and none at all where there is nothing to say, are read."""
    for attributes in (
        (csrs.challenge(shared.challenge), carried(san(GOOD))),
        (carried(san(GOOD)), csrs.challenge(shared.challenge)),
    ):
        granted(shared, sound(shared, csr=csrs.build(*attributes, key=KEY, subject=csrs.subject(NAME))))


@pytest.mark.proves("AC-071", "P10-11", "I12")
def test_names_that_a_policy_lists(lab: Any) -> None:
    """Where the profile lists a type of name, it is granted as listed: addresses as numbers, the SID as a URI."""
    rules = [
        {"key": {"rsa": {}}},
        {"subject": {"match": {"CN": "[a-z0-9-]+\\.example"}}},
        {"san": {"ip": {"networks": ["10.0.0.0/8"]}}},
        {"microsoft": {"sid": "allow"}},
    ]
    sid = b"tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1104"
    mapped = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1))
    with house(lab, {"policy": rules}) as built, denials(built) as deny:
        good = san(numbered(7, bytes((10, 0, 0, 1))), numbered(6, sid))
        granted(built, sound(built, csr=request(built, carried(good))))
        granted(built, sound(built, csr=request(built, carried(san(numbered(7, mapped))))))
        for wrong in (
            numbered(7, bytes((11, 0, 0, 1))),
            numbered(7, bytes(4)),
            numbered(7, bytes(16)),
            numbered(7, bytes((10, 0, 0, 1, 255, 0, 0, 0))),
            numbered(6, sid + b"\n"),
            numbered(6, b"https://127.0.0.9/" + sid),
            dns("10.0.0.1"),
        ):
            deny(sound(built, csr=request(built, carried(san(numbered(6, sid), wrong)))), because="")


# --- The proof of possession, and the key ----------------------------------------------------------------------------


def pss(digest: hashes.HashAlgorithm, salt: int) -> Any:
    return lambda signed: KEY.sign(signed, padding.PSS(padding.MGF1(digest), salt), digest)


PSS_SHA256 = der.sequence(
    der.explicit(0, csrs.algorithm(oid.SHA256, der.NULL)),
    der.explicit(1, der.sequence(der.oid(oid.MGF1), csrs.algorithm(oid.SHA256, der.NULL))),
    der.explicit(2, der.integer(32)),
)


@pytest.mark.proves("AC-065", "P10-02", "SEC-11", "I8")
def test_proof_of_possession(shared: House, deny: Denials) -> None:
    """A signature that is absent, wrong, by another key or under another name is refused like any wrong challenge."""
    sound_csr = request(shared, subject=csrs.subject(NAME))
    for csr in (
        sound_csr[:-1] + bytes((sound_csr[-1] ^ 1,)),
        sound_csr.replace(NAME.encode(), b"malice.example", 1),
        request(shared, sign=csrs.signer(THIEF)[1]),
        request(shared, sign=lambda signed: b""),
        request(shared, sign=lambda signed: bytes(256)),
        request(shared, sign=lambda signed: sign(KEY, signed, Digest.SHA512)),
        request(shared, signature_algorithm=csrs.algorithm(oid.ECDSA_SHA256)),
        request(shared, signature_algorithm=csrs.algorithm(oid.ED25519)),
        request(shared, signature_algorithm=csrs.algorithm(oid.SHA256_RSA, der.octet_string(b""))),
        request(shared, signature_algorithm=csrs.algorithm(oid.RSASSA_PSS, PSS_SHA256)),
    ):
        deny(sound(shared, csr=csr))


@pytest.mark.proves("AC-088", "P10-02", "MSG-06")
def test_signature_algorithms(shared: House, deny: Denials) -> None:
    """SHA-1 and RSASSA-PSS are verified; MD5 and weaker are refused, whoever signs."""
    for digest, algorithm in (
        (Digest.SHA1, oid.SHA1_RSA),
        (Digest.SHA384, oid.SHA384_RSA),
        (Digest.SHA512, oid.SHA512_RSA),
    ):
        options = {"signature_algorithm": csrs.algorithm(algorithm, der.NULL)}
        granted(
            shared,
            sound(shared, csr=request(shared, **options, sign=lambda data, digest=digest: sign(KEY, data, digest))),
        )
    pss_algorithm = csrs.algorithm(oid.RSASSA_PSS, PSS_SHA256)
    granted(
        shared, sound(shared, csr=request(shared, signature_algorithm=pss_algorithm, sign=pss(hashes.SHA256(), 32)))
    )
    deny(sound(shared, csr=request(shared, signature_algorithm=pss_algorithm, sign=pss(hashes.SHA256(), 20))))
    md5 = {
        "signature_algorithm": csrs.algorithm(oid.MD5_RSA, der.NULL),
        "sign": lambda data: sign(KEY, data, Digest.MD5),
    }
    deny(sound(shared, csr=request(shared, **md5)), F0, "MD5")
    for unknown in ("1.2.840.113549.1.1.2", "1.2.840.113549.1.1.99"):
        algorithm = csrs.algorithm(oid.encode(unknown), der.NULL)
        deny(sound(shared, csr=request(shared, signature_algorithm=algorithm)), because="algorithm that is refused")


@pytest.mark.proves("AC-088", "SEC-01")
def test_md5_where_the_profile_has_it(lab: Any) -> None:
    """A profile of old devices may name MD5, and then verifies it."""
    with house(lab, {"legacy": ["MD5"], "renewal": None}) as built:
        built.ca.behaviour = Behaviour(floor=PERMISSIVE)
        md5 = {"signature_algorithm": csrs.algorithm(oid.MD5_RSA, der.NULL)}
        csr = request(built, **md5, sign=lambda data: sign(KEY, data, Digest.MD5))
        granted(built, sound(built, digest=Digest.MD5, signer=certificate(KEY, digest=Digest.MD5), csr=csr))


@pytest.mark.proves("AC-086", "P10-12", "MSG-06")
def test_subject_keys(shared: House, deny: Denials) -> None:
    """Keys outside the policy are badAlg for those who may enrol, and are never certified."""
    exponent = rsa.generate_private_key(3, 2048)
    deny(sound(shared, key=exponent), F0, "exponent")
    p521, ecdsa = csrs.ec_key("P-521"), csrs.algorithm(oid.ECDSA_SHA256)
    deny(sound(shared, key=p521, signature_algorithm=ecdsa), F0, "key")
    ed25519 = csrs.ed25519_key()
    deny(sound(shared, key=ed25519, signature_algorithm=csrs.algorithm(oid.ED25519)), F0, "key")
    curve = csrs.ec_key("P-384", which=2)
    granted(shared, sound(shared, key=curve, signature_algorithm=ecdsa), None)


@pytest.mark.proves("AC-086")
def test_keys_that_are_not_the_signer_s(shared: House, deny: Denials) -> None:
    """A hostile key in the CSR alone is not the signer's, and refused without being looked at."""
    modulus = KEY.public_key().public_numbers().n
    for spki in (
        csrs.rsa_spki(modulus << 129_024 | 1, 65537),
        csrs.rsa_spki(modulus, 1),
        csrs.rsa_spki(modulus & ~1, 65537),
    ):
        deny(sound(shared, csr=request(shared, public_key=spki)))
