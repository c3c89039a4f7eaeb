"""When revocation lists are fetched, and from where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from scepra.config import model
from scepra.listsource import FileSource, Source, Unavailable
from scepra.provenance import Revocation
from scepra.revocation import RETRY, RevocationLists
from scepra.scep import der
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.trust import Trust
from tests import csrs
from tests.rig.crls import crl
from tests.rig.forge import ca_extensions, certificate, key_identifier
from tests.rig.house import Day, at_once, run

KEY = csrs.ec_key(which=60)
CA = certificate(KEY, "CA", extensions=ca_extensions())
DEVICE = certificate(csrs.ec_key(which=61), "device", by=(KEY, CA), serial=der.integer(5))
HOUR = 3600.0


class Told:
    """A source that has what the test says, when it says so."""

    def __init__(self, day: Day, place: str = "here") -> None:
        self.place = place
        self.day = day
        self.asked: list[float] = []
        self.waiting: Deferred[bytes] | None = None
        self.lasts = timedelta(days=1)
        self.revoked: list[int] = []
        self.down = False
        self.bug: Exception | None = None

    def changed(self) -> bool:
        return False

    async def fetch(self) -> bytes:
        self.asked.append(self.day.seconds())
        if self.waiting is not None:
            return await self.waiting
        if self.bug is not None:
            raise self.bug
        if self.down:
            raise Unavailable("down")
        return self.list()

    def list(self) -> bytes:
        now = self.day.now()
        return crl(KEY, CA, self.revoked, this_update=now - timedelta(seconds=1), next_update=now + self.lasts)


def lists(day: Day, *sources: Source, **settings: Any) -> RevocationLists:
    """The lists of these sources."""
    usual: dict[str, Any] = {
        "digests": frozenset((Digest.SHA256,)),
        "unknown": "refuse",
        "refresh": HOUR,
        "now": day.now,
        "reactor": day,
        "slowly": at_once,
    }
    return RevocationLists("wifi", (CA,), sources, **usual | settings)


@pytest.fixture
def day() -> Day:
    return Day()


@pytest.fixture
def source(day: Day) -> Told:
    return Told(day)


@pytest.mark.proves("AC-049", "CERT-12", "MSG-52")
def test_a_ca_that_follows(day: Day, source: Told) -> None:
    """Its list counts as soon as it is known to follow an anchor; at the place where the other CA's list stood, either
    counts for the certificates of its own CA, until it ends."""
    key = csrs.ec_key(which=62)
    # Which of two keys of one name it is, a list says by its authorityKeyIdentifier.
    naming = csrs.extension("2.5.29.35", der.sequence(der.tlv(0x80, b"\1" * 20)))
    following = certificate(key, "CA", extensions=(*ca_extensions(), key_identifier(b"\1" * 20)))
    young = certificate(csrs.ec_key(which=63), "young", by=(key, following), serial=der.integer(6))
    known: list[tuple[Certificate, ...]] = []
    held = lists(day, source, lineages=lambda: known, served=True)
    assert run(held.standing(DEVICE)) is Revocation.GOOD

    def publish(*revoked: int) -> None:
        now, ends = day.now(), day.now() + 2 * source.lasts
        content = crl(key, following, revoked, naming, this_update=now - timedelta(seconds=1), next_update=ends)
        source.waiting = succeed(content)
        day.advance(RETRY)
        run(held.look())

    publish()
    assert run(held.standing(young)) is Revocation.UNKNOWN
    known.append((CA, following))
    publish()
    assert [run(held.standing(each)) for each in (DEVICE, young)] == [Revocation.GOOD] * 2
    served = [run(held.serve(each.issuer_der, each.serial, each)) for each in (DEVICE, young)]
    assert None not in served and served[0] != served[1]
    publish(5, 6)
    assert [run(held.standing(each)) for each in (DEVICE, young)] == [Revocation.GOOD, Revocation.REVOKED]
    day.advance(source.lasts.total_seconds())
    assert run(held.standing(DEVICE)) is Revocation.UNKNOWN


@pytest.mark.proves("FT-57", "DR-14")
def test_fetched_from_the_start_on(day: Day, source: Told) -> None:
    """Lists are fetched when the service starts and every refresh from then on, a little earlier; not after its end."""
    made = lists(day, source)
    made.startService()
    day.advance(0)
    assert source.asked == [0.0]
    assert run(made.standing(DEVICE)) is Revocation.GOOD
    for _ in range(60):
        day.advance(120)
    assert len(source.asked) in (3, 4)
    pauses = [after - before for before, after in zip(source.asked, source.asked[1:], strict=False)]
    assert all(0.75 * HOUR <= pause <= HOUR + 120 for pause in pauses)
    made.stopService()
    asked = len(source.asked)
    day.advance(10 * HOUR)
    assert len(source.asked) == asked
    lists(day, source).stopService()
    # What ends while it is being fetched is not asked for again.
    source.waiting = Deferred()
    ending = lists(day, source)
    ending.startService()
    day.advance(0)
    ending.stopService()
    source.waiting.callback(source.list())
    assert not day.getDelayedCalls()


@pytest.mark.proves("FT-57", "AC-049")
def test_fetched_before_they_end(day: Day, source: Told) -> None:
    """A list that ends before the next refresh is replaced in time, so that nobody ever waits."""
    source.lasts = timedelta(minutes=10)
    made = lists(day, source)
    made.startService()
    for _ in range(360):
        day.advance(10)
        assert made._complete()
    assert len(source.asked) > 6
    source.revoked = [5]
    day.advance(HOUR)
    assert run(made.standing(DEVICE)) is Revocation.REVOKED


@pytest.mark.proves("FT-57")
def test_tried_again_after_a_failure(day: Day, source: Told) -> None:
    """While a source is down it is tried about twice a minute, and nobody who asks meanwhile causes more."""
    source.down = True
    made = lists(day, source)
    made.startService()
    day.advance(0)
    for _ in range(60):
        day.advance(1)
        assert run(made.standing(DEVICE)) is Revocation.UNKNOWN
    assert 2 <= len(source.asked) <= 4
    source.down = False
    day.advance(RETRY)
    assert run(made.standing(DEVICE)) is Revocation.GOOD


def test_one_look_for_all_who_wait(day: Day, source: Told) -> None:
    """Those who come while a list is being fetched wait for that, and for nothing more."""
    source.waiting = Deferred()
    made = lists(day, source)
    answers: list[Any] = []
    for _ in range(3):
        Deferred.fromCoroutine(made.standing(DEVICE)).addCallback(answers.append)
    assert (answers, len(source.asked)) == ([], 1)
    waiting, source.waiting = source.waiting, None
    waiting.callback(source.list())
    assert answers == [Revocation.GOOD] * 3
    # With a good list at hand nobody waits for the next.
    source.waiting = Deferred()
    made.shared()
    assert run(made.standing(DEVICE)) is Revocation.GOOD
    assert len(source.asked) == 2


def test_a_slow_source_keeps_no_other_waiting(day: Day, source: Told) -> None:
    """Sources are asked side by side."""
    other = Told(day, "there")
    source.waiting = Deferred()
    made = lists(day, source, other)
    waiting = made.shared()
    assert len(other.asked) == 1
    source.waiting.callback(b"nothing")
    assert waiting.called
    assert run(made.standing(DEVICE)) is Revocation.GOOD


def test_a_mistake_of_ours_stops_nothing(day: Day, source: Told) -> None:
    """What nobody expected is logged, and sources are asked again all the same."""
    source.bug = RuntimeError("a mistake")
    made = lists(day, source)
    made.startService()
    day.advance(0)
    source.bug = None
    day.advance(RETRY)
    assert len(source.asked) == 2
    assert run(made.standing(DEVICE)) is Revocation.GOOD


@pytest.mark.proves("AC-049")
def test_certificates_that_no_list_is_for(day: Day, source: Told) -> None:
    """Of what another CA has issued, or of what cannot be read, nothing is known."""
    made = lists(day, source)
    stranger = certificate(KEY, "device")
    assert run(made.standing(stranger)) is Revocation.UNKNOWN
    point = csrs.extension("2.5.29.28", der.sequence(der.tlv(0xA0, der.tlv(0xA0, der.tlv(0x86, b"http://a.example")))))
    now = day.now()
    source.waiting = succeed(crl(KEY, CA, [], point, this_update=now, next_update=now + timedelta(days=1)))
    partial = lists(day, source)
    broken = certificate(csrs.ec_key(), "device", by=(KEY, CA), extensions=(csrs.extension("2.5.29.31", b"\x05"),))
    assert run(partial.standing(broken)) is Revocation.UNKNOWN


@pytest.mark.proves("AC-049")
def test_files(day: Day, tmp_path: Path) -> None:
    """A file is read when it has changed and not otherwise; one that is not there or too large is nothing."""
    path = tmp_path / "ca.crl"
    source = FileSource(path, at_once, 100)
    assert not source.changed()
    with pytest.raises(Unavailable, match="cannot be read: No such file"):
        run(source.fetch())
    assert not source.changed()
    path.write_bytes(b"x" * 100)
    assert source.changed()
    assert run(source.fetch()) == b"x" * 100
    assert not source.changed()
    path.write_bytes(b"x" * 101)
    with pytest.raises(Unavailable, match="is larger than 100 octets"):
        run(source.fetch())
    assert not source.changed()


def test_profiles_share_lists(day: Day, source: Told) -> None:
    """Profiles that ask for the same lists of the same CAs have them together; others have their own."""
    path, elsewhere = Path("ca.crt"), Path("other.crt")
    other = certificate(csrs.ec_key(which=62), "Other CA", extensions=ca_extensions())
    files = {path: (CA,), elsewhere: (other,)}
    trust = Trust(files, frozenset(), lambda name, anchors, settings: lists(day, source))
    hourly, daily = (
        model.RevocationLists(urls=("http://a.example/",), refresh=refresh) for refresh in (3600.0, 86400.0)
    )
    made = [
        trust.revocation("wifi", [path], hourly),
        trust.revocation("vpn", [path], hourly),
        trust.revocation("vpn", [path], daily),
        trust.revocation("vpn", [elsewhere], hourly),
    ]
    assert made[0] is made[1]
    assert len(set(map(id, made))) == len(trust.lists) == 3
    assert trust.revocation("wifi", [path], None) is None
