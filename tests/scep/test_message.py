"""pkiMessages in both roles: what can be answered, what is asked, and answers that belong to their requests."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import FailInfo, Malformed, Refused, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, Floor, KeyTransport
from scepra.scep.certrep import CertRep, Expectation, choose_issued, read_cert_rep
from scepra.scep.cms import degenerate
from scepra.scep.envelope import EnvelopedData, seal_with_password
from scepra.scep.identity import Generation, Identity, Keyring, SoftwareKey
from scepra.scep.message import (
    Answer,
    MessageType,
    PKIMessage,
    PKIStatus,
    build_cert_rep,
    build_request,
    issuer_and_serial,
    issuer_and_subject,
    new_nonce,
    parse_issuer_and_serial,
    parse_issuer_and_subject,
    seal_answer,
)
from tests import csrs
from tests.rig.forge import (
    RSA_V15,
    Forge,
    attribute,
    ber,
    certificate,
    key_identifier,
    oaep,
    read_answer,
    recipient_info,
)
from tests.rig.forge import (
    issuer_and_serial as forged_issuer_and_serial,
)

DEVICE_KEY, RA_KEY, NEXT_KEY = csrs.rsa_key(), csrs.rsa_key(which=1), csrs.rsa_key(which=2)
RA = Identity(certificate(RA_KEY, "RA", extensions=(key_identifier(),)), SoftwareKey(RA_KEY))
NEXT = Identity(certificate(NEXT_KEY, "RA", serial=der.integer(7)), SoftwareKey(NEXT_KEY))
CA = certificate(csrs.rsa_key(which=3), "CA")
GENERATION, NEXT_GENERATION = Generation(RA, RA), Generation(NEXT, NEXT)
KEYRING = Keyring((GENERATION, NEXT_GENERATION))
FORGE = Forge(recipient=RA.certificate)
DEVICE = Identity(FORGE.certificate(), SoftwareKey(DEVICE_KEY))
FLOOR = Floor()
CEK = bytes(range(1, 17))


def open_(message: bytes, floor: Floor = FLOOR) -> bytes:
    parsed = PKIMessage.parse(message)
    _, digest = parsed.verify(floor)
    return parsed.open(KEYRING, floor, digest).content


def set_attribute(kind: bytes, *values: bytes) -> Forge:
    """A message in which an attribute stands once, with these values."""
    return replace(FORGE, attributes={kind: (attribute(kind, *values),)})


# --- Can it be answered at all? --------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-08", "CMS-30")
def test_a_sound_request_is_read_whole() -> None:
    """The control of what follows: identifiers, type, signer, algorithms and content are what they were."""
    message = PKIMessage.parse(FORGE.message())
    assert message.transaction_id == FORGE.transaction_id
    assert message.sender_nonce == FORGE.sender_nonce
    assert message.message_type is MessageType.PKCS_REQ
    signer, digest = message.verify(FLOOR)
    assert (signer, digest) == (DEVICE.certificate, Digest.SHA256)
    opened = message.open(KEYRING, FLOOR, digest)
    assert opened.generation is GENERATION
    assert opened.algorithms == Algorithms()
    assert opened.content.startswith(b"\x30")


@pytest.mark.proves("CMS-08", "MSG-02", "AC-028")
@pytest.mark.parametrize(
    "text",
    [
        "5D8737382F6871D1BE9F5454E18BE352",
        "730CF7D66BD812F371D359AEDE8B6F63679823E6",
        "a5f86e41e70dcd85e3d9e4256d3d7471c053b9be",
        "bFf/vX+0Ls9Rj0Kd5oO+2n0Zq2E=",
        "7XXEY-ERLPU-2JDR9",
        "SSCEP transactionId",
        "16",
        "../x",
        "' OR 1=1 --",
        "<script>",
        "%s%n{0.__class__}",
        "~" * 255,
        "1" * 78,
    ],
)
def test_transaction_ids_are_opaque(text: str) -> None:
    """Whatever is printable ASCII of up to 255 characters is taken, and echoed, as it is."""
    message = PKIMessage.parse(replace(FORGE, transaction_id=text).message())
    assert message.transaction_id == text
    answer = build_cert_rep(message, Answer(PKIStatus.PENDING), RA, Digest.SHA256)
    assert read_answer(answer, RA.certificate).text(oid.TRANSACTION_ID) == text


PRINTABLE, UTF8 = der.PRINTABLE_STRING, der.UTF8_STRING


@pytest.mark.proves("CMS-09", "CMS-42")
@pytest.mark.parametrize("came", [PRINTABLE, UTF8, der.IA5_STRING])
@pytest.mark.parametrize(("text", "legal"), [("bFf/vX+0=", True), ("device_7@corp", False)])
def test_transaction_ids_go_back_in_a_type_that_their_sender_reads(came: int, text: str, legal: bool) -> None:
    """As a PrintableString; with characters that it has not, in the type that the client chose for them."""
    message = PKIMessage.parse(set_attribute(oid.TRANSACTION_ID, der.tlv(came, text.encode())).message())
    answer = build_cert_rep(message, Answer(PKIStatus.PENDING), RA, Digest.SHA256)
    node = PKIMessage.parse(answer).signed_data.signer_info.attribute(oid.TRANSACTION_ID)
    assert node is not None
    assert (node.tag, node.content) == (PRINTABLE if legal else came, text.encode())
    ours = build_request(MessageType.PKCS_REQ, text, b"n", b"content", DEVICE, RA.certificate, Algorithms())
    assert PKIMessage.parse(ours).transaction_id_tag == (PRINTABLE if legal else UTF8)


@pytest.mark.proves("CMS-08", "MSG-02", "AC-025", "AC-028")
@pytest.mark.parametrize(
    "attributes",
    [
        (),
        (attribute(oid.TRANSACTION_ID, der.printable_string("a")),) * 2,
        (attribute(oid.TRANSACTION_ID, der.printable_string("a")), attribute(oid.TRANSACTION_ID, der.tlv(UTF8, b"b"))),
        (attribute(oid.TRANSACTION_ID),),
        (attribute(oid.TRANSACTION_ID, der.printable_string("a"), der.printable_string("b")),),
        (attribute(oid.TRANSACTION_ID, der.tlv(PRINTABLE, b"")),),
        (attribute(oid.TRANSACTION_ID, der.tlv(PRINTABLE, b"a" * 256)),),
        (attribute(oid.TRANSACTION_ID, der.tlv(PRINTABLE, b"a" * 100_000)),),
        (attribute(oid.TRANSACTION_ID, der.tlv(PRINTABLE, b'a\r\n{"fake": 1}')),),
        (attribute(oid.TRANSACTION_ID, der.tlv(PRINTABLE, b"a\0b")),),
        (attribute(oid.TRANSACTION_ID, der.tlv(PRINTABLE, b"\x1b[31m")),),
        (attribute(oid.TRANSACTION_ID, der.tlv(PRINTABLE, b"a\x7f")),),
        (attribute(oid.TRANSACTION_ID, der.tlv(UTF8, "é".encode())),),
        (attribute(oid.TRANSACTION_ID, der.octet_string(b"a")),),
        (attribute(oid.TRANSACTION_ID, der.tlv(der.BMP_STRING, b"\0a")),),
        (attribute(oid.TRANSACTION_ID, der.integer(5)),),
    ],
)
def test_without_one_usable_transaction_id_there_is_no_answer(attributes: tuple[bytes, ...]) -> None:
    """Absent, repeated, empty, too long, or of characters that cannot be echoed: a bare 400."""
    with pytest.raises(Refused) as refused:
        PKIMessage.parse(replace(FORGE, attributes={oid.TRANSACTION_ID: attributes}).message())
    assert refused.value.status == 400


@pytest.mark.proves("CMS-09")
@pytest.mark.parametrize("tag", [PRINTABLE, UTF8, der.IA5_STRING, der.T61_STRING])
@pytest.mark.parametrize("segmented", [False, True])
def test_text_attributes_may_be_of_any_string_type(tag: int, segmented: bool) -> None:
    """transactionID and messageType are read from four string types, in one piece or in segments."""

    def text(value: bytes) -> bytes:
        return (
            der.tlv(tag | der.CONSTRUCTED, *map(der.octet_string, (value[:1], value[1:])))
            if segmented
            else der.tlv(tag, value)
        )

    forge = replace(
        FORGE,
        attributes={
            oid.TRANSACTION_ID: (attribute(oid.TRANSACTION_ID, text(b"ABC")),),
            oid.MESSAGE_TYPE: (attribute(oid.MESSAGE_TYPE, text(b"17")),),
        },
    )
    message = PKIMessage.parse(forge.message())
    assert (message.transaction_id, message.message_type) == ("ABC", MessageType.RENEWAL_REQ)


@pytest.mark.proves("CMS-10", "AC-029", "MSG-04")
@pytest.mark.parametrize("size", [1, 8, 15, 16, 17, 20, 32, 64])
def test_nonces_are_echoed_as_they_came(size: int) -> None:
    """1 to 64 octets of any value come back unpadded and uncut."""
    nonce = bytes(range(size))
    message = PKIMessage.parse(replace(FORGE, sender_nonce=nonce).message())
    answer = build_cert_rep(message, Answer(PKIStatus.PENDING), RA, Digest.SHA256)
    assert read_answer(answer, RA.certificate).octets(oid.RECIPIENT_NONCE) == nonce


@pytest.mark.proves("CMS-08", "CMS-10", "AC-029")
@pytest.mark.parametrize(
    "forge",
    [
        replace(FORGE, attributes={oid.SENDER_NONCE: ()}),
        replace(FORGE, sender_nonce=b""),
        replace(FORGE, sender_nonce=bytes(65)),
        replace(FORGE, sender_nonce=bytes(4096)),
        set_attribute(oid.SENDER_NONCE, der.printable_string("0123456789abcdef")),
        set_attribute(oid.SENDER_NONCE, der.octet_string(b"a"), der.octet_string(b"b")),
        replace(FORGE, attributes={oid.MESSAGE_TYPE: ()}),
    ],
)
def test_without_a_nonce_or_a_type_there_is_no_answer(forge: Forge) -> None:
    """A missing, empty, overlong or doubtful senderNonce, or no messageType, is a bare 400."""
    with pytest.raises(Refused) as refused:
        PKIMessage.parse(forge.message())
    assert refused.value.status == 400


@pytest.mark.proves("AC-022", "AC-023", "AC-043", "CMS-04", "CMS-05")
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"<html>",
        FORGE.enveloped(),
        degenerate((CA.der,)),
        replace(FORGE, signer_infos=()).message(),
        replace(FORGE, signer_infos=(FORGE.signer_info(),) * 2).message(),
        FORGE.message() + b"x",
    ],
)
def test_what_is_no_message_is_refused_barely(message: bytes) -> None:
    """Everything that cannot be answered is one kind of refusal, a 400."""
    with pytest.raises(Refused) as refused:
        PKIMessage.parse(message)
    assert refused.value.status == 400


# --- What is asked? --------------------------------------------------------------------------------------------------

SERVED = {"17", "19", "20", "21", "22"}
SPELLINGS = [
    "019",
    "+19",
    " 19",
    "19 ",
    "19\n",
    "1_9",
    "１９",
    "١٩",
    "",
    "19.0",
    "0x13",
    "1e1",
    "1" * 1000,
    "19\0",
    "PKCSReq",
]


@pytest.mark.proves("MSG-01", "MSG-34", "AC-026", "SEC-09", "DR-3")
@pytest.mark.parametrize("text", [*map(str, range(-1, 301)), *SPELLINGS])
def test_only_five_message_types_mean_anything(text: str) -> None:
    """Exactly "17", "19", "20", "21" and "22" are requests; whatever else verifies is a badRequest."""
    kind = attribute(oid.MESSAGE_TYPE, der.tlv(UTF8, text.encode()))
    message = PKIMessage.parse(replace(FORGE, attributes={oid.MESSAGE_TYPE: (kind,)}).message())
    if text in SERVED:
        assert message.message_type.value == text
    else:
        with pytest.raises(ScepError) as refused:
            _ = message.message_type
        assert refused.value.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("CMS-09", "AC-026")
def test_message_types_of_other_asn1_types() -> None:
    """An INTEGER is its number; octets, BMPStrings and overlong numbers are nothing."""
    assert PKIMessage.parse(set_attribute(oid.MESSAGE_TYPE, der.integer(19)).message()).message_type.value == "19"
    for value in (
        der.octet_string(b"19"),
        der.tlv(der.BMP_STRING, b"\x001\x009"),
        der.integer(2**40 + 19),
        der.integer(18),
        der.integer(-19),
        der.NULL,
        b"\x33\x02\x30\0",
    ):
        with pytest.raises(ScepError):
            _ = PKIMessage.parse(set_attribute(oid.MESSAGE_TYPE, value).message()).message_type


@pytest.mark.proves("AC-025")
@pytest.mark.parametrize("pair", [("19", "17"), ("17", "19"), ("19", "18"), ("18", "19"), ("19", "19")])
@pytest.mark.parametrize("separate", [True, False])
def test_two_message_types_are_none(pair: tuple[str, str], separate: bool) -> None:
    """messageType twice, or with two values, is answered with badRequest in any order."""
    values = [der.printable_string(text) for text in pair]
    kinds = (
        [attribute(oid.MESSAGE_TYPE, value) for value in values] if separate else [attribute(oid.MESSAGE_TYPE, *values)]
    )
    message = PKIMessage.parse(replace(FORGE, attributes={oid.MESSAGE_TYPE: tuple(kinds)}, arrange=list).message())
    assert message.verify(FLOOR)
    assert message.message_type_text is None
    with pytest.raises(ScepError) as refused:
        _ = message.message_type
    assert refused.value.fail_info is FailInfo.BAD_REQUEST
    empty = PKIMessage.parse(set_attribute(oid.MESSAGE_TYPE).message())
    assert empty.message_type_text is None


# --- What is in it? --------------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-01", "CMS-20", "PEER-08")
def test_apples_and_gos_encodings_open() -> None:
    """BER in both layers, with strings in segments, opens to the same request."""
    content = open_(FORGE.message())
    for segment in (0, 4, 1000):
        forge = replace(
            FORGE,
            csr=content,
            envelope_ber=lambda whole, segment=segment: ber(whole, segment=segment),
            message_ber=lambda whole, segment=segment: ber(whole, segment=segment, keep=(DEVICE.certificate.der,)),
        )
        assert open_(forge.message()) == content


@pytest.mark.proves("CMS-03", "PEER-04")
def test_the_envelope_may_stand_under_its_own_type() -> None:
    """eContentType envelopedData is opened like data."""
    forge = replace(FORGE, content_type=oid.ENVELOPED_DATA)
    assert open_(forge.message()) == forge.plaintext()


COMPRESSED = oid.encode("1.2.840.113549.1.9.16.1.9")


@pytest.mark.proves("CMS-29", "AC-041", "AC-023")
@pytest.mark.parametrize(
    "forge",
    [
        replace(FORGE, envelope=FORGE.plaintext()),
        replace(FORGE, envelope=b""),
        replace(FORGE, encapsulated=der.sequence(der.oid(oid.DATA))),
        replace(FORGE, content_type=oid.SIGNED_DATA, envelope=FORGE.message()),
        replace(FORGE, content_type=oid.SIGNED_DATA),
        replace(FORGE, content_type=COMPRESSED),
        replace(FORGE, envelope=der.sequence(der.oid(COMPRESSED), der.explicit(0, der.sequence()))),
        replace(FORGE, envelope=FORGE.message()),
        replace(FORGE, envelope=csrs.pem(FORGE.enveloped(), "PKCS7")),
        replace(FORGE, envelope=b"\x30\x80" * 1000),
        replace(FORGE, envelope=FORGE.enveloped() + b"\0"),
    ],
)
def test_a_request_without_an_envelope_is_bad_request(forge: Forge) -> None:
    """A bare CSR, nothing, signed or compressed data, PEM: verified, answerable, and refused."""
    message = PKIMessage.parse(forge.message())
    _, digest = message.verify(FLOOR)
    with pytest.raises(ScepError) as refused:
        message.open(KEYRING, FLOOR, digest)
    assert refused.value.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("CMS-21", "CERT-35", "RA-31")
def test_any_generation_opens_wherever_it_stands_among_recipients() -> None:
    """Ours is found last of three, by its key identifier, in other spellings, for the next generation too."""
    strangers = tuple(recipient_info(certificate(NEXT_KEY, name), CEK) for name in ("CA", "root"))
    by_key = recipient_info(RA.certificate, CEK, name=der.tlv(0x80, b"\x01" * 20), version=2)
    spelt = der.sequence(csrs.subject("ra", der.PRINTABLE_STRING), der.tlv(der.INTEGER, b"\0\x2a"))
    for recipients, generation in (
        ((*strangers, recipient_info(RA.certificate, CEK)), GENERATION),
        ((by_key,), GENERATION),
        ((recipient_info(RA.certificate, CEK, name=spelt),), GENERATION),
        ((recipient_info(NEXT.certificate, CEK), *strangers), NEXT_GENERATION),
    ):
        forge = replace(FORGE, recipients=recipients)
        message = PKIMessage.parse(forge.message())
        opened = message.open(KEYRING, FLOOR, Digest.SHA256)
        assert opened.content == forge.plaintext()
        assert opened.generation is generation


@pytest.mark.proves("CMS-21", "AC-035")
@pytest.mark.parametrize(
    "recipients",
    [
        (recipient_info(CA, CEK),),
        (recipient_info(RA.certificate, CEK), recipient_info(RA.certificate, CEK, encrypted_key=bytes(256))),
        (recipient_info(RA.certificate, CEK), recipient_info(NEXT.certificate, CEK)),
        (der.tlv(0xA1, der.integer(3)),),
        (der.tlv(0xA2, der.integer(4)),),
        (der.tlv(0xA4, der.oid(oid.DATA)),),
        (
            der.parse(seal_with_password(b"x", b"secret", ContentCipher.AES128_CBC))
            .children()[1]
            .only()
            .children()[1]
            .only()
            .raw,
        ),
    ],
)
def test_no_or_several_recipients_of_ours_are_bad_request(recipients: tuple[bytes, ...]) -> None:
    """The CA's certificate, ours twice, both generations, key agreement, a password: none of them opens."""
    message = PKIMessage.parse(replace(FORGE, recipients=recipients).message())
    with pytest.raises(ScepError) as refused:
        message.open(KEYRING, FLOOR, Digest.SHA256)
    assert refused.value.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("CMS-24", "SEC-01", "DR-2")
def test_visible_algorithms_are_refused_before_the_key_is_used() -> None:
    """DES, and a transport that is off, are badAlg without the private key having been asked."""

    class Untouched:
        public = RA.key.public

        def sign(self, data: bytes, digest: Digest) -> bytes:
            raise AssertionError("nothing is signed here")

        def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
            raise AssertionError("the key was used")

    untouched = Identity(RA.certificate, Untouched())
    keyring = Keyring((Generation(untouched, untouched),))
    des = PKIMessage.parse(replace(FORGE, cipher=ContentCipher.DES_CBC).message())
    with pytest.raises(ScepError) as refused:
        des.open(keyring, FLOOR, Digest.SHA256)
    assert refused.value.fail_info is FailInfo.BAD_ALG
    with pytest.raises(ScepError) as refused:
        PKIMessage.parse(FORGE.message()).open(keyring, Floor(key_transports=frozenset()), Digest.SHA256)
    assert refused.value.fail_info is FailInfo.BAD_ALG


@pytest.mark.proves("CMS-46")
@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA512])
@pytest.mark.parametrize("transport", [KeyTransport.RSA_V15, KeyTransport.OAEP_SHA1])
def test_what_a_request_used_is_known_for_the_answer(
    cipher: ContentCipher, digest: Digest, transport: KeyTransport
) -> None:
    """Digest, cipher and key transport of a request are mirrored into its answer."""
    scheme = (
        (csrs.algorithm(oid.RSAES_OAEP), oaep(Digest.SHA1.hash))
        if transport is not KeyTransport.RSA_V15
        else (RSA_V15, None)
    )
    key = bytes(range(1, cipher.key_size + 1))
    info = recipient_info(RA.certificate, key, algorithm=scheme[0], scheme=scheme[1])
    message = PKIMessage.parse(replace(FORGE, cipher=cipher, digest=digest, recipients=(info,)).message())
    floor = Floor(ciphers=frozenset(ContentCipher))
    signer, used = message.verify(floor)
    opened = message.open(KEYRING, floor, used)
    assert opened.algorithms == Algorithms(digest, cipher, transport)
    envelope = seal_answer(degenerate([CA.der]), signer, opened.algorithms)
    answer = read_answer(
        build_cert_rep(message, Answer(PKIStatus.SUCCESS, envelope), RA, used), RA.certificate, DEVICE_KEY
    )
    assert (answer.digest, answer.cipher) == (digest.hashlib_name, cipher.value)
    assert EnvelopedData.parse(envelope).recipients[0].transport is transport
    assert answer.certificates() == [CA.der]


@pytest.mark.proves("SEC-02", "I8", "AC-017", "AC-020")
@given(st.data())
def test_a_mutated_request_raises_nothing_but_scep_errors(data: st.DataObject) -> None:
    """Parse, verify and open each refuse in their own way, whatever octets change."""
    octets = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        message = PKIMessage.parse(bytes(octets))
    except Refused as refused:
        assert refused.status == 400
        return
    try:
        message.verify(FLOOR)
        _ = message.message_type
    except ScepError:
        pass
    try:
        message.open(KEYRING, FLOOR, Digest.SHA256)
    except ScepError as refused_open:
        assert refused_open.fail_info in (FailInfo.BAD_REQUEST, FailInfo.BAD_ALG)


@pytest.mark.proves("SEC-02", "I8")
@given(st.data())
def test_a_resigned_mutated_envelope_is_refused_alike(data: st.DataObject) -> None:
    """Anyone can sign: envelopes that were tampered with and signed again are badRequest or badAlg, never an error."""
    octets = bytearray(FORGE.enveloped())
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    message = PKIMessage.parse(replace(FORGE, envelope=bytes(octets)).message())
    message.verify(FLOOR)
    try:
        message.open(KEYRING, FLOOR, Digest.SHA256)
    except ScepError as refused:
        assert refused.fail_info in (FailInfo.BAD_REQUEST, FailInfo.BAD_ALG)


SEEDS = (
    FORGE.message(),
    replace(
        FORGE,
        envelope_ber=lambda whole: ber(whole, segment=40),
        message_ber=lambda whole: ber(whole, segment=90, keep=(DEVICE.certificate.der,)),
    ).message(),
)


# --- CertRep, written ------------------------------------------------------------------------------------------------

REQUEST = PKIMessage.parse(FORGE.message())
BASE = {
    oid.dotted(kind)
    for kind in (
        oid.CONTENT_TYPE,
        oid.MESSAGE_DIGEST,
        oid.MESSAGE_TYPE,
        oid.TRANSACTION_ID,
        oid.PKI_STATUS,
        oid.SENDER_NONCE,
        oid.RECIPIENT_NONCE,
    )
}


def written(answer: Answer, **options: bool) -> bytes:
    return build_cert_rep(REQUEST, answer, RA, Digest.SHA256, **options)


@pytest.mark.proves("CMS-42", "CMS-44", "PEER-02", "I6")
@pytest.mark.parametrize(
    ("answer", "status", "more"),
    [
        (Answer(PKIStatus.PENDING), "3", set()),
        (Answer(PKIStatus.FAILURE, fail_info=FailInfo.BAD_CERT_ID), "2", {oid.FAIL_INFO}),
        (
            Answer(PKIStatus.FAILURE, fail_info=FailInfo.BAD_ALG, fail_info_text="refused"),
            "2",
            {oid.FAIL_INFO, oid.FAIL_INFO_TEXT},
        ),
    ],
)
def test_refusals_and_deferrals_have_no_envelope(answer: Answer, status: str, more: set[bytes]) -> None:
    """PENDING and FAILURE carry their attributes and a content that is present and empty, or absent where so asked."""
    for empty, content in ((True, b""), (False, None)):
        read = read_answer(written(answer, empty_content=empty), RA.certificate)
        assert set(read.attributes) == BASE | {oid.dotted(kind) for kind in more}
        assert read.text(oid.PKI_STATUS) == status
        assert read.text(oid.MESSAGE_TYPE) == "3"
        assert read.text(oid.TRANSACTION_ID) == FORGE.transaction_id
        assert read.octets(oid.RECIPIENT_NONCE) == FORGE.sender_nonce
        assert (read.content, read.recipients) == (content, 0)
    if answer.fail_info is not None:
        assert read.text(oid.FAIL_INFO) == str(int(answer.fail_info))


@pytest.mark.proves("CMS-42", "CMS-47", "CMS-48", "CMS-45", "I6", "AC-032", "SEC-16")
def test_success_is_sealed_to_the_signer_alone() -> None:
    """One recipient, who verified the request; the RA's certificate outside and the issued one, first, inside."""
    issued = certificate(DEVICE_KEY, by=(csrs.rsa_key(which=3), CA))
    envelope = seal_answer(degenerate([issued.der, CA.der]), DEVICE.certificate, Algorithms())
    read = read_answer(written(Answer(PKIStatus.SUCCESS, envelope)), RA.certificate, DEVICE_KEY)
    assert set(read.attributes) == BASE
    assert read.text(oid.PKI_STATUS) == "0"
    assert read.recipients == 1
    assert read.bag == (RA.certificate.der,)
    assert read.certificates() == [issued.der, CA.der]
    named = EnvelopedData.parse(envelope).recipients[0].name
    assert named is not None and named.names(DEVICE.certificate)


@pytest.mark.proves("CMS-43", "AC-029", "RA-17")
def test_every_answer_has_a_fresh_nonce() -> None:
    """16 random octets, never the client's and never twice."""
    nonces = {
        read_answer(written(Answer(PKIStatus.PENDING)), RA.certificate).octets(oid.SENDER_NONCE) for _ in range(50)
    }
    assert len(nonces) == 50
    assert FORGE.sender_nonce not in nonces
    assert {len(nonce) for nonce in nonces} == {16} == {len(new_nonce())}


@pytest.mark.proves("CMS-07", "CMS-41", "CMS-45")
def test_answers_are_der_with_the_ras_certificate_alone() -> None:
    """Sorted attributes, rsaEncryption, the RA's signing certificate and no other, in strict DER."""
    answer = written(Answer(PKIStatus.FAILURE, fail_info=FailInfo.BAD_REQUEST))
    der.parse(answer, strict=True)
    read = read_answer(answer, RA.certificate)
    assert read.bag == (RA.certificate.der,)
    assert read.signature_algorithm == "1.2.840.113549.1.1.1"


@pytest.mark.proves("MSG-07")
def test_a_fail_info_text_is_utf8_and_short() -> None:
    """failInfoText is a UTF8String of at most 256 characters, under the identifier that ends in 24.1."""
    read = read_answer(
        written(Answer(PKIStatus.FAILURE, fail_info=FailInfo.BAD_REQUEST, fail_info_text="é" * 300)), RA.certificate
    )
    assert read.octets(oid.encode("1.3.6.1.5.5.7.24.1")).decode() == "é" * 256


@pytest.mark.proves("CMS-28", "RA-19")
def test_a_key_that_cannot_decrypt_is_answered_under_the_challenge() -> None:
    """An EC client's certificate travels under its challenge, and without one there is no answer for it."""
    own = certificate(csrs.ec_key())
    envelope = seal_answer(b"payload", own, Algorithms(), "Pä$$-1")
    assert EnvelopedData.parse(envelope).open_with_password("Pä$$-1".encode()) == b"payload"
    for nothing in (None, ""):
        with pytest.raises(ScepError) as refused:
            seal_answer(b"payload", own, Algorithms(), nothing)
        assert refused.value.fail_info is FailInfo.BAD_REQUEST


# --- CertRep, read ---------------------------------------------------------------------------------------------------

ISSUED = certificate(DEVICE_KEY, by=(csrs.rsa_key(which=3), CA))
ANSWER = Forge(
    recipient=DEVICE.certificate,
    key=RA_KEY,
    signer=RA.certificate,
    content=degenerate([ISSUED.der]),
    message_type="3",
    attributes={
        oid.PKI_STATUS: (attribute(oid.PKI_STATUS, der.printable_string("0")),),
        oid.RECIPIENT_NONCE: (attribute(oid.RECIPIENT_NONCE, der.octet_string(b"our nonce")),),
    },
)
EXPECTED = Expectation(ANSWER.transaction_id, b"our nonce", (CA, RA.certificate), DEVICE.key, FLOOR)


def with_attributes(attributes: dict[bytes, tuple[bytes, ...]], **changes: object) -> Forge:
    return replace(ANSWER, attributes={**ANSWER.attributes, **attributes}, **changes)  # type: ignore[arg-type]


def saying(kind: bytes, *values: bytes) -> dict[bytes, tuple[bytes, ...]]:
    return {kind: (attribute(kind, *values),)}


def status(number: str) -> dict[bytes, tuple[bytes, ...]]:
    return saying(oid.PKI_STATUS, der.printable_string(number))


def read(forge: Forge, expected: Expectation = EXPECTED) -> CertRep:
    return read_cert_rep(forge.message(), expected)


@pytest.mark.proves("MSG-60", "MSG-62", "PEER-04", "PEER-08")
@pytest.mark.parametrize(
    "forge",
    [
        ANSWER,
        replace(ANSWER, content_type=oid.ENVELOPED_DATA),
        replace(ANSWER, envelope_ber=lambda whole: ber(whole, segment=8)),
        replace(ANSWER, message_ber=lambda whole: ber(whole, segment=100, keep=(RA.certificate.der,))),
        replace(ANSWER, content=ber(degenerate([ISSUED.der]), keep=(ISSUED.der,))),
        replace(ANSWER, bag=(ISSUED.der, RA.certificate.der)),
        replace(ANSWER, bag=()),
        replace(ANSWER, recipients=(recipient_info(CA, CEK), recipient_info(DEVICE.certificate, CEK))),
        replace(
            ANSWER,
            recipients=(
                recipient_info(NEXT.certificate, CEK),
                der.tlv(0xA1, der.integer(3)),
                recipient_info(DEVICE.certificate, CEK, name=der.tlv(0x80, b"nobody's")),
            ),
        ),
        with_attributes(saying(oid.PKI_STATUS, der.integer(0))),
        with_attributes(saying(oid.MESSAGE_TYPE, der.integer(3))),
        with_attributes({oid.SENDER_NONCE: ()}),
    ],
)
def test_answers_of_many_shapes_are_read(forge: Forge) -> None:
    """What known CAs send in a SUCCESS is read to the same certificate."""
    answer = read(forge)
    assert answer.status is PKIStatus.SUCCESS
    assert (answer.certificates, answer.crls) == ((ISSUED.der,), ())
    assert answer.signer == RA.certificate
    assert answer.fail_info is None


@pytest.mark.proves("MSG-60", "MSG-04", "CERT-12", "AC-109", "AC-112")
@pytest.mark.parametrize(
    "forge",
    [
        replace(ANSWER, transaction_id="another"),
        with_attributes({oid.TRANSACTION_ID: ()}),
        with_attributes(saying(oid.RECIPIENT_NONCE, der.octet_string(b"our nonc"))),
        with_attributes(saying(oid.RECIPIENT_NONCE, der.octet_string(b"our nonce\0"))),
        with_attributes({oid.RECIPIENT_NONCE: ()}),
        with_attributes({oid.RECIPIENT_NONCE: (attribute(oid.RECIPIENT_NONCE, der.octet_string(b"our nonce")),) * 2}),
        replace(ANSWER, message_type="19"),
        with_attributes({oid.MESSAGE_TYPE: ()}),
        with_attributes({oid.MESSAGE_TYPE: (attribute(oid.MESSAGE_TYPE, der.printable_string("3")),) * 2}),
        with_attributes({oid.PKI_STATUS: ()}),
        with_attributes(status("1")),
        with_attributes(status("00")),
        with_attributes(status(" 0")),
        with_attributes({oid.PKI_STATUS: (*status("0")[oid.PKI_STATUS], *status("2")[oid.PKI_STATUS])}),
        replace(ANSWER, key=DEVICE_KEY),
        replace(ANSWER, key=DEVICE_KEY, signer=DEVICE.certificate),
        replace(ANSWER, key=NEXT_KEY, signer=certificate(NEXT_KEY, "RA")),
        replace(ANSWER, digest=Digest.MD5),
        replace(ANSWER, cipher=ContentCipher.DES_CBC),
        replace(ANSWER, encapsulated=der.sequence(der.oid(oid.DATA))),
        replace(ANSWER, envelope=b"\0"),
        replace(ANSWER, content=b"garbage"),
        replace(ANSWER, content=ISSUED.der),
        replace(ANSWER, recipients=(recipient_info(NEXT.certificate, CEK),)),
        replace(ANSWER, recipients=(der.tlv(0xA1, der.integer(3)),)),
        FORGE,
    ],
)
def test_answers_that_do_not_belong_to_the_request_are_refused(forge: Forge) -> None:
    """Another transaction, nonce, type, status, signer, algorithm or recipient: not believed."""
    with pytest.raises(ScepError):
        read(forge)


@pytest.mark.proves("AC-115", "MSG-60", "SEC-15")
def test_the_signature_is_verified_before_the_key_is_used() -> None:
    """An answer that no expected signer made, or to another request, never reaches our private key."""

    class Counting:
        public = DEVICE.key.public
        used = 0

        def sign(self, data: bytes, digest: Digest) -> bytes:
            raise AssertionError("nothing is signed here")

        def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
            self.used += 1
            return DEVICE.key.decrypt(ciphertext, transport)

    key = Counting()
    expected = replace(EXPECTED, key=key)
    for forge in (
        replace(ANSWER, key=NEXT_KEY, signer=certificate(NEXT_KEY, "stranger")),
        replace(ANSWER, signature=lambda signed: bytes(256)),
        replace(ANSWER, transaction_id="another"),
        with_attributes(saying(oid.RECIPIENT_NONCE, der.octet_string(b"another"))),
        with_attributes(status("3")),
        with_attributes(status("2")),
    ):
        try:
            read(forge, expected)
        except ScepError:
            continue
        assert forge.attributes[oid.PKI_STATUS] != ANSWER.attributes[oid.PKI_STATUS]
    assert key.used == 0
    assert read(ANSWER, expected).certificates
    assert key.used == 1


NDES_CONTENT = der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"\0")))


@pytest.mark.proves("CMS-44", "PEER-02", "MSG-09")
@pytest.mark.parametrize(
    "encapsulated",
    [
        None,
        der.sequence(der.oid(oid.DATA)),
        der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b""))),
        NDES_CONTENT,
        der.sequence(der.oid(oid.SIGNED_DATA)),
    ],
)
@pytest.mark.parametrize("number", ["2", "3"])
def test_the_content_of_refusals_and_deferrals_is_not_looked_at(encapsulated: bytes | None, number: str) -> None:
    """Absent, empty, NDES's one octet, or even an envelope: the status decides."""
    content_type = {} if encapsulated is None else saying(oid.CONTENT_TYPE, der.parse(encapsulated).children()[0].raw)
    answer = read(with_attributes({**status(number), **content_type}, encapsulated=encapsulated))
    assert answer.status is PKIStatus(number)
    assert answer.certificates == ()
    assert answer.fail_info == (FailInfo.BAD_REQUEST if number == "2" else None)


@pytest.mark.proves("MSG-09")
@pytest.mark.parametrize(
    ("value", "fail_info"),
    [
        (der.printable_string("0"), FailInfo.BAD_ALG),
        (der.printable_string("4"), FailInfo.BAD_CERT_ID),
        (der.integer(3), FailInfo.BAD_TIME),
        (der.printable_string("5"), FailInfo.BAD_REQUEST),
        (der.printable_string("x"), FailInfo.BAD_REQUEST),
        (der.tlv(der.PRINTABLE_STRING, b"9" * 5000), FailInfo.BAD_REQUEST),
        (der.NULL, FailInfo.BAD_REQUEST),
    ],
)
def test_fail_info_is_read_or_counts_as_bad_request(value: bytes, fail_info: FailInfo) -> None:
    """A FAILURE always has a reason, if need be the general one."""
    assert read(with_attributes({**status("2"), **saying(oid.FAIL_INFO, value)})).fail_info is fail_info


@pytest.mark.proves("MSG-07", "PEER-11")
@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({}, None),
        (saying(oid.FAIL_INFO_TEXT, der.tlv(UTF8, "größer".encode())), "größer"),
        (saying(oid.encode("1.3.6.1.5.5.7.24"), der.tlv(UTF8, b"step")), "step"),
        (saying(oid.FAIL_INFO_TEXT, der.tlv(UTF8, b"x" * 300)), "x" * 256),
        (saying(oid.FAIL_INFO_TEXT, der.tlv(UTF8, b"\xff")), "\ufffd"),
        (saying(oid.FAIL_INFO_TEXT, der.sequence(der.NULL)), None),
        (saying(oid.FAIL_INFO_TEXT), None),
    ],
)
def test_fail_info_text_is_read_where_cas_put_it(attributes: dict[bytes, tuple[bytes, ...]], text: str | None) -> None:
    """Under the right identifier, or the one that step-ca used; unreadable ones are none."""
    assert read(with_attributes({**status("2"), **attributes})).fail_info_text == text


@pytest.mark.proves("MSG-08")
@pytest.mark.parametrize(
    ("value", "number"),
    [
        (der.printable_string("-2147024809"), 0x80070057),
        (der.printable_string("0"), 0),
        (der.integer(-2147024809), 0x80070057),
        (der.printable_string("many"), None),
        (der.octet_string(b"1"), None),
    ],
)
def test_ndes_error_numbers_are_read(value: bytes, number: int | None) -> None:
    """The HRESULT is shown as the unsigned number that documentation uses; nonsense is none."""
    assert read(with_attributes({**status("2"), **saying(oid.NDES_ERROR, value)})).ndes_error == number


@pytest.mark.proves("CMS-28", "RA-19")
def test_an_answer_under_a_password_is_opened_with_it() -> None:
    """Where our key cannot decrypt, the challenge opens the answer."""
    key = SoftwareKey(csrs.ec_key())
    envelope = seal_with_password(degenerate([ISSUED.der]), b"secret", ContentCipher.AES128_CBC)
    expected = replace(EXPECTED, key=key, password=b"secret")
    assert read(replace(ANSWER, envelope=envelope), expected).certificates == (ISSUED.der,)
    with pytest.raises(ScepError):
        read(ANSWER, expected)
    # A key that can decrypt has no use for the password.
    assert read(ANSWER, replace(EXPECTED, password=b"secret")).certificates == (ISSUED.der,)


@pytest.mark.proves("MSG-62")
def test_a_foreign_recipient_that_seems_to_open_does_not_hide_ours() -> None:
    """A key meant for somebody else may decrypt to octets that look padded: reading goes on to the one that is ours."""

    class Fooled:
        public = DEVICE.key.public

        def sign(self, data: bytes, digest: Digest) -> bytes:
            raise AssertionError("nothing is signed here")

        def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
            return next(keys)

    padded = next(
        key.to_bytes(16, "big")
        for key in itertools.count()
        if EnvelopedData.parse(ANSWER.enveloped()).recipients and _looks_padded(key.to_bytes(16, "big"))
    )
    keys = iter((padded, CEK))
    recipients = (recipient_info(NEXT.certificate, CEK), recipient_info(DEVICE.certificate, CEK))
    assert read(replace(ANSWER, recipients=recipients), replace(EXPECTED, key=Fooled())).certificates == (ISSUED.der,)


def _looks_padded(key: bytes) -> bool:
    class Known:
        public = DEVICE.key.public

        def sign(self, data: bytes, digest: Digest) -> bytes:
            raise AssertionError("nothing is signed here")

        def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
            return key

    envelope = EnvelopedData.parse(ANSWER.enveloped())
    try:
        envelope.open(Known(), envelope.recipients[0])
    except ScepError:
        return False
    return True


@given(st.data())
@pytest.mark.proves("SEC-12", "MSG-60")
def test_a_mutated_answer_raises_nothing_but_scep_errors(data: st.DataObject) -> None:
    """Whatever octets of an answer change, it is refused, or says what it said."""
    octets = bytearray(data.draw(st.sampled_from(ANSWERS)))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        answer = read_cert_rep(bytes(octets), EXPECTED)
    except ScepError:
        return
    assert answer.signer == RA.certificate
    assert answer.certificates in ((), (ISSUED.der,))


ANSWERS = (
    ANSWER.message(),
    with_attributes({**status("2"), **saying(oid.NDES_ERROR, der.printable_string("-1"))}).message(),
    replace(ANSWER, message_ber=lambda whole: ber(whole, segment=60, keep=(RA.certificate.der,))).message(),
)


# --- Requests, written -----------------------------------------------------------------------------------------------


@pytest.mark.proves("RA-14", "CMS-40", "CMS-41", "CMS-42")
@pytest.mark.parametrize("kind", [kind for kind in MessageType if kind is not MessageType.CERT_REP])
def test_our_own_requests_are_read_back(kind: MessageType) -> None:
    """A request has its four attributes, one recipient, and only the signer's certificate."""
    algorithms = Algorithms(Digest.SHA512, ContentCipher.AES256_CBC, KeyTransport.OAEP_SHA256)
    request = build_request(kind, "ID 1", b"n" * 16, b"content", DEVICE, RA.certificate, algorithms)
    message = PKIMessage.parse(request)
    assert (message.message_type, message.transaction_id, message.sender_nonce) == (kind, "ID 1", b"n" * 16)
    signer, digest = message.verify(FLOOR)
    opened = message.open(KEYRING, FLOOR, digest)
    assert (opened.content, opened.algorithms) == (b"content", algorithms)
    seen = read_answer(request, DEVICE.certificate, RA_KEY)
    assert set(seen.attributes) == BASE - {oid.dotted(oid.PKI_STATUS), oid.dotted(oid.RECIPIENT_NONCE)}
    assert seen.bag == (DEVICE.certificate.der,) == (signer.der,)
    assert seen.payload == b"content"


@pytest.mark.proves("RA-19")
def test_a_request_to_an_ec_ca_travels_under_its_challenge() -> None:
    """A CA whose key cannot decrypt is sent a password's envelope, or nothing."""
    ca = certificate(csrs.ec_key(), "CA")
    request = build_request(MessageType.PKCS_REQ, "1", b"n", b"content", DEVICE, ca, Algorithms(), password=b"secret")
    content = PKIMessage.parse(request).signed_data.content
    assert content is not None
    assert EnvelopedData.parse(content).open_with_password(b"secret") == b"content"
    with pytest.raises(ScepError) as refused:
        build_request(MessageType.PKCS_REQ, "1", b"n", b"content", DEVICE, ca, Algorithms())
    assert refused.value.fail_info is FailInfo.BAD_ALG
    sealed = build_request(
        MessageType.PKCS_REQ, "1", b"n", b"content", DEVICE, RA.certificate, Algorithms(), password=b"secret"
    )
    assert open_(sealed) == b"content"


# --- Contents --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("MSG-41", "CMS-30")
def test_poll_contents_are_read() -> None:
    """IssuerAndSubject is two names; a CSR, ASCII or trailing octets are none."""
    content = issuer_and_subject(CA.subject_der, DEVICE.certificate.subject_der)
    assert parse_issuer_and_subject(content) == (CA.subject_der, DEVICE.certificate.subject_der)
    for bad in (b"", b"CN=device", content + b"\0", der.sequence(CA.subject_der), forged_issuer_and_serial(CA)):
        with pytest.raises(Malformed):
            parse_issuer_and_subject(bad)


@pytest.mark.proves("MSG-51", "MSG-50", "CMS-30")
def test_certificate_identifiers_are_read_in_three_encodings() -> None:
    """IssuerAndSerialNumber, of whichever certificate, and the drafts' longer form with CRL distribution points."""
    plain = issuer_and_serial(CA)
    assert plain == forged_issuer_and_serial(CA)
    assert parse_issuer_and_serial(plain) == (CA.subject_der, 0x2A)
    assert parse_issuer_and_serial(der.sequence(plain, der.sequence())) == (CA.subject_der, 0x2A)
    for bad in (
        b"",
        der.sequence(),
        der.sequence(plain),
        der.sequence(CA.subject_der),
        der.sequence(der.NULL, der.integer(1)),
        der.sequence(der.sequence(der.NULL), der.sequence()),
        issuer_and_subject(CA.subject_der, CA.subject_der),
        plain + b"\0",
    ):
        with pytest.raises(Malformed):
            parse_issuer_and_serial(bad)


@pytest.mark.proves("MSG-61")
def test_the_issued_certificate_is_the_one_with_our_key() -> None:
    """Wherever it stands, and only if there is exactly one; the same one twice is one."""
    spki = csrs.spki(DEVICE_KEY)
    other = certificate(DEVICE_KEY, serial=der.integer(9))
    for order in itertools.permutations((ISSUED.der, CA.der, RA.certificate.der)):
        assert choose_issued(order, spki) == ISSUED
    assert choose_issued((ISSUED.der, ISSUED.der), spki) == ISSUED
    without_null = csrs.rsa_spki(DEVICE_KEY.public_key().public_numbers().n, 65537, b"")
    assert choose_issued((ISSUED.der,), without_null) == ISSUED
    for wrong in ((), (CA.der,), (ISSUED.der, other.der), (ISSUED.der, b"\x30\0")):
        with pytest.raises(ScepError):
            choose_issued(wrong, spki)
