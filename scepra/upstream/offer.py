"""What a CA offers to whoever asks, before anything of it is believed (CERT-10, CERT-11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scepra.errors import ScepError, UpstreamError
from scepra.http.request import Reply
from scepra.scep.capabilities import KEYWORDS, Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates
from scepra.scep.transport import OperationKind
from scepra.upstream.belief import is_ra, issued
from scepra.upstream.exchange import Exchange

DIGESTS = {"sha256": "SHA-256", "sha1": "SHA-1", "md5": "MD5"}


@dataclass(frozen=True, slots=True)
class Offer:
    """What a CA answered to GetCACaps and GetCACert, believed in nothing.

    ``caps`` and ``bag`` are the answers themselves; ``caps`` is None where there was none.
    """

    url: str
    capabilities: Capabilities
    certificates: tuple[Certificate, ...]
    caps: Reply | None = None
    bag: Reply | None = None

    @property
    def authority(self) -> Certificate | None:
        """The certificate to pin: the CA's that issued an RA certificate, else the CA's below which no other stands."""
        authorities = [item for item in self.certificates if not is_ra(item)]
        for item in self.certificates:
            for authority in authorities:
                if is_ra(item) and issued(item, authority) and item.signed_by(authority.public_key):
                    return authority
        for authority in authorities:
            if not any(issued(other, authority) for other in authorities if other != authority):
                return authority
        return None

    def report(self) -> dict[str, Any]:
        """What there is to say, for scripts."""
        authority = self.authority
        return {
            "url": self.url,
            "capabilities": [keyword for keyword in KEYWORDS if keyword in self.capabilities],
            "certificates": [row(item) for item in self.certificates],
            "ca-fingerprint": f"sha256:{authority.fingerprint()}" if authority is not None else None,
        }


def row(certificate: Certificate) -> dict[str, str]:
    """What there is to say of a certificate."""
    starts, ends = certificate.not_before, certificate.not_after
    return {
        "role": role_of(certificate),
        "subject": str(certificate.subject),
        "issuer": str(certificate.issuer),
        "starts": starts.isoformat() if starts is not None else "unreadable",
        "expires": ends.isoformat() if ends is not None else "unreadable",
        **{digest: certificate.fingerprint(digest) for digest in DIGESTS},
    }


def role_of(certificate: Certificate) -> str:
    """What a certificate is for, by its own word: "CA", or an RA's for "signing", "encryption", both or neither."""
    usage = certificate.key_usage
    if not is_ra(certificate):
        return "CA"
    uses = []
    if usage is None or "digitalSignature" in usage:
        uses.append("signing")
    if usage is None or usage & {"keyEncipherment", "dataEncipherment"}:
        uses.append("encryption")
    return f"RA, for {' and '.join(uses) or 'neither signing nor encryption'}"


async def ask(exchange: Exchange, url: str) -> Offer:
    """What a CA offers.

    Raises:
        UpstreamError: it gives no certificates.
    """
    caps = None
    try:
        caps = await exchange.get(OperationKind.GET_CA_CAPS)
    except UpstreamError as error:
        if not error.sent:
            raise
    listed = caps.body if caps is not None and caps.status == 200 else b""
    reply = await exchange.get(OperationKind.GET_CA_CERT)
    if reply.status != 200:
        raise UpstreamError(exchange.name, f"no CA certificates but {reply}", sent=True)
    try:
        offer = Offer(url, Capabilities.parse(listed), parse_ca_certificates(reply.body), caps, reply)
        offer.report()
    except ScepError as error:
        reason = f"no CA certificates but {reply}, which cannot be read: {error.reason}"
        raise UpstreamError(exchange.name, reason, sent=True) from error
    return offer
