"""The recording upstream's process: the lab's CA, which writes down whatever happens, and stops where it is told to.

``python -m tests.rig.blackbox.upstream LAB DIRECTORY PORT SOCKET``: LAB has the CA's key; in DIRECTORY are the journal
and the ledger of transactions, which outlives the process; at SOCKET it is told what to do.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.server import NOT_DONE_YET, Site

from scepra.errors import Refused, ScepError
from scepra.lab import PERMISSIVE, Behaviour, CertificationService, LabState, authority
from scepra.lab.authority import remember, utc_now
from scepra.lab.fault import respond
from scepra.lab.service import Transaction
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Keyring
from scepra.scep.message import MessageType, PKIMessage, PKIStatus
from scepra.scep.name import COMMON_NAME
from scepra.scep.transport import Operation, OperationKind, parse_operation, split_target
from tests.rig.blackbox.control import Controlled
from tests.rig.blackbox.event import Event, Posts
from tests.rig.blackbox.journal import JOURNAL, LEDGER, Journal, read_lines
from tests.rig.blackbox.line import Lines


class Recorder(CertificationService):
    """The lab's CA with a memory.

    ``behaviours`` are by the subjects' common names; None stands for all others. ``connections`` is how many there were
    before this process.
    """

    def __init__(self, laboratory: Path, directory: Path) -> None:
        self._offset = timedelta()
        self._labour = 0.0
        super().__init__(LabState.load_or_create(laboratory, lambda: utc_now() + self._offset).authority)
        self.posts = Posts()
        self.connections = sum(line["event"] == Event.ACCEPTED.value for line in read_lines(directory / JOURNAL))
        self.journal = Journal(directory / JOURNAL)
        self.behaviours: dict[str | None, Behaviour] = {None: Behaviour()}
        self._ledger = Journal(directory / LEDGER)
        self._restore(directory)

    # What is told

    def behave(self, behaviour: Behaviour, subject: str | None) -> None:
        """Behave so from now on, to everybody or where it is about one subject."""
        self.behaviours[subject] = behaviour

    def set_clock(self, offset: float) -> None:
        """Be so many seconds ahead of the time (FT-18)."""
        self._offset = timedelta(seconds=offset)

    def set_labour(self, seconds: float) -> None:
        """Take so long over every pkiMessage, however many there are (FT-26)."""
        self._labour = seconds

    def set_up(self, event: Event, subject: str | None, octets: int, count: int) -> int:
        """See :meth:`Posts.set_up`."""
        return self.posts.set_up(event, subject, octets, count)

    def watch(self, number: int, count: int) -> Deferred[dict[str, Any]]:
        """See :meth:`Posts.watch`."""
        return self.posts.watch(number, count)

    def take_down(self, number: int, go_on: bool) -> None:
        """See :meth:`Posts.take_down`."""
        self.posts.take_down(number, go_on)

    def settle(self, subject: str, granted: bool) -> int:
        """Approve or deny what is pending for a subject; how many transactions that were."""
        pending = [
            identifier
            for identifier, transaction in self.transactions.items()
            if transaction.status is PKIStatus.PENDING and common_name(transaction.csr) == subject
        ]
        for identifier in pending:
            if granted:
                self.approve(identifier)
            else:
                self.deny(identifier)
            self._keep(identifier)
        return len(pending)

    # What happens

    def render(self, request: Request) -> int:
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        Deferred.fromCoroutine(self._serve(request, gone)).addErrback(self._fail, request)
        return NOT_DONE_YET

    def _fail(self, failure: Failure, request: Request) -> None:
        self.journal.note(event="failed", connection=request.channel.transport.number, error=failure.getTraceback())
        request.channel.transport.abortConnection()

    async def _serve(self, request: Request, gone: list[Failure]) -> None:
        method = request.method.decode("latin-1")
        request.responseHeaders.removeHeader(b"content-type")
        try:
            operation = parse_operation(method, split_target(request.uri)[1], request.content.read())
        except Refused as refused:
            request.setResponseCode(refused.status)
            request.finish()
            return
        about = {"connection": request.channel.transport.number, "kind": operation.kind.value, "method": method}
        about |= self._read(operation)
        if not await self._reach(Event.REQUEST_COMPLETE, request, about):
            return
        # It was not to be seen while others were served.
        self.behaviour = behaviour = self.behaviours.get(about.get("subject"), self.behaviours[None])
        content = self._carry_out(request, operation, method, about)
        if self._labour and operation.kind is OperationKind.PKI_OPERATION:
            await deferLater(reactor, self._labour)
        if not await self._reach(Event.HANDLED, request, about) or gone:
            return
        faulty = operation.kind in behaviour.faulty and method in behaviour.faulty_methods
        answer = respond(request, content, behaviour if faulty else None)
        if isinstance(answer, bytes):
            await self._answer(request, answer, about, gone)

    def _carry_out(self, request: Request, operation: Operation, method: str, about: dict[str, Any]) -> bytes:
        """Do what is asked for: the answer's body."""
        try:
            content_type, content = self._operate(operation, method)
        except Refused as refused:
            request.setResponseCode(refused.status)
            return b""
        request.setHeader(b"content-type", content_type.encode("ascii"))
        identifier = about.get("transaction")
        if identifier is not None:
            received = self.received[-1]
            about |= {"status": received.status.name if received.status else None, "refusal": received.refusal}
            transaction = self.transactions.get(identifier)
            if transaction is not None:
                self._keep(identifier)
                if about["status"] == PKIStatus.SUCCESS.name and transaction.certificate is not None:
                    about["certificate"] = transaction.certificate.fingerprint()
        return content

    async def _answer(self, request: Request, answer: bytes, about: dict[str, Any], gone: list[Failure]) -> None:
        request.setHeader(b"content-length", b"%d" % len(answer))
        request.write(answer[: len(answer) // 2])
        if not await self._reach(Event.ANSWER_HALF, request, about) or gone:
            return
        transport = request.channel.transport.transport
        request.write(answer[len(answer) // 2 :])
        request.finish()
        # What is written leaves in a later turn of the reactor; no interface says when it has.
        while transport.connected and (transport.dataBuffer or transport._tempDataBuffer):
            await deferLater(reactor, 0.0)
        if not (transport.dataBuffer or transport._tempDataBuffer):
            await self._reach(Event.ANSWER_SENT, request, about)

    async def _reach(self, event: Event, request: Request, about: dict[str, Any]) -> bool:
        """Write down an event, and stop at it if somebody wants that; whether to go on."""
        self.journal.note(event=event.value, **about)
        stopped = self.posts.reach(event, about)
        if stopped is None or await stopped:
            return True
        request.channel.transport.abortConnection()
        return False

    def _read(self, operation: Operation) -> dict[str, Any]:
        """What a pkiMessage is about; whatever it holds is told by digests."""
        if operation.kind is not OperationKind.PKI_OPERATION:
            return {}
        try:
            message = PKIMessage.parse(operation.message)
            signer, digest = message.verify(PERMISSIVE)
            content = message.open(Keyring([self.generation]), PERMISSIVE, digest).content
        except (ScepError, Refused) as error:
            return {"unreadable": str(error)}
        told = {
            "type": message.message_type.name,
            "transaction": message.transaction_id,
            "message": _digest(operation.message),
            "signer_key": signer.public_key.sha256.hex(),
        }
        if message.message_type in (MessageType.PKCS_REQ, MessageType.RENEWAL_REQ):
            csr = CertificationRequest.parse(content)
            told |= {"subject": common_name(csr), "csr": _digest(csr.der), "spki": csr.public_key.sha256.hex()}
            if csr.challenge_password:
                told["challenge"] = _digest(csr.challenge_password.encode("utf-8", "surrogatepass"))
        elif (known := self.transactions.get(message.transaction_id)) is not None:
            told |= {"subject": common_name(known.csr), "csr": _digest(known.csr.der)}
        return told

    # The ledger

    def _keep(self, identifier: str) -> None:
        transaction = self.transactions[identifier]
        certificate = transaction.certificate
        self._ledger.note(
            transaction=identifier,
            subject=common_name(transaction.csr),
            csr=transaction.csr.der.hex(),
            requester=transaction.requester.der.hex(),
            status=transaction.status.name,
            certificate=certificate.der.hex() if certificate is not None else None,
            fingerprint=certificate.fingerprint() if certificate is not None else None,
            polls=transaction.polls,
        )

    def _restore(self, directory: Path) -> None:
        for line in read_lines(directory / LEDGER):
            certificate = Certificate.parse(bytes.fromhex(line["certificate"])) if line["certificate"] else None
            transaction = Transaction(
                CertificationRequest.parse(bytes.fromhex(line["csr"])),
                Certificate.parse(bytes.fromhex(line["requester"])),
                PKIStatus[line["status"]],
                certificate,
                line["polls"],
            )
            remember(self.transactions, line["transaction"], transaction)
            if certificate is not None:
                remember(self.authority.issued, certificate.serial, certificate)


def common_name(csr: CertificationRequest) -> str:
    """The common name that is asked for; empty without one."""
    return next((value.text or "" for value in csr.subject.values(COMMON_NAME)), "")


async def serve(reactor: Any, laboratory: str, directory: str, port: str, control: str) -> None:
    """Serve until the process ends."""
    # The lab's CA forgets what is old; the rig's does not, however long a test takes.
    authority.REMEMBERED = 1_000_000
    recorder = Recorder(Path(laboratory), Path(directory))
    told = Controlled(
        recorder.behave,
        recorder.set_clock,
        recorder.set_labour,
        recorder.set_up,
        recorder.watch,
        recorder.take_down,
        recorder.settle,
    )
    await UNIXServerEndpoint(reactor, control, mode=0o600).listen(told)
    lines = Lines(Site(recorder, timeout=None), recorder.posts, recorder.journal, recorder.connections)
    await TCP4ServerEndpoint(reactor, int(port), backlog=512, interface="127.0.0.1").listen(lines)
    await Deferred()


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


if __name__ == "__main__":
    react(serve, sys.argv[1:])
