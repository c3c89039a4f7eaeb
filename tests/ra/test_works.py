"""What another configuration replaces, and what goes on as it was (FT-51)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from scepra.config.model import Config
from scepra.ground import Ground
from scepra.works import Beside, Works, erect
from tests.rig.house import VAULT, at_once, house, run


def ground(made: Any) -> Ground:
    """What the works of a house stand on."""
    return Ground(made.database, VAULT, made.clock, slowly=at_once)


def changed(config: Config, **upstream: Any) -> Config:
    """A configuration with another section of its CA."""
    section = config.upstreams["ca"].model_copy(update=upstream)
    return config.model_copy(update={"upstreams": {"ca": section}})


@pytest.mark.proves("FT-51", "FT-09")
def test_what_is_the_same_keeps_what_it_knows(lab: Path) -> None:
    """An unchanged CA keeps its view, its breaker and its turns; keys that sign to it and budgets stay; leases too."""
    with house(lab) as made:
        before = erect("v", made.config, ground(made))
        profile = made.config.profiles["dev"].model_copy(update={"paths": ("/other",)})
        after = erect("v", made.config.model_copy(update={"profiles": {"dev": profile}}), ground(made), 1, before)
        assert after.upstreams["ca"] is before.upstreams["ca"]
        assert after.services["upstream ca"] is before.services["upstream ca"]
        assert after.built.signers["ca"] is before.built.signers["ca"]
        assert after.built.admission is before.built.admission
        assert after.built.owner == before.built.owner
        assert after.built.tokens is before.built.tokens
        assert after.built.routes.resolve(("scep",)) is None
        assert after.built.routes.resolve(("other",)) is not None
        assert after.services["backlog ca"] is not before.services["backlog ca"]
        run(after.look(before))


@pytest.mark.proves("FT-51")
def test_what_differs_begins_anew(lab: Path) -> None:
    """A CA whose section has changed is another one, and so are budgets at other rates."""
    with house(lab) as made:
        before = erect("v", made.config, ground(made))
        rates = made.config.rates.model_copy(update={"under_way": 7})
        config = changed(made.config, timeout=7.0).model_copy(update={"rates": rates})
        after = erect("v", config, ground(made), 1, before)
        assert after.upstreams["ca"] is not before.upstreams["ca"]
        assert after.built.admission is not before.built.admission
        assert after.built.signers["ca"] is before.built.signers["ca"]


class Slow(Service):
    """A service that ends when the test says so; ``started`` counts."""

    def __init__(self) -> None:
        self.started = 0
        self.ended: Deferred[None] = Deferred()

    def startService(self) -> None:
        super().startService()
        self.started += 1

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.ended


def works(**services: Service) -> Works:
    """What has these services, and nothing else."""
    nothing: Any = None
    return Works("v", nothing, nothing, {}, nothing, nothing, services)


@pytest.mark.proves("FT-51", "I4")
def test_who_follows_starts_when_its_predecessor_has_ended() -> None:
    """Nobody does the same at the same time; who is replaced before it was its turn never starts."""
    kept, first, never, last, new = Slow(), Slow(), Slow(), Slow(), Slow()
    begun, second, third = works(a=kept, b=first), works(a=kept, b=never), works(a=kept, b=last, c=new)
    beside = Beside(begun)
    beside.startService()
    beside.replace(begun, second)
    beside.replace(second, third)
    assert [each.started for each in (kept, first, never, last, new)] == [1, 1, 0, 0, 1]
    first.ended.callback(None)
    assert [each.started for each in (kept, first, never, last, new)] == [1, 1, 0, 1, 1]
    assert set(beside) == {kept, last, new}


@pytest.mark.proves("FT-51", "FT-45")
def test_the_end_waits_for_those_that_are_ending() -> None:
    """A service that was replaced is waited for like the others, and its successor starts no more."""
    first, last = Slow(), Slow()
    before, after = works(a=first), works(a=last)
    beside = Beside(before)
    beside.startService()
    beside.replace(before, after)
    ended: list[object] = []
    beside.stopService().addBoth(ended.append)
    assert ended == []
    first.ended.callback(None)
    assert (last.started, ended) == (0, [None])
