"""The GetCACaps answer (RFC 8894, 3.5) as a value: written strictly, read leniently."""

from __future__ import annotations

from dataclasses import dataclass

from scepra.scep.algorithm import ContentCipher, Digest

AES = "AES"
DES3 = "DES3"
GET_NEXT_CA_CERT = "GetNextCACert"
POST_PKI_OPERATION = "POSTPKIOperation"
RENEWAL = "Renewal"
SCEP_STANDARD = "SCEPStandard"

# In the order they are listed: strongSwan reads only what stands here (PEER-03), the rest is RFC 8894's Table 7.
KEYWORDS = (
    AES,
    DES3,
    GET_NEXT_CA_CERT,
    POST_PKI_OPERATION,
    RENEWAL,
    Digest.SHA1.value,
    Digest.SHA224.value,
    Digest.SHA256.value,
    Digest.SHA384.value,
    Digest.SHA512.value,
    SCEP_STANDARD,
    "Update",
)
_BY_FOLDED = {keyword.lower(): keyword for keyword in KEYWORDS}
# Octets of an answer that are read; what an empty one leaves (GET, 3DES, SHA-1: CAPS-08) is its reader's to know.
MAXIMUM = 16 * 1024


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A set of RFC 8894's keywords, in canonical spelling."""

    keywords: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, body: bytes) -> Capabilities:
        """Read an answer: any line ending, any case, unknown words ignored; a page of HTML lists nothing (CAPS-09)."""
        text = body[:MAXIMUM].removeprefix(b"\xef\xbb\xbf").decode("latin-1")
        if text.lstrip().startswith("<"):
            return cls()
        words = (line.strip().lower() for line in text.replace("\r", "\n").split("\n"))
        return cls(frozenset(_BY_FOLDED[word] for word in words if word in _BY_FOLDED))

    def encode(self) -> bytes:
        """The answer: one keyword a line, exact case, LF, no blanks, under 1024 octets (CAPS-01, CAPS-02)."""
        return "".join(f"{keyword}\n" for keyword in KEYWORDS if keyword in self.keywords).encode("ascii")

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def standard(self) -> bool:
        """Whether the mandatory set of RFC 8894 is stated as a whole."""
        return SCEP_STANDARD in self.keywords

    @property
    def post(self) -> bool:
        """Whether PKIOperation may be sent by POST."""
        return self.standard or POST_PKI_OPERATION in self.keywords

    def digest(self, preferred: Digest) -> bool:
        """Whether a digest is stated as supported."""
        return preferred.value in self.keywords or (self.standard and preferred is Digest.SHA256)

    def cipher(self, preferred: ContentCipher) -> bool:
        """Whether a content cipher is stated as supported; AES means AES-128-CBC and, in practice, its longer keys."""
        if preferred is ContentCipher.DES_EDE3_CBC:
            return DES3 in self.keywords
        return preferred is not ContentCipher.DES_CBC and (self.standard or AES in self.keywords)


def offered(
    digests: frozenset[Digest], ciphers: frozenset[ContentCipher], *, post: bool, renewal: bool, rollover: bool
) -> Capabilities:
    """What a profile lists: its own front side, never the upstream's (CAPS-03, CAPS-04, PEER-03).

    MD5 and DES have no keyword, so that a legacy switch never shows (SEC-01). SHA-224 stays unlisted (CAPS-03).
    """
    listed = {digest.value for digest in digests - {Digest.MD5, Digest.SHA224}}
    if ContentCipher.AES128_CBC in ciphers:
        listed.add(AES)
    if ContentCipher.DES_EDE3_CBC in ciphers:
        listed.add(DES3)
    if post:
        listed.add(POST_PKI_OPERATION)
    if renewal:
        listed.add(RENEWAL)
    if rollover:
        listed.add(GET_NEXT_CA_CERT)
    if {AES, POST_PKI_OPERATION, Digest.SHA256.value} <= listed:
        listed.add(SCEP_STANDARD)
    return Capabilities(frozenset(listed))
