"""``scepra lab-ca``."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scepra.cli import main
from scepra.ndes.page import Password, read

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
# What a shell has started in the background ignores Ctrl-C, and so would its children.
INTERRUPTIBLE = ("env", "--default-signal=INT")


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, running on a free port: what it printed when it was ready, and its process."""
    command = [
        *INTERRUPTIBLE,
        sys.executable,
        "-m",
        "scepra",
        "lab-ca",
        "--listen",
        "tcp:0:interface=127.0.0.1",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            while not (lines and lines[-1].startswith("  then")):
                lines.append(process.stdout.readline())
                assert lines[-1], process.communicate()[1]
            yield "".join(lines), process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    """The CA answers at the URL that it prints, has the fingerprint that it prints, and ends at Ctrl-C with success."""
    state = tmp_path / "lab"
    with serving("--state", str(state)) as (printed, process):
        url = re.search(r"http://127\.0\.0\.1:\d+/scep", printed)
        assert url is not None
        with urlopen(f"{url[0]}?operation=GetCACert", timeout=10) as response:  # noqa: S310 - our own URL
            served = x509.load_der_x509_certificate(response.read())
        with urlopen(f"{url[0]}?operation=GetCACaps", timeout=10) as response:  # noqa: S310 - the test's own server
            assert b"POSTPKIOperation" in response.read()
    assert process.returncode == 0
    assert served == x509.load_pem_x509_certificate((state / "ca.crt").read_bytes())
    assert served.fingerprint(hashes.SHA256()).hex() in printed
    assert "(made now)" in printed
    assert "trusts whoever reaches this port" in printed
    with serving("--state", str(state), "--challenge-file", str(state / "challenge.txt")) as (printed, process):
        assert "(made now)" not in printed
        assert f"the one in {state / 'challenge.txt'}" in printed
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.proves("RA-11")
def test_it_imitates_ndes(tmp_path: Path) -> None:
    """With --ndes the page is there, for the account whose password stands in a file; by Basic and by NTLM."""
    state = tmp_path / "lab"
    with serving("--state", str(state), "--ndes") as (printed, process):
        url = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert url is not None
        assert "LAB\\ndes (ndes-password.txt)" in printed
        password = (state / "ndes-password.txt").read_text().strip()
        page = f"{url[0]}/certsrv/mscep_admin/"
        basic = base64.b64encode(f"LAB\\ndes:{password}".encode()).decode()
        with urlopen(Request(page, headers={"Authorization": f"Basic {basic}"}), timeout=10) as response:  # noqa: S310 - the test's own server
            assert isinstance(read(response.read()), Password)
        with pytest.raises(HTTPError, match="401") as refused:
            urlopen(Request(page, headers={"Authorization": "NTLM AAAA"}), timeout=10)  # noqa: S310 - the test's own server
        assert refused.value.headers.get_all("WWW-Authenticate")[:2] == ["Negotiate", "NTLM"]
        refused.value.close()
        with urlopen(f"{url[0]}/scep?operation=GetCACaps", timeout=10) as response:  # noqa: S310 - the test's own server
            assert b"POSTPKIOperation" in response.read()
    assert process.returncode == 0
    assert (state / "ndes-users.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("endpoint", ["nowhere:1", "tcp:many"])
def test_endpoint_that_cannot_be_listened_on(endpoint: str, tmp_path: Path) -> None:
    """An endpoint that is none ends with a sentence and exit code 1, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "scepra", "lab-ca", "--listen", endpoint, "--state", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"Error: cannot listen on {endpoint}: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--challenge-file", "missing.txt"], "does not exist"),
        (["--challenge-file", "empty.txt"], "the file is empty"),
        (["--challenge-file", "challenge.txt", "--ndes"], "does not go with --ndes"),
        (["--ca-lifetime", "30", "--rollover-before", "30"], "must be less than --ca-lifetime"),
        (["--ca-lifetime", "0"], "is not in the range"),
        (["--state", "empty.txt"], "is a file"),
        (["--state", "broken"], "ca.crt: cannot be used"),
    ],
)
def test_mistakes_are_named(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be used ends with a sentence and another exit code than 0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "challenge.txt").write_text("challenge\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ca.crt").touch()
    result = CliRunner().invoke(main, ["lab-ca", *arguments])
    assert result.exit_code in (1, 2)
    assert said in result.output


def test_help_says_what_comes_next() -> None:
    """The help names the configuration that goes with it."""
    assert "config.example.yaml" in CliRunner().invoke(main, ["lab-ca", "--help"]).output


@pytest.mark.slow
def test_a_kind(tmp_path: Path) -> None:
    """It serves the kind that it is told to, over the network."""
    with serving("--kind", "ndes-2012", "--state", str(tmp_path / "lab")) as (said, _):
        url = re.search(r"http://\S+", said)[0]
        with urlopen(f"{url}?operation=GetCACaps") as answer:  # noqa: S310 - a lab of our own
            assert answer.headers["Server"] == "Microsoft-IIS/8.5"
            assert answer.read().startswith(b"POSTPKIOperation\r\n")
    refused = CliRunner().invoke(main, ["lab-ca", "--kind", "windows"])
    assert refused.exit_code == 2
    assert "'ndes-2012'" in refused.output
