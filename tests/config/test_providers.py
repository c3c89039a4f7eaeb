"""Kinds of challenge that others judge: what their sections may say, and what is wrong between them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc.jwk import ECKey, OctKey, RSAKey

from scepra.config.challenge import SignedKey
from scepra.config.verification import MAXIMUM
from scepra.lab.files import write_private
from tests import csrs
from tests.config.sample import altered, reading, said

STATIC = "{type: static, environment: CHALLENGE}"
SECRET = "5yVQ9wJm2Xc8Rk4Ht7Bn3Lf6Pd1Gs0Za"
HS256 = "{algorithm: HS256, secret-file: s}"
SIGNED = "{{type: signed, issuer: i, audience: a, keys: [{}]{}}}"
WEBHOOK = "{{type: webhook, url: {}, secret-file: s{}}}"
INTUNE = "{{type: intune, tenant: {}, application-id: 0-1, secret-file: s{}}}"
HOOK = WEBHOOK.format("https://h.example/x", "")
CERTIFICATE = "{type: certificate, anchors: maker.crt, subject: {O: Maker}, serial: {common-name: '{serial}'}}"
CLOUD = INTUNE.format("c.example", "")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory with the files that the sections name."""
    write_private(tmp_path / "s", SECRET.encode())
    write_private(tmp_path / "short", SECRET[:31].encode())
    write_private(tmp_path / "dull", b"a" * 40)
    public = {"rsa": csrs.rsa_key(), "small": csrs.rsa_key(1024), "ec": csrs.ec_key(), "ec384": csrs.ec_key("P-384")}
    for name, key in public.items():
        write_private(tmp_path / name, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    write_private(tmp_path / "ed", csrs_ed())
    jwk = ECKey.import_key((tmp_path / "ec").read_bytes()).as_dict(private=False)
    private = csrs.ec_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, value in {
        "ec.jwk": jwk,
        "rsa.jwk": RSAKey.import_key((tmp_path / "rsa").read_bytes()).as_dict(private=False),
        "private.jwk": ECKey.import_key(private).as_dict(private=True),
        "oct.jwk": OctKey.import_key(SECRET).as_dict(private=True),
        "odd.jwk": {"kty": "EC"},
        "set.jwk": {"keys": [jwk]},
    }.items():
        write_private(tmp_path / name, json.dumps(value).encode())
    write_private(tmp_path / "private.pem", private)
    write_private(tmp_path / "deep.jwk", b'{"a":' * 3000)
    write_private(tmp_path / "d.csv", b"name,challenge\na,canary-7Hq2Lx9Zw4\n")
    return tmp_path


def csrs_ed() -> bytes:
    """A public key that is neither RSA nor EC."""
    return csrs.ed25519_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def wrong(challenge: str, base: Path, *changes: tuple[str, str]) -> list[str]:
    """What is wrong with a profile's challenge, without the path that all have in common; warnings are not."""
    text = altered((STATIC, challenge), *changes)
    found = [problem.partition(" ")[2] for problem in said(text, base) if ": warning: " not in problem]
    assert SECRET not in "".join(found)
    return [problem.removeprefix("profiles.wifi.challenge").removeprefix(".").removeprefix(": ") for problem in found]


def any_of(*providers: str) -> str:
    """Several kinds, of which one is enough."""
    return f"{{type: any-of, providers: [{', '.join(providers)}]}}"


FINE = {
    "HS256": SIGNED.format(HS256, ""),
    "RS256": SIGNED.format("{algorithm: RS256, public-key: rsa}", ", bind: dns, unbound: allow"),
    "ES256": SIGNED.format("{algorithm: ES256, public-key: ec, id: a}", ""),
    "JWK": SIGNED.format("{algorithm: ES256, public-key: ec.jwk}", ""),
    "JWK of RSA": SIGNED.format("{algorithm: RS256, public-key: rsa.jwk}", ""),
    "several": SIGNED.format(
        "{id: a, algorithm: HS256, secret-file: s}, {id: b, algorithm: ES256, public-key: ec}", ""
    ),
    "webhook": HOOK,
    "socket": WEBHOOK.format("unix:/run/x.sock", ""),
    "loopback": WEBHOOK.format("http://127.0.0.1:8080/x", ", insecure-http: true"),
    "loopback of IPv6": WEBHOOK.format("'http://[::1]/x'", ", insecure-http: true"),
    "intune": CLOUD,
    "directory": "{type: directory, file: d.csv}",
    "last": any_of(STATIC, "{type: directory, file: d.csv}", SIGNED.format(HS256, ""), HOOK),
    "two passwords": any_of(STATIC, STATIC),
    "certificates, which are judged apart": any_of(HOOK, CERTIFICATE, CERTIFICATE),
    "all": f"{{type: all-of, providers: [{HOOK}, {STATIC}]}}",
}


@pytest.mark.parametrize("challenge", FINE.values(), ids=FINE)
def test_what_is_right(challenge: str, base: Path) -> None:
    """Nothing is wrong with these, and no secret is shown."""
    assert wrong(challenge, base) == []
    config = reading(altered((STATIC, challenge)), base).config
    assert config is not None
    assert SECRET not in repr(config)
    assert SECRET not in config.model_dump_json(by_alias=True)


HS = "HS256 has a secret-file, ES256 and RS256 have a public-key, and nothing else"
GUESS = "the secret can be guessed: HS256 needs 32 random octets or more (RFC 7518, 3.2)"
BITS = "RS256 needs an RSA key of 2048 bits or more"
IDS = "where there are several keys, each has an id of its own"
ASKED = "must be the last: whatever it is asked about it decides, and no other is asked then"
LONG = "together with the upstream's timeout not shorter than the answer-deadline under limits"


def no_key(name: str) -> str:
    """What is said of a file without one."""
    return f"keys[0].public-key: the file {name} holds no public key of RSA or EC, as PEM or as one JWK"


@pytest.mark.proves("DR-19", "AC-095", "AC-094")
@pytest.mark.parametrize(
    ("challenge", "problems"),
    [
        (SIGNED.format("{algorithm: none}", ""), ["keys[0].algorithm: expected 'HS256', 'ES256' or 'RS256'"]),
        (SIGNED.format("", ""), ["keys: must not be empty"]),
        (SIGNED.format("{algorithm: HS256}", ""), [f"keys[0]: {HS}"]),
        (SIGNED.format("{algorithm: HS256, public-key: ec}", ""), [f"keys[0]: {HS}"]),
        (SIGNED.format("{algorithm: ES256, secret-file: s}", ""), [f"keys[0]: {HS}"]),
        (SIGNED.format("{algorithm: HS256, secret-file: s, public-key: ec}", ""), [f"keys[0]: {HS}"]),
        (SIGNED.format("{algorithm: HS256, secret-file: short}", ""), [f"keys[0]: {GUESS}"]),
        (SIGNED.format("{algorithm: HS256, secret-file: dull}", ""), [f"keys[0]: {GUESS}"]),
        (SIGNED.format("{algorithm: ES256, public-key: rsa}", ""), ["keys[0]: ES256 needs a key on the curve P-256"]),
        (SIGNED.format("{algorithm: ES256, public-key: ec384}", ""), ["keys[0]: ES256 needs a key on the curve P-256"]),
        (SIGNED.format("{algorithm: RS256, public-key: ec}", ""), [f"keys[0]: {BITS}"]),
        (SIGNED.format("{algorithm: RS256, public-key: small}", ""), [f"keys[0]: {BITS}"]),
        (SIGNED.format("{algorithm: ES256, public-key: 7}", ""), ["keys[0].public-key: expected the path of a file"]),
        (SIGNED.format("{algorithm: ES256, public-key: gone}", ""), [
            "keys[0].public-key: the file gone cannot be read: No such file or directory"
        ]),
        *((SIGNED.format(f"{{algorithm: ES256, public-key: {name}}}", ""), [no_key(name)]) for name in (
            "s", "ed", "private.pem", "private.jwk", "oct.jwk", "odd.jwk", "set.jwk", "deep.jwk",
        )),
        (SIGNED.format(f"{HS256}, {HS256}", ""), [IDS]),
        (SIGNED.format(f"{HS256[:-1]}, id: a}}, {{id: a, algorithm: ES256, public-key: ec}}", ""), [IDS]),
        (SIGNED.format(HS256, ", longest: 401d"), ["longest: longer than used challenges are kept (store: retention)"]),
        (WEBHOOK.format("ftp://x/", ""), ["url: expected an http or https URL"]),
        (WEBHOOK.format("unix:run/x", ""), ["url: expected the absolute path of a socket after unix:"]),
        (WEBHOOK.format("http://127.0.0.1/x", ""), [
            "url: http shows challenges to whoever listens: use https, or unix:PATH"
        ]),
        (WEBHOOK.format("http://h.example/x", ", insecure-http: true"), [
            "url: http is for this machine only (127.0.0.1, [::1]): use https"
        ]),
        (WEBHOOK.format("http://192.0.2.1/x", ", insecure-http: true"), [
            "url: http is for this machine only (127.0.0.1, [::1]): use https"
        ]),
        (WEBHOOK.format("https://h.example/x", ", connect-timeout: 6s"), [
            "connect-timeout: longer than timeout, which includes it"
        ]),
        (WEBHOOK.format("https://h.example/x", ", timeout: 40s"), [f"timeout: {LONG}"]),
        (WEBHOOK.format("https://h.example/x", ", give-up-after: 31d"), [
            "give-up-after: longer than transactions are kept (store: retention)"
        ]),
        (INTUNE.format("x", ", login: http://x.example"), ["login: expected an https URL"]),
        (INTUNE.format("x", ", timeout: 40s"), [f"timeout: {LONG}"]),
        (any_of(HOOK, STATIC), [f"providers[0].type: {ASKED}"]),
        (any_of(CLOUD, HOOK), [f"providers[0].type: {ASKED}"]),
        (any_of(STATIC, "{type: directory, file: d.csv}", "{type: directory, file: d.csv}"), [
            "providers[2].type: there is one directory already: records and notices name it by its type"
        ]),
        ("{type: directory, file: gone.csv}", ["file: BASE/gone.csv: cannot be read: No such file or directory"]),
    ],
)  # fmt: skip
def test_what_is_wrong(challenge: str, problems: list[str], base: Path) -> None:
    """Each mistake is a sentence at its place."""
    found = [problem.replace(str(base), "BASE") for problem in wrong(challenge, base)]
    assert found == problems


@pytest.mark.parametrize("key", ["tenant", "application-id"])
@pytest.mark.parametrize("text", ["../x", "a/b", "a?b", "a b", "-"])
def test_names_in_urls(base: Path, key: str, text: str) -> None:
    """Nothing that goes into a URL can lead elsewhere."""
    names = {"tenant": "c.example", "application-id": "0-1"} | {key: text}
    challenge = f"{{type: intune, tenant: '{names['tenant']}', application-id: '{names['application-id']}'"
    found = wrong(f"{challenge}, secret-file: s}}", base)
    assert [problem.partition(":")[0] for problem in found] == ([] if (key, text) == ("application-id", "-") else [key])


def test_devices_are_read_when_the_configuration_is(base: Path) -> None:
    """Each mistake in the file of devices is found with the configuration; a warning is one."""
    challenge = "{type: directory, file: d.csv}"
    write_private(base / "d.csv", b"name,challenge,uses\na,b,1\nc,canary-7Hq2Lx9Zw4,0\n")
    assert wrong(challenge, base) == [
        f"file: {base}/d.csv:2:1: challenge: can be guessed: about 0 bits, at least 32 needed",
        f"file: {base}/d.csv:3:1: uses: expected a number from 1 to 1000",
    ]
    write_private(base / "d.csv", b"name,challenge\na,canary-7Hq2Lx\n")
    (weak,) = said(altered((STATIC, challenge)), base)
    assert weak.endswith(f"challenge.file: warning: {base}/d.csv:2:1: challenge: is weak: about 46 bits, 64 are safe")
    write_private(base / "d.csv", b"name,challenge\n")
    (warning,) = said(altered((STATIC, challenge)), base)
    assert "there is no device in it: nobody may enrol" in warning


def test_devices_without_a_challenge_are_for_all_of(base: Path) -> None:
    """Alone, a name that is no secret would be all that somebody has to know."""
    write_private(base / "d.csv", b"name,challenge\na,\nb,\nc,canary-7Hq2Lx9Zw4\n")
    directory = "{type: directory, file: d.csv}"
    sentence = "2 of its devices have no challenge: only all-of, with another kind, may know them by name"
    assert wrong(directory, base) == [f"file: {sentence}"]
    assert wrong(any_of(STATIC, directory), base) == [f"providers[1].file: {sentence}"]
    assert wrong(f"{{type: all-of, providers: [{STATIC}, {directory}]}}", base) == []


def test_a_ca_that_asks_for_a_challenge_knows_no_tokens(base: Path) -> None:
    """What it would see is the token (RA-10)."""
    network = ("    ca-fingerprint:", "    authorisation: challenge\n    ca-fingerprint:")
    assert wrong(SIGNED.format(HS256, ""), base, network) == [
        "type: its upstream asks for a challenge, and does not know tokens"
    ]


def test_other_sections_may_be_unreadable(base: Path) -> None:
    """What can be said without them is."""
    broken = ("listen: {", "limits: 5\nstore: 5\nlisten: {")
    found = wrong(WEBHOOK.format("http://127.0.0.1/x", ", give-up-after: 31d"), base, broken)
    assert [problem for problem in found if problem.startswith("url")]
    assert not [problem for problem in found if problem.startswith(("give-up-after", "timeout"))]
    assert not [
        problem for problem in wrong(SIGNED.format(HS256, ", longest: 401d"), base, broken) if "longest" in problem
    ]


@pytest.mark.proves("AC-130")
def test_a_public_key_that_others_may_change(base: Path) -> None:
    """Others may read it, and no more; what has no end is not read."""
    challenge = SIGNED.format("{algorithm: ES256, public-key: ec}", "")
    (base / "ec").chmod(0o644)
    assert wrong(challenge, base) == []
    (base / "ec").chmod(0o664)
    assert wrong(challenge, base) == ["keys[0].public-key: the file ec is open to others (mode 0664): chmod 644 it"]
    write_private(base / "ec", b"x" * (MAXIMUM + 1))
    assert wrong(challenge, base) == [f"keys[0].public-key: the file ec is larger than {MAXIMUM} octets"]


def test_without_the_library(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said at its place, with what to do."""
    monkeypatch.setitem(sys.modules, "joserfc", None)
    sentence = "signed challenges need the extra: pip install 'scepra[jwt]'"
    assert wrong(SIGNED.format(HS256, ""), base) == [sentence]
    assert wrong(SIGNED.format("{algorithm: ES256, public-key: ec.jwk}", ""), base) == [
        f"keys[0].public-key: {sentence}"
    ]
    assert wrong(HOOK, base) == []


def test_a_key_is_taken_as_it_is() -> None:
    """Programs may make a section of a key that they have."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    section = SignedKey(algorithm="ES256", public_key=key)
    assert section.public_key is key
    assert section.model_dump()["public_key"] == "<public key>"
