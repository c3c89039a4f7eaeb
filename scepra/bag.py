"""Which certificates go along: with GetCACert, and with an issued certificate (CERT-02, CERT-05, CMS-48)."""

from __future__ import annotations

from scepra.config import model
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation
from scepra.upstream.view import UpstreamView


def ca_certificates(wanted: model.CACertificates, current: Generation, view: UpstreamView) -> list[Certificate]:
    """What GetCACert holds: what clients encrypt to first, the issuing CA after the RA's (CERT-05).

    Args:
        wanted: which of the CAs above the issuing one.
        current: the RA's certificates.
        view: the CA's.
    """
    served = [current.encryption.certificate]
    if current.signing.certificate not in served:
        served.append(current.signing.certificate)
    issuing, *above = chain(served[0], view)
    served.append(issuing)
    return served + [item for item in above if (wanted.root if item.is_self_signed else wanted.intermediates)]


def accompanying(reply: model.Reply, issued: Certificate, view: UpstreamView | None) -> list[Certificate]:
    """What goes along with an issued certificate, as far as the CA's certificates are known."""
    if reply.certificates == "none" or view is None:
        return []
    above = chain(issued, view)
    return above[:1] if reply.certificates == "issuer" else above


def chain(certificate: Certificate, view: UpstreamView) -> list[Certificate]:
    """The CA certificates above one, nearest first; the first known issuer where its own is not among them."""
    found: list[Certificate] = []
    while issuer := next(
        (item for item in view.issuers if item.subject_der == certificate.issuer_der and item not in found), None
    ):
        found.append(issuer)
        certificate = issuer
    return found or [view.issuers[0]]
