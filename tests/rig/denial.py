"""The standard denial: what every refusal must look like from outside (D0 and D1 of the security document).

``with denials(house) as deny`` is a sequence of refusals: ``deny(forge, fail_info)`` for what is answered by a CertRep,
``deny.bare(...)`` for what is answered by a status. Each is checked in full; at the end the legitimate device enrols
with the challenge that all of them carried or aimed at.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asn1crypto import cms as asn1
from twisted.logger import eventAsText

from scepra.errors import FailInfo
from scepra.scep import oid
from scepra.scep.message import PKIStatus
from tests.rig.device import PEER, Response, ask, granted, post, sound
from tests.rig.forge import Forge, ReadAnswer, read_answer
from tests.rig.house import House

_TEXT = re.compile(r"refused, ref ([0-9a-f]{12})")


def forms(secret: str) -> Iterator[str]:
    """A secret as it might leak: plain, in hex, in base64 at any alignment, in UTF-16 of either order."""
    octets = secret.encode()
    yield secret
    yield octets.hex()
    yield octets.hex().upper()
    for shift in range(3):
        # The characters that depend on neighbours are left out.
        encoded = base64.b64encode(bytes(shift) + octets).decode().rstrip("=")
        yield encoded[(0, 2, 3)[shift] : -1]
    for codec in ("utf-16-le", "utf-16-be"):
        wide = octets.decode().encode(codec)
        yield wide.decode("latin-1")
        yield repr(wide)[2:-1]


class Denials:
    """Refusals by one house. ``canaries`` are secrets that must not show up anywhere, beside its challenge."""

    def __init__(self, house: House, *canaries: str) -> None:
        self.house = house
        self.canaries = (house.challenge, *canaries)
        self.count = 0
        self._nonces: set[bytes] = set()
        self._signer = house.authority.keyring.current.signing.certificate

    def __call__(
        self,
        message: Forge | bytes,
        fail_info: FailInfo = FailInfo.BAD_REQUEST,
        because: str = "",
        *,
        transaction_id: str | None = None,
        sender_nonce: bytes | None = None,
        reached: int = 0,
        recorded: bool = False,
    ) -> ReadAnswer:
        """Send a message, and check that it is refused in the standard way.

        Args:
            message: forged, or octets.
            because: what stands in one of the reasons of the audit record.
            transaction_id, sender_nonce: what is echoed, where a forged message's own do not say it.
            reached: how many messages reach the CA on the way; some, where it is the CA's fault.
            recorded: whether the request was stored all the same, though none did.
        """
        if isinstance(message, Forge):
            transaction_id = transaction_id or message.transaction_id
            sender_nonce = sender_nonce or message.sender_nonce
            message = message.message()
        events, forwarded, stored = len(self.house.events), len(self.house.forwarded), self.house.stored
        response = post(self.house, message)
        assert response.status == 200, (response.status, self._records(events))
        answer = read_answer(response.body, self._signer)
        assert answer.text(oid.MESSAGE_TYPE) == "3"
        assert answer.text(oid.PKI_STATUS) == PKIStatus.FAILURE.value, "it was not refused"
        assert answer.text(oid.FAIL_INFO) == str(int(fail_info)), self._records(events)
        assert answer.text(oid.TRANSACTION_ID) == transaction_id
        assert answer.octets(oid.RECIPIENT_NONCE) == sender_nonce
        nonce = answer.octets(oid.SENDER_NONCE)
        assert len(nonce) == 16
        assert nonce not in self._nonces | {sender_nonce}
        self._nonces.add(nonce)
        assert answer.content == b""
        assert answer.bag == (self._signer.der,)
        assert len(self.house.forwarded) == forwarded + reached, "what reached the CA"
        assert (self.house.stored == stored) is not (recorded or reached > 0), "whether it was recorded"
        (record,) = self._records(events)
        told = _TEXT.fullmatch(answer.text(oid.FAIL_INFO_TEXT))
        assert told and told[1] == record["reference"]
        assert (record["outcome"], record["profile"], record["source"]) == ("refused", "dev", PEER)
        assert record["transaction"] == transaction_id
        assert any(because in reason for reason in record["reasons"]), record["reasons"]
        self._no_secret(events, response)
        self.count += 1
        return answer

    def bare(self, message: Forge | bytes, status: int = 400, because: str = "") -> Response:
        """POST a message that is answered by a status alone (D1)."""
        encoding = message.message() if isinstance(message, Forge) else message
        return self._bare(lambda: post(self.house, encoding), status, because)

    def request(self, method: str, target: str, status: int, because: str = "", **settings: Any) -> Response:
        """Send any HTTP request that is answered by a status alone (D1)."""
        return self._bare(lambda: ask(self.house, method, target, **settings), status, because)

    def unavailable(
        self, message: Forge, because: str = "", *, reached: int = 1, after: float | None = None
    ) -> Response:
        """Send a message that would be granted, while the CA gives no answer that can be believed (RA-24).

        Its client is told to poll or, where the profile's clients cannot, to come again; what needs no CA is served on.
        That is no refusal: what may have reached the CA is stored, and what nobody will ask for is not. *after* is how
        long at least clients are told to stay away; what is configured if None.
        """
        events, forwarded, stored = len(self.house.events), len(self.house.forwarded), self.house.stored
        response = post(self.house, message.message())
        (record,) = self._records(events)
        if self.house.authority.profile.polling:
            self._pending(message, response)
        else:
            assert (response.status, response.body) == (503, b""), record
            least = self.house.config.upstreams["ca"].retry_after if after is None else after
            # A CA that names a date names a whole second: it may be up to one later.
            assert least <= int(response.headers["retry-after"]) <= math.ceil(1.5 * (least + 1))
        told = "pending" if self.house.authority.profile.polling else "unavailable"
        assert (record["outcome"], record["source"]) == (told, PEER)
        assert any(because in reason for reason in record["reasons"]), record["reasons"]
        assert len(self.house.forwarded) == forwarded + reached, "what reached the CA"
        assert record.get("upstream") == "ca" or not reached
        if "enrolment" in record:
            assert not self.house.transaction(record["enrolment"]).state.final
        else:
            assert (told, reached, self.house.stored) == ("unavailable", 0, stored)
        for operation in ("GetCACaps", "GetCACert"):
            assert ask(self.house, "GET", f"/scep?operation={operation}").status == 200
        self._no_secret(events, response)
        self.count += 1
        return response

    def _pending(self, message: Forge, response: Response) -> None:
        assert response.status == 200
        answer = read_answer(response.body, self._signer)
        assert answer.text(oid.PKI_STATUS) == PKIStatus.PENDING.value, self.house.records[-1]
        assert answer.text(oid.TRANSACTION_ID) == message.transaction_id
        assert answer.octets(oid.RECIPIENT_NONCE) == message.sender_nonce
        assert (answer.content, oid.dotted(oid.FAIL_INFO) in answer.attributes) == (b"", False)

    def _bare(self, send: Callable[[], Response], status: int, because: str) -> Response:
        events, forwarded, stored = len(self.house.events), len(self.house.forwarded), self.house.stored
        response = send()
        assert response.status == status
        assert response.body == b""
        assert len(self.house.forwarded) == forwarded, "it reached the CA"
        assert self.house.stored == stored, "whether it was recorded"
        assert self._records(events) == []
        (access,) = [event for event in self.house.events[events:] if event["log_namespace"] == "scepra.web.access"]
        assert (access["source"], access["status"]) == (PEER, status)
        assert because in access["reason"]
        self._no_secret(events, response)
        self.count += 1
        return response

    def control(self) -> None:
        """A device that knows the challenge enrols for the first time."""
        forwarded = len(self.house.forwarded)
        granted(self.house, sound(self.house))
        assert len(self.house.forwarded) == forwarded + 1, "an answer to something else"

    def _records(self, since: int) -> list[dict[str, Any]]:
        events = [event for event in self.house.events[since:] if event["log_namespace"] == "scepra.audit"]
        lines = [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in events]
        assert not any(character in line for line in lines for character in "\r\n\x1b\0")
        return [json.loads(line) for line in lines]

    def _no_secret(self, since: int, response: Response) -> None:
        ours = [event for event in self.house.events[since:] if not event["log_namespace"].startswith("scepra.lab")]
        said = [*map(eventAsText, ours), *map(repr, ours), response.body.decode("latin-1"), repr(response)]
        everything = "\n".join(said)
        for secret in self.canaries:
            for form in forms(secret):
                assert form not in everything, "a secret leaked"


@contextmanager
def denials(house: House, *canaries: str) -> Iterator[Denials]:
    """Refusals, and the positive control after them."""
    made = Denials(house, *canaries)
    yield made
    made.control()


def masked(answer: bytes) -> bytes:
    """An answer without what differs between any two: senderNonce, signature, the reference."""
    (info,) = asn1.ContentInfo.load(answer, strict=True)["content"]["signer_infos"]
    attributes = {item["type"].dotted: item["values"][0].contents for item in info["signed_attrs"]}
    for kind in (oid.SENDER_NONCE, oid.FAIL_INFO_TEXT):
        value = attributes[oid.dotted(kind)]
        answer = answer.replace(value, bytes(len(value)))
    signature = info["signature"].native
    return answer.replace(signature, bytes(len(signature)))
