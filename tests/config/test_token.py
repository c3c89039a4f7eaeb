"""Keys in tokens, as the configuration names them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from scepra.config.model import DualIdentity, KeyFile, KeyInToken
from tests.config.sample import altered, reading, said
from tests.keys.material import write_private

TOKENS = "tokens:\n  hsm: {module: /usr/lib/hsm.so, token-label: ra, pin-file: pin}\nupstreams:"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a PIN."""
    write_private(tmp_path / "pin", b"4711-secret\n")
    return tmp_path


def with_key(key: str, tokens: str = TOKENS) -> str:
    """The small configuration with a key in a token."""
    return altered(("upstreams:", tokens), ("key: ra.key", f"key: {key}"))


@pytest.mark.parametrize(
    ("key", "label", "identifier"),
    [
        ("{token: hsm, label: ra}", "ra", None),
        ('{token: hsm, id: "0A1b"}', None, "0a1b"),
        ('{token: hsm, label: "RA 1", id: "01"}', "RA 1", "01"),
    ],
)
def test_a_key_in_a_token(directory: Path, key: str, label: str | None, identifier: str | None) -> None:
    """Wherever a key's file may stand, a token and what tells the key in it may."""
    found = reading(with_key(key), directory)
    assert found.problems == ()
    assert found.config is not None
    ra = found.config.profiles["wifi"].ra
    assert isinstance(ra, DualIdentity)
    assert isinstance(ra.key, KeyInToken)
    assert (ra.key.token, ra.key.label, ra.key.id, ra.key.place) == ("hsm", label, identifier, "token hsm")
    token = found.config.tokens["hsm"]
    assert (token.timeout, token.retry, token.pin.reveal()) == (5.0, 30.0, b"4711-secret")
    assert "4711" not in repr(found.config) + found.config.model_dump_json()
    assert isinstance(DualIdentity(certificate=Path("c"), key=ra.key).key, KeyInToken)
    assert isinstance(DualIdentity(certificate=Path("c"), key=KeyFile(file=Path("k"))).key, KeyFile)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("{token: hsn, label: ra}", "profiles.wifi.ra.key.token: no token has this name; did you mean 'hsm'?"),
        ("{token: hsm}", "profiles.wifi.ra.key: expected label or id, or both"),
        ("{token: hsm, label: ra, file: x}", "profiles.wifi.ra.key.file: unknown key"),
        ("{token: hsm, id: xyz}", "profiles.wifi.ra.key.id: expected the key's identifier (CKA_ID) in hexadecimal"),
        ("{token: hsm, id: ''}", "profiles.wifi.ra.key.id: expected the key's identifier (CKA_ID) in hexadecimal"),
        (f"{{token: hsm, id: {'ab' * 65}}}", "profiles.wifi.ra.key.id: expected the key's identifier"),
    ],
)
def test_keys_that_cannot_be(directory: Path, key: str, sentence: str) -> None:
    """What is wrong with a reference is said at its place."""
    (found,) = [each for each in said(with_key(key), directory) if "warning" not in each]
    assert sentence in found


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        ("hsm: {module: /m.so, pin-file: pin}", "tokens.hsm: expected token-label or serial, or both"),
        ("hsm: {module: /m.so, serial: '1'}", "tokens.hsm.pin-file: required key is missing"),
        ("hsm: {token-label: ra, pin-file: pin}", "tokens.hsm.module: required key is missing"),
        ("hsm: {module: /m.so, serial: '1', pin-file: none}", "tokens.hsm.pin-file: the file none cannot be read"),
        ("hsm: {module: /m.so, serial: '1', pin-file: pin, timeout: 0s}", "tokens.hsm.timeout: must be more than 0s"),
    ],
)
def test_tokens_that_cannot_be(directory: Path, tokens: str, sentence: str) -> None:
    """What is wrong with a token is said once: a key in it names a token that is there, if not a right one."""
    (found,) = said(with_key("{token: hsm, label: ra}", f"tokens:\n  {tokens}\nupstreams:"), directory)
    assert sentence in found


def test_both_kinds_of_place(directory: Path) -> None:
    """Every place with a key is looked at: an upstream's signer, and either of two identities."""
    key = "key: {token: none, label: ra}"
    signer = f"  lab:\n    signer: {{strategy: ra-certificate, certificate: a.crt, {key}}}\n"
    split = f"ra: {{signing: {{certificate: a, {key}}}, encryption: {{certificate: b, {key}}}}}"
    text = altered(("  lab:\n", signer), ("ra: {certificate: ra.crt, key: ra.key}", split))
    assert [each.partition(": ")[2] for each in said(text, directory)] == [
        "upstreams.lab.signer.key.token: no token has this name",
        "profiles.wifi.ra.signing.key.token: no token has this name",
        "profiles.wifi.ra.encryption.key.token: no token has this name",
    ]


def test_a_certificate_is_needed(directory: Path) -> None:
    """A token holds no certificates for us."""
    text = with_key("{token: hsm, label: ra}").replace("certificate: ra.crt, ", "")
    (found,) = said(text, directory)
    assert "profiles.wifi.ra: a key in a token needs the file of its certificate (certificate)" in found


def test_without_the_library(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where python-pkcs11 is missing that is said, and how it is had."""
    original = importlib.util.find_spec
    monkeypatch.setattr("scepra.config.token.find_spec", lambda name: None if name == "pkcs11" else original(name))
    (found,) = said(with_key("{token: hsm, label: ra}"), directory)
    assert "tokens.hsm: a token needs python-pkcs11: pip install 'scepra[hsm]'" in found


def test_no_tokens_at_all(directory: Path) -> None:
    """A mapping of something else is refused where it stands."""
    found: list[Any] = said(with_key("{token: hsm, label: ra}", "tokens: [hsm]\nupstreams:"), directory)
    assert any("tokens: expected a mapping" in each for each in found)
