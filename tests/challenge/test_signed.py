"""Signed tokens: what is one, whose it is, what it says, and for whom it is good."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, RSAKey

from scepra.challenge.json_object import NoObject, parse_object
from scepra.challenge.signed import LONGEST, SignedChallenge
from scepra.config.challenge import SignedChallenge as Settings
from scepra.config.challenge import SignedKey
from scepra.config.secret import Secret
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, Reservation, Verdict
from tests import csrs
from tests.challenge.sample import AUDIENCE, ISSUER, NAME, NOW, SECRET, claims, part, request, token
from tests.rig.house import run

RSA, EC = csrs.rsa_key(), csrs.ec_key()
HS256 = SignedKey(id="hs", algorithm="HS256", secret_file=Secret(SECRET.encode(), "a test"))
RS256 = SignedKey(id="rs", algorithm="RS256", public_key=RSA.public_key())
ES256 = SignedKey(id="es", algorithm="ES256", public_key=EC.public_key())


def private(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> RSAKey | ECKey:
    """A private key as the library has it."""
    return (RSAKey if isinstance(key, rsa.RSAPrivateKey) else ECKey).import_key(csrs_pem(key))


def csrs_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as everybody may have it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def provider(*keys: SignedKey, **changes: Any) -> SignedChallenge:
    """A provider that believes these keys, one secret by default."""
    settings: dict[str, Any] = {"type": "signed", "issuer": ISSUER, "audience": AUDIENCE, "keys": keys or (HS256,)}
    return SignedChallenge(Settings(**settings | changes))


def verdict(challenge: str | None, *keys: SignedKey, asked: dict[str, Any] | None = None, **changes: Any) -> Verdict:
    """What becomes of a request that carries something."""
    return run(provider(*keys, **changes).check(request(challenge, **asked or {})))


def refusal(challenge: str | None, *keys: SignedKey, **changes: Any) -> str:
    """Why a token is refused; no other provider is asked about it."""
    found = verdict(challenge, *keys, **changes)
    assert isinstance(found, ChallengeRefused), found
    assert not found.foreign
    assert challenge is None or challenge not in found.reason
    return found.reason


@pytest.mark.proves("SEC-05", "DR-8")
def test_a_good_token() -> None:
    """It is taken for one key by the digest of who made it and its jti, which reveals nothing, in whatever profile."""
    found = verdict(token(claims(binding={"common_name": NAME, "device": "asset 7"})))
    assert isinstance(found, ChallengeAccepted)
    assert found.reserve == (Reservation(found.credential_id, 1),)
    assert found.device == "asset 7"
    assert found.credential_id.startswith("signed ")
    assert "token-1" not in found.credential_id
    other = verdict(token(claims(aud=["x", AUDIENCE])), asked={"profile": "other"})
    assert isinstance(other, ChallengeAccepted)
    assert other.credential_id == found.credential_id
    third = verdict(token(claims(jti="token-2")))
    assert isinstance(third, ChallengeAccepted)
    assert third.credential_id != found.credential_id


@pytest.mark.parametrize(("key", "private_key"), [(RS256, private(RSA)), (ES256, private(EC))], ids=["RS256", "ES256"])
def test_public_keys(key: SignedKey, private_key: RSAKey | ECKey) -> None:
    """Who holds the private key makes tokens; the public one is enough here."""
    for keys, header in (((key,), {}), ((key,), {"kid": key.id}), ((HS256, RS256, ES256), {"kid": key.id})):
        signed = token(claims(), private_key, key.algorithm, typ="JWT", **header)
        assert isinstance(verdict(signed, *keys), ChallengeAccepted)


@pytest.mark.proves("DR-6")
@pytest.mark.parametrize(
    "given", [None, "", "secret", "a.b", "a.b.c.d", "a..c", ".b.c", "a b.c.d", "ä.b.c", "x" * 16000, "a.b.c\n"]
)
def test_what_is_no_token_may_be_another_s(given: str | None) -> None:
    """What has not three parts of base64url is no token at all."""
    found = verdict(given)
    assert isinstance(found, ChallengeRefused)
    assert found.foreign


def by_hand(header: Any, said: Any, key: bytes = SECRET.encode()) -> str:
    """A token with a right HMAC and any header."""
    text = f"{part(header)}.{part(said)}"
    return f"{text}.{part(hmac.digest(key, text.encode(), 'sha256'))}"


FORGED = {
    "no signature": f"{part({'alg': 'none'})}.{part(claims())}.",
    "no algorithm": by_hand({}, claims()),
    "alg None": by_hand({"alg": None}, claims()),
    "another algorithm": token(claims(), OctKey.import_key(SECRET * 2), "HS512"),
    "another secret": token(claims(), SECRET[::-1]),
    "cut": token(claims())[:-1],
    "empty signature": token(claims()).rpartition(".")[0] + ".",
    "other claims": re.sub(r"\..*\.", f".{part(claims(jti='x'))}.", token(claims())),
    "unknown kid": token(claims(), kid="other"),
    "kid that is no text": by_hand({"alg": "HS256", "kid": ["hs"]}, claims()),
    "path as kid": by_hand({"alg": "HS256", "kid": "../../dev/null"}, claims()),
    "key in the header": by_hand({"alg": "HS256", "jwk": {"kty": "oct", "k": part(b"x" * 32)}}, claims(), b"x" * 32),
    "address of a key": by_hand({"alg": "HS256", "jku": "https://evil.example"}, claims()),
    "critical": by_hand({"alg": "HS256", "crit": ["b64"], "b64": False}, claims()),
    "another type": by_hand({"alg": "HS256", "typ": "at+jwt"}, claims()),
    "header that is a list": by_hand([], claims()),
    "header that is no JSON": by_hand(b"{", claims()),
    "header that is deep": by_hand(b"[" * 4000, claims()),
    "key twice in the header": by_hand(b'{"alg":"none","alg":"HS256"}', claims()),
    "one character": "a.b.c",
    "claims that are no JSON": by_hand({"alg": "HS256"}, b"\xff"),
    "claims that are a list": by_hand({"alg": "HS256"}, []),
    "claim twice": by_hand({"alg": "HS256"}, json.dumps(claims()).encode()[:-1] + b',"iss":"x"}'),
    "no number": by_hand({"alg": "HS256"}, json.dumps(claims()).encode()[:-1] + b',"x":NaN}'),
    "too long": token(claims(padding="x" * LONGEST)),
}


@pytest.mark.proves("DR-6", "AC-101")
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_tokens_that_nobody_signed(forged: str) -> None:
    """Whatever is wrong with its form or its signature, it is refused, and nobody else is asked about it."""
    assert refusal(forged).startswith("token: ")


@pytest.mark.proves("DR-6")
@pytest.mark.parametrize("key", [RSA, EC], ids=["RSA", "EC"])
def test_a_public_key_is_no_secret(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """A token that is authenticated with the text of a public key is none: each key has one algorithm."""
    settings = RS256 if isinstance(key, rsa.RSAPrivateKey) else ES256
    for known in (public_pem(key), public_pem(key).strip(), csrs.spki(key)):
        assert "algorithm" in refusal(by_hand({"alg": "HS256", "kid": settings.id}, claims(), known), settings)
        assert "algorithm" in refusal(by_hand({"alg": "HS256"}, claims(), known), settings)
        assert "signature" in refusal(by_hand({"alg": settings.algorithm}, claims(), known), settings)


@pytest.mark.proves("DR-6")
def test_the_key_of_another_signer_is_no_use() -> None:
    """Where there are several keys each token says which, and it is that one's algorithm and that one's signature."""
    keys = (HS256, RS256, ES256)
    assert "not known" in refusal(token(claims()), *keys)
    assert "algorithm" in refusal(token(claims(), kid="rs"), *keys)
    assert "signature" in refusal(
        token(claims(), private(RSA), "RS256", kid="rs"),
        RS256.model_copy(update={"public_key": csrs.rsa_key(which=6).public_key()}),
    )
    assert isinstance(verdict(token(claims(), kid="hs"), *keys), ChallengeAccepted)


MOMENT = NOW.timestamp()
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no issuer": ({"iss": None}, "iss"),
    "another issuer": ({"iss": "https://mdm.example/"}, "iss"),
    "issuers": ({"iss": [ISSUER]}, "iss"),
    "no audience": ({"aud": None}, "aud"),
    "another audience": ({"aud": "scepra2"}, "aud"),
    "audiences": ({"aud": ["a", 1, None]}, "aud"),
    "audience as a key": ({"aud": {AUDIENCE: 1}}, "aud"),
    "another profile": ({"profile": "other"}, "profile"),
    "other profiles": ({"profile": ["a", "b"]}, "profile"),
    "profile that is none": ({"profile": 1}, "profile"),
    "no jti": ({"jti": None}, "jti"),
    "empty jti": ({"jti": ""}, "jti"),
    "number as jti": ({"jti": 1}, "jti"),
    "long jti": ({"jti": "x" * 256}, "jti"),
    "no exp": ({"exp": None}, "exp is missing"),
    "text as exp": ({"exp": "9999999999"}, "exp is no moment"),
    "true as exp": ({"exp": True}, "exp is no moment"),
    "endless exp": ({"exp": 1e400}, "no"),
    "negative exp": ({"exp": -1}, "exp is no moment"),
    "expired": ({"exp": MOMENT - 60}, "expired"),
    "not yet": ({"nbf": MOMENT + 61}, "not good yet"),
    "list as nbf": ({"nbf": []}, "nbf is no moment"),
    "from the future": ({"iat": MOMENT + 61}, "future"),
    "long life": ({"iat": MOMENT - 10, "exp": MOMENT + 86400}, "longer"),
    "long life without iat": ({"iat": None, "exp": MOMENT + 86461}, "longer"),
    "binding that is a text": ({"binding": "x"}, "binding"),
    "unknown binding": ({"binding": {"common_name": NAME, "cn": NAME}}, "binding"),
    "binding of numbers": ({"binding": {"common_name": 7}}, "binding"),
    "list in a text's place": ({"binding": {"common_name": [NAME]}}, "binding"),
    "no binding": ({"binding": None}, "names nobody"),
    "empty binding": ({"binding": {}}, "names nobody"),
    "device alone": ({"binding": {"device": "x"}}, "names nobody"),
    "another name": ({"binding": {"common_name": "printer-8.example"}}, "something else"),
    "a name less": ({"binding": {"dns": ["other.example"]}}, "something else"),
}


@pytest.mark.proves("SEC-05", "AC-091", "DR-6")
@pytest.mark.parametrize(("changes", "because"), WRONG.values(), ids=WRONG)
def test_tokens_that_say_something_else(changes: dict[str, Any], because: str) -> None:
    """Each claim that must be there is, and is right; none is taken for what it looks like."""
    assert because in refusal(token(claims(**changes)))


@pytest.mark.proves("AC-098")
def test_edges_of_time() -> None:
    """Within the skew of the signer's clock it is good, and no second longer."""
    for changes in (
        {"exp": MOMENT - 59},
        {"nbf": MOMENT + 60},
        {"iat": MOMENT + 60},
        {"iat": MOMENT - 86000, "exp": MOMENT + 400},
        {"iat": None, "nbf": None, "exp": MOMENT + 86460},
    ):
        assert isinstance(verdict(token(claims(**changes))), ChallengeAccepted), changes
    strict = provider(skew=0.0)
    late = request(token(claims(exp=MOMENT)), received=NOW)
    assert isinstance(run(strict.check(late)), ChallengeRefused)
    early = request(token(claims(exp=MOMENT)), received=NOW - timedelta(seconds=1))
    assert isinstance(run(strict.check(early)), ChallengeAccepted)


@pytest.mark.proves("SEC-05")
def test_what_tokens_must_say() -> None:
    """A profile may want more said, or accept tokens that name nobody."""
    assert "does not say the serial-number" in refusal(token(claims()), bind=("common-name", "serial-number"))
    assert isinstance(verdict(token(claims()), bind=("common-name",)), ChallengeAccepted)
    assert isinstance(verdict(token(claims(binding=None)), unbound="allow"), ChallengeAccepted)


def test_records_show_the_digest_of_issuer_and_jti() -> None:
    """Operators can find the token that a record is about."""
    found = verdict(token(claims()))
    assert isinstance(found, ChallengeAccepted)
    digest = hashlib.sha256(json.dumps([ISSUER, "token-1"]).encode()).hexdigest()
    assert found.credential_id == f"signed {digest[:32]}"


@pytest.mark.proves("DR-5")
@given(st.text(alphabet='abcdefghijkABC019-_.={}"', max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    """Whatever stands in the challenge, it is a verdict, and never a good one."""
    try:
        asked = request(text or None)
    except ValueError:  # pragma: no cover - text that no request can carry
        return
    assert isinstance(run(provider().check(asked)), ChallengeRefused)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.proves("DR-5")
@given(st.dictionaries(st.sampled_from(sorted(claims())), JSON, min_size=1))
def test_no_claim_breaks_it(changes: dict[str, Any]) -> None:
    """Whatever a signer says in one of the claims, it is a verdict; it is good only where all are right."""
    said = {**claims(), **changes}
    found = verdict(by_hand({"alg": "HS256"}, said))
    if isinstance(found, ChallengeAccepted):
        assert said["iss"] == ISSUER
        assert said["jti"]
        assert said["exp"] > MOMENT - 60


@pytest.mark.proves("DR-5")
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_octets_are_an_object_or_nothing(octets: bytes) -> None:
    """Nothing but one JSON object comes of octets."""
    try:
        assert isinstance(parse_object(octets, 1000), dict)
    except NoObject as error:
        assert str(error)
