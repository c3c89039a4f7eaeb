"""The package as its users install it: from a wheel, and from a checkout that they edit."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE", "scepra", "twisted")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is built from, so that nothing built before gets into it."""
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for name in SHIPPED:
        source = ROOT / name
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of that copy."""
    into = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", into, checkout)
    (made,) = into.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of commands of a virtual environment that has nothing in it."""
    at = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", at)
    return at / "bin"


def run(*command: str | Path) -> str:
    """The output of a command that must succeed; it runs where no checkout is near."""
    done = subprocess.run([*map(str, command)], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_the_package_and_the_plugin_and_nothing_else(wheel: Path) -> None:
    """The wheel has scepra with its types, twistd's plugin, no package ``twisted`` of its own, and no tests."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"scepra/__init__.py", "scepra/py.typed", "twisted/plugins/scepra_plugin.py"} <= names
    assert {name for name in names if name.startswith("twisted/")} == {"twisted/plugins/scepra_plugin.py"}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"scepra", "twisted"}
    modules = {file.relative_to(ROOT).as_posix() for file in (ROOT / "scepra").rglob("*.py")}
    assert modules == {name for name in names if name.startswith("scepra/") and name.endswith(".py")}


def test_wheel_and_checkout_install_and_run(wheel: Path, checkout: Path, environment: Path, tmp_path: Path) -> None:
    """Installed from the wheel, and then from a checkout with ``-e``, both commands are there and the RA answers."""
    pip = environment / "pip"
    run(pip, "install", "-q", wheel)
    works(environment, tmp_path)
    run(pip, "uninstall", "-q", "-y", "scepra")
    assert "scepra" not in run(environment / "twistd", "--help")
    assert "web" in run(environment / "twistd", "--help")
    run(pip, "install", "-q", "--no-deps", "-e", checkout)
    works(environment, tmp_path)


def works(environment: Path, directory: Path) -> None:
    """The commands of an installation are there, and they serve the example in front of ``scepra lab-ca``."""
    assert "lab-ca" in run(environment / "scepra", "--help")
    assert "SCEP Registration Authority" in run(environment / "twistd", "--help")
    front, ca = free_port(), free_port()
    example = (ROOT / "config.example.yaml").read_text()
    assert "tcp:8080:" in example
    assert "127.0.0.1:8089/" in example
    config = directory / "scepra.yaml"
    config.write_text(example.replace("tcp:8080:", f"tcp:{front}:").replace("127.0.0.1:8089/", f"127.0.0.1:{ca}/"))
    endpoint = f"tcp:{ca}:interface=127.0.0.1"
    with serving(environment / "scepra", "lab-ca", "--listen", endpoint, "--state", directory / "lab", port=ca):
        run(environment / "scepra", "check-config", "--online", config)
        twistd = (environment / "twistd", "-n", "--pidfile=", "scepra", "--config", config)
        question = f"http://127.0.0.1:{front}/scep?operation=GetCACaps"
        with serving(*twistd, port=front), urlopen(question, timeout=10) as answer:
            assert b"SCEPStandard" in answer.read().split()


def free_port() -> int:
    """A port of the loopback interface on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def serving(*command: str | Path, port: int) -> Iterator[None]:
    """A server that runs meanwhile, from when its port answers."""
    process = subprocess.Popen(
        [*map(str, command)], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not listening(port):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def listening(port: int) -> bool:
    """Whether something accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
