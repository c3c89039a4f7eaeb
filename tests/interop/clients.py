"""SCEP clients that others wrote: how each is asked to enrol, and what came of it.

Nothing here knows scepra: a client is given a URL, and whether a CA or the RA answers there is not its business.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cryptography import x509

from .peers import DEBIAN, HERE, ORGANISATION, PEERS, debian_version
from .sandbox import Finished, Sandbox, Server, wait_until


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What came of asking: the certificate, or none and what the client printed."""

    certificate: x509.Certificate | None
    code: int
    text: str

    @property
    def issued(self) -> bool:
        return self.certificate is not None


class Client:
    """A SCEP client in a directory of its own. It asks once, and polls while it is told to wait.

    ``title`` is what people call it, ``renews`` by which message it asks for its next certificate.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    renews: ClassVar[str]
    program: ClassVar[Path]
    package: ClassVar[str]
    transports: ClassVar[tuple[str, ...]] = ("post", "get")
    bad_request: ClassVar[str]  # how it shows failInfo badRequest
    algorithms: ClassVar[str] = "modern"  # or "des", if it knows no other cipher

    def __init__(self, sandbox: Sandbox, directory: Path, root: Path | None = None) -> None:
        """``root`` is a file with the root certificate, for those clients that can be told which one to trust."""
        self._sandbox = sandbox
        self._directory = directory
        self._root = root
        self._certificate = directory / "client.crt"
        self._key = directory / "client.key"

    def enrol(
        self, url: str, common_name: str, challenge: str | None = None, *, options: Sequence[str] = ()
    ) -> Enrolment:
        """Makes a key and asks for a certificate; ``options`` are the client's own."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """Which version it is that is tried."""
        return debian_version(cls.package)

    def renew(self, url: str, common_name: str, challenge: str | None = None) -> Enrolment:
        """Asks for the next certificate, in the client's own way, after it has enrolled."""
        raise NotImplementedError

    def _set_aside(self) -> tuple[Path, Path]:
        """Renames the certificate and the key that are about to be replaced, unless that was done before in vain."""
        certificate, key = self._directory / "old.crt", self._directory / "old.key"
        if self._certificate.exists() and self._certificate.read_bytes():
            self._certificate.rename(certificate)
            self._key.rename(key)
        return certificate, key

    def _run(self, *command: str | Path, **environment: str) -> Finished:
        return self._sandbox.run(command, directory=self._directory, environment=environment)

    def _result(self, done: Finished) -> Enrolment:
        """A client has enrolled if it says so with its exit code and there is a certificate in the file."""
        pem = self._certificate.read_bytes() if done.code == 0 and self._certificate.exists() else b""
        return Enrolment(x509.load_pem_x509_certificate(pem) if pem else None, done.code, done.text)


class StrongSwan(Client):
    """``pki --scepca`` fetches the certificates, ``pki --scep`` enrols. It uses POST if that is offered, else GET."""

    name = "strongswan"
    title = "strongSwan"
    renews = "RenewalReq"
    package = "strongswan-pki"
    program = DEBIAN / "bin" / "pki"
    bad_request = "badRequest - transaction not permitted or supported"

    def enrol(
        self, url: str, common_name: str, challenge: str | None = None, *, options: Sequence[str] = ()
    ) -> Enrolment:
        at = self._directory
        (at / "strongswan.conf").touch()
        key = self._pki("--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
        self._key.write_text(_pem_blocks(key.text)[0])
        fetched = self._pki(
            "--scepca", "--url", url, "--caout", "ca.crt", "--raout", "ra.crt", "--outform", "pem", "--force"
        )
        if fetched.code:
            return Enrolment(None, fetched.code, fetched.text)
        encryption, signature = self._recipient_and_signer()
        secret = ["--password", challenge] if challenge else []
        roots = [self._root] if self._root else []
        trusted = [word for path in [*sorted(at.glob("ca*.crt")), *roots] for word in ("--cacert", str(path))]
        done = self._pki(
            *("--scep", "--url", url, "--in", self._key.name, "--dn", f"O={ORGANISATION}, CN={common_name}"),
            *("--san", common_name),
            *("--cacert-enc", encryption, "--cacert-sig", signature, *trusted, *secret, *options, "--outform", "pem"),
            *("--interval", "1", "--maxpolltime", "60"),
        )
        self._certificate.write_text("".join(_pem_blocks(done.text)))
        return self._result(done)

    def renew(self, url: str, common_name: str, challenge: str | None = None) -> Enrolment:
        """A RenewalReq for a new key."""
        certificate, key = self._set_aside()
        return self.enrol(url, common_name, challenge, options=["--cert", certificate.name, "--key", key.name])

    def _recipient_and_signer(self) -> tuple[str, str]:
        """The user says which certificate is which: by key usage among the RA's, else the issuing CA for both."""
        of_ra = sorted(self._directory.glob("ra*.crt"))
        candidates = of_ra or sorted(self._directory.glob("ca*.crt"))[:1]  # ca-1.crt is below the root, ca.crt
        usages = {path.name: _key_usage(path) for path in candidates}
        encryption = next(
            (name for name, usage in usages.items() if usage is None or usage.key_encipherment), candidates[0].name
        )
        signature = next(
            (name for name, usage in usages.items() if usage is None or usage.digital_signature), candidates[0].name
        )
        return encryption, signature

    def _pki(self, *words: str) -> Finished:
        return self._run(self.program, *words, STRONGSWAN_CONF=str(self._directory / "strongswan.conf"))


class Certmonger(Client):
    """A daemon with a private socket makes key and message; its helper ``scep-submit`` sends that, always by GET."""

    name = "certmonger"
    title = "certmonger"
    renews = "PKCSReq"
    package = "certmonger"
    program = DEBIAN / "lib" / "certmonger" / "scep-submit"
    transports = ("get",)
    bad_request = "Transaction either is not permitted or is not supported by server."

    def enrol(
        self, url: str, common_name: str, challenge: str | None = None, *, options: Sequence[str] = ()
    ) -> Enrolment:
        with self._daemon() as daemon:
            trusted: tuple[str | Path, ...] = ("-N", self._root) if self._root else ()
            self._getcert("add-scep-ca", "-c", "server", "-u", url, *trusted, *options)
            if not wait_until(self._knows_the_server, 20):
                return Enrolment(None, 1, self._getcert("list-cas", "-c", "server", "-v").text + daemon.output())
            secret = ["-L", challenge] if challenge else []
            self._getcert(
                *("request", "-c", "server", "-I", "client", "-f", self._certificate, "-k", self._key),
                *("-N", f"O={ORGANISATION},CN={common_name}", "-D", common_name, *secret, "-w"),
            )
            return self._outcome()

    def renew(self, url: str, common_name: str, challenge: str | None = None) -> Enrolment:
        """A PKCSReq for a new key, signed with the old one; the daemon remembers where and what, the challenge too."""
        old = self._certificate.read_bytes()
        secret = ["-L", challenge] if challenge else []
        with self._daemon():
            self._getcert("rekey", "-i", "client", *secret, "-w")
            outcome = self._outcome()
        # It goes on with the old certificate if it does not get a new one.
        return outcome if self._certificate.read_bytes() != old else Enrolment(None, 1, outcome.text)

    @contextlib.contextmanager
    def _daemon(self) -> Iterator[Server]:
        # The path of a socket may have 107 octets, and those of pytest's directories are long.
        with tempfile.TemporaryDirectory(prefix="certmonger-") as short:
            socket = Path(short) / "socket"
            at = str(self._directory)
            self._environment = {
                "HOME": at,
                "XDG_RUNTIME_DIR": at,
                "CERTMONGER_PVT_ADDRESS": f"unix:path={socket}",
            }
            daemon = self._sandbox.serve(
                [DEBIAN / "lib" / "certmonger" / "certmonger-session", "-n", "-L", "-P", socket, "-d", "2"],
                directory=self._directory,
                ready=socket.exists,
                environment=self._environment,
                name="certmonger",
            )
            try:
                yield daemon
            finally:
                daemon.stop()

    def _knows_the_server(self) -> bool:
        """The daemon asks for capabilities and certificates in the background and writes down what it has learnt."""
        for path in (self._directory / ".config" / "certmonger" / "cas").glob("*"):
            with contextlib.suppress(FileNotFoundError):  # the daemon replaces its files
                text = path.read_text()
                if text.startswith("id=server\n") and "\nca_capabilities=" in text and "\nca_encryption_cert=" in text:
                    return True
        return False

    def _outcome(self) -> Enrolment:
        wait_until(self._is_settled, 60)
        status = self._getcert("list", "-i", "client").text
        return self._result(Finished(0 if "status: MONITORING" in status else 1, status))

    def _is_settled(self) -> bool:
        """Whether it will do no more by itself; where it waits for the CA, it is told to poll now."""
        status = self._getcert("list", "-i", "client").text
        if "status: CA_WORKING" in status:
            self._getcert("refresh", "-i", "client")
        return any(found in status for found in ("status: MONITORING", "status: CA_UNREACHABLE", "stuck: yes"))

    def _getcert(self, *words: str | Path) -> Finished:
        return self._run(DEBIAN / "bin" / "getcert", *words, **self._environment)


class ScepClient(Client):
    """micromdm's client. It uses POST if that is offered, else GET; DES and SHA-1 always. It polls every 30 s."""

    name = "scepclient"
    title = "scepclient"
    renews = "RenewalReq"
    package = "scep"
    program = DEBIAN / "bin" / "scepclient"
    bad_request = "failInfo: badRequest (2)"
    algorithms = "des"

    def enrol(
        self, url: str, common_name: str, challenge: str | None = None, *, options: Sequence[str] = ()
    ) -> Enrolment:
        secret = ("-challenge", challenge) if challenge else ()
        done = self._run(
            *(self.program, "-server-url", url, "-private-key", self._key, "-certificate", self._certificate),
            *("-organization", ORGANISATION, "-cn", common_name, *secret, *options),
        )
        return self._result(done)

    def renew(self, url: str, common_name: str, challenge: str | None = None) -> Enrolment:
        """A RenewalReq with the CSR and the key that it has, because there is a certificate."""
        return self.enrol(url, common_name, challenge)


class PyScep(Client):
    """A library; ``pyscep_client.py`` is its command. It uses POST if that is offered, else GET."""

    name = "pyscep"
    title = "PyScep"
    renews = "PKCSReq"
    program = PEERS / "pyscep" / "bin" / "python"
    bad_request = "FAILURE 2"

    @classmethod
    def version(cls) -> str:
        """As pip has installed it."""
        (found,) = PEERS.glob("pyscep/lib/python3*/site-packages/PyScep-*.dist-info")
        return found.name.removeprefix("PyScep-").removesuffix(".dist-info")

    def enrol(
        self, url: str, common_name: str, challenge: str | None = None, *, options: Sequence[str] = ()
    ) -> Enrolment:
        secret = ("--challenge", challenge) if challenge else ()
        files: tuple[str | Path, ...] = ("--certificate", self._certificate, "--key", self._key)
        done = self._run(self.program, HERE / "pyscep_client.py", url, common_name, *files, *secret, *options)
        return self._result(done)

    def renew(self, url: str, common_name: str, challenge: str | None = None) -> Enrolment:
        """A PKCSReq for a new key, signed with the old one."""
        certificate, key = self._set_aside()
        return self.enrol(
            url, common_name, challenge, options=["--old-certificate", str(certificate), "--old-key", str(key)]
        )


CLIENTS: tuple[type[Client], ...] = (StrongSwan, Certmonger, ScepClient, PyScep)


def _key_usage(path: Path) -> x509.KeyUsage | None:
    with contextlib.suppress(x509.ExtensionNotFound):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    return None


def _pem_blocks(text: str) -> list[str]:
    return re.findall(r"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----\n", text, re.DOTALL)
