"""A CA that is followed by another: whose word is taken for it, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.logger import LogLevel, eventAsText

from scepra.errors import ScepError, StoreError
from scepra.lab import Authority, Behaviour, CertificationService, Faces, Fault, Word
from scepra.scep.algorithm import Digest
from scepra.scep.cms import degenerate
from scepra.scep.identity import Identity
from scepra.scep.rollover import build_next_ca_cert
from scepra.scep.transport import OperationKind
from scepra.upstream.client import Upstream
from scepra.upstream.succession import Ahead, Passing, Succession, follow, look_ahead
from scepra.upstream.view import UpstreamView, build_view
from tests.rig.material import DAY, NOW, authority, key

from .material import YEAR, made, run, settings
from .test_client import logged
from .test_view import CA, RA, RA_ENCRYPTION, ROOT, STRANGER, bag

SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505 - refused
BEGINS = NOW + 30 * DAY
NEXT = made("CA", ca=True, private_key=key("next"), start=30 * DAY, end=3 * YEAR)
NEXT_RA = made("RA", NEXT, private_key=key("next RA"), start=30 * DAY)
LAST = made("CA", ca=True, private_key=key("last"), start=YEAR, end=4 * YEAR)


def told(*certificates: Identity, by: Identity = CA) -> bytes:
    """A GetNextCACert answer in the RFC's layout."""
    return build_next_ca_cert([each.certificate for each in certificates], by, Digest.SHA256)


def view_of(*offered: Identity, **more: Any) -> UpstreamView:
    """What is believed of a CA before it tells of another."""
    return build_view("ca", settings(CA.certificate, **more), b"GetNextCACert", bag(*offered), NOW)


def ahead(
    answer: bytes,
    *offered: Identity,
    pinned: tuple[Identity, ...] = (CA,),
    known: tuple[Succession, ...] = (),
    now: datetime = NOW,
    **more: Any,
) -> Ahead:
    """What an answer adds to what is known of a CA that offers these."""
    chosen = settings(*(each.certificate for each in pinned), **more)
    view = build_view("ca", chosen, b"GetNextCACert", bag(*(offered or (CA,))), now)
    lineage = [each.certificate for each in known]
    return look_ahead(chosen, replace(view, lineage=tuple(lineage)), known, answer, now)


def refusal(answer: bytes, *offered: Identity, **more: Any) -> str:
    """Why an answer is not believed."""
    with pytest.raises(ScepError) as caught:
        ahead(answer, *offered, **more)
    return caught.value.reason


def succession(certificate: Identity = NEXT, by: Identity = CA, *above: Identity, seen: datetime = NOW) -> Succession:
    """What is kept of an answer."""
    path = tuple(each.certificate for each in (by, *above))
    return Succession(certificate.certificate, told(certificate, by=by), path, seen)


# By whose word


@pytest.mark.proves("CERT-12", "CERT-30", "AC-106")
def test_the_pinned_ca_names_its_successor() -> None:
    """What the pinned CA's own key has signed is believed, ahead of its time, and kept with its evidence."""
    answer = told(NEXT)
    found = ahead(answer)
    assert found.view.next is not None and found.view.announcement is not None
    assert found.view.next.issuers == (NEXT.certificate,) == found.view.announcement.certificates
    assert found.view.next.encryption == NEXT.certificate
    assert found.view.announcement.message == answer
    assert found.new == (Succession(NEXT.certificate, answer, (CA.certificate,), NOW),)
    assert found.view.current == view_of(CA).current


@pytest.mark.proves("CERT-32")
def test_next_ra_certificates_are_those_that_the_next_ca_issued() -> None:
    """Of the next RA certificates, those that the next CA issued are used; others are not, whoever else issued them."""
    found = ahead(told(NEXT, NEXT_RA), CA, RA).view.next
    assert found is not None and found.encryption == NEXT_RA.certificate
    assert found.signers == (NEXT.certificate, NEXT_RA.certificate)
    of_today = made("RA", CA, private_key=key("next RA"))
    without = ahead(told(NEXT, of_today), CA, RA).view
    assert without.next is None and without.announcement is not None
    assert "does not tell of the next RA certificates" in without.announcement.obstacle


def test_a_next_ca_without_its_ra_certificates_is_announced_and_not_asked() -> None:
    """Where an RA stands before the CA, nothing is encrypted to the next CA itself."""
    found = ahead(told(NEXT), CA, RA).view
    assert found.next is None and found.announcement is not None
    assert "does not tell of the next RA certificates" in found.announcement.obstacle
    assert found.toward(bytes.fromhex(NEXT.certificate.fingerprint())) is found.current


@pytest.mark.proves("AC-106", "CERT-12", "CERT-30")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (told(NEXT, by=STRANGER), "signer"),
        (told(NEXT, by=NEXT), "signer"),
        (degenerate([NEXT.certificate.der]), ""),
        (b"<html>", ""),
        (b"", ""),
        (told(made("no CA", private_key=key("next"))), "tells of no CA"),
        (told(made("no CA", NEXT)), "tells of no CA"),
    ],
    ids=["impostor", "itself", "unsigned", "page", "nothing", "no CA", "RA alone"],
)
def test_what_is_no_word_of_the_ca(answer: bytes, reason: str) -> None:
    """Nobody else's signature counts, nor none; and what is named must be a CA."""
    assert reason in refusal(answer)


@pytest.mark.proves("AC-106", "CERT-12", "CERT-31")
def test_an_ra_s_word_counts_where_it_is_to() -> None:
    """A trusted RA certificate that signs may name the next CA under ``rollover: ra`` alone; its message is not the
    CA's own, and is not relayed."""
    answer = told(NEXT, NEXT_RA, by=RA)
    assert "nobody who may say so" in refusal(answer, CA, RA)
    assert "nobody who may say so" in refusal(answer, CA, RA, rollover="refuse")
    found = ahead(answer, CA, RA, rollover="ra")
    assert found.new == (Succession(NEXT.certificate, answer, (RA.certificate, CA.certificate), NOW),)
    assert found.view.announcement is not None and found.view.announcement.message is None
    other = told(NEXT, NEXT_RA, by=RA_ENCRYPTION)
    assert "nobody who may say so" in refusal(other, CA, RA_ENCRYPTION, rollover="ra")


@pytest.mark.proves("AC-106", "CERT-12")
def test_nobody_s_word_counts_where_it_is_refused() -> None:
    """Under ``rollover: refuse`` only what is pinned follows."""
    assert "nobody who may say so" in refusal(told(NEXT), rollover="refuse")
    found = ahead(told(NEXT), pinned=(CA, NEXT), rollover="refuse")
    assert found.view.next is not None and found.new == ()


@pytest.mark.proves("AC-106", "CERT-12")
def test_a_ca_below_the_pinned_one_replaces_no_pin() -> None:
    """A CA below the pinned root names what chains to the root; another root is not its to name."""
    low = made("issuing", ROOT, ca=True, private_key=key("low"))
    following = made("issuing", ROOT, ca=True, private_key=key("low 2"), start=30 * DAY)
    found = ahead(told(following, by=low), low, ROOT, pinned=(ROOT,))
    assert found.view.next is not None and found.view.next.issuers == (following.certificate,)
    assert found.new == ()
    assert "nobody who may say so" in refusal(told(NEXT, by=low), low, ROOT, pinned=(ROOT,))
    assert "nobody who may say so" in refusal(told(NEXT, by=low), low, ROOT, pinned=(ROOT,), rollover="ra")


@pytest.mark.proves("CERT-33", "AC-106")
def test_what_no_signature_covers_needs_another_reason() -> None:
    """Certificates beside the content, as jscep has them, are believed if they are pinned or certified by the pinned
    CA, and not for the signature that does not cover them."""
    service = CertificationService(Authority(CA), behaviour=Behaviour(word=Word.FIELD))
    crossed = made("CA", CA, ca=True, private_key=key("next"))
    for following, pins, believed in ((NEXT, (CA,), False), (NEXT, (CA, NEXT), True), (crossed, (CA,), True)):
        service.announce(Authority(following))
        answer = service._next_ca_cert()
        if not believed:
            assert "nobody who may say so" in refusal(answer, pinned=pins)
            continue
        found = ahead(answer, pinned=pins)
        assert found.new == ()
        assert found.view.announcement is not None and found.view.announcement.message is None


@pytest.mark.proves("AC-106", "AC-107")
@pytest.mark.parametrize(
    "unfit",
    [
        made("CA", ca=True, private_key=key("next"), usage=("cRLSign",)),
        made("CA", ca=True, private_key=key("next"), start=-YEAR, end=-DAY),
        made("CA", ca=True, private_key=SMALL),
    ],
    ids=["signs no certificates", "expired", "small key"],
)
@pytest.mark.parametrize("pinned", [False, True])
def test_a_next_ca_must_be_fit_to_be_one(unfit: Identity, pinned: bool) -> None:
    """It signs certificates, has not expired and has a key that is strong enough: nobody's word changes that."""
    assert "nobody who may say so" in refusal(told(unfit), pinned=(CA, unfit) if pinned else (CA,))


@pytest.mark.proves("AC-107")
def test_a_weak_signature_names_nobody() -> None:
    """What was signed with MD5 is no evidence."""
    assert refusal(build_next_ca_cert([NEXT.certificate], CA, Digest.MD5))


def test_nothing_follows_where_it_is_there_already() -> None:
    """A CA that goes on telling of what has become of it announces nothing."""
    found = ahead(told(CA))
    assert found.view.announcement is None and found.new == ()


def test_what_is_passed_on_names_nobody_else() -> None:
    """A message that also names what is not believed is not relayed as it is."""
    small = made("CA", ca=True, private_key=SMALL)
    found = ahead(told(NEXT, small)).view.announcement
    assert found is not None and found.message is None
    assert found.certificates == (NEXT.certificate,)


# What is kept of it


@pytest.mark.proves("CERT-12", "AC-106")
def test_evidence_leads_back_to_the_pin_in_a_chain() -> None:
    """A names B, B names C: with A's pin alone all are believed, in whatever order they were kept."""
    first, second = succession(), succession(LAST, NEXT, seen=NOW + 40 * DAY)
    assert follow(settings(CA.certificate), (second, first)) == (first, second)
    assert follow(settings(CA.certificate), (second,)) == ()
    assert follow(settings(STRANGER.certificate), (first, second)) == ()
    assert follow(settings(CA.certificate, rollover="refuse"), (first, second)) == ()


@pytest.mark.proves("AC-106")
@pytest.mark.parametrize(
    "altered",
    [
        replace(succession(), certificate=STRANGER.certificate),
        replace(succession(), evidence=told(NEXT, by=STRANGER)),
        replace(succession(), evidence=told(NEXT)[:-1] + b"\0"),
        replace(succession(), evidence=degenerate([NEXT.certificate.der])),
        replace(succession(), path=(STRANGER.certificate,)),
        replace(succession(), path=()),
        replace(succession(), seen=NOW + 2 * YEAR),
        succession(NEXT, STRANGER, CA),
        succession(made("CA", private_key=key("next"))),
        succession(NEXT, RA, CA),
    ],
    ids=[
        "another CA", "another's word", "a broken signature", "no signature", "another signer", "no signer",
        "signed by an expired CA", "not issued by what is above it", "no CA", "an RA's word",
    ],
)  # fmt: skip
def test_what_was_altered_in_the_store_is_not_believed(altered: Succession) -> None:
    """Whoever can write to the store makes nobody follow anything."""
    assert follow(settings(CA.certificate), (altered,)) == ()


@pytest.mark.proves("AC-106")
@pytest.mark.parametrize(
    "altered",
    [
        succession(NEXT, made("RA", STRANGER), CA),
        succession(NEXT, made("RA", RA), RA, CA),
        succession(NEXT, RA, CA, seen=NOW - 2 * DAY),
        replace(succession(NEXT, RA, CA), path=(RA.certificate,)),
    ],
    ids=["another CA's RA", "an RA's RA", "before the RA's time", "no CA above it"],
)
def test_an_ra_in_the_evidence_is_the_pinned_ca_s(altered: Succession) -> None:
    """An RA's word is as good as its chain to the pin, at the time when it was taken."""
    chosen = settings(CA.certificate, rollover="ra")
    assert follow(chosen, (succession(NEXT, RA, CA),)) != ()
    assert follow(chosen, (altered,)) == ()


# In the life of an upstream


class Rig:
    """An upstream over the lab's CA, whose successor begins in thirty days."""

    def __init__(self, behaviour: Behaviour = Behaviour(), kept: Passing | None = None, **more: Any) -> None:  # noqa: B008 - frozen
        self.now = NOW
        self.clock = Clock()
        self.service = CertificationService(authority(), None, behaviour)
        self.following = Authority.create("CA", key("following"), lambda: self.now, begins=BEGINS)
        self.kept = kept or Passing()
        self.settings = settings(authority().certificate, **more)
        self.upstream = self.another()

    def another(self, kept: Passing | None = None) -> Upstream:
        """Another process's, or this one's after a restart."""
        stub = StubTreq(self.service)
        return Upstream("ca", self.settings, self.clock, lambda: self.now, client=stub, successions=kept or self.kept)


@pytest.mark.proves("CERT-12", "CERT-13", "RA-31")
@pytest.mark.parametrize("faces", list(Faces))
def test_the_old_pin_is_enough_after_the_rollover(faces: Faces) -> None:
    """Announced, followed, and gone on with: also by another process, and after a restart; each step is in the log."""
    rig = Rig(Behaviour(faces=faces))
    assert run(rig.upstream.discover()).announcement is None
    rig.service.announce(rig.following)
    with logged(LogLevel.warn) as events:
        view = run(rig.upstream.discover())
        run(rig.upstream.discover())
        run(rig.another().discover())
    assert [event["fingerprint"] for event in events] == [rig.following.certificate.fingerprint()]
    assert "is to follow" in eventAsText(events[0])
    assert view.next is not None and view.next.pinned == rig.following.certificate
    assert view.pinned == authority().certificate
    rig.now = BEGINS + DAY
    rig.service.roll_over()
    for upstream in (rig.upstream, rig.another()):
        with logged(LogLevel.warn) as events:
            view = run(upstream.discover())
            run(upstream.discover())
        assert len(events) == 1 and "pin it in the configuration" in eventAsText(events[0])
        assert view.current.pinned == rig.following.certificate
        assert view.next is None and view.announcement is None
        assert view.lineage == (authority().certificate, rig.following.certificate)
        assert view.issuers_for(bytes.fromhex(authority().certificate.fingerprint())) == (
            rig.following.certificate, authority().certificate
        )  # fmt: skip
    with pytest.raises(Exception, match="none is pinned"):
        run(rig.another(Passing()).discover())


def test_the_moment_of_the_rollover_is_not_missed() -> None:
    """The look that comes next comes no later than the next CA's time."""
    rig = Rig(refresh="1d")
    rig.service.announce(rig.following)
    run(rig.upstream.discover())
    assert rig.upstream.pause() == DAY.total_seconds()
    rig.now = BEGINS - timedelta(minutes=5)
    assert rig.upstream.pause() == 301
    rig.now = BEGINS
    assert rig.upstream.pause() == DAY.total_seconds()


@pytest.mark.proves("CERT-12", "AC-106")
@pytest.mark.parametrize("word", [Word.STRANGER, Word.UNSIGNED, Word.MESSAGE, Word.FIELD, Word.RA])
def test_forged_words_change_nothing(word: Word) -> None:
    """A next CA that nobody may name is an alarm in the log; the CA of today is asked as before."""
    rig = Rig(Behaviour(faces=Faces.RA, word=word))
    rig.service.announce(rig.following)
    with logged(LogLevel.error) as events:
        view = run(rig.upstream.discover())
    assert view.announcement is None and view.next is None
    assert len(events) == 1 and "is not believed" in eventAsText(events[0])
    assert run(rig.kept.read()) == ()


class Terse(CertificationService):
    """A CA that does not tell of its next RA."""

    def _next_ca_cert(self) -> bytes:
        assert self.following is not None
        return build_next_ca_cert([self.following.certificate], self.authority.identity, Digest.SHA256)


def test_why_the_next_ca_cannot_be_asked_is_said_once() -> None:
    """Where requests cannot be made ahead, the log says why when it is announced."""
    rig = Rig()
    rig.service = Terse(authority(), None, Behaviour(faces=Faces.RA))
    rig.service.announce(rig.following)
    upstream = rig.another()
    with logged(LogLevel.warn) as events:
        for _ in range(2):
            view = run(upstream.discover())
            assert view.next is None and view.announced == (rig.following.certificate,)
    assert [("cannot be asked yet" in eventAsText(event)) for event in events] == [False, True]


def test_a_ca_that_tells_of_nothing_is_not_asked() -> None:
    """Without the capability there is no question; with it, an answer with another status is none."""
    rig = Rig()
    run(rig.upstream.discover())
    assert OperationKind.GET_NEXT_CA_CERT not in [each.kind for each in rig.service.received]
    rig.service.behaviour = replace(rig.service.behaviour, capabilities=b"GetNextCACert")
    assert run(rig.upstream.discover()).announcement is None
    assert rig.service.received[-1].kind is OperationKind.GET_NEXT_CA_CERT


def test_one_bad_moment_takes_no_announcement_away() -> None:
    """What is known of the next CA stays while it cannot be asked, and ends when it is not told of any more."""
    rig = Rig()
    rig.service.announce(rig.following)
    before = run(rig.upstream.discover())
    asked = frozenset((OperationKind.GET_NEXT_CA_CERT,))
    rig.service.behaviour = replace(rig.service.behaviour, fault=Fault.RESET, faulty=asked)
    after = run(rig.upstream.discover())
    assert (after.next, after.announcement) == (before.next, before.announcement) and after.next is not None
    assert run(rig.another().discover()).next is None
    rig.service.following = None
    assert run(rig.upstream.discover()).announcement is None


class Failing(Passing):
    """What nothing can be read from, or kept in."""

    reads: Callable[[], bool] = staticmethod(lambda: False)

    async def read(self) -> tuple[Succession, ...]:
        if self.reads():
            return await super().read()
        raise StoreError("the database does not answer")

    async def keep(self, succession: Succession) -> bool:
        raise StoreError("the database does not answer")


def test_nothing_is_followed_that_cannot_be_kept() -> None:
    """While the store does not answer no new CA is believed, and the CA of today is asked as before."""
    rig = Rig(kept=Failing())
    rig.service.announce(rig.following)
    with logged(LogLevel.error) as events:
        view = run(rig.upstream.discover())
    assert view.announcement is None and view.pinned == authority().certificate
    assert len(events) == 2


def test_generations_of_one_name_are_told_apart() -> None:
    """Which generation an RA certificate is of, its issuer's signature tells, and not the name that both CAs share."""
    view = ahead(told(NEXT)).view
    following = bytes.fromhex(NEXT.certificate.fingerprint())
    assert view.asked_by(RA.certificate) == view.current.authority != following
    assert view.asked_by(NEXT_RA.certificate) == following
    assert view.asked_by(STRANGER.certificate) == view.current.authority
    assert view.issuer_of(NEXT_RA.certificate) == NEXT.certificate
    assert view.issuer_of(RA.certificate) == CA.certificate
    assert view.issuer_of(made("x", STRANGER).certificate) is None
    assert view.knows(None) and view.knows(following) and view.knows(view.current.authority)
    assert not view.knows(bytes(32))


# The RA's own next certificates


@pytest.mark.proves("RA-31")
def test_the_ra_needs_certificates_by_the_ca_that_follows() -> None:
    """Announced, they are fetched ahead, if they begin in time; once there are some, no others are; after the rollover
    those of the former CA are not enough."""
    known, following = view_of(CA), ahead(told(NEXT)).view
    late, soon = NOW + 300 * DAY, BEGINS
    assert known.outdated(RA.certificate, late) == ""
    assert known.ahead(late) is known and following.ahead(None) is following and following.ahead(soon) is following
    assert following.outdated(RA.certificate, soon) == ""
    assert "is to follow" in following.outdated(RA.certificate, late)
    assert following.outdated(NEXT_RA.certificate, late) == ""
    chosen = following.ahead(late)
    assert chosen.encryption == NEXT.certificate == chosen.issuers[0]
    assert chosen.issuers == chosen.signers == (NEXT.certificate, CA.certificate)
    after = build_view("ca", settings(CA.certificate), b"", bag(NEXT), BEGINS + DAY, frozenset((NEXT.certificate,)))
    assert "has followed" in after.outdated(RA.certificate, late)
    assert after.outdated(NEXT_RA.certificate, late) == ""
