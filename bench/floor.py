"""The floor: the raw cryptography that one enrolment needs of an RA, with nothing around it.

RSA-2048 throughout, SHA-256, AES-128-CBC. An RA decrypts twice (the client's envelope, the CA's), signs twice (the
request to the CA, the answer to the client), verifies five times (the client's message, its self-signed certificate,
its CSR, the CA's message, the issued certificate) and encrypts twice (to the CA, to the client), each envelope with
its content.
"""

from __future__ import annotations

import os
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench.cores import MEASURED, on

CONTENT = 1024
_V15, _SHA256 = padding.PKCS1v15(), hashes.SHA256()


class Floor:
    """One key and one of each thing to be done with it, prepared beforehand."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self._public = self._key.public_key()
        self._data = os.urandom(CONTENT)
        self._signature = self._key.sign(self._data, _V15, _SHA256)
        self._content_key, self._iv = os.urandom(16), os.urandom(16)
        self._wrapped = self._public.encrypt(self._content_key, _V15)
        self.milliseconds()  # warm up

    def enrolment(self) -> None:
        """The primitives of one enrolment."""
        for _ in range(2):
            self._key.decrypt(self._wrapped, _V15)
            self._aes().decryptor().update(self._data)
            self._key.sign(self._data, _V15, _SHA256)
            self._public.encrypt(self._content_key, _V15)
            self._aes().encryptor().update(self._data)
        for _ in range(5):
            self._public.verify(self._signature, self._data, _V15, _SHA256)

    def _aes(self) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self._content_key), modes.CBC(self._iv))

    def milliseconds(self, repeat: int = 300) -> float:
        """CPU milliseconds (user and system) per enrolment, on the core that the RA runs on."""
        with on(MEASURED):
            start = time.process_time()
            for _ in range(repeat):
                self.enrolment()
            return (time.process_time() - start) / repeat * 1000


if __name__ == "__main__":
    print(f"{Floor().milliseconds():.3f} ms")
