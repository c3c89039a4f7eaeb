"""How an account shows itself over HTTP: Basic (RFC 7617), NTLM and Negotiate (RFC 4559) with TLS channel binding.

NTLM and Negotiate are pyspnego's, which the extra ``ndes`` brings; it is imported where it is first needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepra.config.model import NdesChallenge
from scepra.errors import ConfigError, Problem

if TYPE_CHECKING:
    from spnego.channel_bindings import GssChannelBindings

SCHEMES = {"basic": b"Basic", "ntlm": b"NTLM", "negotiate": b"Negotiate"}


class Refused(Exception):
    """What the other side says is no step of this conversation, or the account cannot take part in it.

    Its text holds nothing of what it said.
    """


class Conversation(Protocol):
    """One attempt of an account to show itself; each step is the value of an Authorization field."""

    def step(self, answers: list[bytes]) -> bytes | None:
        """What to say next.

        Args:
            answers: the WWW-Authenticate fields of the answer to what was said last; none at first.

        Returns:
            None where there is nothing more to say.

        Raises:
            Refused: it cannot go on.
        """


class Basic:
    """The password itself."""

    def __init__(self, user: str, password: str) -> None:
        self._said: bytes | None = b"Basic " + base64.b64encode(f"{user}:{password}".encode())

    def step(self, answers: list[bytes]) -> bytes | None:
        """Everything at once."""
        said, self._said = self._said, None
        return said


class Spnego:
    """NTLM, or Negotiate over Kerberos where pyspnego has that and else over NTLM."""

    def __init__(self, settings: NdesChallenge, host: str, certificate: x509.Certificate | None) -> None:
        import spnego

        self._scheme = SCHEMES[settings.authentication]
        # NTLM is always pyspnego's own, whatever else is installed.
        plain = settings.authentication == "ntlm"
        options = spnego.NegotiateOptions.use_ntlm if plain else spnego.NegotiateOptions.none
        try:
            self._context = spnego.client(
                settings.user,
                settings.password_file.reveal().decode(),
                hostname=host,
                service="HTTP",
                protocol=settings.authentication,
                options=options,
                channel_bindings=bindings(certificate),
            )
        except Exception as error:
            raise Refused(f"{settings.authentication} cannot begin ({type(error).__name__})") from None

    def step(self, answers: list[bytes]) -> bytes | None:
        """The next message: the first without having been asked for it."""
        token = None
        if answers:
            said = [each.split(b" ", 1)[1] for each in answers if each.lower().startswith(self._scheme.lower() + b" ")]
            if len(said) != 1:
                return None
            try:
                token = base64.b64decode(said[0].strip(), validate=True)
            except binascii.Error:
                raise Refused("a challenge that is not base64") from None
        try:
            message = self._context.step(token)
        except Exception as error:
            # Nobody knows what the library makes of hostile octets; its text may hold them.
            raise Refused(f"a challenge that cannot be answered ({type(error).__name__})") from None
        return None if message is None else self._scheme + b" " + base64.b64encode(message)


def begin(settings: NdesChallenge, host: str, certificate: x509.Certificate | None) -> Conversation:
    """Begin to show an account.

    Args:
        host: to whom.
        certificate: by which TLS knows that host; the conversation is bound to it (RFC 5929).

    Raises:
        Refused: it cannot begin.
    """
    if settings.authentication == "basic":
        return Basic(settings.user, settings.password_file.reveal().decode())
    return Spnego(settings, host, certificate)


def require(settings: NdesChallenge, path: str) -> None:
    """Check that what the account needs is installed.

    Args:
        path: where the settings stand in the configuration.

    Raises:
        ConfigError: it is not.
    """
    if settings.authentication == "basic":
        return
    try:
        import spnego  # noqa: F401 - only whether it is there
    except ImportError:
        sentence = f"{settings.authentication} needs pyspnego: pip install 'scepra[ndes]'"
        raise ConfigError((Problem("configuration", 0, 0, f"{path}.authentication", sentence),)) from None


def bindings(certificate: x509.Certificate | None) -> GssChannelBindings | None:
    """tls-server-end-point (RFC 5929, 4.1); None without TLS, or where its signature has no one digest."""
    if certificate is None or certificate.signature_hash_algorithm is None:
        return None
    from spnego.channel_bindings import GssChannelBindings

    name = certificate.signature_hash_algorithm.name
    digest = hashlib.new("sha256" if name in ("md5", "sha1") else name, certificate.public_bytes(Encoding.DER))
    return GssChannelBindings(application_data=b"tls-server-end-point:" + digest.digest())
