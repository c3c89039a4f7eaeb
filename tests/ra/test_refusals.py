"""What is in the envelope, and the one refusal for all that is wrong in it (I8; security 4.2, conformance 4.2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.errors import FailInfo
from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest
from scepra.scep.envelope import seal_with_password
from scepra.scep.message import issuer_and_serial, issuer_and_subject
from tests import csrs
from tests.rig.denial import Denials, denials, masked
from tests.rig.device import (
    KEY,
    THIEF,
    counted,
    device_certificate,
    granted,
    post,
    request,
    request_without_challenge,
    sound,
)
from tests.rig.forge import ber, certificate, oaep, own_certificate, recipient_info
from tests.rig.house import House

F0 = FailInfo.BAD_ALG
CONTENT_KEY, IV = bytes(range(1, 17)), bytes(range(16))

Change = Callable[[House], dict[str, Any]]


# --- The envelope ----------------------------------------------------------------------------------------------------


def other_kinds() -> list[bytes]:
    """RecipientInfos that are no key transport."""
    return [
        der.tlv(0xA0 | number, der.integer(3), der.NULL, der.NULL, der.octet_string(bytes(16))) for number in (1, 2, 4)
    ]


@pytest.mark.proves("AC-035", "CMS-21", "DR-3", "I12")
def test_games_with_recipients(shared: House, deny: Denials) -> None:
    """None, two for the RA, another's, and recipients of other kinds are refused alike, password recipients too."""
    forge = sound(shared)
    ours = recipient_info(forge.recipient, CONTENT_KEY)
    others = recipient_info(shared.state.authority.certificate, CONTENT_KEY)
    random = recipient_info(forge.recipient, os.urandom(16))
    for recipients in (
        (),
        (ours, random),
        (random, ours),
        (ours, ours),
        (others,),
        *((kind,) for kind in other_kinds()),
    ):
        deny(replace(forge, recipients=recipients), because="recipient" if not recipients else "encrypted to")
    deny(replace(forge, recipients=(b"\x05\x00",)), because="not encrypted to")
    under_password = seal_with_password(forge.plaintext(), shared.challenge.encode(), ContentCipher.AES128_CBC)
    deny(replace(forge, envelope=under_password), because="not encrypted to")


@pytest.mark.proves("AC-035", "CMS-21", "PEER-08", "CMS-20", "CMS-23", "CMS-26")
def test_ways_to_name_the_ra(shared: House) -> None:
    """The RA finds itself by key identifier, by an issuer in other string types, and as the last of several."""
    forge = sound(shared)
    ra = forge.recipient
    identifier = der.tlv(0x80, ra.subject_key_identifier)
    respelt = der.sequence(
        ra.issuer_der.replace(bytes((der.UTF8_STRING,)), bytes((der.PRINTABLE_STRING,))), ra.serial_der
    )
    padded_serial = der.sequence(ra.issuer_der, der.tlv(der.INTEGER, b"\0\0", der.parse(ra.serial_der).content))
    for name in (identifier, respelt, padded_serial):
        assert name != issuer_and_serial(ra)
        granted(shared, replace(forge, recipients=(recipient_info(ra, CONTENT_KEY, name=name),)))
    others = [recipient_info(own_certificate(key), CONTENT_KEY) for key in (KEY, THIEF)]
    granted(shared, replace(forge, recipients=(*others, *other_kinds(), recipient_info(ra, CONTENT_KEY))))
    granted(shared, replace(forge, inner_type=oid.encode("1.2.840.113549.1.7.6")))
    granted(shared, replace(forge, envelope=der.parse(forge.enveloped()).sequence(2)[1].only().raw))
    wrapped = recipient_info(
        ra,
        CONTENT_KEY,
        algorithm=der.sequence(der.oid(oid.RSAES_OAEP), der.sequence()),
        scheme=oaep(Digest.SHA1.hash),
    )
    granted(shared, replace(forge, recipients=(wrapped,)))


@pytest.mark.proves("CMS-21", "CMS-25", "MSG-06")
def test_encrypted_to_the_ca(shared: House, deny: Denials) -> None:
    """A device that encrypts to the CA instead of the RA is refused, and the record says what to look at."""
    deny(sound(shared, recipient=shared.state.authority.certificate), because="to the CA's instead?")


@pytest.mark.proves("AC-040", "CMS-24", "CMS-25", "MSG-06")
def test_visible_algorithms_of_the_envelope(shared: House) -> None:
    """Refused ciphers, key transports and parameters are badAlg, before the RA's key is used."""
    house, key = counted(shared)
    ivs = [der.octet_string(bytes(size)) for size in (0, 8, 15, 17)] + [b"", der.NULL]
    oaep_sha512 = der.sequence(der.explicit(0, csrs.algorithm(oid.SHA512, der.NULL)))
    with denials(house) as deny:
        for parameters in ivs:
            algorithm = der.sequence(der.oid(oid.AES128_CBC), parameters)
            deny(sound(house, content_algorithm=algorithm), F0, "initialisation vector")
        for kind in ("2.16.840.1.101.3.4.1.6", "1.2.840.113549.3.2", "1.2.3"):
            algorithm = der.sequence(der.oid(oid.encode(kind)), der.octet_string(IV))
            deny(sound(house, content_algorithm=algorithm), F0, "unknown content cipher")
        deny(sound(house, cipher=ContentCipher.DES_CBC), F0, "DES-CBC")
        for algorithm in (
            csrs.algorithm(oid.RSAES_OAEP, oaep_sha512),
            csrs.algorithm(b"\x2a\x03"),
            csrs.algorithm(oid.SHA256_RSA, der.NULL),
        ):
            ours = recipient_info(sound(house).recipient, CONTENT_KEY, algorithm=algorithm)
            deny(sound(house, recipients=(ours,)), F0, "key transport")
        assert key.opened == 0


@pytest.mark.proves("CMS-30", "CMS-29")
def test_content_of_another_type(shared: House, deny: Denials) -> None:
    """What is in the envelope of an enrolment must be a CSR and nothing after it."""
    ca = shared.state.authority.certificate
    for content in (
        issuer_and_subject(ca.subject_der, csrs.subject()),
        issuer_and_serial(ca),
        ca.der,
        b"",
        b"\x30\x00",
    ):
        deny(sound(shared, content=content))
    zero_padded = request(shared)
    deny(sound(shared, content=zero_padded + bytes(-len(zero_padded) % 16 or 16), pad=lambda content, block: content))


# --- One refusal for all that is wrong inside (I8) -------------------------------------------------------------------


def raw_wrapped(house: House, encoded_message: bytes) -> tuple[bytes, ...]:
    """A recipient with these octets under the RA's public key."""
    ra = sound(house).recipient
    numbers = ra.public_key
    value = pow(int.from_bytes(encoded_message, "big"), numbers.exponent, numbers.modulus)
    return (recipient_info(ra, b"", encrypted_key=value.to_bytes(256, "big")),)


def wrapped(house: House, encrypted_key: bytes) -> tuple[bytes, ...]:
    return (recipient_info(sound(house).recipient, b"", encrypted_key=encrypted_key),)


def keyed(size: int, cipher: ContentCipher = ContentCipher.AES128_CBC) -> Change:
    """A content key of a wrong length: cut or filled up, it would open the envelope."""
    return lambda house: {"content_key": bytes(range(1, size + 1)), "cipher": cipher}


def badly_padded(last: bytes) -> Change:
    return lambda house: {"pad": lambda content, block: content[: len(content) // 16 * 16 - len(last)] + last}


def random_padding(content: bytes, block: int) -> bytes:
    """As ISO 10126 has it: only the last octet says something."""
    count = block - len(content) % block
    assert count > 1, "one octet of padding is the same in all schemes"
    return content + bytes(255 - index for index in range(count - 1)) + bytes((count,))


def too_much_padding(content: bytes, block: int) -> bytes:
    count = 2 * block - len(content) % block
    return content + bytes((count,)) * count


def shaped(size: int) -> Change:
    return lambda house: {"encrypted_content": der.tlv(0x80, os.urandom(size))}


def asking(**options: Any) -> Change:
    return lambda house: {"csr": request(house, **options)}


def flipped(house: House) -> dict[str, Any]:
    csr = request(house)
    return {"csr": csr[:-1] + bytes((csr[-1] ^ 1,))}


def as_renewal(house: House) -> dict[str, Any]:
    return {"signer": device_certificate(house, KEY), "csr": request_without_challenge(subject=csrs.subject("evil"))}


UNIFORM: dict[str, Change] = {
    **{f"key of {size} octets": keyed(size) for size in (0, 5, 8, 15, 17, 24, 32, 64, 245)},
    **{f"3DES key of {size} octets": keyed(size, ContentCipher.DES_EDE3_CBC) for size in (0, 8, 16, 23, 32)},
    "AES-256 key of 16 octets": keyed(16, ContentCipher.AES256_CBC),
    "random wrapped key": lambda house: {"recipients": wrapped(house, os.urandom(255).rjust(256, b"\0"))},
    "wrapped key of zeros": lambda house: {"recipients": wrapped(house, bytes(256))},
    "wrapped key above the modulus": lambda house: {"recipients": wrapped(house, b"\xff" * 256)},
    "wrapped key too short": lambda house: {"recipients": wrapped(house, b"\x01" * 10)},
    "wrapped key too long": lambda house: {"recipients": wrapped(house, b"\x01" * 300)},
    "wrapped key absent": lambda house: {"recipients": wrapped(house, b"")},
    "block type 1": lambda house: {"recipients": raw_wrapped(house, (b"\0\1" + b"\xff" * 237 + b"\0" + CONTENT_KEY))},
    "no separator": lambda house: {"recipients": raw_wrapped(house, b"\0\2" + b"\xff" * 254)},
    "short padding": lambda house: {
        "recipients": raw_wrapped(house, b"\0\2" + b"\xff" * 7 + b"\0" + CONTENT_KEY.rjust(246, b"\1"))
    },
    "padding of 0": badly_padded(b"\0"),
    "padding of 17": badly_padded(b"\x11"),
    "padding of 255": badly_padded(b"\xff"),
    "padding that disagrees": badly_padded(b"\1\2"),
    "random octets as padding": lambda house: {"pad": random_padding},
    "a block of padding too much": lambda house: {"pad": too_much_padding},
    "nothing but padding": lambda house: {"content": b""},
    **{f"ciphertext of {size} octets": shaped(size) for size in (0, 1, 15, 16, 17, 1600)},
    "no ciphertext": lambda house: {"encrypted_content": b""},
    "text": lambda house: {"content": b"not a request"},
    "a CSR cut short": lambda house: {"content": request(house)[:-1]},
    "a CSR and more": lambda house: {"content": request(house) + b"\0"},
    "a CSR in BER": lambda house: {"content": ber(request(house))},
    "a CSR with two challenges": lambda house: {"csr": request(house, csrs.challenge("other"))},
    "a CSR with two carriers": lambda house: {
        "csr": request(house, csrs.carried(), csrs.carried(carrier=oid.MICROSOFT_EXTENSIONS))
    },
    "a CSR's wrong signature": flipped,
    "a CSR without signature": asking(sign=lambda signed: b""),
    "a CSR signed by another key": asking(sign=csrs.signer(THIEF)[1]),
    "a CSR with another's key": asking(public_key=csrs.spki(THIEF)),
    "another's CSR": lambda house: {"csr": request(house, key=THIEF)},
    "no challenge": lambda house: {"csr": request_without_challenge()},
    "an empty challenge": asking(challenge=""),
    "a wrong challenge": asking(challenge="wrong"),
    "a long challenge": asking(challenge="x" * 16_000),
    "a wrong challenge for other names": asking(challenge="wrong", subject=csrs.subject("evil")),
    "a wrong challenge for a refused key": lambda house: {
        "csr": request(house, challenge="wrong", key=small_exponent()),
        "key": small_exponent(),
    },
    "names outside policy": asking(subject=csrs.subject("evil")),
    "a certificate of another CA": lambda house: {"signer": certificate(KEY, by=(THIEF, own_certificate(THIEF)))},
    "a certificate for other names": as_renewal,
    "a renewal without certificate": lambda house: {"message_type": "17"},
    "a recipient that is not the RA": lambda house: {"recipient": house.state.authority.certificate},
    "two recipients": lambda house: {"recipients": (recipient_info(sound(house).recipient, CONTENT_KEY),) * 2},
    "an unknown message type": lambda house: {"message_type": "18"},
}


@cache
def small_exponent() -> rsa.RSAPrivateKey:
    """A key that the profile's floor admits and its policy's key rule does not."""
    return rsa.generate_private_key(3, 2048)


@pytest.fixture(scope="module")
def the_one_refusal(shared: House) -> bytes:
    """What a wrong challenge is answered with, masked."""
    return masked(post(shared, sound(shared, csr=request(shared, challenge="wrong")).message()).body)


@pytest.mark.proves("I8", "SEC-02", "AC-036", "AC-037", "AC-038", "AC-040", "CMS-25", "DR-12")
@pytest.mark.parametrize("fault", UNIFORM)
def test_one_refusal_for_all(shared: House, deny: Denials, the_one_refusal: bytes, fault: str) -> None:
    """From the unwrapping of the key to the judgement of an unauthorised request, every fault has the same answer."""
    forge = sound(shared, **UNIFORM[fault](shared))
    deny(forge)
    assert masked(post(shared, forge.message()).body) == the_one_refusal


@pytest.mark.proves("AC-038", "AC-045", "SEC-02", "SEC-04", "I8")
def test_no_padding_oracle(shared: House, deny: Denials, the_one_refusal: bytes) -> None:
    """256 guesses at a stolen envelope's padding, and its own correct content, have one answer under another signer."""
    stolen = sound(shared)
    fields = der.parse(stolen.enveloped()).sequence(2)[1].only().sequence(3)
    recipients, ciphertext = (fields[1].only().raw,), fields[2].sequence(3)[2].content
    answers = set()
    for guess in range(256):
        changed = ciphertext[:-17] + bytes((ciphertext[-17] ^ guess,)) + ciphertext[-16:]
        forge = replace(stolen, key=THIEF, recipients=recipients, encrypted_content=der.tlv(0x80, changed))
        answers.add(masked(post(shared, forge.message()).body))
        assert guess or shared.records[-1]["reasons"] == ["signed by another key than the request's"]
    wrong = sound(shared, key=THIEF, csr=request(shared, key=THIEF, challenge="wrong"))
    assert answers == {masked(post(shared, wrong.message()).body)}
    deny(replace(stolen, key=THIEF, envelope=stolen.enveloped()), because="another key")


@pytest.mark.proves("AC-036", "CMS-25", "DR-12", "I8")
def test_every_wrong_key_costs_the_same_operations(shared: House) -> None:
    """Whatever is wrong within, the RA's key is used once to open and once to sign: no fault is cheaper."""
    house, key = counted(shared)
    visible = {"a recipient that is not the RA", "two recipients", "an unknown message type"}
    with denials(house) as deny:
        for fault, change in UNIFORM.items():
            before = key.opened, key.signed
            deny(sound(house, **change(house)))
            assert (key.opened - before[0], key.signed - before[1]) == (0 if fault in visible else 1, 1), fault
