"""What can go wrong, in six families: a peer's message, an upstream, a provider of challenges, the store, a token with
keys, a configuration.

The wire error travels on the exception (:attr:`ScepError.fail_info`); one place, :mod:`scepra.ra`, turns it into bytes.
A refusal by policy is not an exception but a value, see :mod:`scepra.enrolment`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FailInfo(enum.IntEnum):
    """RFC 8894, 3.2.1.4: why a request is refused."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


class ScepError(Exception):
    """A message that is refused: the only exception that bytes from a peer may cause.

    Args:
        reason: one lower-case sentence for the log and the audit record; it names no secret and is never sent.
        fail_info: what the peer is told, where it can be told anything at all.
    """

    def __init__(self, reason: str, fail_info: FailInfo = FailInfo.BAD_REQUEST) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fail_info = fail_info


class Malformed(ScepError):
    """Bytes that are not the BER or DER they should be."""


class Refused(ScepError):
    """An operation that cannot be answered by a CertRep: answered by a bare HTTP status.

    Args:
        reason: as for :class:`ScepError`.
        status: the HTTP status code, 4xx or 501 to 504 (conformance HTTP-26, the security document's H-codes).
        retry_after: seconds after which the peer may try again, where the status is 429 or 503.
    """

    def __init__(self, reason: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Throttled(Refused):
    """More than may be asked: 429, nothing decided and nothing consumed (H429).

    Args:
        reason, retry_after: as for :class:`Refused`.
        quiet: whether the log is spared, because it has said the same of the same source a moment ago.
    """

    def __init__(self, reason: str, retry_after: int, *, quiet: bool) -> None:
        super().__init__(reason, 429, retry_after)
        self.quiet = quiet


class UpstreamError(Exception):
    """An upstream gave no answer that can be believed.

    Args:
        upstream: its configured name.
        reason: one lower-case sentence for the log; no secrets.
        sent: False when certainly no byte of the request left; True when the outcome is unknown.
        pause: for how many seconds the upstream wants to be left alone, if it has said so.
        attention: why somebody should look at the configuration; empty if nobody has to.
    """

    def __init__(
        self, upstream: str, reason: str, *, sent: bool, pause: float | None = None, attention: str = ""
    ) -> None:
        super().__init__(f"upstream {upstream}: {reason}")
        self.upstream = upstream
        self.reason = reason
        self.sent = sent
        self.pause = pause
        self.attention = attention


class StoreError(Exception):
    """The database did not do what it was asked; nothing of it has happened, or its outcome is unknown.

    Args:
        reason: one lower-case sentence for the log; no secrets.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProviderError(Exception):
    """A provider of challenges gave no answer that can be believed: nothing is decided, and nothing consumed (AC-103).

    Args:
        provider: its kind, or its name in the profile.
        reason: one lower-case sentence for the log; no secrets.
    """

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"challenge provider {provider}: {reason}")
        self.provider = provider
        self.reason = reason


class RevocationError(Exception):
    """Whether a certificate was revoked cannot be told now, and its profile wants the client to come again (AC-049).

    Args:
        reason: one lower-case sentence for the log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"revocation: {reason}")
        self.reason = reason


class KeyUnavailable(Exception):
    """A key of the RA's own cannot be used now; whatever it was wanted for has not happened (FT-56).

    Args:
        token: the configured name of the token that it is in.
        reason: one lower-case sentence for the log; no secrets.
        lasting: whether waiting is of no use: somebody has to change something.
    """

    def __init__(self, token: str, reason: str, *, lasting: bool = False) -> None:
        super().__init__(f"token {token}: {reason}")
        self.token = token
        self.reason = reason
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Problem:
    """One located mistake, printed as ``file:line:column: dotted.path: sentence``.

    ``line`` and ``column`` count from 1; 0 where there is no place in a file. ``severity`` is "error" or "warning".
    """

    file: str
    line: int
    column: int
    path: str
    sentence: str
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        return f"{place}: {path}{'' if self.severity == 'error' else self.severity + ': '}{self.sentence}"


class ConfigError(Exception):
    """A configuration that cannot be used, with every problem found, not the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
