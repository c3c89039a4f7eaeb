"""Which certificates go along: with GetCACert, and with an issued certificate (CERT-02, CERT-05, CMS-48)."""

from __future__ import annotations

from collections.abc import Sequence

from scepra.config import model
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation
from scepra.upstream.view import Announcement, UpstreamView


def ca_certificates(
    wanted: model.CACertificates, current: Generation, views: Sequence[UpstreamView]
) -> list[Certificate]:
    """What GetCACert holds: what clients encrypt to first, the issuing CAs after the RA's (CERT-05).

    The CA that issued the RA's certificates is the first of them (CERT-07); then come the others, and then those above.

    Args:
        wanted: which of the CAs above the issuing ones.
        current: the RA's certificates.
        views: of the CAs; at least one.
    """
    served = [current.encryption.certificate]
    if current.signing.certificate not in served:
        served.append(current.signing.certificate)
    own = _issuer_s(served[0], views)
    issuing, *above = chain(served[0], own)
    others = [_issuing(view) for view in views if view is not own]
    served += [issuing, *(each[0] for each in others)]
    above += [item for each in others for item in each[1:]]
    served += [item for item in above if (wanted.root if item.is_self_signed else wanted.intermediates)]
    return list(dict.fromkeys(served))


def _issuing(view: UpstreamView) -> list[Certificate]:
    """The CA that clients of a view talk to, or that certified the one that they talk to, and those above it."""
    above = chain(view.encryption, view)
    return list(dict.fromkeys([view.encryption, *above])) if view.encryption in view.issuers else above


def accompanying(reply: model.Reply, issued: Certificate, views: Sequence[UpstreamView]) -> list[Certificate]:
    """What goes along with an issued certificate, as far as the CAs' certificates are known."""
    if reply.certificates == "none" or not views:
        return []
    above = chain(issued, _issuer_s(issued, views))
    return above[:1] if reply.certificates == "issuer" else above


def _issuer_s(certificate: Certificate, views: Sequence[UpstreamView]) -> UpstreamView:
    """The view of the CA that issued a certificate; CAs may share a name. The first where it is none of these."""
    for view in views if len(views) > 1 else ():
        for item in view.issuers:
            if item.subject_der == certificate.issuer_der and certificate.signed_by(item.public_key, frozenset(Digest)):
                return view
    return views[0]


def chain(certificate: Certificate, view: UpstreamView) -> list[Certificate]:
    """The CA certificates above one, nearest first; the first known issuer where its own is not among them."""
    found: list[Certificate] = []
    while (issuer := view.issuer_of(certificate)) is not None and issuer not in found:
        found.append(issuer)
        certificate = issuer
    return found or [view.issuers[0]]


def following(announced: Announcement, upcoming: Generation | None, view: UpstreamView) -> list[Certificate]:
    """What the RA's own GetNextCACert answer holds: the next CA's certificates, then the RA's next ones, where they are
    that CA's (CERT-32)."""
    served = list(announced.certificates)
    for each in () if upcoming is None else (upcoming.encryption.certificate, upcoming.signing.certificate):
        if each not in served and view.asked_by(each) != view.current.authority:
            served.append(each)
    return served
