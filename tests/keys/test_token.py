"""RA keys in a token of SoftHSM: they do what keys in files do, and they go and come back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from twisted.internet.task import Clock

from scepra.config.token import KeyInToken
from scepra.config.token import Token as Settings
from scepra.errors import KeyUnavailable
from scepra.keys.module import Module
from scepra.keys.token import CONTROL, TokenKey, Tokens
from scepra.scep.algorithm import Digest, KeyTransport
from scepra.scep.identity import OAEP_PADDINGS, SoftwareKey
from tests.keys.material import ec_key, key, key_file, write_private
from tests.rig.softhsm import SO_PIN, SoftToken, module, new_token, tool

PLAIN = padding.PKCS1v15()


@pytest.fixture
def soft(tmp_path: Path) -> Iterator[SoftToken]:
    """A token with an RSA key and an EC key, the same as in software."""
    rsa_file = write_private(tmp_path / "rsa.key", key_file(key()))
    ec_file = write_private(tmp_path / "ec.key", key_file(ec_key()))
    made = new_token([(rsa_file, "ra", "01"), (ec_file, "ec", "02")])
    yield made
    made.remove()


@pytest.fixture
def clock() -> Clock:
    """What pauses are measured by."""
    return Clock()


@pytest.fixture
def tokens(soft: SoftToken, tmp_path: Path, clock: Clock) -> Iterator[Tokens]:
    """The token as the configuration has it, by the name ``hsm``."""
    made = Tokens({"hsm": section(soft, tmp_path)}, clock)
    yield made
    made.leave()


def section(soft: SoftToken, directory: Path, **settings: str) -> Settings:
    """A token's section of the configuration."""
    return Settings.model_validate(soft.settings(directory / "pin", **settings), by_alias=True, by_name=False)


def found(
    tokens: Tokens, software: SoftwareKey | None = None, label: str | None = "ra", identifier: str | None = None
) -> TokenKey:
    """A key of the token."""
    token = tokens.get("hsm")
    assert token is not None
    public = (software or SoftwareKey(key())).public
    return TokenKey(token, KeyInToken(token="hsm", label=label, id=identifier), public)


@pytest.mark.parametrize("digest", Digest)
def test_it_signs_as_software_does(tokens: Tokens, digest: Digest) -> None:
    """A signature of an RSA key is the one that software makes, octet by octet, in every digest."""
    assert found(tokens).sign(b"data", digest) == SoftwareKey(key()).sign(b"data", digest)


def test_it_signs_with_curves(tokens: Tokens) -> None:
    """A signature of an EC key verifies, in the form that CMS has."""
    signing = found(tokens, SoftwareKey(ec_key()), "ec")
    assert signing.check()
    for digest in (Digest.SHA1, Digest.SHA256, Digest.SHA512):
        ec_key().public_key().verify(signing.sign(b"data", digest), b"data", ec.ECDSA(digest.hash))
    with pytest.raises(ValueError, match="decrypts"):
        signing.decrypt(bytes(64), KeyTransport.RSA_V15)


@pytest.mark.parametrize("transport", [KeyTransport.RSA_V15, KeyTransport.OAEP_SHA1])
def test_it_decrypts_as_software_does(tokens: Tokens, transport: KeyTransport) -> None:
    """What was encrypted to it opens, by either key transport."""
    ciphertext = key().public_key().encrypt(b"content key", OAEP_PADDINGS.get(transport, PLAIN))
    assert found(tokens).decrypt(ciphertext, transport) == b"content key"


def raw(content: bytes) -> bytes:
    """A block, encrypted without padding."""
    numbers = key().public_key().public_numbers()
    return pow(int.from_bytes(content.rjust(256, b"\0")), numbers.e, numbers.n).to_bytes(256)


BAD = {
    "no padding": lambda: raw(b"\x01" * 200),
    "another block type": lambda: raw(b"\x00\x01" + b"\xff" * 237 + b"\x00" + b"k" * 16),
    "no separator": lambda: raw(b"\x00\x02" + b"\xff" * 254),
    "padding too short": lambda: raw(b"\x00\x02" + b"\xff" * 7 + b"\x00" + b"k" * 246),
    "zero": lambda: bytes(256),
    "as large as the modulus": lambda: key().public_key().public_numbers().n.to_bytes(256),
    "too short": lambda: bytes(255),
    "too long": lambda: bytes(257),
    "empty": lambda: b"",
}


@pytest.mark.proves("SEC-02", "AC-036", "DR-12", "I8")
@pytest.mark.parametrize("transport", [each for each in KeyTransport if each is not KeyTransport.PASSWORD])
@pytest.mark.parametrize("fault", BAD)
def test_every_ciphertext_that_does_not_open_is_the_same(tokens: Tokens, fault: str, transport: KeyTransport) -> None:
    """Whatever is wrong with a ciphertext, there is one error, without a cause, and the token counts as well."""
    opening = found(tokens)
    with pytest.raises(ValueError, match=r"^nothing that this key decrypts$") as caught:
        opening.decrypt(BAD[fault](), transport)
    assert caught.value.__cause__ is None
    assert opening.token.resting is None


@pytest.mark.proves("AC-036")
def test_what_the_token_cannot_do_does_not_make_it_go(tokens: Tokens) -> None:
    """A key transport that a token lacks is the client's bad luck: the token goes on with the others."""
    opening = found(tokens)
    ciphertext = key().public_key().encrypt(b"k", OAEP_PADDINGS[KeyTransport.OAEP_SHA256])
    with pytest.raises(ValueError, match="decrypts"):
        opening.decrypt(ciphertext, KeyTransport.OAEP_SHA256)
    assert opening.decrypt(key().public_key().encrypt(b"k", PLAIN), KeyTransport.RSA_V15) == b"k"


@pytest.mark.proves("FT-56")
@pytest.mark.parametrize("use", ["sign", "decrypt"])
def test_it_goes_and_comes_back(tokens: Tokens, soft: SoftToken, clock: Clock, use: str) -> None:
    """A token that is unplugged is told from a bad ciphertext, left alone for a while, and used again when it is back:
    with the same key object, without anybody's help."""
    used, ciphertext = found(tokens), key().public_key().encrypt(b"k", PLAIN)

    def work() -> bytes:
        return used.sign(b"data", Digest.SHA256) if use == "sign" else used.decrypt(ciphertext, KeyTransport.RSA_V15)

    before = work()
    soft.unplug()
    for _ in range(3):
        with pytest.raises(KeyUnavailable, match="token hsm: "):
            work()
    assert used.token.resting is not None
    soft.plug()
    with pytest.raises(KeyUnavailable):
        work()
    clock.advance(60)
    assert used.token.resting is None
    assert work() == before
    for _ in range(2):
        soft.unplug()
        with pytest.raises(KeyUnavailable):
            work()
        clock.advance(60)
        with pytest.raises(KeyUnavailable):
            work()
        soft.plug()
        clock.advance(60)
        assert work() == before


@pytest.mark.proves("AC-133")
def test_a_wrong_pin_is_tried_once(soft: SoftToken, tmp_path: Path, clock: Clock) -> None:
    """A PIN that the token refuses is not tried again, however often the key is wanted, nor is it told to anybody; who
    loads the configuration anew has one more attempt."""
    settings = section(soft, tmp_path)
    (tmp_path / "pin").write_text("9999-wrong")
    wrong = Settings.model_validate({**soft.settings(tmp_path / "other"), "pin-file": str(tmp_path / "pin")})
    attempts = 0
    tokens = Tokens({"hsm": wrong}, clock)
    signing = found(tokens)
    original = signing.token._login

    def counting(token: object) -> object:
        nonlocal attempts
        attempts += 1
        return original(token)

    signing.token._login = counting  # type: ignore[method-assign, assignment]
    try:
        for _ in range(5):
            with pytest.raises(KeyUnavailable, match="refuses the PIN from the file") as caught:
                signing.sign(b"data", Digest.SHA256)
            assert "9999" not in f"{caught.value!r} {signing!r} {vars(signing.token)!r} {wrong!r}"
            clock.advance(3600)
        assert caught.value.lasting
        assert attempts == 1
        again = Tokens({"hsm": settings}, clock)
        assert found(again).check()
        again.leave()
    finally:
        tokens.leave()


@pytest.mark.proves("AC-133")
def test_nothing_is_tried_after_another_s_wrong_pin(
    tokens: Tokens, soft: SoftToken, tmp_path: Path, clock: Clock
) -> None:
    """A process that has to log in again does not, when another has found that the PIN is wrong now: one attempt for
    all of them, not for each."""
    signing = found(tokens)
    assert signing.check()
    soft.unplug()
    with pytest.raises(KeyUnavailable):
        signing.sign(b"data", Digest.SHA256)
    soft.plug()
    with pytest.raises(Exception, match="non-zero"):
        tool("--import", tmp_path / "rsa.key", "--token", soft.label, "--label", "x", "--id", "09", "--pin", "wrong")
    clock.advance(60)
    with pytest.raises(KeyUnavailable, match="given a wrong PIN"):
        signing.sign(b"data", Digest.SHA256)


def test_which_key(tokens: Tokens, soft: SoftToken, tmp_path: Path) -> None:
    """A key is told by label, identifier or both; none, several, or another than the certificate's are no key."""
    assert found(tokens, label=None, identifier="01").check()
    assert found(tokens, identifier="01").check()
    assert not found(tokens, SoftwareKey(key("other"))).check()
    assert not found(tokens, SoftwareKey(ec_key("another")), "ec").check()
    for label, identifier, sentence in (
        ("absent", None, "holds no private key with label absent"),
        ("ra", "02", "holds no private key with label ra and id 02"),
    ):
        with pytest.raises(KeyUnavailable, match=sentence) as caught:
            found(tokens, label=label, identifier=identifier).check()
        assert caught.value.lasting
        tokens.get("hsm").clock.advance(60)  # type: ignore[union-attr]
    soft.add(tmp_path / "rsa.key", "ra", "07")
    with pytest.raises(KeyUnavailable, match="holds 2 private keys with label ra"):
        found(tokens).check()


@pytest.mark.proves("FT-56")
def test_a_key_that_is_exchanged_is_not_used(tokens: Tokens, clock: Clock) -> None:
    """A token that comes back with another key of that name signs nothing."""
    with pytest.raises(KeyUnavailable, match="has another key with label ra"):
        found(tokens, SoftwareKey(key("other"))).sign(b"data", Digest.SHA256)


def test_a_key_is_made_in_the_token(tokens: Tokens, clock: Clock) -> None:
    """A new key is found by the reference that it comes with, signs and decrypts, and cannot be read."""
    from pkcs11 import Attribute, PKCS11Error

    token = tokens.get("hsm")
    assert token is not None
    made = token.make(token.new_reference("new"))
    assert made.check()
    again = TokenKey(token, made.reference, made.public)
    public = made.public.key
    assert isinstance(public, rsa.RSAPublicKey)
    assert again.decrypt(public.encrypt(b"k", PLAIN), KeyTransport.RSA_V15) == b"k"
    public.verify(again.sign(b"data", Digest.SHA256), b"data", PLAIN, Digest.SHA256.hash)

    def look(session: object) -> None:
        handle = again._handle(session)  # type: ignore[arg-type]
        assert handle[Attribute.SENSITIVE]
        assert not handle[Attribute.EXTRACTABLE]
        with pytest.raises(PKCS11Error):
            _ = handle[Attribute.PRIVATE_EXPONENT]

    token.call(look)
    token.destroy(made.reference)
    with pytest.raises(KeyUnavailable, match="holds no private key with label new and id"):
        made.check()
    clock.advance(60)
    token.destroy(made.reference)
    assert found(tokens).check()


@pytest.mark.proves("FT-50", "FT-56")
def test_a_key_that_takes_its_time(tokens: Tokens) -> None:
    """While a token makes a key, which may take long, whoever wants something else of it waits: it has not gone."""
    signing = found(tokens)
    before, token = signing.sign(b"data", Digest.SHA256), signing.token
    entered, let_go, signed = Event(), Event(), list[bytes]()
    original = token._make

    def slowly(*arguments: Any) -> Any:
        entered.set()
        let_go.wait(30)
        return original(*arguments)

    token._make = slowly  # type: ignore[method-assign]
    token._settings = token._settings.model_copy(update={"timeout": 0.05})
    making = Thread(target=token.make, args=(token.new_reference("new"),))
    making.start()
    assert entered.wait(30)
    waiting = Thread(target=lambda: signed.append(signing.sign(b"data", Digest.SHA256)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    let_go.set()
    for each in (making, waiting):
        each.join(30)
    assert (signed, token.resting) == ([before], None)


@pytest.mark.proves("FT-56", "I9")
def test_a_call_that_hangs(tokens: Tokens, clock: Clock) -> None:
    """A token that does not answer is given up after its timeout, and nobody waits for it again until the next attempt;
    when it answers at last, it is used again."""
    signing = found(tokens)
    before = signing.sign(b"data", Digest.SHA256)
    entered, let_go = Event(), Event()

    def hang(session: object) -> None:
        entered.set()
        let_go.wait(30)

    usual = signing.token._settings
    signing.token._settings = usual.model_copy(update={"timeout": 0.05})
    with pytest.raises(KeyUnavailable, match="does not answer within"):
        signing.token.call(hang)
    signing.token._settings = usual
    assert entered.is_set()
    assert signing.token.resting is not None
    with pytest.raises(KeyUnavailable):
        signing.sign(b"data", Digest.SHA256)
    let_go.set()
    clock.advance(60)
    assert signing.sign(b"data", Digest.SHA256) == before


def test_many_threads(tokens: Tokens) -> None:
    """Whatever threads want the token, one alone calls it."""
    signing, opening = found(tokens), found(tokens, identifier="01")
    ciphertext, failures = key().public_key().encrypt(b"k", PLAIN), []

    def work(what: Callable[[], bytes]) -> None:
        expected = what()
        for _ in range(20):
            if what() != expected:
                failures.append(what)

    jobs = [
        Thread(target=work, args=(each,))
        for each in (
            lambda: signing.sign(b"data", Digest.SHA256),
            lambda: opening.decrypt(ciphertext, KeyTransport.RSA_V15),
        )
        * 2
    ]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join()
    assert not failures


@pytest.mark.proves("FT-56", "AC-036")
def test_the_control_is_by_the_clock_alone(tokens: Tokens, clock: Clock) -> None:
    """A decryption with a known outcome goes before others from time to time, never because of a ciphertext."""
    opening = found(tokens)
    proved = 0
    original = opening._prove

    def counting(handle: object) -> None:
        nonlocal proved
        proved += 1
        original(handle)

    opening._prove = counting  # type: ignore[method-assign]
    good = key().public_key().encrypt(b"k", PLAIN)
    for expected in (1, 2):
        for _ in range(3):
            assert opening.decrypt(good, KeyTransport.RSA_V15) == b"k"
            with pytest.raises(ValueError, match="decrypts"):
                opening.decrypt(raw(b"\x01" * 200), KeyTransport.RSA_V15)
        assert proved == expected
        clock.advance(CONTROL)


@pytest.mark.proves("AC-036", "SEC-02")
@pytest.mark.parametrize("name", ["DeviceError", "KeyHandleInvalid"])
def test_a_device_that_blames_itself_for_a_ciphertext(tokens: Tokens, name: str) -> None:
    """Devices that answer a bad ciphertext as if they had failed are not believed: a known one decrypts."""
    import pkcs11

    opening = found(tokens)
    good, original = key().public_key().encrypt(b"k", PLAIN), opening._open
    bad = raw(hashlib.sha256(b"bad").digest())

    def blaming(handle: object, ciphertext: bytes, transport: KeyTransport) -> bytes:
        if ciphertext == bad:
            raise getattr(pkcs11, name)
        return original(handle, ciphertext, transport)

    opening._open = blaming  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"^nothing that this key decrypts$"):
        opening.decrypt(bad, KeyTransport.RSA_V15)
    assert opening.decrypt(good, KeyTransport.RSA_V15) == b"k"
    assert opening.token.resting is None


def test_a_module_that_is_none(soft: SoftToken, tmp_path: Path, clock: Clock) -> None:
    """A file that is no PKCS#11 module is said to be none."""
    (tmp_path / "none.so").write_bytes(b"no library")
    tokens = Tokens({"hsm": section(soft, tmp_path, module=str(tmp_path / "none.so"))}, clock)
    with pytest.raises(KeyUnavailable, match=r"module that cannot be loaded, .*none\.so") as caught:
        found(tokens).check()
    assert caught.value.lasting
    tokens.leave()


def test_sessions_end_with_their_last_user(tokens: Tokens, soft: SoftToken, tmp_path: Path, clock: Clock) -> None:
    """Two configurations in one process share a session, as when one takes the other's place; the last ends it."""
    second = Tokens({"hsm": section(soft, tmp_path)}, clock)
    one, two = found(tokens), found(second)
    assert one.sign(b"data", Digest.SHA256) == two.sign(b"data", Digest.SHA256)
    known = Module.of(module())
    assert len(known.sessions) == 1
    second.leave()
    assert one.check()
    known.leave(5)
    assert SO_PIN and os.environ["SOFTHSM2_CONF"]
