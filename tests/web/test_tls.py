"""The listener over TLS, from an endpoint as a configuration spells it (HTTP-28)."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from scepra.web.site import BoundedSite
from tests.web.authority import Fake

QUESTION = b"GET /scep?operation=GetCACaps HTTP/1.0\r\n\r\n"


def handshake(server: SSL.Context) -> list[bytes]:
    """The states that a client of this server goes through, in memory."""
    states: list[bytes] = []
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_info_callback(lambda connection, where, code: states.append(connection.get_state_string()))
    client, other = SSL.Connection(context, None), SSL.Connection(server, None)
    client.set_connect_state()
    other.set_accept_state()
    for _ in range(4):
        for end, peer in ((client, other), (other, client)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                peer.bio_write(end.bio_read(65536))
    return states


def asked_for_certificate(states: list[bytes]) -> bool:
    """Whether the client read a CertificateRequest."""
    assert any(b"read server certificate" in state for state in states), states
    return any(b"certificate request" in state for state in states)


def ask(port: int, context: SSL.Context | None) -> bytes:
    """The body of the answer to a question, over TLS where there is a context."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.settimeout(None)
        line: Any = plain
        if context is not None:
            line = SSL.Connection(context, plain)
            line.set_connect_state()
        line.sendall(QUESTION)
        got = b""
        with contextlib.suppress(SSL.ZeroReturnError, SSL.SysCallError):
            while part := line.recv(65536):
                got += part
    return got.partition(b"\r\n\r\n")[2]


# Twisted's ssl endpoint still makes PyOpenSSL's own objects.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TLSTests(TestCase):
    """Endpoints with and without TLS."""

    timeout = 60

    def setUp(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ra.example")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        now = datetime.now(UTC)
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.pem = Path(directory.name, "ra.pem")
        self.pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        )

    async def listen(self, endpoint: str) -> int:
        site = BoundedSite(ScepResource(Routes([Route(Fake(), ["/scep"])])), Limits(), reactor)
        port = await serverFromString(reactor, endpoint).listen(site)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    @pytest.mark.proves("HTTP-28")
    async def test_answers_are_the_same_with_and_without_tls(self) -> None:
        """Plain HTTP and TLS give the same answer, and TLS wants no certificate of the client."""
        states: list[bytes] = []
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_info_callback(lambda connection, where, code: states.append(connection.get_state_string()))
        secure = await self.listen(f"ssl:0:interface=127.0.0.1:privateKey={self.pem}:certKey={self.pem}")
        plain = await self.listen("tcp:0:interface=127.0.0.1")
        answer = await deferToThread(ask, secure, context)
        assert answer == await deferToThread(ask, plain, None) == b"AES\nSCEPStandard\n"
        assert not asked_for_certificate(states)

    def test_a_certificate_request_would_be_seen(self) -> None:
        """The check above finds the request of a server that does want a certificate."""
        for wanted in (False, True):
            server = SSL.Context(SSL.TLS_METHOD)
            server.use_privatekey_file(str(self.pem))
            server.use_certificate_file(str(self.pem))
            server.set_verify(SSL.VERIFY_PEER if wanted else SSL.VERIFY_NONE, lambda *_: True)
            assert asked_for_certificate(handshake(server)) is wanted
