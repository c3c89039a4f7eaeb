"""Which CA a request of a profile goes to (FT-01, I4).

A request goes where the routes of its profile say, to one of several CAs that are equal: the first that can be asked
now. From then on it is that CA's: what may have reached a CA is asked for there alone. Only what certainly was not sent
may still go to an equal one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scepra.config import model
from scepra.errors import UpstreamError
from scepra.forwarding import Forwarding
from scepra.policy import Conditions, Request
from scepra.transaction import State, Transaction


@dataclass(frozen=True, slots=True)
class Choice:
    """The CA that a request goes to, and why it cannot be asked now; None: it can, and there is a turn for it, which
    whoever asked for it has to end."""

    forwarding: Forwarding
    obstacle: UpstreamError | None = None


class Group:
    """CAs that are equal, in order of preference; or one CA.

    Args:
        forwardings: the ways there; at least one.
        evenly: whether each is the first in turn.
    """

    def __init__(self, forwardings: tuple[Forwarding, ...], *, evenly: bool = False) -> None:
        self.forwardings = forwardings
        self._evenly = evenly
        self._turn = 0

    @property
    def authorisation(self) -> str:
        """Why these CAs believe the RA: all of them for the same reason."""
        return self.forwardings[0].settings.authorisation

    def full(self, profile: str) -> bool:
        """Whether whoever of a profile asks now is sent away at once, by each of them."""
        return all(each.upstream.turns.full(profile) for each in self.forwardings)

    def first(self) -> Forwarding:
        """Where the next request goes if nothing is in its way."""
        return self._in_order()[0]

    async def choose(self, profile: str) -> Choice:
        """The first CA that can be asked now; the first of all with what is in the way, if none can.

        As long as there is one where nobody has to wait, nobody waits at another.
        """
        order = self._in_order()
        refused: Choice | None = None
        # Sorting keeps the order of those that are alike.
        for forwarding in sorted(order, key=lambda each: each.upstream.turns.busy):
            try:
                await take_turn(forwarding, profile)
            except UpstreamError as error:
                if refused is None or forwarding is order[0]:
                    refused = Choice(forwarding, error)
            else:
                return Choice(forwarding)
        assert refused is not None  # noqa: S101 - there is at least one
        return refused

    async def elsewhere(self, profile: str, transaction: Transaction) -> Choice | None:
        """Another CA that can be asked now about what certainly was not sent to its own; None if there is none, or it
        has to stay."""
        if not movable(transaction):
            return None
        for forwarding in self.forwardings:
            if forwarding.upstream.name != transaction.upstream and not forwarding.upstream.turns.busy:
                try:
                    await take_turn(forwarding, profile)
                except UpstreamError:
                    continue
                return Choice(forwarding)
        return None

    def _in_order(self) -> tuple[Forwarding, ...]:
        if not self._evenly:
            return self.forwardings
        at, self._turn = self._turn, (self._turn + 1) % len(self.forwardings)
        return self.forwardings[at:] + self.forwardings[:at]


class Ways:
    """All ways of one profile.

    Args:
        usual: where requests go that no route is for.
        routes: conditions, and where what meets them goes; the first counts.
    """

    def __init__(self, usual: Group, routes: tuple[tuple[Conditions, Group], ...] = ()) -> None:
        self.usual = usual
        self.routes = routes

    @classmethod
    def of(cls, profile: model.Profile, forwardings: Mapping[str, Forwarding]) -> Ways:
        """The ways of a profile, of all ways by their names."""

        def group(names: tuple[str, ...]) -> Group:
            return Group(tuple(forwardings[name] for name in names), evenly=profile.balance == "evenly")

        routes = tuple((Conditions(route.when), group(route.upstream)) for route in profile.routes)
        return cls(group(profile.upstream), routes)

    @property
    def first(self) -> Forwarding:
        """The most usual one: what all of them lead to besides a CA, it leads to."""
        return self.usual.forwardings[0]

    @property
    def all(self) -> tuple[Forwarding, ...]:
        """All of them, each once, the most usual first."""
        return tuple({id(each): each for group in self._groups() for each in group.forwardings}.values())

    def group(self, request: Request) -> Group:
        """Where a request goes."""
        return next((group for conditions, group in self.routes if conditions.met(request)), self.usual)

    def full(self, profile: str) -> bool:
        """Whether whoever asks now is sent away at once, whatever it asks for."""
        return all(group.full(profile) for group in self._groups())

    def equal(self, upstream: str) -> tuple[Forwarding, ...]:
        """The CAs that are equal to one for whatever request may have gone there, in order of preference."""
        groups = [
            group.forwardings
            for group in self._groups()
            if any(each.upstream.name == upstream for each in group.forwardings)
        ]
        return tuple(
            each
            for each in (groups[0] if groups else ())
            if each.upstream.name != upstream and all(each in group for group in groups)
        )

    def _groups(self) -> Iterator[Group]:
        yield self.usual
        yield from (group for _, group in self.routes)


def movable(transaction: Transaction) -> bool:
    """Whether a transaction may go to an equal CA: nothing of it was ever sent, and nobody has approved it for this
    one."""
    return transaction.state is State.QUEUED and not transaction.sends and not transaction.approvals


async def take_turn(forwarding: Forwarding, profile: str) -> None:
    """Have a turn to ask a CA, perhaps after a moment.

    Raises:
        UpstreamError: not sent; there is none, or the CA does not answer.
    """
    upstream = forwarding.upstream
    if upstream.turns.busy and upstream.breaker.trying:
        # What is under way there may take long to be given up.
        raise upstream.unavailable
    await upstream.turns.take(profile)
    try:
        if not upstream.breaker.admits():
            raise upstream.unavailable
        await upstream.current()
    except BaseException:
        upstream.turns.end()
        raise
