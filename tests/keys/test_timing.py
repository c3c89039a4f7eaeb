"""Whether the time that a decryption in a token takes tells good padding from bad (AC-036; security, 6.3)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest
from cryptography.hazmat.primitives.asymmetric import padding

from scepra.keys.token import TokenKey
from scepra.scep.algorithm import ContentCipher, KeyTransport
from scepra.scep.envelope import EnvelopedData, RecipientInfo
from tests.keys.material import key, key_file, write_private
from tests.keys.test_token import found, section
from tests.rig.softhsm import new_token

SAMPLES = 1500
LIMIT = 50e-6
"""The difference of medians that would be seen, in seconds."""
pytestmark = pytest.mark.slow


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[TokenKey]:
    """A key in a token."""
    from scepra.keys.token import Tokens

    soft = new_token([(write_private(tmp_path / "rsa.key", key_file(key())), "ra", "01")])
    tokens = Tokens({"hsm": section(soft, tmp_path)})
    yield found(tokens)
    tokens.leave()
    soft.remove()


def envelopes() -> tuple[bytes, bytes]:
    """Encrypted keys: one with good padding and the wrong content key, and one with bad padding."""
    good = key().public_key().encrypt(os.urandom(16), padding.PKCS1v15())
    return good, b"\0" + os.urandom(255)


def difference(use: Callable[[bytes], object]) -> float:
    """How much longer the bad one takes, in seconds: the difference of the medians, in turns."""
    taken: tuple[list[float], list[float]] = [], []
    for _ in range(SAMPLES):
        for which, ciphertext in enumerate(envelopes()):
            begun = time.perf_counter()
            use(ciphertext)
            taken[which].append(time.perf_counter() - begun)
    return median(taken[1]) - median(taken[0])


@pytest.mark.proves("AC-036", "SEC-02")
def test_good_and_bad_padding_take_the_same_time(opening: TokenKey) -> None:
    """Opening an envelope takes as long whether its padding is good or bad; a build that does a little more for the one
    is found out."""
    content = EnvelopedData((), ContentCipher.AES128_CBC, bytes(16), os.urandom(2048))

    def use(ciphertext: bytes) -> None:
        try:
            content.open(opening, RecipientInfo(KeyTransport.RSA_V15, None, ciphertext))
        except Exception:
            return

    def leaking(ciphertext: bytes) -> None:
        use(ciphertext)
        if ciphertext[0] == 0:
            time.sleep(3 * LIMIT)

    assert min(abs(difference(use)) for _ in range(3)) < LIMIT
    assert difference(leaking) > LIMIT
