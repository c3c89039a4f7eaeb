"""The switches for algorithms that are broken: off unless named one by one (SEC-01, design rule 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from scepra.scep.algorithm import ContentCipher, Digest, Floor

Legacy = Literal["DES-CBC", "MD5", "RSA-1024"]


def floor_with(legacy: Iterable[Legacy], refused: Iterable[Digest] = (), *, des3: bool = True) -> Floor:
    """What a side accepts.

    Args:
        legacy: broken algorithms that are accepted nevertheless.
        refused: digests that are switched off.
        des3: whether triple DES is accepted.
    """
    default, named = Floor(), frozenset(legacy)
    return Floor(
        digests=(default.digests | ({Digest.MD5} if "MD5" in named else frozenset())) - frozenset(refused),
        ciphers=(default.ciphers | ({ContentCipher.DES_CBC} if "DES-CBC" in named else frozenset()))
        - (frozenset() if des3 else {ContentCipher.DES_EDE3_CBC}),
        rsa_bits=(1024 if "RSA-1024" in named else default.rsa_bits[0], default.rsa_bits[1]),
    )
