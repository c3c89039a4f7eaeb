"""Moduli that can be factored."""

from __future__ import annotations

import time
from math import gcd, prod

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.policy.weakness import weakness

PRIMES = [n for n in range(2, 752) if all(n % d for d in range(2, n))]
PRIMORIAL = prod(PRIMES)


def rough(number: int, step: int = 2) -> int:
    """The next number without small factors; whether it is prime does not matter here."""
    number |= 1
    while gcd(number, PRIMORIAL) != 1:
        number += step
    return number


@pytest.mark.proves("AC-086")
def test_sound_modulus() -> None:
    """Moduli that a sound generator made have none of the weaknesses."""
    for _ in range(3):
        assert weakness(rsa.generate_private_key(65537, 2048).public_key().public_numbers().n) is None


@pytest.mark.parametrize("factor", [3, 5, 751])
@pytest.mark.proves("AC-086")
def test_small_factor(factor: int) -> None:
    """A modulus with a small prime factor is found."""
    assert weakness(factor * rough(1 << 2040)) == "has a small prime factor"


@pytest.mark.parametrize("distance", [1, 1 << 200, 1 << 508])
@pytest.mark.proves("AC-086")
def test_close_factors(distance: int) -> None:
    """A modulus whose factors are close together is found by a few rounds of Fermat's method."""
    one = rough(3 << 1022)
    assert weakness(one * rough(one + 2 * distance)) == "has two factors that are close to each other"


@pytest.mark.proves("AC-086")
def test_roca() -> None:
    """A modulus with the structure of Infineon's generator is found (CVE-2017-15361)."""
    product = prod(PRIMES[:39])
    one, other = (
        rough(start * product + pow(65537, exponent, product), 2 * product)
        for exponent, start in ((7, 1 << 790), (1234567, 3 << 789))
    )
    assert weakness(one * other) == "has the fingerprint of Infineon's defective generator (ROCA)"


@pytest.mark.proves("AC-086")
def test_cheap() -> None:
    """Looking for weaknesses takes well below 50 ms, for the largest modulus too."""
    modulus = rough(1 << 16383)
    started = time.process_time()
    weakness(modulus)
    assert time.process_time() - started < 0.05
