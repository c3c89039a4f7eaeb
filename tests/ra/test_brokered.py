"""NDES's own one-time passwords, from its page through the RA to the CA: each for somebody, once (RA-11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scepra.binding import Binding
from scepra.lab import CertificationService
from scepra.lab.files import write_private
from scepra.minting import Order, digest, give
from scepra.ndes.broker import Broker, Pool
from scepra.ndes.client import Client
from scepra.ndes.page import Password, read
from scepra.scep.message import PKIStatus
from scepra.store import challenges, tables
from scepra.store.challenges import Challenge
from scepra.store.tokens import Role
from tests import csrs
from tests.ndes.administration import PASSWORD, URL, USER, Administration
from tests.rig.denial import Denials
from tests.rig.device import KEY, NEW, THIEF, request_without_challenge, sound, subject
from tests.rig.durable import Durable, certificate, durable, only, reached, status, told, transactions
from tests.rig.forge import Forge
from tests.rig.house import VAULT, lab_state, run
from tests.web.office import Office, basic

NAME = "printer-7.example"


@dataclass
class Chain:
    """A house in front of the lab's CA with the lab's NDES, and the broker between them."""

    house: Durable
    ndes: Administration
    broker: Broker

    def give(self, name: str = NAME) -> str:
        """A password for somebody, as ``scepra challenge mint`` and the API have it."""
        order = Order("dev", Binding(common_name=name), "ann")
        return self.house.database.call(give, order, self.house.config.profiles, VAULT, self.house.now()).text

    def asking(self, challenge: str, name: str = NAME, key: Any = KEY) -> Forge:
        """A message with a challenge, for a name."""
        csr = request_without_challenge(csrs.challenge(challenge), key=key, subject=subject(name))
        return sound(self.house, csr=csr, key=key)


@pytest.fixture
def chain(lab: Path) -> Iterator[Chain]:
    """The whole way."""
    write_private(lab / "ndes.txt", f"{PASSWORD}\n".encode())
    ndes = Administration()
    ca = CertificationService(lab_state(lab).authority, one_time=ndes.passwords.take)
    challenge = {"type": "ndes", "url": URL, "user": USER, "password-file": "ndes.txt", "authentication": "basic"}
    with durable(lab, {"challenge": challenge}, {"authorisation": "challenge"}, ca=ca) as house:
        ndes.now = house.now()
        settings: Any = house.config.profiles["dev"].challenge
        pool = Pool("dev", settings, Client(settings, house.clock, ndes.connect))
        broker = Broker([pool], house.database, VAULT, "process", house.now, house.clock)
        run(broker.refill())
        run(broker.refill())
        yield Chain(house, ndes, broker)


@pytest.mark.proves("RA-11", "RA-10", "SEC-06", "I2")
def test_whom_a_password_was_given_for_enrols_with_it_once(chain: Chain) -> None:
    """It reaches the CA in the client's own request; the CA takes it once; the client gets its certificate again."""
    house, text = chain.house, chain.give()
    forge = chain.asking(text)
    issued = certificate(told(house, forge))
    assert [item.challenge for item in reached(house)] == [text]
    assert only(house).challenge.startswith("ndes ndes.example ")
    assert not chain.ndes.passwords.take(text)
    assert certificate(told(house, replace(forge, transaction_id="another", envelope=None))) == issued
    assert status(told(house, chain.asking(text, key=NEW), NEW)) is PKIStatus.FAILURE
    assert house.records[-1]["reasons"] == ["challenge: used by another key before"]
    assert len(reached(house)) == len(transactions(house)) == 1


@pytest.mark.proves("RA-11", "AC-091", "SEC-05", "I3")
def test_the_wrong_name_does_not_burn_it(chain: Chain) -> None:
    """NDES would issue any name for it; the RA only that which it was given for, and NDES never hears of others."""
    text = chain.give()
    deny = Denials(chain.house, text)
    deny(chain.asking(text, "dc.example", THIEF), because="given for something else: the common name is another")
    assert chain.ndes.passwords.outstanding == 2
    certificate(told(chain.house, chain.asking(text)))
    assert chain.ndes.passwords.outstanding == 1


@pytest.mark.proves("RA-11", "SEC-06", "I3")
def test_passwords_that_the_ra_did_not_give_out(chain: Chain) -> None:
    """Somebody else's password of the same NDES, one that nobody was given yet, and an expired one: the CA would take
    some of them, the RA takes none."""
    certificate(told(chain.house, chain.asking(chain.give("first.example"), "first.example")))
    run(chain.broker.refill())
    foreign, text = chain.ndes.passwords.draw(), chain.give()
    assert isinstance(foreign, Password)
    (waiting,) = [VAULT.open(row.sealed).decode() for row in chain.house.rows(tables.challenges) if row.sealed]
    deny = Denials(chain.house, text, foreign.text, waiting)
    deny(chain.asking(foreign.text), because="unknown challenge")
    deny(chain.asking(waiting), because="unknown challenge")
    chain.house.clock.advance(58 * 60)
    deny(chain.asking(text), because="expired")
    assert len(reached(chain.house)) == 1


@pytest.mark.proves("RA-11", "AC-091")
def test_what_another_provider_gave_out(chain: Chain) -> None:
    """A challenge that the RA itself once made for the profile, or another broker drew, is none of NDES's."""
    for number, origin in enumerate(("minted", "ndes other.example")):
        text, now = f"{number}" * 32, chain.house.now()
        kept = Challenge(f"{number}" * 16, "dev", {}, 1, origin, "ann", now, now + timedelta(hours=1), None, 0, None)
        assert chain.house.database.call(challenges.add, digest(VAULT, text), kept, 10)
        deny = Denials(chain.house, text)
        deny(chain.asking(text), because="unknown challenge")


@pytest.mark.proves("RA-11")
def test_an_ndes_that_has_forgotten(chain: Chain) -> None:
    """After a restart of NDES its passwords are void: the CA refuses them, and the client is told so."""
    text = chain.give()
    chain.ndes.passwords.forget()
    assert status(told(chain.house, chain.asking(text))) is PKIStatus.FAILURE
    assert len(reached(chain.house)) == 1


@pytest.mark.proves("RA-11")
def test_an_mdm_that_knows_ndes(chain: Chain) -> None:
    """It fetches the RA's page as it would NDES's, and the device enrols with what it found there, once."""
    office = Office(chain.house.config.profiles, chain.house.database, now=chain.house.now())
    token = office.token(Role.UNBOUND_MINTER, name="mdm")
    page = office.ask("GET", "/certsrv/mscep_admin/", authorization=basic("mdm", token))
    found = read(page.body)
    assert isinstance(found, Password)
    certificate(told(chain.house, chain.asking(found.text, "any-name.example")))
    assert status(told(chain.house, chain.asking(found.text, "any-name.example", NEW), NEW)) is PKIStatus.FAILURE
