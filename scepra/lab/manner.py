"""In what a product differs from RFC 8894 beyond what :class:`~scepra.lab.behaviour.Behaviour` switches: one value.

Each attribute is a documented habit of some CA; nothing here is a fault of the network.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from scepra.scep import oid
from scepra.scep.message import MessageType

EVERY = frozenset(MessageType) - {MessageType.CERT_REP}


class Renewals(enum.Enum):
    """What a message may do that is signed by a certificate of the CA's own."""

    ANYTHING = "whatever it asks for, by PKCSReq or RenewalReq"
    SAME_SUBJECT = "by PKCSReq, and its subject is the certificate's: as drafts before RFC 8894 have it"
    CHALLENGED = "by PKCSReq or RenewalReq, and with the challenge too"
    NOTHING = "nothing that needs no challenge"


@dataclass(frozen=True, slots=True)
class Manner:
    """A product's habits.

    Attributes:
        server: what it calls itself in the header Server; None has it say nothing.
        page: a request without an operation gets a page for people.
        longest_query: in octets; a longer one is answered with 404, as by IIS's maxQueryString.
        takes_chunks: a request's body may come in chunks; else it is answered with 411.
        chunks: answers come in chunks.
        ca_first: GetCACert has the CA's certificate first.
        always_bag: GetCACert is a SignedData also where it holds one certificate.
        one_certificate: GetCACert holds one certificate; "message" says which one of the chain, by number.
        serves: the messages that are read; others are answered with status 500.
        hexadecimal: a transactionID of other letters than those of hexadecimal numbers is refused.
        unreadable: the HTTP status that a message gets whose signature or envelope is not read; None: FAILURE.
        refused: the HTTP status that a request gets that is refused; None: FAILURE.
        renewals: see :class:`Renewals`.
        same_subject: the signer's subject has to be the request's.
        common_name: a subject has to have a common name.
        recognises: who signs with a certificate of the CA's with this OU is never made to wait.
        hresult: FAILURE has Microsoft's attribute with this number; None: it has none.
        one_octet: FAILURE carries one octet of content.
        bare_failures: FAILURE brings no certificate, and is signed with SHA-1.
        text: the attribute of failInfoText; None: FAILURE has no text.
        own_nonce: senderNonce is new; else it is the request's.
        oaep_with_aes: what was asked in AES is answered in RSA-OAEP.
        every_recipient: SUCCESS is encrypted to every certificate that the request brought.
        constructed: encrypted content is written in constructed encoding.
        enveloped: SUCCESS says that its content is envelopedData, not data.
    """

    server: str | None = None
    page: bool = False
    longest_query: int | None = None
    takes_chunks: bool = True
    chunks: bool = False
    ca_first: bool = False
    always_bag: bool = False
    one_certificate: bool = False
    serves: frozenset[MessageType] = EVERY
    hexadecimal: bool = False
    unreadable: int | None = None
    refused: int | None = None
    renewals: Renewals = Renewals.ANYTHING
    same_subject: bool = False
    common_name: bool = False
    recognises: str | None = None
    hresult: int | None = None
    one_octet: bool = False
    bare_failures: bool = False
    text: bytes | None = oid.FAIL_INFO_TEXT
    own_nonce: bool = True
    oaep_with_aes: bool = False
    every_recipient: bool = False
    constructed: bool = False
    enveloped: bool = False


PLAIN = Manner()
"""No habits."""
