"""An OpenLDAP server with the entry of a CA, on ports of the loopback interface.

It runs as whoever runs the tests, and ends with the module that asked for it, even if that is killed.
"""

from __future__ import annotations

import base64
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ldap3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from scepra.config.listurl import LIST
from tests import csrs
from tests.rig.programs import DEADLINE, TOOLS, free_port, require, wait_until

ENTRY = "cn=CA,o=Example"
PASSWORD = "hT5cW9qLz2Rk"
"""Of whoever may write there; reading takes none."""
_SCHEMAS = (TOOLS / "etc" / "ldap" / "schema", Path("/etc/ldap/schema"), Path("/etc/openldap/schema"))
_CONFIGURATION = """
include {schema}
TLSCertificateFile {directory}/server.crt
TLSCertificateKeyFile {directory}/server.key
access to dn.base="cn=guarded,o=Example" by * none
access to * by * read
database ldif
directory {directory}/entries
suffix "o=Example"
rootdn "cn=admin,o=Example"
rootpw {password}
"""
_ENTRIES = """
dn: o=Example
objectClass: organization
o: Example

dn: {entry}
objectClass: organizationalRole
objectClass: pkiCA
cn: CA
{attribute}:: {crl}

dn: cn=guarded,o=Example
objectClass: organizationalRole
objectClass: pkiCA
cn: guarded
{attribute}:: {crl}

dn: cn=elsewhere,o=Example
objectClass: referral
objectClass: extensibleObject
cn: elsewhere
ref: ldap://127.0.0.9/{entry}
"""


class Directory:
    """One server, until :meth:`close`.

    Attributes:
        port: where it speaks LDAP, on 127.0.0.1; ``tls_port`` LDAP over TLS.
        trust: a file with the certificate that its own, for "localhost", verifies under.
    """

    def __init__(self, directory: Path, crl: bytes) -> None:
        program = require("slapd")
        schema = next(found for each in _SCHEMAS if (found := each / "core.schema").exists())
        self.port, self.tls_port = free_port(), free_port()
        self.trust = directory / "server.crt"
        self._log = directory / "log"
        (directory / "entries").mkdir()
        _write_certificate(directory)
        configuration, entries = directory / "slapd.conf", directory / "entries.ldif"
        configuration.write_text(_CONFIGURATION.format(schema=schema, directory=directory, password=PASSWORD))
        encoded = base64.b64encode(crl).decode()
        entries.write_text(_ENTRIES.format(entry=ENTRY, attribute=LIST, crl=encoded))
        loaded = subprocess.run(
            [*program, "-Tadd", "-f", configuration, "-l", entries],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        if loaded.returncode:
            raise RuntimeError(f"no directory: {loaded.stdout}{loaded.stderr}")
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        with self._log.open("ab") as log:
            # "-d 0" keeps it in the foreground.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", *program, "-d", "0", "-h", urls, "-f", configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._answers, "the directory answers")

    def publish(self, *lists: bytes) -> None:
        """Have the entry hold these lists."""
        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE)
        connection = ldap3.Connection(server, "cn=admin,o=Example", PASSWORD, auto_bind=True)
        try:
            assert connection.modify(ENTRY, {LIST: [(ldap3.MODIFY_REPLACE, list(lists))]}), connection.result
        finally:
            connection.unbind()

    def close(self) -> None:
        """End."""
        self._process.terminate()
        self._process.wait(DEADLINE)

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the directory did not start:\n{self._log.read_text(errors='replace')}")
        for port in (self.port, self.tls_port):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                return False
        return True


def _write_certificate(directory: Path) -> None:
    key = csrs.ec_key(which=70)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "server.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Directory]]:
    """Makes directories that end with the module."""
    made: list[Directory] = []

    class Ending(Directory):
        def __init__(self, crl: bytes) -> None:
            super().__init__(tmp_path_factory.mktemp("directory"), crl)
            made.append(self)

    yield Ending
    for each in made:
        each.close()
