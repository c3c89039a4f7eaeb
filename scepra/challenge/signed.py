"""Tokens that somebody else signs, each for somebody and for one key: a compact JWS (RFC 7515) with claims (RFC 7519).

Header: ``alg``, ``kid`` where there are several keys, ``typ`` (``JWT``), and nothing else. Claims: ``iss``, ``aud``,
``exp`` and ``jti``, all required; ``nbf`` and ``iat``; ``profile``, a name or a list of names that it is good for; and
``binding``, for whom it is: an object with ``common_name``, ``serial_number``, ``sid`` and ``device``, which are texts,
and ``dns``, ``email``, ``upn``, ``uri``, ``ip`` and ``key_usage``, which are lists of texts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey

from scepra.binding import Binding, NoBinding
from scepra.challenge.json_object import NoObject, parse_object
from scepra.config.challenge import SignedChallenge as Settings
from scepra.config.challenge import SignedKey
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Reservation, Verdict

LONGEST = 8192
"""The most characters that a token has."""
LONGEST_ID = 255
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_HEADER = frozenset(("alg", "kid", "typ"))


class NoToken(Exception):
    """A token that is not good; the text says why, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Key:
    """What one signer's tokens are verified with, by the one algorithm that it is good for."""

    algorithm: str
    key: OctKey | ECKey | RSAKey

    @classmethod
    def of(cls, settings: SignedKey) -> Key:
        """The key that a section of the configuration holds."""
        if settings.public_key is None:
            assert settings.secret_file is not None  # noqa: S101 - one of them is there, as the section has checked
            return cls(settings.algorithm, OctKey.import_key(settings.secret_file.reveal()))
        pem = settings.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(settings.algorithm, (ECKey if settings.algorithm == "ES256" else RSAKey).import_key(pem))


class SignedChallenge:
    """Judges tokens: what is no token at all is not its own; a token that is not good is refused.

    Args:
        settings: its section.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = {key.id: Key.of(key) for key in settings.keys}

    async def check(self, request: EnrolmentRequest) -> Verdict:
        given = request.csr.challenge_password
        if not given:
            return ChallengeRefused("no challenge", foreign=True)
        if not _TOKEN.fullmatch(given):
            return ChallengeRefused("no token", foreign=True)
        try:
            claims = self._claims(given)
            self._judge(claims, request.profile, request.received)
            binding = self._binding(claims)
        except NoToken as error:
            return ChallengeRefused(f"token: {error}")
        name = _name(self._settings.issuer, claims["jti"])
        wrong = binding.violations(request.csr)
        if wrong:
            return ChallengeRefused(f"{name} was given for something else: {'; '.join(wrong)}")
        return ChallengeAccepted(name, (Reservation(name),), binding.device)

    def _claims(self, token: str) -> dict[str, Any]:
        """What a token says that one of the keys has signed.

        Raises:
            NoToken: none has, or it says nothing.
        """
        if len(token) > LONGEST:
            raise NoToken(f"longer than {LONGEST} characters")
        try:
            header = parse_object(_decode(token.partition(".")[0]), LONGEST)
        except NoObject as error:
            raise NoToken(f"the header is {error}") from None
        if not header.keys() <= _HEADER or str(header.get("typ", "JWT")).upper() != "JWT":
            raise NoToken("the header says more than alg, kid and typ JWT")
        key = self._key(header)
        if header.get("alg") != key.algorithm:
            raise NoToken("it names another algorithm than its key's")
        try:
            signed = jws.deserialize_compact(token, key.key, algorithms=[key.algorithm])
        except (JoseError, ValueError, TypeError):
            raise NoToken("the signature is wrong") from None
        try:
            return parse_object(signed.payload, LONGEST)
        except NoObject as error:
            raise NoToken(f"the claims are {error}") from None

    def _key(self, header: Mapping[str, Any]) -> Key:
        """The one key that a header means."""
        if len(self._keys) == 1 and "kid" not in header:
            return next(iter(self._keys.values()))
        name = header.get("kid")
        key = self._keys.get(name) if isinstance(name, str) else None
        if key is None:
            raise NoToken("it is signed with a key that is not known")
        return key

    def _judge(self, claims: Mapping[str, Any], profile: str, now: datetime) -> None:
        """Whether claims are for us, here and now.

        Raises:
            NoToken: they are not.
        """
        settings = self._settings
        audience, profiles, identifier = claims.get("aud"), claims.get("profile", profile), claims.get("jti")
        if claims.get("iss") != settings.issuer:
            raise NoToken("iss is another")
        if settings.audience not in _texts(audience):
            raise NoToken("aud is another")
        if profile not in _texts(profiles):
            raise NoToken("it was given for another profile")
        if not isinstance(identifier, str) or not 0 < len(identifier) <= LONGEST_ID:
            raise NoToken(f"jti is not a text of 1 to {LONGEST_ID} characters")
        moment, skew = now.timestamp(), settings.skew
        ends, begins, made = (_number(claims, name) for name in ("exp", "nbf", "iat"))
        if ends is None:
            raise NoToken("exp is missing")
        if ends <= moment - skew:
            raise NoToken("it has expired")
        if begins is not None and begins > moment + skew:
            raise NoToken("it is not good yet")
        if made is not None and made > moment + skew:
            raise NoToken("it was made in the future")
        since = moment + skew if made is None else made
        if not ends - since <= settings.longest:
            raise NoToken("it is good for longer than is allowed")

    def _binding(self, claims: Mapping[str, Any]) -> Binding:
        """For whom it is.

        Raises:
            NoToken: it does not say, and must.
        """
        said = claims.get("binding", {})
        if not isinstance(said, dict):
            raise NoToken("binding is no object")
        try:
            binding = Binding.from_json(said)
        except NoBinding:
            raise NoToken("binding says something that nobody can be bound to") from None
        for name in self._settings.bind:
            if not getattr(binding, name.replace("-", "_")):
                raise NoToken(f"binding does not say the {name}")
        if not binding.names_somebody and self._settings.unbound == "refuse":
            raise NoToken("it names nobody, and would be good for every name")
        return binding


def _name(issuer: str, identifier: str) -> str:
    """What records and reservations call a token: the same in all profiles (AC-092)."""
    digest = hashlib.sha256(json.dumps([issuer, identifier]).encode("ascii")).hexdigest()
    return f"signed {digest[:32]}"


def _texts(value: Any) -> tuple[str, ...]:
    """A text, or a list of texts, as a list; nothing else is one."""
    values = value if isinstance(value, list) else [value]
    return tuple(each for each in values if isinstance(each, str))


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise NoToken(f"{name} is no moment")
    return float(value)


def _decode(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise NoToken("it is not base64") from None
