"""A profile's or signer's identity: the certificate and the key that belong together."""

from __future__ import annotations

from twisted.logger import Logger

from scepra.config.model import DualIdentity, IdentityFiles, SplitIdentity
from scepra.config.token import KeyInToken
from scepra.errors import ConfigError, KeyUnavailable, Problem
from scepra.keys.certificate import read_certificates, wrong
from scepra.keys.private import read_key, resolve
from scepra.keys.token import Token, TokenKey, Tokens
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation, Identity

log = Logger()
NONE = Tokens()


def read_identity(files: IdentityFiles, tokens: Tokens = NONE, *, find: bool = True) -> Identity:
    """Read a key, or find it in its token, and the certificate for it.

    A certificate file may hold others as well, a chain for instance: the one for the key is taken.

    Args:
        find: whether a key in a token is looked for there, which takes its time. If not, its certificate is believed
            until it is used.

    Raises:
        ConfigError: a file is unusable, a token has no such key, or no certificate is for the key.
    """
    key = resolve(files.key)
    if isinstance(key, KeyInToken):
        return _in_token(files, key, tokens, find)
    content = read_key(key)
    found = read_certificates(files.certificate) if files.certificate else content.certificates
    for certificate in found:
        if certificate.public_key.same_key(content.key.public):
            return Identity(certificate, content.key)
    raise _unfit(found, files)


def token_of(reference: KeyInToken, place: str, tokens: Tokens) -> Token:
    """The token that a key is in.

    Args:
        place: what names it, for people.

    Raises:
        ConfigError: the configuration has no such token.
    """
    token = tokens.get(reference.token)
    if token is None:
        sentence = f"names the token {reference.token}, which the configuration has not"
        raise ConfigError((Problem(place, 0, 0, "", sentence),))
    return token


def _in_token(files: IdentityFiles, reference: KeyInToken, tokens: Tokens, find: bool) -> Identity:
    """As :func:`read_identity`; where the token is away but may come back, its certificate is believed meanwhile."""
    found = read_certificates(files.certificate) if files.certificate else ()
    token = token_of(reference, files.key.place, tokens)
    certificates = [each for each in found if not each.is_ca]
    if certificates and not find:
        return Identity(certificates[0], TokenKey(token, reference, certificates[0].public_key))
    problem: KeyUnavailable | None = None
    for certificate in certificates:
        key = TokenKey(token, reference, certificate.public_key)
        try:
            if key.check():
                return Identity(certificate, key)
        except KeyUnavailable as error:
            problem = error
            break
    if problem is None:
        raise _unfit(found, files)
    if problem.lasting or not tokens.patient:
        named = isinstance(files.key, KeyInToken)
        sentence = problem.reason if named else f"names a key in token {token.name}, which {problem.reason}"
        raise ConfigError((Problem(files.key.place, 0, 0, "", sentence),))
    log.error("{error}: going on without it", error=str(problem))
    return Identity(certificates[0], TokenKey(token, reference, certificates[0].public_key))


def _unfit(found: tuple[Certificate, ...], files: IdentityFiles) -> ConfigError:
    """Why no certificate of a file is the one for a key."""
    path = files.certificate
    if path is None:
        place = files.key.place
        sentence = "holds no certificate: name the file of the certificate"
        if found:
            sentence = "holds a certificate that is not for its key"
        return ConfigError((Problem(place, 0, 0, "", sentence),))
    what = "a certificate that is not" if len(found) == 1 else f"{len(found)} certificates, none of them"
    return wrong(path, f"holds {what} for the key in {files.key.place}")


def read_generation(ra: DualIdentity | SplitIdentity, tokens: Tokens = NONE) -> Generation:
    """Read what an RA signs with and is encrypted to; one identity is read once.

    Raises:
        ConfigError: with the problems of both.
    """
    if isinstance(ra, DualIdentity):
        identity = read_identity(ra, tokens)
        return Generation(identity, identity)
    read: list[Identity] = []
    problems: list[Problem] = []
    for files in (ra.signing, ra.encryption):
        try:
            read.append(read_identity(files, tokens))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(tuple(problems))
    return Generation(*read)
