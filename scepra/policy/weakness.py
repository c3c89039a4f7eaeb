"""Keys that are known to be broken (AC-086), in the way of Boulder's goodkey: moduli that are factored easily, and how
others' lists of keys name them."""

from __future__ import annotations

import hashlib
from math import gcd, isqrt, prod

from scepra.scep.publickey import PublicKeyInfo

_LARGEST_PRIME = 751
_PRIMES = [n for n in range(2, _LARGEST_PRIME + 1) if all(n % d for d in range(2, isqrt(n) + 1))]
_PRIMORIAL = prod(_PRIMES)
_FERMAT_ROUNDS = 100
_SQUARES = frozenset(n * n % 64 for n in range(64))
_SQUARE_MODULUS = 63 * 65 * 11
_MORE_SQUARES = frozenset(n * n % _SQUARE_MODULUS for n in range(_SQUARE_MODULUS))
# CVE-2017-15361: primes of the form k * M + (65537 ** a mod M) leave only powers of 65537 as residues.
_ROCA = tuple((prime, frozenset(pow(65537, n, prime) for n in range(prime))) for prime in _PRIMES[1:39])


def weakness(modulus: int) -> str | None:
    """What is wrong with an RSA modulus: a sentence, or None.

    Args:
        modulus: an odd number of 512 bits or more.
    """
    if gcd(modulus, _PRIMORIAL) != 1:
        return "has a small prime factor"
    if all(modulus % prime in residues for prime, residues in _ROCA):
        return "has the fingerprint of Infineon's defective generator (ROCA)"
    if _has_close_factors(modulus):
        return "has two factors that are close to each other"
    return None


def listed(key: PublicKeyInfo) -> frozenset[str]:
    """How lists name a key, in lower-case hexadecimal digits.

    64 of them are the SHA-256 of its SubjectPublicKeyInfo. Debian's openssl-blacklist has 20 for an RSA key: the last
    of the SHA-1 of what ``openssl rsa -noout -modulus`` prints (openssl-vulnkey(1)).
    """
    names = {key.sha256.hex()}
    if key.modulus is not None:
        printed = f"Modulus={key.modulus:X}\n".encode("ascii")
        names.add(hashlib.sha1(printed, usedforsecurity=False).hexdigest()[20:])
    return frozenset(names)


def _has_close_factors(modulus: int) -> bool:
    """Fermat's method, a few rounds of it."""
    a = isqrt(modulus) + 1
    # Residues tell nearly always that a number is no square, and they are small.
    first, residue = a % _SQUARE_MODULUS, modulus % _SQUARE_MODULUS
    for step in range(_FERMAT_ROUNDS):
        small = first + step
        if (small * small - residue) % _SQUARE_MODULUS in _MORE_SQUARES:
            square = (a + step) ** 2 - modulus
            if square & 63 in _SQUARES and isqrt(square) ** 2 == square:
                return True
    return False
