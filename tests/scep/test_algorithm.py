"""The closed lists of algorithms."""

from __future__ import annotations

import hashlib

import pytest
from asn1crypto import algos

from scepra.scep import oid
from scepra.scep.algorithm import CIPHER_BY_OID, DIGEST_BY_OID, Algorithms, ContentCipher, Digest, Floor, KeyTransport


@pytest.mark.parametrize("digest", Digest)
def test_every_digest_is_one_algorithm_everywhere(digest: Digest) -> None:
    """Identifier, hashlib's name and cryptography's class belong together."""
    assert DIGEST_BY_OID[digest.oid] is digest
    named = algos.DigestAlgorithmId(oid.dotted(digest.oid)).native
    assert named == digest.hashlib_name == digest.hash.name
    assert hashlib.new(digest.hashlib_name).digest_size == digest.hash.digest_size
    assert digest.value.replace("-", "").lower() == named


@pytest.mark.parametrize("cipher", ContentCipher)
def test_every_cipher_has_the_sizes_of_its_identifier(cipher: ContentCipher) -> None:
    """Key and block sizes agree with asn1crypto's reading of the identifier."""
    assert CIPHER_BY_OID[cipher.oid] is cipher
    algorithm = algos.EncryptionAlgorithm({"algorithm": oid.dotted(cipher.oid), "parameters": bytes(cipher.block_size)})
    assert algorithm.encryption_mode == "cbc"
    assert algorithm.encryption_block_size == cipher.block_size
    assert (algorithm.key_length, cipher.key_size) in ((8, 8), (24, 24), (16, 16), (32, 32), (cipher.key_size,) * 2)


@pytest.mark.proves("SEC-01", "CMS-24", "AC-064")
def test_what_is_not_named_is_refused() -> None:
    """By default neither DES nor MD5 nor a password's envelope is accepted, and RSA keys have 2048 to 8192 bits."""
    floor = Floor()
    assert Digest.MD5 not in floor.digests
    assert ContentCipher.DES_CBC not in floor.ciphers
    assert KeyTransport.PASSWORD not in floor.key_transports
    assert floor.rsa_bits == (2048, 8192)
    assert floor.curves == {"P-256", "P-384", "P-521"}


@pytest.mark.proves("PEER-01")
def test_the_default_is_what_every_peer_reads() -> None:
    """SHA-256, AES-128-CBC and RSA v1.5, unless a message used something else."""
    assert Algorithms() == Algorithms(Digest.SHA256, ContentCipher.AES128_CBC, KeyTransport.RSA_V15)
    assert str(Algorithms()) == "SHA-256, AES-128-CBC, RSA-v1.5"
