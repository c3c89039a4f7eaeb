"""Generations whose keys are in a token: made there, found there, left there, destroyed when they are given up."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from scepra.acquisition import NotAcquired, Waiting
from scepra.config.token import KeyInToken
from scepra.errors import ConfigError, KeyUnavailable
from scepra.generation import Installed
from scepra.generations import Generations
from scepra.keys.check import examine
from scepra.keys.directory import Draft, GenerationStore
from scepra.keys.token import TokenKey, Tokens
from scepra.lab.client import Client
from scepra.scep.identity import SoftwareKey
from scepra.scep.message import MessageType, PKIStatus
from tests.config.sample import reading
from tests.generations.rig import DAY, RA, Rig, rig
from tests.keys.material import key
from tests.rig.house import House, house, run
from tests.rig.softhsm import SoftToken, new_token

IN_TOKEN = {"token": "hsm"}
KINDS: dict[str, dict[str, Any]] = {
    "both": {"key": IN_TOKEN},
    "mixed": {"signing-key": IN_TOKEN},
    "reverse": {"encryption-key": IN_TOKEN},
    "dual": {"keys": "dual", "key": IN_TOKEN},
}


@pytest.fixture
def soft() -> Iterator[SoftToken]:
    """A token without keys."""
    made = new_token()
    yield made
    if made.aside.exists():
        made.plug()
    made.remove()


@pytest.fixture
def rigs(tmp_path: Path, soft: SoftToken) -> Iterator[Callable[[str], Rig]]:
    """Makes an empty directory, in front of a CA that issues at once, by where its keys will be."""
    made: list[Rig] = []

    def make(kind: str = "both", **upstream: Any) -> Rig:
        tokens = {"hsm": soft.settings(tmp_path / "pin", timeout="30s")}
        made.append(rig(tmp_path, KINDS[kind], upstream, tokens))
        return made[-1]

    yield make
    for each in made:
        each.tokens.leave()


@contextmanager
def housed(own: Rig, kind: str, soft: SoftToken) -> Iterator[House]:
    """The RA of that directory, in front of its CA."""
    tokens = {"hsm": soft.settings(own.directory / "pin", timeout="30s")}
    ra = {**RA, **KINDS[kind]}
    with house(own.directory, {"ra": ra}, now=own.day.now, clock=own.day, ca=own.ca, tokens=tokens) as built:
        yield built


def begin_anew(own: Rig) -> None:
    """Forget what a process knows of the token, as one does that has just started."""
    own.tokens.leave()
    own.tokens = Tokens(own.config.tokens, own.day, patient=True)


def labels(own: Rig) -> list[str]:
    """Of all private keys in the token."""
    from pkcs11 import Attribute, ObjectClass

    token = own.tokens.get("hsm")
    assert token is not None
    return sorted(
        token.call(
            lambda session: [
                each[Attribute.LABEL] for each in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            ]
        )
    )


def kinds_of(installed: Installed) -> tuple[type, type]:
    """Of its keys: the one that signs, the one that opens."""
    return type(installed.generation.signing.key), type(installed.generation.encryption.key)


def enrolled(built: House, client: Client, name: str) -> bool:
    """Whether an enrolment succeeds, its answer verified against what that client was given."""
    outcome = run(
        client.enrol(f"{name}.example", challenge=built.challenge, key=key("device"), transaction_id=name.upper())
    )
    return outcome.status is PKIStatus.SUCCESS


@pytest.mark.parametrize(
    ("kind", "made", "expected"),
    [
        ("both", ["own 0001 encryption", "own 0001 signing"], (TokenKey, TokenKey)),
        ("mixed", ["own 0001 signing"], (TokenKey, SoftwareKey)),
        ("reverse", ["own 0001 encryption"], (SoftwareKey, TokenKey)),
        ("dual", ["own 0001 dual"], (TokenKey, TokenKey)),
    ],
)
@pytest.mark.proves("AC-130")
def test_where_keys_are_made(rigs: Callable[..., Rig], kind: str, made: list[str], expected: tuple[type, type]) -> None:
    """Keys are made where the configuration says, each in the token under a label that tells the directory, the
    generation and the purpose; the file says which one it is, and holds no key."""
    own = rigs(kind)
    installed = own.enrol()
    assert labels(own) == made
    for each in (installed, *own.store.installed()):
        assert kinds_of(each) == expected
    for file in (own.settings.directory / "0001").glob("*.key"):
        in_token = f"own 0001 {file.stem}" in made
        assert (b"PRIVATE KEY" not in file.read_bytes()) is in_token
        if in_token:
            reference = KeyInToken.model_validate(yaml.safe_load(file.read_text()), by_alias=True, by_name=False)
            assert (reference.token, reference.label, len(reference.id or "")) == ("hsm", f"own 0001 {file.stem}", 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.proves("FT-49", "FT-50", "RA-31")
def test_it_serves_and_renews(rigs: Callable[..., Rig], kind: str, soft: SoftToken) -> None:
    """The RA serves with keys in a token, renews by itself in the same token, and still answers who was given the
    generation before; when that has retired, its keys stay."""
    own = rigs(kind)
    own.enrol()
    before = labels(own)
    with housed(own, kind, soft) as built:
        old = built.client()
        run(old.discover())
        assert enrolled(built, old, "first")
        identities = built.authority.identities
        assert isinstance(identities, Generations)
        own.day.advance((identities.installed[-1].ends - own.day.now() - timedelta(days=29)).total_seconds())
        run(own.upstream.discover())
        run(own.regeneration(identities).look())
        assert [each.number for each in identities.installed] == [1, 2]
        assert kinds_of(identities.installed[1]) == kinds_of(identities.installed[0])
        after = sorted([*before, *(each.replace("0001", "0002") for each in before)])
        assert labels(own) == after
        own.day.advance(61)
        assert identities.arrangement.current.number == 2
        assert enrolled(built, old, "old")
        assert enrolled(built, built.client(), "new")
        own.day.advance(15 * DAY)
        assert [each.number for each in identities.arrangement.retired] == [1]
        assert labels(own) == after
        assert enrolled(built, built.client(), "late")


def test_a_renewal_is_signed_in_the_token(rigs: Callable[..., Rig]) -> None:
    """What the CA holds back is polled for by keys in the token, and a renewal is signed by the one before."""
    own = rigs(renewal="renewal-req")
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.PENDING)
    assert own.advance() == Waiting(1, ("signing", "encryption"))
    for transaction in own.ca.transactions:
        own.ca.approve(transaction)
    first = own.advance()
    assert isinstance(first, Installed)
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.SUCCESS)
    own.enrol()
    last = [item for item in own.ca.received if item.message][-1]
    assert last.message_type is MessageType.RENEWAL_REQ
    assert last.signer == first.generation.signing.certificate


def test_by_hand(rigs: Callable[..., Rig]) -> None:
    """Requests of keys in the token go to a CA by hand; what it has issued is installed."""
    own = rigs()
    acquisition = own.acquisition()
    with acquisition.store.changing():
        under_way = run(acquisition.prepare(by_hand=True))
        issued = [own.ca.authority.issue(order.csr) for order in under_way.orders.values()]
        outcome = run(acquisition.install(issued))
    assert isinstance(outcome, Installed)
    assert kinds_of(own.store.installed()[0]) == (TokenKey, TokenKey)


def test_what_is_given_up(rigs: Callable[..., Rig], soft: SoftToken) -> None:
    """Keys that the CA certifies nothing for are destroyed; while the token is away they are remembered, and destroyed
    before the next are made."""
    own = rigs()
    good, bad = own.ca.behaviour, replace(own.ca.behaviour, status=PKIStatus.FAILURE)
    own.ca.behaviour = bad
    with pytest.raises(NotAcquired):
        own.advance()
    assert labels(own) == []
    own.ca.behaviour = replace(good, status=PKIStatus.PENDING)
    own.advance()
    assert len(labels(own)) == 2
    with own.store.changing():
        under_way = own.store.under_way()
        assert under_way is not None
        soft.unplug()
        own.store.discard(under_way)
    assert own.store.under_way() is None
    soft.plug()
    own.day.advance(60)
    own.ca.behaviour = good
    own.enrol()
    assert labels(own) == ["own 0001 encryption", "own 0001 signing"]


class Cut(Exception):
    """The power is gone."""


def test_a_power_failure(rigs: Callable[..., Rig]) -> None:
    """Cut off when a key has just been made: it is destroyed by whoever goes on, and never used."""
    own = rigs()

    class Failing(GenerationStore):
        def make_key(self, draft: Draft, role: str, token: str, bits: int) -> TokenKey:
            super().make_key(draft, role, token, bits)
            raise Cut

    acquisition = own.acquisition()
    acquisition.store = Failing(own.settings.directory, own.tokens)
    with pytest.raises(Cut), acquisition.store.changing():
        run(acquisition.prepare())
    first = own.tokens.get("hsm")
    assert first is not None
    assert labels(own) == ["own 0001 signing"]
    own.enrol()
    assert labels(own) == ["own 0001 encryption", "own 0001 signing"]
    assert not [each for each in own.settings.directory.iterdir() if each.name.startswith(".0")]


def test_a_token_that_is_away_while_keys_are_made(rigs: Callable[..., Rig], soft: SoftToken) -> None:
    """A token that is not there makes no keys, and that is said; nothing is begun, and nothing is asked of the CA."""
    own = rigs()
    soft.unplug()
    with pytest.raises(KeyUnavailable, match=r"^token hsm: is not there \(NoSuchToken\)$"):
        own.advance()
    assert (own.store.under_way(), own.ca.transactions) == (None, {})
    soft.plug()
    own.day.advance(60)
    assert own.enrol().number == 1
    assert labels(own) == ["own 0001 encryption", "own 0001 signing"]


@pytest.mark.proves("FT-49", "FT-56")
def test_a_renewal_while_the_token_is_away(rigs: Callable[..., Rig], soft: SoftToken) -> None:
    """A renewal whose token is away goes wrong, is told, and is tried again; meanwhile the RA goes on with what it has.
    So does one whose token goes when its keys are made already."""
    own = rigs()
    own.enrol()
    with housed(own, "both", soft) as built:
        identities = built.authority.identities
        assert isinstance(identities, Generations)
        own.day.advance((identities.installed[-1].ends - own.day.now() - timedelta(days=29)).total_seconds())
        renewing = own.regeneration(identities)
        soft.unplug()
        run(renewing.look())
        (said,) = [event for event in built.events if "no new certificates" in event["log_format"]]
        assert said["error"].startswith("token hsm: ")
        soft.plug()
        own.day.advance(60)
        run(renewing.look())
        assert len(own.store.installed()) == 1
        assert enrolled(built, built.client(), "meanwhile")
        own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.PENDING)
        own.day.advance(400)
        run(renewing.look())
        asked = len(own.ca.received)
        soft.unplug()
        own.day.advance(3600)
        run(renewing.look())
        assert len(own.ca.received) == asked
        soft.plug()
        own.day.advance(3600)
        own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.SUCCESS)
        for transaction in own.ca.transactions:
            own.ca.approve(transaction)
        own.day.advance(3600)
        run(renewing.look())
        assert [each.number for each in identities.installed] == [1, 2]
        assert enrolled(built, built.client(), "after")


@pytest.mark.proves("FT-56")
def test_it_reads_without_the_token(rigs: Callable[..., Rig], soft: SoftToken) -> None:
    """A directory whose token is away is served when the RA starts, and a generation that comes meanwhile is seen; a
    key that is missing in a token that is there is an error."""
    own = rigs()
    own.enrol()
    begin_anew(own)
    soft.unplug()
    with housed(own, "both", soft) as built:
        assert built.get("/scep?operation=GetCACert")[0] == 200
        identities = built.authority.identities
        assert isinstance(identities, Generations)
        shutil.copytree(own.settings.directory / "0001", own.settings.directory / "0002")
        assert run(identities.look())
        soft.plug()
        own.day.advance(60)
        assert enrolled(built, built.client(), "back")
    token = own.tokens.get("hsm")
    assert token is not None
    own.day.advance(60)
    signing = own.store.installed()[0].generation.signing.key
    assert isinstance(signing, TokenKey)
    token.destroy(signing.reference)
    own.day.advance(60)
    sentence = r"0001/signing\.key: names a key in token hsm, which holds no private key with label own 0001 signing"
    with pytest.raises(ConfigError, match=sentence):
        own.generations()


def test_check_config(rigs: Callable[..., Rig], soft: SoftToken) -> None:
    """check-config looks for the keys of a directory in their tokens, and tells which file names what is not there."""
    own = rigs("mixed")
    own.enrol()

    def said() -> list[str]:
        sections = reading((own.directory / "own.yaml").read_text(), own.directory).sections
        findings = examine(sections, own.day.now()).findings
        return [f"{'.'.join(map(str, each.path))}: {each.sentence}" for each in findings if each.severity == "error"]

    assert said() == []
    begin_anew(own)
    soft.unplug()
    (found,) = said()
    assert found.startswith("profiles.dev.ra.directory: ")
    assert found.endswith("own/0001/signing.key names a key in token hsm, which is not there (NoSuchToken)")


def test_a_token_that_the_configuration_has_no_more(rigs: Callable[..., Rig], soft: SoftToken) -> None:
    """A generation, and one under way, whose token is out of the configuration is not read, and the file is named."""
    own = rigs()
    own.ca.behaviour = replace(own.ca.behaviour, status=PKIStatus.PENDING)
    own.advance()
    bare = GenerationStore(own.settings.directory)
    with pytest.raises(ConfigError, match=r"0001\.new/signing\.key: names the token hsm, which the configuration has"):
        bare.under_way()
    with bare.changing(), pytest.raises(ConfigError, match=r"own: is to have a key in the token hsm, which the"):
        bare.make_key(bare.draft(), "signing", "hsm", 2048)
