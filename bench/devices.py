"""The devices: requests made beforehand, no two alike, and the certificates that the CA will give for them.

The RA knows a request again and answers it from its store, so whoever measures enrolments sends each request once.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from bench.records import write_records
from scepra.keys.certificate import read_certificates
from scepra.lab import LabState, build_csr, new_key
from scepra.lab.key import PrivateKey, read_key, write_key
from scepra.scep.algorithm import Algorithms
from scepra.scep.certificate import Certificate
from scepra.scep.certification import self_signed
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import MessageType, build_request, issuer_and_subject, new_nonce

# More keys than the RA remembers (scepra.scep.publickey), so that it reads one anew for each enrolment, as it would in
# earnest.
KEYS = 48
REPEATED = 384
"""How many requests there are for the CA itself. They are sent again and again: it keeps no store."""
_PIECE = 64


class Devices:
    """A laboratory, and the messages of its devices.

    One set serves all trials: each RA has a store of its own, and has seen none of it.

    Args:
        lab: the laboratory's directory: keys of the CA and of the RA, and the challenge.
        count: how many requests for the RA to make.

    Attributes:
        requests: the file (:mod:`bench.records`) of the requests for the RA.
        poll: that of one message, the poll for the first of them.
        direct: that of :data:`REPEATED` requests for the CA.
        issued: that of CSRs and certificates, in turns: what the CA has signed beforehand.
    """

    def __init__(self, lab: Path, count: int) -> None:
        self.lab = lab
        self.count = count
        self.requests, self.poll, self.direct, self.issued = (
            lab / name for name in ("ra.requests", "ra.poll", "ca.requests", "ca.issued")
        )
        LabState.load_or_create(lab)
        keys = [write_key(new_key()) for _ in range(KEYS)]
        numbers = range(max(count, REPEATED))
        pieces = [numbers[start : start + _PIECE] for start in range(0, len(numbers), _PIECE)]
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), _begin, (lab, keys)) as pool:
            made = [messages for piece in pool.map(_make, pieces) for messages in piece]
            poll = pool.submit(_poll).result()
        write_records(self.requests, (to_ra for to_ra, _, _, _ in made[:count]))
        write_records(self.direct, (to_ca for _, to_ca, _, _ in made[:REPEATED]))
        write_records(self.issued, (part for _, _, *pair in made for part in pair))
        write_records(self.poll, [poll])


class _Maker:
    """A process of the pool: the laboratory, and the devices' keys."""

    def __init__(self, lab: Path, keys: list[bytes]) -> None:
        self._state = LabState.load_or_create(lab)
        (self._ra,) = read_certificates(lab / "ra.crt")
        self._keys: list[PrivateKey] = [read_key(key) for key in keys]

    def messages(self, number: int) -> tuple[bytes, bytes, bytes, bytes]:
        """Of one device: its request for the RA, that for the CA if there is one, the CSR and the certificate."""
        csr, signer = self._device(number)
        issued = self._state.authority.issue(CertificationRequest.parse(csr))
        to_ca = b""
        if number < REPEATED:
            to_ca = self._message(MessageType.PKCS_REQ, number, csr, signer, self._state.authority.certificate)
        return self._message(MessageType.PKCS_REQ, number, csr, signer, self._ra), to_ca, csr, issued.der

    def poll(self) -> bytes:
        """The first device's poll."""
        csr, signer = self._device(0)
        subject = CertificationRequest.parse(csr).subject.der
        content = issuer_and_subject(self._state.authority.certificate.subject_der, subject)
        return self._message(MessageType.CERT_POLL, 0, content, signer, self._ra)

    def _device(self, number: int) -> tuple[bytes, Identity]:
        key = self._keys[number % KEYS]
        host = f"device-{number}.bench.example"
        csr = build_csr(key, host, names=[host], challenge=self._state.challenge)
        software = SoftwareKey(key)
        subject = CertificationRequest.parse(csr).subject.der
        return csr, Identity(self_signed(software, subject, datetime.now(UTC)), software)

    def _message(
        self, kind: MessageType, number: int, content: bytes, signer: Identity, recipient: Certificate
    ) -> bytes:
        return build_request(kind, f"{number:032X}", new_nonce(), content, signer, recipient, Algorithms())


_makers: list[_Maker] = []


def _begin(lab: Path, keys: list[bytes]) -> None:
    _makers.append(_Maker(lab, keys))


def _make(numbers: range) -> list[tuple[bytes, bytes, bytes, bytes]]:
    return [_makers[0].messages(number) for number in numbers]


def _poll() -> bytes:
    return _makers[0].poll()
