"""An RA that runs in front of the lab's NDES: passwords drawn by NTLM, given out by commands and pages, used once."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from scepra.ndes.page import Password, read
from scepra.scep.message import PKIStatus
from tests.rig.blackbox.administration import command
from tests.rig.blackbox.device import Device
from tests.rig.blackbox.diary import Diary
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.process import Process, free_port, wait_until
from tests.rig.blackbox.ra import PATHS, RAProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def ndes(laboratory: Laboratory, tmp_path: Path) -> Iterator[str]:
    """The lab's NDES as a process; its URL without a path."""
    port = free_port()
    words = ("lab-ca", "--ndes", "--state", str(laboratory.directory), "--listen", f"tcp:{port}:interface=127.0.0.1")
    process = Process("ndes", [sys.executable, "-m", "scepra", *words], tmp_path)
    process.launch()
    process.await_ready(lambda: b"The lab's CA is ready" in process.log.read_bytes())
    yield f"http://127.0.0.1:{port}"
    process.end()


def settings(url: str, laboratory: Laboratory, admin: int, scheme: str) -> dict[str, Any]:
    """What the configuration of the RA has more."""
    challenge = {
        "type": "ndes",
        "file": None,
        "url": f"{url}/certsrv/mscep_admin/",
        "user": "LAB\\ndes",
        "password-file": str(laboratory.directory / "ndes-password.txt"),
        "authentication": scheme,
        "credentials-may-travel-without-tls": True,
    }
    return {
        "listen": {"admin": f"tcp:{admin}"},
        "upstreams": {"ca": {"authorisation": "challenge"}},
        "profiles": {"dev": {"challenge": challenge}},
    }


@pytest.mark.proves("RA-11", "RA-10", "AC-091", "AC-014", "SEC-06")
@pytest.mark.parametrize(("scheme", "workers"), [("ntlm", 1), ("negotiate", 2)])
def test_from_ndes_to_the_device(scheme: str, workers: int, ndes: str, laboratory: Laboratory, tmp_path: Path) -> None:
    """What the command gave out for one name is good for that name, once; what an MDM fetched from the page that it
    takes for NDES's is good once; another name burns nothing, and no log has any of them."""
    admin = free_port()
    extra = settings(ndes, laboratory, admin, scheme)
    ra = RAProcess(laboratory, tmp_path / "ra", free_port(), f"{ndes}/scep", workers=workers, extra=extra)
    keys = iter(laboratory.keys)
    diary = Diary(tmp_path / "diary.jsonl")

    def device(name: str, challenge: str) -> Device:
        return Device(name, next(keys), laboratory, diary, ra.port, PATHS["dev"], "dev", challenge)

    ra.start()
    try:
        given: list[str] = []
        wait_until(lambda: minted(ra, given), "a password is drawn")
        (text,) = given
        assert device("printer-8.example", text).enrol().status is PKIStatus.FAILURE
        assert device("printer-7.example", text).until_done().status is PKIStatus.SUCCESS
        assert device("printer-7.example", text).enrol().status is PKIStatus.FAILURE
        token = command(ra, "token", "create", "--name", "mdm", "--role", "unbound-minter")
        basic = base64.b64encode(f"mdm:{token}".encode()).decode()
        page = Request(f"http://127.0.0.1:{admin}/certsrv/mscep_admin/", headers={"Authorization": f"Basic {basic}"})
        with urlopen(page, timeout=60) as response:  # noqa: S310 - our own URL
            found = read(response.read())
        assert isinstance(found, Password)
        assert device("laptop-9.example", found.text).until_done().status is PKIStatus.SUCCESS
        assert device("laptop-9.example", found.text).enrol().status is PKIStatus.FAILURE
        assert ra.get("GetCACaps", "/certsrv/mscep_admin/")[0] == 404
        secret = (laboratory.directory / "ndes-password.txt").read_text().strip()
        assert not any(each in ra.output() for each in (text, found.text, secret))
    finally:
        ra.end()


def minted(ra: RAProcess, given: list[str]) -> bool:
    """Whether the command has given out a password, which is put into *given*."""
    try:
        given.append(command(ra, "challenge", "mint", "--profile", "dev", "--cn", "printer-7.example"))
    except AssertionError as error:
        assert "no password of its NDES at hand" in str(error)
    return bool(given)
