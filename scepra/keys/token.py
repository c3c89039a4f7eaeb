"""RA keys in PKCS#11 tokens: what signs and decrypts there, and what becomes of a token that goes (FT-56, AC-133).

No padding oracle (finding 9 of the security document; AC-036): whatever a token says to a ciphertext is the ValueError
that a software key has for it. That a token has gone is told by what no ciphertext changes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.logger import Logger

from scepra.config.token import KeyInToken
from scepra.config.token import Token as Settings
from scepra.errors import KeyUnavailable
from scepra.http.breaker import Breaker
from scepra.keys.module import Module, Unloadable, Where
from scepra.scep import der
from scepra.scep.algorithm import Digest, KeyTransport
from scepra.scep.cms import ALGORITHM_IDENTIFIERS
from scepra.scep.identity import OAEP_PADDINGS
from scepra.scep.publickey import PublicKeyInfo

if TYPE_CHECKING:
    from pkcs11 import PrivateKey, Session

CONTROL = 10.0
"""After how many seconds a decryption whose outcome is known goes before the next that is wanted."""
MAKING = 120.0
"""How much longer than other operations a token may take to make a key, in seconds; they wait for it meanwhile."""
_V15 = padding.PKCS1v15()
_WRONG_PIN = ("PinIncorrect", "PinInvalid", "PinLenRange", "PinExpired", "PinLocked", "UserPinNotInitialized")
# What speaks of the session or the device. Some devices say it of a ciphertext too, so it is not believed unseen.
_GONE = (
    *("DeviceError", "DeviceMemory", "DeviceRemoved", "HostMemory", "KeyHandleInvalid", "ObjectHandleInvalid"),
    *("OperationActive", "OperationNotInitialized", "SessionClosed", "SessionCount", "SessionHandleInvalid"),
    *("SlotIDInvalid", "TokenNotPresent", "TokenNotRecognised", "UserNotLoggedIn"),
)
_AWAY = ("NoSuchToken", "SlotIDInvalid", "TokenNotPresent", "TokenNotRecognised")
log = Logger()
T = TypeVar("T")


class Seconds(Protocol):
    """A clock that nobody sets."""

    def seconds(self) -> float:
        """Seconds since whenever."""


class _Monotonic:
    """The process's own."""

    seconds = staticmethod(time.monotonic)


class Token:
    """A token at work, from any thread: its module's thread does what is asked.

    Args:
        name: its name in the configuration.
        settings: its section there.
        clock: what pauses are measured by.
    """

    def __init__(self, name: str, settings: Settings, clock: Any) -> None:
        self.name = name
        self.clock = clock
        self._settings = settings
        self._module = Module.of(settings.module)
        self._where: Where = settings.token_label, settings.serial
        self._lock = threading.Lock()
        self._breaker = Breaker(clock, settings.retry)
        self._reason = ""
        self._barred = ""
        self._before = False

    @property
    def resting(self) -> KeyUnavailable | None:
        """Why the token is not even asked now, or None."""
        with self._lock:
            return KeyUnavailable(self.name, self._reason) if self._breaker.remaining > 0 else None

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of ``function(session, *arguments)`` on the module's thread, in a session that is logged in.

        Raises:
            KeyUnavailable: the token is not there, does not answer in time, or turned the operation down.
        """
        with self._lock:
            if not self._breaker.admits():
                raise KeyUnavailable(self.name, self._reason)
        longest = self._settings.timeout
        try:
            result: T = self._module.call(longest, self._attempt, function, arguments)
        except TimeoutError:
            self._failed(late := KeyUnavailable(self.name, f"does not answer within {longest:g} s"))
            raise late from None
        except KeyUnavailable as error:
            self._failed(error)
            raise
        except ValueError:
            self._answered()
            raise
        self._answered()
        return result

    def leave(self) -> None:
        """Use it no more."""
        try:
            self._module.leave(self._settings.timeout)
        except Exception as error:
            log.warn("token {name} was not left in good order: {error}", name=self.name, error=type(error).__name__)

    def make(self, reference: KeyInToken, bits: int = 2048) -> TokenKey:
        """Make an RSA key that never leaves the token. It may take :data:`MAKING` seconds more than anything else.

        Args:
            reference: what will tell it, label and id: see :meth:`new_reference`.

        Raises:
            KeyUnavailable: it could not be made.
        """
        with self._module.busy(MAKING):
            public = self.call(self._make, reference, bits)
        return TokenKey(self, reference, public)

    def new_reference(self, label: str) -> KeyInToken:
        """What tells a key that is not there yet: a label for people, and an id that no other key has."""
        return KeyInToken(token=self.name, label=label, id=os.urandom(8).hex())

    def destroy(self, reference: KeyInToken) -> None:
        """Destroy a key that :meth:`make` made, if it is there.

        Raises:
            KeyUnavailable: it cannot be done now.
        """
        self.call(self._destroy, reference)

    def _failed(self, error: KeyUnavailable) -> None:
        with self._lock:
            first, self._reason = not self._breaker.trying, error.reason
            self._breaker.failed(sent=False)
        if first:
            log.error("{error}; it is tried again from time to time", error=str(error))

    def _answered(self) -> None:
        with self._lock:
            back = self._breaker.trying
            self._breaker.answered()
        if back:
            log.info("token {name} is back", name=self.name)

    # On the module's thread

    def _attempt(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        from pkcs11 import PKCS11Error

        try:
            return function(self._session(), *arguments)
        except KeyUnavailable:
            self._drop()
            raise
        except PKCS11Error as error:
            self._drop()
            name = type(error).__name__
            what = "is not there" if name in _AWAY else "failed"
            raise KeyUnavailable(self.name, f"{what} ({name})") from error

    def _session(self) -> Session:
        """The session, opened and logged in if there is none."""
        from pkcs11 import PKCS11Error

        if (found := self._module.sessions.get(self._where)) is not None:
            return found
        if self._barred:
            raise KeyUnavailable(self.name, self._barred, lasting=True)
        try:
            token = self._find()
        except Unloadable as error:
            reason = f"has a module that cannot be loaded, {self._settings.module}"
            raise KeyUnavailable(self.name, reason, lasting=True) from error
        except PKCS11Error:
            self._module.restart()
            token = self._find()
        session = self._module.sessions[self._where] = self._login(token)
        return session

    def _find(self) -> Any:
        label, serial = self._where
        return self._module.library().get_token(
            **({} if label is None else {"token_label": label}),
            **({} if serial is None else {"token_serial": serial.encode()}),
        )

    def _login(self, token: Any) -> Session:
        """Log in, which a wrong PIN is tried for once: tokens lock after a few (AC-133)."""
        from pkcs11 import PKCS11Error, TokenFlag, UserAlreadyLoggedIn

        flags = token.flags
        if flags & TokenFlag.USER_PIN_LOCKED or flags & TokenFlag.USER_PIN_FINAL_TRY:
            self._bar("has its PIN locked, or one try left: nothing is tried")
        if self._before and flags & TokenFlag.USER_PIN_COUNT_LOW:
            self._bar("was given a wrong PIN since it was last logged in to: nothing is tried")
        try:
            session: Session = token.open(user_pin=self._settings.pin.reveal().decode())
        except UserAlreadyLoggedIn:
            session = token.open()
        except PKCS11Error as error:
            if type(error).__name__ not in _WRONG_PIN:
                raise
            self._bar(f"refuses the PIN from {self._settings.pin.origin} ({type(error).__name__})")
        self._before = True
        return session

    def _bar(self, reason: str) -> None:
        self._barred = reason
        sentence = "token {name}: {reason}; it is not logged in to again until the configuration is loaded anew"
        log.critical(sentence, name=self.name, reason=reason)
        raise KeyUnavailable(self.name, reason, lasting=True)

    def _drop(self) -> None:
        """End the session: the next call begins another."""
        from pkcs11 import PKCS11Error

        session = self._module.sessions.pop(self._where, None)
        if session is not None:
            try:
                session.close()
            except PKCS11Error as error:
                log.debug("a session could not be closed: {error}", error=type(error).__name__)

    def _make(self, session: Session, reference: KeyInToken, bits: int) -> PublicKeyInfo:
        from pkcs11 import Attribute, KeyType, MechanismFlag

        # The login is the process's: another session has it too.
        with session.token.open(rw=True) as writing:
            public, _ = writing.generate_keypair(
                KeyType.RSA,
                bits,
                id=_id(reference),
                label=reference.label,
                store=True,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY | MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                private_template={
                    Attribute.PRIVATE: True,
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                },
            )
            numbers = [int.from_bytes(public[each]) for each in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS)]
        key = rsa.RSAPublicNumbers(*numbers).public_key()
        return PublicKeyInfo.parse(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def _destroy(self, session: Session, reference: KeyInToken) -> None:
        if not self._destroyed(session, reference):
            # A session may outlive its token, and see nothing: only a new one is believed in that.
            self._drop()
            self._destroyed(self._session(), reference)

    def _destroyed(self, session: Session, reference: KeyInToken) -> bool:
        from pkcs11 import Attribute

        with session.token.open(rw=True) as writing:
            halves = list(writing.get_objects({Attribute.LABEL: reference.label, Attribute.ID: _id(reference)}))
            for each in halves:
                each.destroy()
        return bool(halves)


def _id(reference: KeyInToken) -> bytes:
    return bytes.fromhex(reference.id or "")


class TokenKey:
    """An RSA or EC key in a token.

    Args:
        token: where it is.
        reference: what tells it there.
        public: its public half, as its certificate has it; the token's key is compared with it whenever it is found.
    """

    def __init__(self, token: Token, reference: KeyInToken, public: PublicKeyInfo) -> None:
        self.token = token
        self.reference = reference
        self.public = public
        self._found: tuple[Session, PrivateKey] | None = None
        self._control: tuple[KeyTransport, bytes, bytes] | None = None
        self._controlled = 0.0

    def check(self) -> bool:
        """Whether the token's key is the one for the public half.

        Raises:
            KeyUnavailable: the token is not there; or, lasting, it has no such key.
        """
        return self.token.call(self._check)

    def sign(self, data: bytes, digest: Digest) -> bytes:
        """As software does; by RSA_PKCS or ECDSA over the digest, the mechanisms that most tokens have.

        Raises:
            KeyUnavailable: it cannot be done now.
        """
        return self.token.call(self._sign, data, digest)

    def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
        """As software does.

        Raises:
            ValueError: the ciphertext does not decrypt; nothing tells why.
            KeyUnavailable: the token cannot be used, whatever the ciphertext.
        """
        key = self.public.key
        # What anyone can see of a ciphertext need not go to the token.
        if not isinstance(key, rsa.RSAPublicKey) or len(ciphertext) != key.key_size // 8:
            raise ValueError("nothing that this key decrypts")
        if int.from_bytes(ciphertext) >= key.public_numbers().n:
            raise ValueError("nothing that this key decrypts")
        return self.token.call(self._decrypt, ciphertext, transport)

    # On the module's thread

    def _handle(self, session: Session) -> PrivateKey:
        """The key's handle in a session, looked for once in each."""
        if self._found is not None and self._found[0] is session:
            return self._found[1]
        handle = self._look(session)
        if not self._fits(handle):
            raise KeyUnavailable(self.token.name, f"has another key with {self._told}", lasting=True)
        self._found, self._control = (session, handle), None
        return handle

    def _check(self, session: Session) -> bool:
        return self._fits(self._look(session))

    @property
    def _told(self) -> str:
        """What tells the key."""
        names = ("label", self.reference.label), ("id", self.reference.id)
        return " and ".join(f"{name} {value}" for name, value in names if value)

    def _look(self, session: Session) -> PrivateKey:
        from pkcs11 import Attribute, ObjectClass

        wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        if self.reference.label is not None:
            wanted[Attribute.LABEL] = self.reference.label
        if self.reference.id is not None:
            wanted[Attribute.ID] = _id(self.reference)
        keys: list[Any] = list(session.get_objects(wanted))
        if len(keys) != 1:
            number = "no private key" if not keys else f"{len(keys)} private keys"
            raise KeyUnavailable(self.token.name, f"holds {number} with {self._told}", lasting=True)
        found: PrivateKey = keys[0]
        return found

    def _fits(self, handle: Any) -> bool:
        """Whether the token's key is the one that belongs to the public half; a signature tells where nothing else
        does."""
        from pkcs11 import Attribute, PKCS11Error

        key = self.public.key
        if isinstance(key, rsa.RSAPublicKey):
            try:
                modulus: bytes = handle[Attribute.MODULUS]
                return int.from_bytes(modulus) == key.public_numbers().n
            except PKCS11Error:
                pass
        data = os.urandom(32)
        try:
            signature = self._signature(handle, data, Digest.SHA256)
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, data, _V15, hashes.SHA256())
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            else:
                return False
        except (InvalidSignature, PKCS11Error):
            return False
        return True

    def _sign(self, session: Session, data: bytes, digest: Digest) -> bytes:
        return self._signature(self._handle(session), data, digest)

    def _signature(self, handle: Any, data: bytes, digest: Digest) -> bytes:
        from pkcs11 import Mechanism

        hashing = hashes.Hash(digest.hash)
        hashing.update(data)
        hashed = hashing.finalize()
        if self.public.kind == "RSA":
            info = der.sequence(ALGORITHM_IDENTIFIERS[digest], der.octet_string(hashed))
            signature: bytes = handle.sign(info, mechanism=Mechanism.RSA_PKCS)
            return signature
        raw: bytes = handle.sign(hashed[: (self.public.bits + 7) // 8], mechanism=Mechanism.ECDSA)
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))

    def _decrypt(self, session: Session, ciphertext: bytes, transport: KeyTransport) -> bytes:
        from pkcs11 import PKCS11Error

        handle = self._handle(session)
        # Before the ciphertext comes into play, and by the clock alone: what is done after it, or because of it, would
        # tell of it.
        if self._control is None or self.token.clock.seconds() >= self._controlled + CONTROL:
            self._prove(handle)
        try:
            return self._open(handle, ciphertext, transport)
        except PKCS11Error as error:
            if type(error).__name__ in _GONE:
                self._prove(handle)
            raise ValueError("nothing that this key decrypts") from None

    def _prove(self, handle: Any) -> None:
        """Decrypt something whose content is known.

        Raises:
            KeyUnavailable: the token does not.
        """
        from pkcs11 import PKCS11Error

        error: PKCS11Error | None = None
        for transport, content, ciphertext in (self._control,) if self._control is not None else self._controls():
            try:
                if self._open(handle, ciphertext, transport) == content:
                    self._control = transport, content, ciphertext
                    self._controlled = self.token.clock.seconds()
                    return
            except PKCS11Error as refused:
                error = refused
        reason = f"decrypts nothing ({'wrongly' if error is None else type(error).__name__})"
        raise KeyUnavailable(self.token.name, reason) from error

    def _controls(self) -> list[tuple[KeyTransport, bytes, bytes]]:
        """One for each key transport: tokens have some of them."""
        key, content = self.public.key, os.urandom(16)
        assert isinstance(key, rsa.RSAPublicKey)  # noqa: S101 - only RSA decrypts
        return [
            (transport, content, key.encrypt(content, OAEP_PADDINGS.get(transport, _V15)))
            for transport in (KeyTransport.RSA_V15, KeyTransport.OAEP_SHA1, KeyTransport.OAEP_SHA256)
        ]

    @staticmethod
    def _open(handle: Any, ciphertext: bytes, transport: KeyTransport) -> bytes:
        from pkcs11 import MGF, Mechanism

        if transport is KeyTransport.RSA_V15:
            content: bytes = handle.decrypt(ciphertext, mechanism=Mechanism.RSA_PKCS)
            return content
        parameters = {
            KeyTransport.OAEP_SHA1: (Mechanism.SHA_1, MGF.SHA1, None),
            KeyTransport.OAEP_SHA256: (Mechanism.SHA256, MGF.SHA256, None),
        }[transport]
        content = handle.decrypt(ciphertext, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=parameters)
        return content


class Tokens:
    """The tokens of a configuration.

    Args:
        settings: their sections, by their names.
        clock: what pauses are measured by.
        patient: whether a token that is not there now is waited for, instead of being a mistake in the configuration.
    """

    def __init__(
        self, settings: Mapping[str, Settings] = MappingProxyType({}), clock: Any = _Monotonic, *, patient: bool = False
    ) -> None:
        self.patient = patient
        self._tokens = {name: Token(name, each, clock) for name, each in settings.items()}

    def get(self, name: str) -> Token | None:
        """The token with a name."""
        return self._tokens.get(name)

    def leave(self) -> None:
        """End the sessions, unless others in this process use them."""
        for token in self._tokens.values():
            token.leave()
