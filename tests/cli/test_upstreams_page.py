"""docs/upstreams.rst, walked by somebody who has nothing but the page and the URL of an NDES."""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

from scepra.cli.lab_ca import ACCOUNT, USER
from scepra.lab.files import write_private
from scepra.ndes.page import Password, read
from tests.cli.test_lab_ca import serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upstreams.rst").read_text("utf-8")
URL = "http://ndes.corp.example/certsrv/mscep/mscep.dll"


def commands() -> list[list[str]]:
    """The page's commands, in its order, each as its words."""
    joined = PAGE.replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^ +\$ (.+)$", joined, re.MULTILINE)]


def password(url: str, lab: Path) -> str:
    """A password from the page of the lab's NDES, shown the account."""
    secret = (lab / ACCOUNT).read_text("ascii").strip()
    basic = base64.b64encode(f"{USER}:{secret}".encode()).decode("ascii")
    page = f"{url.removesuffix('/scep')}/certsrv/mscep_admin/"
    with urlopen(Request(page, headers={"Authorization": f"Basic {basic}"}), timeout=30) as response:  # noqa: S310 - a lab of our own
        found = read(response.read())
    assert isinstance(found, Password)
    return found.text


@pytest.mark.slow
@pytest.mark.proves("UP-01", "CAPS-10")
def test_the_page_s_commands(tmp_path: Path) -> None:
    """Each command of the page, against the lab's NDES: the section that it prints goes into the example of the
    configuration, which then has no mistakes, also for who asks the CA."""
    assert [words[:2] for words in commands()] == [["scepra", "probe"]] * 2 + [["scepra", "check-config"]] * 2
    with serving("--ndes", "--kind", "ndes", "--state", str(tmp_path / "lab")) as (said, _):
        match = re.search(r"http://\S+", said)
        assert match is not None
        write_private(tmp_path / "password.txt", f"{password(match[0], tmp_path / 'lab')}\n".encode())

        def run(words: list[str]) -> str:
            command = [sys.executable, "-m", *(match[0] if word == URL else word for word in words)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        probe, trial, check, online = commands()
        printed = run(probe)
        section = printed.partition("For the configuration:\n")[2].partition("\nWhoever")[0]
        assert "kind: ndes\n" in section
        assert "It issued the certificate with the serial number" in run(trial)
        shutil.copy(ROOT / "config.example.yaml", tmp_path / "scepra.yaml")
        example = yaml.safe_load((tmp_path / "scepra.yaml").read_text("utf-8"))
        example["upstreams"] = {"lab": yaml.safe_load(section)["upstreams"]["found"]}
        (tmp_path / "scepra.yaml").write_text(yaml.safe_dump(example), "utf-8")
        run(check)
        run(online)
