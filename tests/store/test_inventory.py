"""What this RA has issued, and how often a certificate of it is renewed."""

from __future__ import annotations

from functools import partial

import pytest

from scepra.enrolment import Reservation
from scepra.renewal import RenewalRules
from scepra.store import intents, inventory
from scepra.store.intents import Recorded, Taken
from scepra.transaction import Event
from tests.rig.material import DAY, ec_key, request
from tests.rig.material import issued as issued_again
from tests.store.sample import NOW, Bench, certificate, intent, together


@pytest.mark.proves("AC-050")
def test_a_certificate_is_known_by_its_fingerprint(bench: Bench) -> None:
    """What was issued is known by its whole encoding, with its profile; another one of the same names is not."""
    issued = certificate()
    assert bench(inventory.profile_of, bytes.fromhex(issued.fingerprint())) is None
    bench.happen(bench.record(), Event.GRANTED, certificate=issued)
    assert bench(inventory.profile_of, bytes.fromhex(issued.fingerprint())) == "wifi"
    namesake = issued_again(request("device.example", private_key=ec_key()))
    assert namesake.subject_der == issued.subject_der
    assert bench(inventory.profile_of, bytes.fromhex(namesake.fingerprint())) is None


@pytest.mark.proves("AC-052", "DR-7")
@pytest.mark.parametrize("uses", [1, 3])
def test_fifty_renewals_of_one_certificate_at_once(bench: Bench, uses: int) -> None:
    """Of fifty keys for which one certificate is renewed at once as many win as it may be renewed for."""
    old = RenewalRules((), 30 * DAY, uses=uses).reservation(certificate())
    wanted = [
        intent(f"renewal {key}", key=f"key {key}", reserve=(old,), credential="renewal", routes=[f"route {key}"])
        for key in range(50)
    ]
    made = together(*[partial(bench, intents.record, each, NOW) for each in wanted])
    assert sum(isinstance(each, Recorded) for each in made) == uses, made
    assert sum(isinstance(each, Taken) for each in made) == 50 - uses
    assert len(bench.rows("transactions")) == len(bench.rows("reservations")) == uses


@pytest.mark.proves("AC-052", "I2", "DR-8")
def test_a_refusal_of_the_ca_s_leaves_the_certificate_with_its_key(bench: Bench) -> None:
    """After the CA has refused, the key that a certificate was renewed for may ask again, and no other may."""
    old = Reservation("certificate 00")
    first = intent("renewal", key="new", reserve=(old,))
    bench.happen(bench.record(first), Event.REFUSED)
    assert bench(intents.record, intent("other", key="another", reserve=(old,)), NOW) == Taken(
        "certificate 00", "used by another key before"
    )
    assert isinstance(bench(intents.record, intent("other names", key="new", reserve=(old,)), NOW), Recorded)


@pytest.mark.proves("MSG-50", "AC-059", "AC-050")
def test_the_certificates_of_a_key(bench: Bench) -> None:
    """A key's certificates are found, the newest first, by the key and the profiles they were issued through, for as
    long as their transactions are kept."""
    first, second, other = certificate(by="CA 1"), certificate(by="CA 2"), certificate(by="CA 3")
    held = [
        bench.happen(bench.record(intent(name, key=key)), Event.GRANTED, now=NOW + hours * DAY / 24, certificate=each)
        for hours, (name, key, each) in enumerate((("a", "k", first), ("b", "k", second), ("c", "other", other)))
    ]
    key = held[0].public_key
    assert held[1].public_key == key
    assert bench(inventory.kept, {"wifi"}, key) == [second.der, first.der]
    assert bench(inventory.kept, {"wifi", "vpn"}, held[2].public_key) == [other.der]
    assert bench(inventory.kept, {"vpn"}, key) == []
    assert bench(inventory.kept, set(), key) == []
    assert bench(inventory.kept, {"wifi"}, bytes(32)) == []
    # One that the CA has refused has none, and neither has one that still waits.
    bench.happen(bench.record(intent("d", key="k")), Event.REFUSED)
    bench.record(intent("e", key="k"))
    assert len(bench(inventory.kept, {"wifi"}, key)) == 2
