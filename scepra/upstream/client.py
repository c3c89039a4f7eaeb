"""An upstream that is kept known and asked (CAPS-08, CERT-12, CERT-13; RA-24; FT-01 to FT-14).

What it offers is fetched when the service starts, anew every ``refresh``, and before a request that comes earlier. A
view is replaced whole, by a better one only: what fails its pins changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.config.upstream import Upstream as Settings
from scepra.errors import Refused, ScepError, StoreError, UpstreamError
from scepra.http.agent import http_client
from scepra.http.breaker import Breaker
from scepra.http.connection import Limits
from scepra.http.request import Reply
from scepra.recurring import Shared
from scepra.scep import der, oid
from scepra.scep.capabilities import GET_NEXT_CA_CERT
from scepra.scep.transport import OperationKind, trim_message
from scepra.upstream.belief import is_ra
from scepra.upstream.exchange import Exchange
from scepra.upstream.pause import read_pause
from scepra.upstream.succession import Passing, Succession, Successions, follow, look_ahead
from scepra.upstream.turns import Turns
from scepra.upstream.view import UpstreamView, build_view

log = Logger()

_SIGNED_DATA = der.oid(oid.SIGNED_DATA)
# What says that somebody has configured something wrong, here or there.
_HINTS = {
    401: ": it asks for a password that SCEP has no place for",
    403: ": does it know this address?",
    404: ": is this the right path?",
}
# What says that it takes no requests now.
_OVERLOADED = frozenset((429, 503))


def utc_now() -> datetime:
    """The time of day, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a SignedData, unverified, and what it means if that is not believed."""

    message: bytes
    otherwise: UpstreamError | None = None


class Upstream(Shared[UpstreamView]):
    """One SCEP CA.

    ``view`` is what is known of it, None before the first success; ``failure`` why the last look failed, None after a
    success; ``turned_away`` why it takes no requests, None since it has taken one; ``believed_at`` when an answer to a
    request was believed last, by the reactor's clock, minus infinity if none was; ``breaker`` whether it is worth
    asking now; ``turns`` whose turn it is to ask.

    Args:
        name: as configured.
        settings: its section of the configuration.
        reactor: connects and waits.
        now: the time of day, UTC.
        client: takes the place of one over *reactor*.
        successions: remembers which CA follows which; nothing outlives the process without it.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        reactor: IReactorTime,
        now: Callable[[], datetime] = utc_now,
        *,
        client: HTTPClient | None = None,
        successions: Successions | None = None,
    ) -> None:
        super().__init__(reactor, f"looking at upstream {name}", settings.refresh)
        self.name: str = name
        self.view: UpstreamView | None = None
        self.failure: UpstreamError | None = None
        self.turned_away: UpstreamError | None = None
        self.believed_at = float("-inf")
        self._doubt: UpstreamError | None = None
        self._settings = settings
        self._now = now
        limits = Limits(settings.connect_timeout, settings.timeout)
        client = client or http_client(reactor, settings.url, limits)
        self._exchange = Exchange(name, settings.url, client, reactor, settings.answer, settings.content_type)
        self._mute = False
        self._caps = b""
        self._successions = successions or Passing()
        self._known: tuple[Succession, ...] = ()
        self.breaker = Breaker(reactor, settings.retry_after)
        queue = settings.queue
        self.turns = Turns(name, settings.concurrency, queue.waiting, queue.patience, reactor)

    def pause(self) -> float:
        """As configured; but not over the moment when the next CA may take over."""
        following = self.view.next if self.view is not None else None
        begins = following.pinned.not_before if following is not None else None
        until = (begins - self._now()).total_seconds() if begins is not None else 0.0
        return min(self._every, until + 1.0) if until > 0 else self._every

    def failed(self, failure: Failure) -> float:
        """Sooner than after a success; but not before it wants to be asked."""
        pause = min(self._settings.retry_after, self._every)
        if isinstance(failure.value, UpstreamError):
            # Told already.
            return max(pause, failure.value.pause or 0.0)
        super().failed(failure)
        return pause

    async def current(self) -> UpstreamView:
        """What is known, as long as it is good; else what is found now.

        Raises:
            UpstreamError: not sent; there is nothing that can be believed.
        """
        view = self.view
        if view is not None and self._now() <= view.expires:
            return view
        try:
            return await self.discover()
        except UpstreamError as error:
            self._note(error)
            raise

    async def discover(self) -> UpstreamView:
        """Look at what the CA offers now. Those who ask at once share one look and its outcome.

        Raises:
            UpstreamError: not sent; what was known before stays.
        """
        return await self.shared()

    async def refresh(self) -> UpstreamView:
        """Look again because an answer was not believed: once in ``retry-after``, however many ask (MSG-60).

        Returns:
            What is believed from now on: what was before, if this look fails or was too soon.

        Raises:
            UpstreamError: not sent; there was nothing before either.
        """
        if self.view is None or self._reactor.seconds() - self._looked >= self._settings.retry_after:
            try:
                return await self.shared()
            except UpstreamError:
                if self.view is None:
                    raise
        return self.view

    async def operate(self, message: bytes) -> Answer:
        """Send a pkiMessage, once.

        A CA that answers POST with nothing gets the same message by GET, if the transport is "auto" (FT-11); that is
        remembered.

        Returns:
            A SignedData, unverified, whatever it came labelled as (FT-10).

        Raises:
            UpstreamError: ``sent`` tells whether the message can have reached the CA, ``pause`` for how long it wants
                to be left alone, ``attention`` what somebody has to look at.
        """
        view = await self.current()
        try:
            answer = await self._operate(message, view)
        except UpstreamError as error:
            self._note(error)
            raise
        if self._doubt is None:
            self.breaker.answered()
        self.turned_away = None
        return answer

    def believed(self) -> None:
        """Note that an answer to a request was believed: it is well."""
        self.believed_at, self._doubt = self._reactor.seconds(), None
        self.breaker.answered()

    def doubt(self, error: UpstreamError) -> None:
        """Note that it was asked only to find out whether it is well, and that it is not: until an answer is believed
        it is sent one request now and then.

        Args:
            error: how it answered; where that said more, it was noted when it was asked.
        """
        self._doubt = error
        if error.pause is None and not error.attention:
            self.breaker.turned_away(None)

    @property
    def authority(self) -> bytes | None:
        """The present CA, as transactions name it; None while it is not known."""
        return self.view.current.authority if self.view is not None else None

    @property
    def unavailable(self) -> UpstreamError:
        """Why nothing can be sent now."""
        said = self.failure or self.turned_away
        if said is None and self._doubt is not None:
            said = UpstreamError(self.name, self._doubt.reason, sent=False)
        return said or UpstreamError(self.name, "it has not answered lately", sent=False)

    def disbelieved(self, answer: Answer, reason: str, attention: str = "") -> UpstreamError:
        """What an answer comes to whose message cannot be believed: nothing but its status is left of it (FT-09), or
        else the reason, and what somebody has to look at."""
        if answer.otherwise is None:
            return UpstreamError(self.name, reason, sent=True, attention=attention)
        self._note(answer.otherwise)
        return answer.otherwise

    def _note(self, error: UpstreamError) -> None:
        """Remember that there was no answer, and why."""
        if error.pause is None and not error.attention:
            if not error.sent:
                self.turned_away = None
            self.breaker.failed(sent=error.sent)
            return
        self.turned_away = error
        self.breaker.turned_away(error.pause)
        if error.attention:
            log.error("{attention}", attention=error.attention, upstream=self.name)
        else:
            log.warn("{problem}; asked again in {pause:.0f} s", problem=str(error), pause=self.breaker.remaining)

    async def _operate(self, message: bytes, view: UpstreamView) -> Answer:
        if not view.post or self._mute:
            return self._message(await self._exchange.get(OperationKind.PKI_OPERATION, message))
        reply = await self._exchange.post(message)
        if reply.status != 200 or reply.body or self._settings.transport != "auto":
            return self._message(reply)
        self._mute = True
        log.warn("upstream {upstream} answers POST with nothing: from now on it is asked by GET", upstream=self.name)
        return self._message(await self._exchange.get(OperationKind.PKI_OPERATION, message))

    def _message(self, reply: Reply) -> Answer:
        """The message in an answer; some CAs send FAILURE with status 500 (FT-09)."""
        otherwise = self._error(reply, "no message", sent=True)
        if not 300 <= reply.status < 400 and is_signed_data(reply.body):
            with suppress(Refused):
                return Answer(trim_message(reply.body), None if reply.status == 200 else otherwise)
        raise otherwise

    def _error(self, reply: Reply, lacking: str, *, sent: bool) -> UpstreamError:
        """What an answer means that has not what was asked for."""
        hint = _HINTS.get(reply.status, "")
        return UpstreamError(
            self.name,
            f"{lacking} but {reply}{hint}",
            sent=sent,
            pause=read_pause(reply.retry_after, self._now()) if reply.status in _OVERLOADED else None,
            attention=f"upstream {self.name} answers with status {reply.status}{hint}" if hint else "",
        )

    async def look(self) -> UpstreamView:
        """Ask what the CA offers, and compare it with what it was.

        Raises:
            UpstreamError: not sent.
        """
        try:
            caps = await self._fetch_caps()
            reply = await self._exchange.get(OperationKind.GET_CA_CERT)
            if reply.status != 200:
                raise self._error(reply, "no CA certificates", sent=False)
            view = await self._build(caps, reply.body)
        except UpstreamError as error:
            self.failure = UpstreamError(
                self.name, error.reason, sent=False, pause=error.pause, attention=error.attention
            )
            log.error("{problem}", problem=str(self.failure), upstream=self.name)
            raise self.failure from error
        self._compare(view)
        self.view, self.failure, self._caps = view, None, caps
        self.breaker.seen()
        return view

    async def _build(self, caps: bytes, ca_cert: bytes) -> UpstreamView:
        """The view of what the CA says of itself, and of the CA that follows it.

        Raises:
            UpstreamError: not sent; nothing of it can be believed.
        """
        try:
            self._known = await self._successions.read()
        except StoreError as error:
            log.error("upstream {upstream}: {error}", upstream=self.name, error=error.reason)
        followed = follow(self._settings, self._known)
        successors = frozenset(each.certificate for each in followed)
        view = build_view(self.name, self._settings, caps, ca_cert, self._now(), successors)
        ancestors = dict.fromkeys(item for each in followed for item in (each.path[-1], each.certificate))
        return await self._look_ahead(replace(view, lineage=tuple(ancestors)))

    async def _look_ahead(self, view: UpstreamView) -> UpstreamView:
        """The same view, with the CA that follows, if it tells of one that can be believed."""
        if GET_NEXT_CA_CERT not in view.capabilities:
            return view
        before = self.view
        try:
            reply = await self._exchange.get(OperationKind.GET_NEXT_CA_CERT)
        except UpstreamError as error:
            log.warn("{problem}, asked for the next CA", problem=str(error), upstream=self.name)
            if before is None or before.current.authority != view.current.authority:
                return view
            # One bad moment takes nothing away.
            return replace(view, next=before.next, announcement=before.announcement)
        if reply.status != 200:
            return view
        try:
            ahead = look_ahead(self._settings, view, self._known, reply.body, self._now())
            for each in ahead.new:
                if await self._successions.keep(each):
                    self._tell_of(each)
        except (ScepError, StoreError) as error:
            log.error(
                "upstream {upstream}: the next CA that it tells of is not believed: {reason}",
                upstream=self.name,
                reason=error.reason,
            )
            return view
        self._known += ahead.new
        announced = ahead.view.announcement
        if announced is not None and announced.obstacle and (before is None or before.announcement is None):
            log.warn(
                "upstream {upstream}: the next CA cannot be asked yet: {obstacle}",
                upstream=self.name,
                obstacle=announced.obstacle,
            )
        return ahead.view

    def _tell_of(self, succession: Succession) -> None:
        """Say that a CA is believed from now on that nobody has pinned."""
        certificate, signer = succession.certificate, succession.path[0]
        log.warn(
            "upstream {upstream}: CA sha256:{fingerprint}, {subject}, is to follow, by the word of sha256:{signer};"
            " it is believed from now on: compare it out of band and pin it, too",
            upstream=self.name,
            fingerprint=certificate.fingerprint(),
            subject=str(certificate.subject),
            signer=signer.fingerprint(),
        )

    async def _fetch_caps(self) -> bytes:
        """What GetCACaps lists: nothing where there is no answer (CAPS-08), or what it listed before, since one bad
        moment takes no ability away.

        Raises:
            UpstreamError: not sent; it cannot be reached at all.
        """
        try:
            reply = await self._exchange.get(OperationKind.GET_CA_CAPS)
        except UpstreamError as error:
            if not error.sent:
                raise
            return self._caps
        return reply.body if reply.status == 200 else self._caps

    def _compare(self, view: UpstreamView) -> None:
        """Log what a new view says that is new (CERT-12), and what it no longer says (CAPS-11)."""
        known = self.view.signers if self.view is not None else ()
        for certificate in view.signers:
            if certificate not in known:
                log.info(
                    "upstream {upstream}: trusting {role} certificate sha256:{fingerprint}, {subject}",
                    upstream=self.name,
                    role="RA" if is_ra(certificate) else "CA",
                    fingerprint=certificate.fingerprint(),
                    subject=str(certificate.subject),
                )
        if not any(pin.matches(view.pinned) for pin in self._settings.ca_fingerprint) and view.pinned not in known:
            log.warn(
                "upstream {upstream}: its CA is now sha256:{fingerprint}, which followed the pinned one: pin it in the"
                " configuration, since only the store tells that it did",
                upstream=self.name,
                fingerprint=view.pinned.fingerprint(),
            )
        before = self.view.capabilities.keywords if self.view is not None else frozenset()
        # Without a CA that is to follow there is nothing to tell of (CERT-34).
        missing = view.missing | (before - view.capabilities.keywords - {GET_NEXT_CA_CERT})
        if missing:
            log.error(
                "upstream {upstream} does not list what it should: {missing}; messages stay as strong as configured",
                upstream=self.name,
                missing=", ".join(sorted(missing)),
            )


def is_signed_data(body: bytes) -> bool:
    """Whether octets begin as a ContentInfo of a SignedData does; what is in it is read later."""
    count = body[1] & 0x7F if len(body) > 1 and body[1] & 0x80 else 0
    return body[:1] == b"\x30" and body.startswith(_SIGNED_DATA, 2 + count)
