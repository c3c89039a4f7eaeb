"""What of a CA's certificates is believed: trust goes down from those that are pinned (CERT-11, CERT-12; AC-106)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scepra.config.upstream import Upstream
from scepra.errors import ScepError
from scepra.scep import oid
from scepra.scep.algorithm import Floor
from scepra.scep.certificate import Certificate, choose_encryption

_UNBOUNDED = 32


@dataclass(frozen=True, slots=True)
class CAGeneration:
    """One generation of a CA, as far as it may be believed.

    ``pinned`` is the CA that the trust comes from; ``issuers`` are the certificates that issued ones may verify under:
    the pinned CAs and those below them. ``encryption`` is what requests are encrypted to: without an RSA key where the
    CA has none (RA-19). ``signers`` may sign answers. It is good until ``expires``, when the first of its trusted
    certificates does.
    """

    pinned: Certificate
    issuers: tuple[Certificate, ...]
    encryption: Certificate
    signers: tuple[Certificate, ...]
    expires: datetime

    @property
    def authority(self) -> bytes:
        """What a transaction knows the generation by: the SHA-256 of its CA's certificate."""
        return digest(self.pinned)


def digest(certificate: Certificate) -> bytes:
    """The SHA-256 of a certificate."""
    return bytes.fromhex(certificate.fingerprint())


def is_ra(certificate: Certificate) -> bool:
    """Whether a certificate of a GetCACert answer is a registration authority's: neither a CA's nor a root of old."""
    return not certificate.is_ca and certificate.issuer_der != certificate.subject_der


def issued(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether the names chain."""
    return certificate.issuer.matches(issuer.subject)


@dataclass(slots=True)
class Believed:
    """What was offered; of it, what is trusted, with how many CAs may follow below (None: it issues nothing); and why
    the rest is not."""

    offered: tuple[Certificate, ...]
    trusted: dict[Certificate, int | None]
    refused: dict[Certificate, str]

    @classmethod
    def from_pins(
        cls,
        settings: Upstream,
        offered: tuple[Certificate, ...],
        now: datetime,
        followed: frozenset[Certificate] = frozenset(),
    ) -> Believed:
        """Trust what is pinned or follows it, and what chains to that, level by level.

        Raises:
            ScepError: no valid CA certificate is pinned.
        """
        pinned = [
            item for item in offered if item in followed or any(pin.matches(item) for pin in settings.ca_fingerprint)
        ]
        if not pinned:
            raise ScepError("none is pinned; offered are " + ", ".join(map(_shown, offered)))
        trust = cls(offered, {item: anchored(item) for item in pinned if item.valid_at(now)}, {})
        if all(below is None for below in trust.trusted.values()):
            raise ScepError(f"no pinned one is a CA's and valid now: {', '.join(map(_shown, pinned))}")
        # Whoever pins an RA certificate as well wants no other.
        trust.spread(settings.floor, now, frozenset(pinned), only_pinned=any(map(is_ra, pinned)))
        return trust

    def spread(
        self,
        floor: Floor,
        now: datetime,
        judged: frozenset[Certificate] = frozenset(),
        *,
        only_pinned: bool = False,
    ) -> None:
        """Trust what chains to what is trusted, level by level.

        Args:
            judged: certificates that are left as they are.
            only_pinned: no further RA certificate is trusted.
        """
        rest = [item for item in self.offered if item not in judged and item not in self.trusted]
        found = True
        while found:
            found = False
            for item in tuple(rest):
                if only_pinned and is_ra(item):
                    self.refused[item] = "is not pinned, while another RA certificate is"
                elif self._extend(item, floor, now):
                    rest.remove(item)
                    found = True

    def _extend(self, item: Certificate, floor: Floor, now: datetime) -> bool:
        """Trust a certificate if one that is trusted may have issued it, and did."""
        for issuer, below in tuple(self.trusted.items()):
            if below is None or not issued(item, issuer) or not item.signed_by(issuer.public_key, floor.digests):
                continue
            if not item.valid_at(now):
                self.refused[item] = "is expired or not valid yet"
            elif not item.is_ca:
                self.trusted[item] = None
                return True
            elif below and "keyCertSign" in (item.key_usage or ("keyCertSign",)):
                self.trusted[item] = min(below - 1, _path_length(item))
                return True
        return False

    def generation(self, floor: Floor) -> CAGeneration:
        """What is trusted, as a generation.

        Raises:
            ScepError: nothing of it can be encrypted to.
        """
        encryption = self.choose_encryption()
        encryption.public_key.check(floor)
        issuers = tuple(certificate for certificate, below in self.trusted.items() if below is not None)
        return CAGeneration(
            pinned=issuers[0],
            issuers=issuers,
            encryption=encryption,
            signers=tuple(self.trusted),
            expires=min(end for certificate in self.trusted if (end := certificate.not_after) is not None),
        )

    def choose_encryption(self) -> Certificate:
        """What to encrypt to (CERT-11), of what is trusted.

        Raises:
            ScepError: nothing is fit for it, or RA certificates are offered and none is trusted.
        """
        authorities = [item for item in self.trusted if is_ra(item)]
        strangers = [item for item in self.offered if is_ra(item) and item not in self.trusted]
        if strangers and not authorities:
            reasons = (
                f"{_shown(item)} {self.refused.get(item, 'is not issued by the pinned CA')}" for item in strangers
            )
            raise ScepError("no RA certificate can be trusted: " + "; ".join(reasons))
        chosen = choose_encryption(self.trusted)
        if chosen is None and not authorities:
            # A CA that does it all itself may say keyCertSign alone; it is the one that no other stands below.
            lowest = [
                item for item in self.trusted if not any(issued(other, item) for other in self.trusted if other != item)
            ]
            chosen = choose_encryption(lowest) if len(lowest) == 1 else None
            authorities = lowest or list(self.trusted)
        if chosen is None and not any(item.public_key.encrypts for item in self.trusted):
            # Encrypted by password, it only has to be somebody (RA-19).
            chosen = authorities[0]
        if chosen is None:
            raise ScepError("none that is trusted is for encryption")
        return chosen


def anchored(certificate: Certificate) -> int | None:
    """How many CAs may follow below a pinned certificate; a self-signed one of old has no basicConstraints."""
    of_old = certificate.extension(oid.BASIC_CONSTRAINTS) is None and certificate.is_self_signed
    return _path_length(certificate) if certificate.is_ca or of_old else None


def _path_length(certificate: Certificate) -> int:
    return _UNBOUNDED if certificate.path_length is None else certificate.path_length


def _shown(certificate: Certificate) -> str:
    return f"sha256:{certificate.fingerprint()}"
