"""NDES's administration page as the lab has it. It imitates documented behaviour; it is no NDES.

It makes one-time passwords for who knows an account, keeps few of them unused, forgets them after an hour or when it is
restarted, and says all that in UTF-16LE without a mark, whatever its header says. NTLM and Negotiate are spoken by
pyspnego's acceptor, which knows the accounts of the file that the environment variable ``NTLM_USER_FILE`` names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from cryptography import x509
from twisted.web import http
from twisted.web.resource import IResource, Resource

from scepra.lab.authority import Authority, utc_now
from scepra.ndes import page
from scepra.ndes.authentication import bindings
from scepra.ndes.page import Obstacle, Password

PATH = ("certsrv", "mscep_admin")
TITLE = "Network Device Enrollment Service (imitated by scepra's lab)"


class Passwords:
    """The passwords that were made and not used: a cache in memory, as NDES's (``PasswordMax``, ``PasswordValidity``).

    Args:
        most: how many are kept.
        minutes: for how long.
        single: one for everybody that does not end (``UseSinglePassword``).
    """

    def __init__(
        self, clock: Callable[[], datetime] = utc_now, most: int = 5, minutes: int = 60, *, single: bool = False
    ) -> None:
        self.most = most
        self.minutes = minutes
        self._clock = clock
        self._single = _new() if single else None
        self._ends: dict[str, datetime] = {}

    def draw(self) -> Password | Obstacle:
        """A new one, if there is room for it."""
        if self._single is not None:
            return Password(self._single, None, reusable=True)
        if self.outstanding >= self.most:
            return Obstacle.CACHE_FULL
        text = _new()
        self._ends[text] = self._clock() + timedelta(minutes=self.minutes)
        return Password(text, self.minutes, reusable=False)

    def take(self, text: str) -> bool:
        """Use one up; whether there was such a one."""
        if self._single is not None:
            return hmac.compare_digest(self._single.encode(), text.encode("utf-8", "surrogatepass"))
        ends = self._ends.pop(text, None)
        return ends is not None and self._clock() < ends

    def forget(self) -> None:
        """What a restart of IIS does."""
        self._ends.clear()

    @property
    def outstanding(self) -> int:
        """How many are good now."""
        now = self._clock()
        self._ends = {text: ends for text, ends in self._ends.items() if now < ends}
        return len(self._ends)


class AdministrationPage(Resource):
    """Serves the page to those who show an account.

    ``visits`` are the Authorization schemes that were shown, in order; None for requests without one. ``permitted``
    says whether the account may enrol; it may be exchanged at any time.
    """

    isLeaf = True

    def __init__(
        self,
        authority: Authority,
        passwords: Passwords,
        users: Mapping[str, str],
        *,
        ntlm: bool = False,
        certificate: x509.Certificate | None = None,
    ) -> None:
        """
        Args:
            passwords: those of the CA behind it.
            users: passwords by account names, for Basic; a name is that of :func:`write_users` too.
            ntlm: whether NTLM and Negotiate are spoken beside Basic.
            certificate: its own for TLS: who speaks them must have seen it on that connection (EPA).
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no type for it
        self.passwords = passwords
        self.permitted = True
        self.visits: list[str | None] = []
        self._users = users
        self._schemes = ("Negotiate", "NTLM", "Basic") if ntlm else ("Basic",)
        self._thumbprint = hashlib.sha256(authority.certificate.der).digest()
        self._certificate = certificate
        self._conversations: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def render(self, request: http.Request) -> bytes:
        """Answer any request."""
        lines = request.requestHeaders.getRawHeaders(b"Authorization", ())
        scheme, _, said = lines[0].decode("latin-1").partition(" ") if lines else ("", "", "")
        self.visits.append(scheme or None)
        believed, challenge = self._believe(request, scheme, said.strip())
        request.setHeader(b"Content-Type", b"text/html; charset=UTF-8")
        if not believed:
            request.setResponseCode(http.UNAUTHORIZED)
            offers = [challenge] if challenge else [_offer(each) for each in self._schemes]
            request.responseHeaders.setRawHeaders("WWW-Authenticate", offers)
            return b"denied"
        if not request.uri.partition(b"?")[0].endswith(b"/"):
            request.setResponseCode(http.MOVED_PERMANENTLY)
            request.setHeader(b"Location", f"/{'/'.join(PATH)}/".encode())
            return b""
        found = self.passwords.draw() if self.permitted else Obstacle.NO_PERMISSION
        if isinstance(found, Obstacle):
            return page.write_obstacle(found, TITLE)
        return page.write(found, self._thumbprint, TITLE)

    def _believe(self, request: http.Request, scheme: str, said: str) -> tuple[bool, str]:
        """Whether an account is shown, and else what is to be said back where the conversation goes on."""
        offered = next((each for each in self._schemes if each.lower() == scheme.lower()), None)
        try:
            octets = base64.b64decode(said, validate=True)
        except binascii.Error:
            return False, ""
        if offered == "Basic":
            user, _, password = octets.decode("utf-8", "replace").partition(":")
            return hmac.compare_digest(self._users.get(user, "").encode(), password.encode()) and bool(password), ""
        if offered is None:
            return False, ""
        return self._converse(request.channel, offered, octets)

    def _converse(self, channel: Any, scheme: str, octets: bytes) -> tuple[bool, str]:
        import spnego

        # A conversation belongs to its connection, and begins anew with its first message.
        if channel not in self._conversations:
            options = spnego.NegotiateOptions.use_ntlm if scheme == "NTLM" else spnego.NegotiateOptions.none
            self._conversations[channel] = spnego.server(
                hostname="ndes",
                service="HTTP",
                protocol=scheme.lower(),
                options=options,
                channel_bindings=bindings(self._certificate),
            )
        conversation = self._conversations[channel]
        try:
            answer = conversation.step(octets)
        except Exception:
            # It is the library's to say what is wrong; the page only denies.
            del self._conversations[channel]
            return False, ""
        if conversation.complete:
            del self._conversations[channel]
            return True, ""
        return False, f"{scheme} {base64.b64encode(answer or b'').decode('ascii')}"


class WithPage(Resource):
    """A CA with the page beside it.

    Args:
        service: answers everything else.
    """

    isLeaf = True

    def __init__(self, service: IResource, administration: AdministrationPage) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no type for it
        self._service = service
        self._administration = administration

    def render(self, request: http.Request) -> bytes | int:
        """Answer any request."""
        path = request.uri.partition(b"?")[0].decode("latin-1").strip("/").lower()
        found = self._administration if path == "/".join(PATH) else self._service
        answer: bytes | int = found.render(request)
        return answer


def write_users(path: Path, users: Mapping[str, str]) -> None:
    """Write the accounts that pyspnego's acceptor knows, ``DOMAIN\\user`` or ``user``, and tell it where they are."""
    lines = []
    for name, password in users.items():
        domain, _, user = name.rpartition("\\")
        lines.append(f"{domain}:{user}:{password}\n")
    path.touch(mode=0o600)
    path.write_text("".join(lines), "utf-8")
    os.environ["NTLM_USER_FILE"] = str(path)


def _new() -> str:
    """As NDES makes them: eight octets."""
    return secrets.token_hex(8).upper()


def _offer(scheme: str) -> str:
    return 'Basic realm="ndes"' if scheme == "Basic" else scheme
