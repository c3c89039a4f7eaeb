"""A profile's or signer's identity: the certificate and the key that belong together."""

from __future__ import annotations

from scepra.config.model import DualIdentity, IdentityFiles, SplitIdentity
from scepra.errors import ConfigError, Problem
from scepra.keys.certificate import read_certificates, wrong
from scepra.keys.private import read_key
from scepra.scep.identity import Generation, Identity


def read_identity(files: IdentityFiles) -> Identity:
    """Read a key and the certificate for it.

    A certificate file may hold others as well, a chain for instance: the one for the key is taken.

    Raises:
        ConfigError: a file is unusable, or no certificate is for the key.
    """
    content = read_key(files.key)
    path = files.certificate or files.key.file
    found = read_certificates(files.certificate) if files.certificate else content.certificates
    for certificate in found:
        if certificate.public_key.same_key(content.key.public):
            return Identity(certificate, content.key)
    if not found:
        raise wrong(path, "holds no certificate: name the file of the certificate")
    what = "a certificate that is not" if len(found) == 1 else f"{len(found)} certificates, none of them"
    raise wrong(path, f"holds {what} for the key in {files.key.file}")


def read_generation(ra: DualIdentity | SplitIdentity) -> Generation:
    """Read what an RA signs with and is encrypted to; one identity is read once.

    Raises:
        ConfigError: with the problems of both.
    """
    if isinstance(ra, DualIdentity):
        identity = read_identity(ra)
        return Generation(identity, identity)
    read: list[Identity] = []
    problems: list[Problem] = []
    for files in (ra.signing, ra.encryption):
        try:
            read.append(read_identity(files))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(tuple(problems))
    return Generation(*read)
