"""``scepra enroll-ra`` after another CA has followed the one that is pinned (CERT-12, AC-106)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scepra.config.store import Store
from scepra.keys.certificate import read_certificates
from scepra.lab.authority import Authority
from scepra.lab.files import write_identity
from scepra.lab.key import new_key
from scepra.lab.service import CertificationService
from scepra.lab.state import LabState
from scepra.store.database import Database
from scepra.store.engine import create_engine
from scepra.succession import StoredSuccessions
from scepra.upstream.succession import Succession
from tests.rig.blackbox.process import Process, free_port
from tests.rig.house import run

pytestmark = pytest.mark.slow


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[tuple[Path, Succession]]:
    """The directory of a CA that runs, with a configuration that pins the one before; and how that one told of it."""
    port, lab = free_port(), LabState.load_or_create(tmp_path / "lab")
    key = new_key()
    following = Authority.create(key=key)
    service = CertificationService(lab.authority)
    service.announce(following)
    told = Succession(following.certificate, service._next_ca_cert(), (lab.authority.certificate,), datetime.now(UTC))
    write_identity(lab.directory, "ca-2", following.certificate, key)
    (lab.directory / "scepra.yaml").write_text(
        f"upstreams: {{ca: {{url: 'http://127.0.0.1:{port}', ca-fingerprint: 'file:ca.crt'}}}}\n"
        "profiles:\n  dev:\n    paths: /scep\n    upstream: ca\n"
        "    ra: {directory: own, subject: CN=scepra RA}\n"
        "    challenge: {type: static, file: challenge.txt}\n    policy: [{key: {rsa: {}}}]\n"
    )
    words = ("lab-ca", "--state", str(lab.directory), "--listen", f"tcp:{port}:interface=127.0.0.1")
    process = Process("ca", [sys.executable, "-m", "scepra", *words], tmp_path)
    process.launch()
    try:
        process.await_ready(lambda: "The lab's CA is ready" in process.output())
        yield lab.directory, told
    finally:
        process.end()


def enrol(directory: Path) -> subprocess.CompletedProcess[str]:
    """The command."""
    words = ("enroll-ra", "--config", str(directory / "scepra.yaml"), "--profile", "dev", "--json")
    return subprocess.run(
        [sys.executable, "-m", "scepra", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.proves("CERT-12", "AC-106")
def test_what_the_ra_remembers_counts_for_the_command_too(ca: tuple[Path, Succession], tables: Path) -> None:
    """Without a store, and with one that tells of nothing, the pin alone counts; with the evidence in it, the CA that
    follows the pinned one is believed. A store that cannot be read is told of."""
    directory, told = ca
    alone = enrol(directory)
    assert (alone.returncode, "rollovers" in alone.stderr) == (1, False)
    assert "none is pinned" in alone.stderr
    store = directory / "scepra.db"
    store.write_bytes(b"no database")
    broken = enrol(directory)
    assert broken.returncode == 1
    assert "Without what the store tells of rollovers of the CA: " in broken.stderr
    shutil.copy(tables, directory)
    assert "none is pinned" in enrol(directory).stderr
    settings = Store(url=f"sqlite:{store}")
    engine = create_engine(settings, 1)
    assert run(StoredSuccessions("ca", Database(engine, settings.sqlite_path)).keep(told))
    engine.dispose()
    done = enrol(directory)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["generation"] == 1
    (certificate,) = read_certificates(directory / "own" / "0001" / "signing.crt")
    assert certificate.signed_by(told.certificate.public_key)
