"""What can be waited for at the upstream, and who waits there (CP5 to CP8)."""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred


class Event(enum.Enum):
    """A moment of one exchange, in their order; the value is what the journal calls it."""

    ACCEPTED = "accepted"
    """A connection is there; nothing has been read."""
    FIRST_BYTE = "first-byte"
    """Something came, and is not looked at yet."""
    HALF_REQUEST = "half-request"
    """So many octets were taken in, and no more. Is noted only where somebody waits for it."""
    REQUEST_COMPLETE = "request-complete"
    """The whole request is there, and nothing has been done."""
    HANDLED = "handled"
    """It has been done, whatever was asked for, and no octet of an answer has been written."""
    ANSWER_HALF = "answer-half"
    """Half of the answer has been written."""
    ANSWER_SENT = "answer-sent"
    """All of the answer has left."""

    @property
    def early(self) -> bool:
        """Whether it comes before it is known what the request is about."""
        return self in (Event.ACCEPTED, Event.FIRST_BYTE, Event.HALF_REQUEST)


@dataclass(slots=True)
class Post:
    """Somebody who stops exchanges at an event.

    Attributes:
        subject: the common name that they are about; None stops any.
        octets: how many of the request are let through, at :attr:`Event.HALF_REQUEST`.
        left: how many more it stops.
        stopped: what those that it has stopped are about.
    """

    event: Event
    subject: str | None
    octets: int
    left: int
    stopped: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[Deferred[bool]] = field(default_factory=list)
    watchers: list[tuple[int, Deferred[dict[str, Any]]]] = field(default_factory=list)


class Posts:
    """All posts, by number."""

    def __init__(self) -> None:
        self._posts: dict[int, Post] = {}
        self._numbers = itertools.count(1)

    def set_up(self, event: Event, subject: str | None, octets: int, count: int) -> int:
        """Stop the next *count* exchanges that reach an event; the number of the post."""
        if event.early and subject is not None:
            raise ValueError(f"nobody knows yet at {event.value} whom it is about")
        number = next(self._numbers)
        self._posts[number] = Post(event, subject, octets, count)
        return number

    def octets(self) -> int | None:
        """How much of a request is let through, if somebody waits for half of one."""
        return next(
            (post.octets for post in self._posts.values() if post.event is Event.HALF_REQUEST and post.left), None
        )

    def reach(self, event: Event, about: dict[str, Any]) -> Deferred[bool] | None:
        """An exchange has come to an event.

        Returns:
            None to go on; else what fires with True to go on, and with False to cut the connection.
        """
        for post in self._posts.values():
            if post.event is event and post.left and post.subject in (None, about.get("subject")):
                post.left -= 1
                post.stopped.append(about)
                post.waiting.append(Deferred())
                for count, watcher in post.watchers:
                    if count == len(post.stopped):
                        watcher.callback(about)
                return post.waiting[-1]
        return None

    def watch(self, number: int, count: int) -> Deferred[dict[str, Any]]:
        """Fires when a post has stopped so many, with what the last of them is about."""
        post, watcher = self._posts[number], Deferred[dict[str, Any]]()
        if len(post.stopped) >= count:
            watcher.callback(post.stopped[count - 1])
        else:
            post.watchers.append((count, watcher))
        return watcher

    def take_down(self, number: int, go_on: bool) -> None:
        """Stop no more, and let those go on that are stopped, or cut their connections."""
        post = self._posts.pop(number, None)
        for waiting in post.waiting if post is not None else ():
            waiting.callback(go_on)
