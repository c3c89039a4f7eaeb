"""The RA with generations of its own: what clients see while one follows another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scepra.errors import ConfigError, ScepError
from scepra.generations import Generations
from scepra.lab.client import Client
from scepra.scep.message import PKIStatus
from scepra.transaction import State
from tests.generations.rig import DAY, RA, Rig, rig
from tests.keys.material import key
from tests.rig.house import House, house, run


@contextmanager
def housed(own: Rig) -> Iterator[House]:
    """The RA of that directory, in front of its CA."""
    with house(own.directory, {"ra": RA}, now=own.day.now, clock=own.day, ca=own.ca) as built:
        yield built


@pytest.fixture
def own(tmp_path: Path) -> Rig:
    """One generation in its directory."""
    made = rig(tmp_path)
    made.enrol()
    return made


def generations(house: House) -> Generations:
    """The identities of its RA."""
    found = house.authority.identities
    assert isinstance(found, Generations)
    return found


def enrolled(house: House, client: Client, name: str = "a") -> bool:
    """Whether an enrolment succeeds, its answer verified against what that client was given."""
    outcome = run(
        client.enrol(
            f"{name}.example", challenge=house.challenge, key=key("device"), transaction_id=f"{name}{id(client)}"
        )
    )
    return outcome.status is PKIStatus.SUCCESS


@pytest.mark.proves("FT-50", "RA-31")
def test_clients_of_every_age(own: Rig) -> None:
    """Through a whole change every client is served: by the generation that it was given, as long as that opens."""
    with housed(own) as built:
        old = built.client()
        run(old.discover())
        first = generations(built).keyring.current
        own.enrol()
        assert run(generations(built).look())
        assert generations(built).keyring.current is first
        assert generations(built).upcoming is not None
        waiting = built.client()
        assert enrolled(built, waiting, "settling")
        own.day.advance(61)
        assert generations(built).upcoming is None
        new = built.client()
        assert run(new.discover()).encryption != run(waiting._server()).encryption
        for step in range(3):
            assert enrolled(built, old, f"old{step}")
            assert enrolled(built, new, f"new{step}")
            own.day.advance(4 * DAY)
        own.day.advance(3 * DAY)
        assert enrolled(built, new, "late")
        before = len(built.forwarded)
        with pytest.raises(ScepError, match="the signer's certificate is missing"):
            enrolled(built, old, "late")
        assert len(built.forwarded) == before
        said = [event["log_format"] for event in built.events if event["log_namespace"] == "scepra.generations"]
        assert [text.partition(": ")[2] for text in said] == [
            "generation {number} opens requests",
            "generation {number} is served now",
            "generation {number} has retired",
        ]


@pytest.mark.proves("FT-50")
def test_one_that_another_process_has_seen(own: Rig) -> None:
    """A request to a certificate that this process does not know yet makes it look, at once, and is answered."""
    with housed(own) as other, housed(own) as built:
        own.enrol()
        run(generations(other).look())
        own.day.advance(61)
        client = other.client()
        run(client.discover())
        built_client = built.client()
        built_client._discovery = client._discovery
        assert enrolled(built, built_client)
        assert not run(generations(built).seek())


@pytest.mark.proves("FT-49")
def test_what_has_expired(own: Rig) -> None:
    """After the end of the only generation nothing new is begun; a newer one puts that right without a restart."""
    with housed(own) as built:
        client = built.client()
        run(client.discover())
        assert enrolled(built, client)
        end = generations(built).installed[0].ends - own.day.now()
        own.day.advance(end.total_seconds() + 1)
        with pytest.raises(Exception, match="503"):
            enrolled(built, client, "b")
        own.enrol()
        own.day.advance(61)
        run(generations(built).look())
        fresh = built.client()
        assert enrolled(built, fresh, "b")


@pytest.mark.proves("FT-49", "RA-20")
def test_what_was_begun_before_the_end_is_finished_after_it(own: Rig) -> None:
    """What the CA held back when the only generation ended is polled and fetched all the same; its device gets it under
    the next generation."""
    with housed(own) as built:
        built.ca.behaviour = replace(built.ca.behaviour, status=PKIStatus.PENDING)
        own.day.advance((generations(built).installed[0].ends - own.day.now()).total_seconds() - 60)
        client = built.client()
        asked = run(client.enrol("c.example", challenge=built.challenge, key=key("device"), transaction_id="c"))
        assert asked.status is PKIStatus.PENDING
        *_, waiting = built.ca.transactions
        built.ca.approve(waiting)
        built.reconcile(120, step=10)
        assert not generations(built).keyring.valid_at(own.day.now())
        stored = built.transaction(built.records[-1]["enrolment"])
        assert stored.state is State.ISSUED
        with pytest.raises(Exception, match="503"):
            enrolled(built, client, "d")
        built.ca.behaviour = replace(built.ca.behaviour, status=PKIStatus.SUCCESS)
        own.enrol()
        own.day.advance(61)
        run(generations(built).look())
        polled = run(built.client().poll(asked))
        assert polled.status is PKIStatus.SUCCESS
        assert polled.certificate is not None
        assert polled.certificate.der == stored.certificate


def test_what_cannot_be_read(own: Rig) -> None:
    """A generation that cannot be read changes nothing, and is told; nor does a directory that was emptied."""
    with housed(own) as built:
        keyring = generations(built).keyring
        own.enrol()
        (own.settings.directory / "0002" / "signing.key").chmod(0o644)
        assert not run(generations(built).seek())
        generations(built).startService()
        own.day.advance(0)
        generations(built).stopService()
        assert generations(built).keyring is keyring
        assert any("go on" in event["log_format"] for event in built.events)
        shutil.rmtree(own.settings.directory)
        with pytest.raises(ConfigError, match="holds no generation any more"):
            run(generations(built).look())
        assert generations(built).keyring is keyring


def test_an_empty_directory(tmp_path: Path) -> None:
    """An RA without a generation does not start, and its administrator is told what makes one."""
    with pytest.raises(ConfigError, match="holds no generation yet: scepra enroll-ra enrols the first"):
        rig(tmp_path).generations()


@pytest.mark.proves("AC-055")
def test_own_certificates_authorise_nothing(own: Rig) -> None:
    """A certificate of the RA's own renews nothing, also one that came while it runs, and one that has retired."""
    with housed(own) as built:
        second = own.enrol()
        run(generations(built).look())
        own.day.advance(30 * DAY)
        for each in (*generations(built).installed, second):
            assert built.authority.renewal is not None
            assert each.generation.signing.certificate in built.authority.renewal.infrastructure


@pytest.mark.proves("FT-49")
def test_renewal_in_good_time(own: Rig) -> None:
    """The next generation is enrolled when the first has less than the configured time left, and not before."""
    identities = own.generations()
    renewing = own.regeneration(identities)
    renewing.startService()
    own.day.advance(0)
    assert len(own.store.installed()) == 1
    own.day.advance((identities.installed[-1].ends - own.day.now() - timedelta(days=29)).total_seconds())
    run(own.upstream.discover())
    run(renewing.look())
    assert [each.number for each in identities.installed] == [1, 2]
    run(renewing.look())
    assert len(own.store.installed()) == 2
    renewing.stopService()


def test_renewal_that_goes_wrong(own: Rig) -> None:
    """A renewal that the CA refuses is tried again, ever later, and works when the CA does."""
    identities = own.generations()
    renewing = own.regeneration(identities)
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.FAILURE)
    own.day.advance((identities.installed[-1].ends - own.day.now() - timedelta(days=29)).total_seconds())
    run(renewing.look())
    asked = len(own.ca.transactions)
    run(renewing.look())
    assert len(own.ca.transactions) == asked
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.PENDING)
    own.day.advance(400)
    run(renewing.look())
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.SUCCESS)
    for transaction in own.ca.transactions:
        own.ca.approve(transaction)
    own.day.advance(3600)
    run(renewing.look())
    assert [each.number for each in identities.installed] == [1, 2]


def test_renewal_by_hand(own: Rig) -> None:
    """What somebody brings to the CA is not sent by the RA."""
    identities = own.generations()
    with own.store.changing():
        run(own.acquisition().prepare(by_hand=True))
    own.day.advance((identities.installed[-1].ends - own.day.now() - timedelta(days=29)).total_seconds())
    asked = len(own.ca.transactions)
    run(own.regeneration(identities).look())
    assert len(own.ca.transactions) == asked
    with own.store.changing():
        run(own.regeneration(identities).step())
    assert len(own.ca.transactions) == asked


def test_one_process_renews(own: Rig) -> None:
    """Of two processes that use a directory one renews, until it ends; then the other does."""
    identities = own.generations()
    first, second = own.regeneration(identities), own.regeneration(own.generations())
    first.startService()
    own.day.advance(0)
    own.day.advance((identities.installed[-1].ends - own.day.now() - timedelta(days=29)).total_seconds())
    assert len(own.store.installed()) == 2
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.FAILURE)
    own.day.advance((identities.installed[-1].ends - own.day.now() - timedelta(days=29)).total_seconds())
    asked = len(own.ca.transactions)
    run(second.look())
    assert len(own.ca.transactions) == asked
    first.stopService()
    run(second.look())
    assert len(own.ca.transactions) > asked
