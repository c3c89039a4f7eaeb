"""The RA as its users run it: a configuration file, files for the keys, and ``twistd``, in front of one CA."""

from __future__ import annotations

import json
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from .authorities import Authority, write_key, write_pem
from .peers import ROOT
from .sandbox import Finished, Sandbox, Server, wait_until

CHALLENGE = "Rq7vTz2mKw9Xc4Hs"
INSIDE = "dev1.example.org"
OUTSIDE = "dev1.example.net"

# There is a profile for each combination: which algorithms are accepted, which certificates the RA has, and whether
# POST is offered. DES cannot go together with renewal, so only the modern profiles renew.
ALGORITHMS = ("modern", "des")
FORMS = ("dual", "split")
TRANSPORTS = ("post", "get")

# What the clients put into their requests, and no more.
POLICY: list[dict[str, Any]] = [
    {"key": {"rsa": {"min": 2048}}},
    {
        "subject": {
            "require": ["CN"],
            "match": {"CN": r"[a-z0-9-]+\.example\.org", "O": "interop", "OU": "MDM", "C": "US"},
        }
    },
    {"san": {"dns": {"match": r"[a-z0-9-]+\.example\.org", "max": 1}}},
    {"extensions": {"allow": ["basicConstraints", "subjectKeyIdentifier"]}},
    {"key-usage": {"allow": ["digitalSignature", "keyEncipherment"]}},
    {"eku": {"allow": ["serverAuth", "clientAuth"]}},
    {"attributes": {"allow": ["friendlyName"]}},
]

_ASK = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5).read()"


class RegistrationAuthority:
    """scepra in front of one CA, with a profile for each way that a client may see it."""

    def __init__(self, sandbox: Sandbox, directory: Path, authority: Authority) -> None:
        self._port = sandbox.free_port()
        self._sandbox, self._directory = sandbox, directory
        self._draws = authority.broker is not None
        (directory / "challenge.txt").touch(mode=0o600)
        (directory / "challenge.txt").write_text(CHALLENGE + "\n")
        identities = {
            "dual": _identity(directory, "ra", authority, sign=True, decrypt=True),
            "split": {
                "signing": _identity(directory, "ra-sign", authority, sign=True, decrypt=False),
                "encryption": _identity(directory, "ra-decrypt", authority, sign=False, decrypt=True),
            },
        }
        write_pem(directory / "issuer.crt", authority.issuer)
        configuration = self._configuration = directory / "scepra.yaml"
        configuration.write_text(yaml.safe_dump(self._settings(authority, identities), sort_keys=False))
        self.server: Server = sandbox.serve(
            [Path(sys.executable).with_name("twistd"), "-n", "--pidfile=", "scepra", "--config", configuration],
            directory=directory,
            ready=lambda: sandbox.listening(self._port) and self._answers(sandbox, directory),
            environment={"PYTHONPATH": str(ROOT)},
            name="scepra",
        )

    def url(self, form: str, transport: str, algorithms: str = "modern") -> str:
        return f"http://127.0.0.1:{self._port}{_path(form, transport, algorithms)}"

    def minting_url(self, algorithms: str) -> str:
        """Of a profile whose challenges are minted; there is none in front of a CA that has challenges of its own."""
        return f"http://127.0.0.1:{self._port}/scep/minted/{algorithms}"

    def mint(self, algorithms: str, common_name: str) -> str:
        """A challenge for somebody, as an administrator has it made."""
        made = self._mint(f"minted-{algorithms}", common_name)
        assert made.code == 0, made.text
        return made.text.split()[0]

    def challenge(self, form: str, transport: str, algorithms: str, common_name: str) -> str:
        """What a client needs for its first certificate: the RA's challenge, or one that the RA draws at the CA."""
        if not self._draws:
            return CHALLENGE
        profile = _profile(form, transport, algorithms)
        drawn: list[Finished] = []

        def mint() -> bool:
            # Another may have taken the last one that was at hand; the next is drawn then.
            drawn.append(self._mint(profile, common_name))
            return drawn[-1].code == 0

        assert wait_until(mint, 30), drawn[-1].text
        return drawn[-1].text.split()[0]

    def refusals(self) -> list[str]:
        """Why it refused what it refused, in the order of its log."""
        return [
            "; ".join(json.loads(found)["reasons"])
            for found in re.findall(r"scepra\.audit#warn\] (.*)$", self.server.output(), re.MULTILINE)
        ]

    def _mint(self, profile: str, common_name: str) -> Finished:
        names = ["--profile", profile, "--cn", common_name, "--by", "interop"]
        command = [sys.executable, "-m", "scepra", "challenge", "mint", "--config", self._configuration, *names]
        return self._sandbox.run(command, directory=self._directory, environment={"PYTHONPATH": str(ROOT)})

    def _answers(self, sandbox: Sandbox, directory: Path) -> bool:
        """Whether the RA has the CA's certificates already: it listens before it does."""
        question = f"{self.url('dual', 'get')}?operation=GetCACert"
        return sandbox.run([sys.executable, "-c", _ASK, question], directory=directory).code == 0

    def _settings(self, authority: Authority, identities: dict[str, Any]) -> dict[str, Any]:
        renewal = {"renewal": {"trust": ["issuer.crt"], "window": "400d"}}
        static = {"type": "static", "file": "challenge.txt"}
        return {
            "listen": {"scep": f"tcp:{self._port}:interface=127.0.0.1"},
            # Of several, one may know the CA's certificates before another does, and not each client tries again.
            "workers": 1,
            "upstreams": {
                "ca": {
                    "url": authority.url,
                    "ca-fingerprint": authority.fingerprints,
                    **authority.upstream,
                }
            },
            "profiles": {
                _profile(form, transport, algorithms): {
                    "paths": [_path(form, transport, algorithms)],
                    "upstream": "ca",
                    "ra": identities[form],
                    "challenge": (form == "split" and authority.broker) or static,
                    "ca-certificates": {"root": True},
                    "capabilities": {"post": transport == "post"},
                    "policy": POLICY,
                    **({"legacy": ["DES-CBC"]} if algorithms == "des" else renewal),
                }
                for algorithms, form, transport in product(ALGORITHMS, FORMS, TRANSPORTS)
            }
            | ({} if authority.upstream["authorisation"] == "challenge" else _minting(identities["split"])),
        }


def _minting(identity: Any) -> dict[str, Any]:
    """Profiles with challenges that the RA gives out; DES on one of its own."""
    return {
        f"minted-{algorithms}": {
            "paths": [f"/scep/minted/{algorithms}"],
            "upstream": "ca",
            "ra": identity,
            "challenge": {"type": "minted", "bind": ["common-name"]},
            "ca-certificates": {"root": True},
            "policy": POLICY,
            "legacy": ["DES-CBC"] if algorithms == "des" else [],
        }
        for algorithms in ALGORITHMS
    }


def _profile(form: str, transport: str, algorithms: str) -> str:
    return f"{algorithms}-{form}-{transport}"


def _path(form: str, transport: str, algorithms: str) -> str:
    return f"/scep/{algorithms}/{form}/{transport}"


def _identity(directory: Path, name: str, authority: Authority, *, sign: bool, decrypt: bool) -> dict[str, str]:
    certificate, key = authority.certify_ra(f"{authority.name} {name}", sign=sign, decrypt=decrypt)
    write_pem(directory / f"{name}.crt", certificate)
    write_key(directory / f"{name}.key", key)
    return {"certificate": f"{name}.crt", "key": f"{name}.key"}
