"""The whole RA with keys in a token: all of them, or the one that signs, or the one that decrypts (FT-56)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scepra.errors import KeyUnavailable
from scepra.keys.hands import AT_ONCE, WAITING, Hands
from scepra.keys.token import TokenKey
from scepra.scep.identity import SoftwareKey
from scepra.scep.message import PKIStatus
from scepra.store import tables
from tests.keys.material import key
from tests.ra.test_refusals import UNIFORM, masked
from tests.rig.denial import denials
from tests.rig.device import granted, pki_status, post, request, sound
from tests.rig.house import House, house, lab_state, run
from tests.rig.softhsm import SoftToken, new_token

SIGNING, ENCRYPTION = "ra-signing", "ra-encryption"


@pytest.fixture(scope="module")
def soft(lab: Path) -> Iterator[SoftToken]:
    """A token with the keys of the lab's RA."""
    lab_state(lab)
    names = ("ra", SIGNING, ENCRYPTION, "upstream")
    made = new_token(
        [(lab / f"{name}.key", name, f"0{index}") for index, name in enumerate(names) if (lab / f"{name}.key").exists()]
    )
    yield made
    made.remove()


def identity(name: str, *, in_token: bool) -> dict[str, Any]:
    """A certificate and its key."""
    return {"certificate": f"{name}.crt", "key": {"token": "hsm", "label": name} if in_token else f"{name}.key"}


KINDS = {
    "hsm": identity("ra", in_token=True),
    "split": {"signing": identity(SIGNING, in_token=True), "encryption": identity(ENCRYPTION, in_token=True)},
    "mixed": {"signing": identity(SIGNING, in_token=True), "encryption": identity(ENCRYPTION, in_token=False)},
    "reverse": {"signing": identity(SIGNING, in_token=False), "encryption": identity(ENCRYPTION, in_token=True)},
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which keys are in the token."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def clock() -> Clock:
    """What the RA waits by."""
    return Clock()


@pytest.fixture
def housed(lab: Path, soft: SoftToken, kind: str, clock: Clock, tmp_path: Path) -> Iterator[House]:
    """A house whose RA keys are in the token, as far as its kind says."""
    tokens = {"hsm": soft.settings(tmp_path / "pin")}
    with house(lab, {"ra": KINDS[kind]}, clock=clock, tokens=tokens) as made:
        yield made
        if soft.aside.exists():
            soft.plug()


def tokens_of(built: House) -> list[TokenKey]:
    """The RA keys that are in the token."""
    current = built.authority.keyring.current
    keys = (current.signing.key, current.encryption.key)
    return [each for each in keys if isinstance(each, TokenKey)]


def test_devices_enrol_renew_and_are_refused(housed: House) -> None:
    """Enrolment and refusals are as with keys in files; every denial is followed by a legitimate device's success."""
    assert tokens_of(housed)
    granted(housed, sound(housed))
    with denials(housed) as deny:
        deny(sound(housed, csr=request(housed, challenge="wrong")))


@pytest.mark.proves("I8", "SEC-02", "AC-036", "AC-037", "AC-038", "AC-040", "DR-12")
def test_one_refusal_for_all(housed: House) -> None:
    """Every fault from the unwrapping of the key on has the same answer, octet by octet but for what is fresh in each,
    as with keys in files; none of them makes the token count as gone."""
    wrong = masked(post(housed, sound(housed, csr=request(housed, challenge="wrong")).message()).body)
    for fault, change in UNIFORM.items():
        assert masked(post(housed, sound(housed, **change(housed)).message()).body) == wrong, fault
    assert [each.token.resting for each in tokens_of(housed)] == [None] * len(tokens_of(housed))
    granted(housed, sound(housed))


@pytest.mark.proves("FT-56", "I3", "I4", "DR-15")
def test_the_token_goes_and_comes_back(housed: House, soft: SoftToken, clock: Clock) -> None:
    """While the token is away clients get 503 with Retry-After, whatever they ask; certificates and capabilities are
    served all the same. When it is back they enrol with the same message, and nothing was used up or issued twice."""
    granted(housed, sound(housed))
    issued = len(housed.state.authority.issued)
    soft.unplug()
    waiting = sound(housed)
    message = waiting.message()
    for each in (message, sound(housed, csr=request(housed, challenge="wrong")).message(), message):
        answer = post(housed, each)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert housed.records[-1]["outcome"] == "unavailable"
        assert "token hsm" in housed.records[-1]["reasons"][0]
    assert housed.get("/scep?operation=GetCACert")[0] == 200
    assert housed.get("/scep?operation=GetCACaps")[0] == 200
    # What was recorded before its answer could not be signed is answered later.
    assert len(housed.state.authority.issued) <= issued + 1
    soft.plug()
    clock.advance(60)
    answer = post(housed, message)
    assert answer.status == 200
    granted(housed, waiting)
    assert len(housed.state.authority.issued) == issued + 1
    granted(housed, sound(housed))


@pytest.mark.parametrize("kind", ["hsm", "split", "mixed"], indirect=False)
@pytest.mark.proves("FT-56", "DR-15")
def test_nothing_is_begun_that_could_not_be_answered(
    lab: Path, soft: SoftToken, kind: str, clock: Clock, tmp_path: Path
) -> None:
    """While the token is known to be away no request is recorded, and no challenge is used."""
    with house(lab, {"ra": KINDS[kind]}, clock=clock, tokens={"hsm": soft.settings(tmp_path / "pin")}) as built:
        soft.unplug()
        try:
            post(built, sound(built, csr=request(built, challenge="wrong")).message())
            before = built.stored
            assert post(built, sound(built).message()).status == 503
            assert built.stored["transactions"] == before["transactions"]
            assert not built.forwarded
        finally:
            soft.plug()


@pytest.mark.proves("FT-56")
def test_it_starts_without_the_token(lab: Path, soft: SoftToken, clock: Clock, tmp_path: Path) -> None:
    """A token that is away when the RA starts is waited for, like one that goes later."""
    soft.unplug()
    settings = {"hsm": soft.settings(tmp_path / "pin")}
    with house(lab, {"ra": KINDS["split"]}, clock=clock, tokens=settings) as built:
        assert built.get("/scep?operation=GetCACert")[0] == 200
        forge = sound(built)
        assert post(built, forge.message()).status == 503
        soft.plug()
        clock.advance(60)
        granted(built, forge)


@pytest.mark.proves("FT-56", "FT-01", "RA-20", "I4")
def test_the_upstream_s_signer_in_a_token(lab: Path, soft: SoftToken, clock: Clock, tmp_path: Path) -> None:
    """Requests to the CA are signed by a key in the token, and its answers opened by it. While that is away they wait;
    the CA is asked when it is back, and issues once."""
    upstream = {"signer": {"strategy": "ra-certificate", **identity("ra", in_token=True)}}
    settings = {"hsm": soft.settings(tmp_path / "pin")}
    with house(lab, {}, upstream, clock=clock, tokens=settings) as built:
        granted(built, sound(built))
        issued = len(built.state.authority.issued)
        soft.unplug()
        forge = sound(built)
        answer = post(built, forge.message())
        assert pki_status(built, answer) is PKIStatus.PENDING
        assert len(built.state.authority.issued) == issued
        soft.plug()
        built.reconcile(120)
        assert len(built.state.authority.issued) == issued + 1
        granted(built, forge)
        assert len(built.state.authority.issued) == issued + 1
        assert {row.state for row in built.rows(tables.transactions)} == {"issued"}


def test_keys_in_memory_are_used_at_once() -> None:
    """A function whose keys are all in memory is called where it stands."""

    async def never(function: Any) -> Any:
        raise AssertionError

    assert run(Hands(never).use((SoftwareKey(key()),), lambda: "at once")) == "at once"


@pytest.mark.proves("FT-54", "FT-56")
def test_keys_in_tokens_are_used_elsewhere(housed: House) -> None:
    """A function with a key in a token runs away from the reactor's thread, a few at a time; so many wait, and the
    rest come again."""
    begun: list[Deferred[None]] = []

    async def slowly(function: Any) -> Any:
        begun.append(Deferred())
        await begun[-1]
        return function()

    hands, results = Hands(slowly), []
    for number in range(AT_ONCE + WAITING):
        Deferred.fromCoroutine(hands.use(tokens_of(housed), lambda number=number: number)).addCallback(results.append)
    assert (len(begun), results) == (AT_ONCE, [])
    with pytest.raises(KeyUnavailable, match="too many wait for it"):
        run(hands.use(tokens_of(housed), lambda: None))
    for each in begun:
        each.callback(None)
    assert results == list(range(AT_ONCE + WAITING))
