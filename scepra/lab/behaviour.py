"""How the lab's CA behaves: well, unless told otherwise; one value that says all of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from scepra.errors import FailInfo
from scepra.lab.manner import PLAIN, Manner
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, Floor, KeyTransport
from scepra.scep.message import PKIStatus
from scepra.scep.transport import OperationKind

MODERN = Floor()
"""What RFC 8894 allows."""

PERMISSIVE = Floor(
    digests=frozenset(Digest),
    ciphers=frozenset(ContentCipher),
    key_transports=frozenset(KeyTransport),
    rsa_bits=(512, 16384),
)
"""A floor that refuses nothing that can be read."""


class Fault(enum.Enum):
    """What goes wrong with an HTTP answer; the operation itself has been carried out (FT-06 to FT-13)."""

    HTML = "a page of HTML with status 200"
    EMPTY = "status 200 and no content"
    SILENCE = "no answer, ever"
    RESET = "the connection is reset instead of an answer"
    CUT = "half of the answer, then the connection is reset"
    TRUNCATED = "half of the answer, then the connection ends"
    SHORT = "Content-Length is half of what the answer has"
    DRIP = "the answer octet by octet, with a pause after each"


class Duplicates(enum.Enum):
    """What becomes of a request that comes again under the transactionID that it had (FT-13)."""

    SAME = "the outcome that it has had, or will have"
    REFUSED = "FAILURE: its password has been used"
    ISSUED = "another certificate, if it has one"
    KEY = "the outcome that its key has had, also where another request of the same key comes"


class Forgery(enum.Enum):
    """What is wrong with a CertRep, or with the certificate in it (MSG-60, MSG-61)."""

    SIGNER = "signed by another key under the signer's name and serial number"
    NONCE = "recipientNonce is not the request's"
    TRANSACTION = "transactionID is not the request's"
    KEY = "the certificate is for another key"
    ISSUER = "the certificate is signed by another key under the CA's name"
    SUBJECT = "the certificate is for another subject"
    NAMES = "the certificate has a DNS name that was not asked for"
    CA = "the certificate is a CA's"
    EXPIRED = "the certificate has expired"


class Faces(enum.Enum):
    """Which certificates clients talk to, and GetCACert gives."""

    CA = "the CA's own, alone and bare"
    RA = "one RA certificate for both, and the CA's"
    SPLIT = "one RA certificate that signs, another that decrypts, and the CA's: as NDES has it"


class Word(enum.Enum):
    """By whose word, and in what form, the CA tells of the next one (CERT-30 to CERT-33)."""

    CA = "signed by the CA's key, the next certificates in the content"
    FIELD = "signed by the CA's key, the next certificates beside the content, as jscep does it"
    RA = "signed by the RA certificate that signs for the CA"
    STRANGER = "signed by another key under the CA's name and serial number"
    UNSIGNED = "not signed at all"
    MESSAGE = "in a pkiMessage"


class Payload(enum.Enum):
    """What a SUCCESS carries, in this order."""

    LEAF = "the certificate"
    LEAF_THEN_CA = "the certificate, then the CA's"
    CA_THEN_LEAF = "the CA's certificate, then the one issued"
    NOTHING = "no certificate at all"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the CA answers; change some of it with :func:`dataclasses.replace`.

    Attributes:
        status: the fate of new requests: SUCCESS; PENDING until they are approved; FAILURE with ``fail_info`` and
            ``fail_info_text``.
        polls: how many polls for a new request that is PENDING are answered so; the next brings its certificate. None:
            none does before it is approved.
        forgets: what is pending is known no more, to polls and to the same request (FT-15).
        duplicates: see :class:`Duplicates`.
        algorithms: what answers use; None mirrors the request.
        floor: which digests, ciphers, key transports and keys requests may use.
        empty_content: PENDING and FAILURE carry content that is empty, rather than none (PEER-02).
        faces: see :class:`Faces`.
        word: see :class:`Word`; about nothing, unless a next CA is announced.
        payload: see :class:`Payload`.
        capabilities: the whole GetCACaps body, instead of what is true.
        post: PKIOperation by POST is served, and listed in GetCACaps; else it is answered with 405.
        get: PKIOperation by GET is served; else it is answered with 405.
        forgery: see :class:`Forgery`.
        fault: see :class:`Fault`.
        pause: of a DRIP, in seconds.
        http_status: an HTTP status that takes the place of the answer, with ``retry_after`` (seconds) if that is set.
        faulty: the operations that ``fault`` and ``http_status`` are about.
        faulty_methods: the HTTP methods that they are about.
        manner: the habits of a product, see :class:`~scepra.lab.manner.Manner`.
    """

    status: PKIStatus = PKIStatus.SUCCESS
    fail_info: FailInfo = FailInfo.BAD_REQUEST
    fail_info_text: str | None = None
    polls: int | None = None
    forgets: bool = False
    duplicates: Duplicates = Duplicates.SAME
    algorithms: Algorithms | None = None
    floor: Floor = MODERN
    empty_content: bool = True
    faces: Faces = Faces.CA
    word: Word = Word.CA
    payload: Payload = Payload.LEAF
    capabilities: bytes | None = None
    post: bool = True
    get: bool = True
    forgery: Forgery | None = None
    fault: Fault | None = None
    pause: float = 1.0
    http_status: int | None = None
    retry_after: int | None = None
    faulty: frozenset[OperationKind] = frozenset((OperationKind.PKI_OPERATION,))
    faulty_methods: frozenset[str] = frozenset(("GET", "POST"))
    manner: Manner = PLAIN
