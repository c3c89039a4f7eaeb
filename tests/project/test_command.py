"""The two commands: ``scepra`` and ``twistd scepra``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import ServerOptions

from scepra import __version__
from scepra.cli import LazyGroup, main
from scepra.lab import LabState
from scepra.store.database import ThreadedDatabase
from scepra.tap import Options, makeService
from scepra.upstream.client import Upstream
from scepra.web.drain import Front
from scepra.workers.master import Master
from scepra.workers.signals import Signals
from scepra.works import Beside

ROOT = Path(__file__).parent.parent.parent
COMMANDS = list(LazyGroup.modules)


def leaves(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    """Every command below this one that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [leaf for name, child in found if child for leaf in leaves(child, f"{path} {name}")]


def test_help_lists_every_command_and_imports_none() -> None:
    """``scepra --help`` names each command without importing any of them, nor anything slow."""
    program = (
        "import sys; from scepra.cli import main; main(['--help'], standalone_mode=False);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert not {"twisted", "pydantic", "cryptography", "scepra.scep"} & set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    """Every command of the table exists under its name, and has a help text of its own."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.help


def test_unknown_command_is_a_usage_error() -> None:
    """A command that does not exist is refused by name, with exit code 2."""
    result = CliRunner().invoke(main, ["enroll"])
    assert result.exit_code == 2
    assert "No such command 'enroll'" in result.output


def test_version() -> None:
    """``scepra --version`` tells the package's version."""
    assert CliRunner().invoke(main, ["--version"]).output == f"scepra, version {__version__}\n"


def test_documentation_names_every_command_and_option() -> None:
    """docs/cli.rst has each command's words and each of its options."""
    page = (ROOT / "docs" / "cli.rst").read_text()
    for words, command in leaves(main, "scepra"):
        assert words in page
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else []:
                assert option in page, f"{words} {option}"


def test_twistd_needs_a_configuration() -> None:
    """``twistd scepra`` without ``--config`` is a usage error."""
    with pytest.raises(UsageError, match="--config FILE is required"):
        Options().parseOptions([])


@pytest.mark.parametrize("option", ["uid", "gid"])
def test_twistd_does_not_change_its_user(option: str) -> None:
    """Who starts it makes its database and must own its keys: to change the user then is refused, and what to do
    instead is told."""
    with pytest.raises(UsageError, match=f"--{option} is of no use here: start twistd as the user"):
        ServerOptions().parseOptions([f"--{option}", "65534", "scepra", "--config", "scepra.yaml"])
    options = ServerOptions()
    options.parseOptions(["scepra", "--config", "scepra.yaml"])
    assert options.subOptions["config"] == "scepra.yaml"


def test_twistd_reports_every_mistake(tmp_path: Path) -> None:
    """``twistd scepra`` with a bad file ends with every mistake at its place, and no traceback."""
    file = tmp_path / "bad.yaml"
    file.write_text("listen: {scep: 1}\nunknown: 2\n")
    options = Options()
    options.parseOptions(["--config", str(file)])
    with pytest.raises(SystemExit) as ended:
        makeService(options)
    assert f"{file}:1:" in str(ended.value.code)
    assert f"{file}:2:" in str(ended.value.code)


@pytest.mark.proves("DR-14", "FT-46")
def test_twistd_makes_the_service_of_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example gives a service for its upstream and its listener; timers run on the monotonic clock from then on."""
    monkeypatch.setattr(reactor, "seconds", reactor.seconds)
    LabState.load_or_create(tmp_path / "lab")
    file = tmp_path / "scepra.yaml"
    file.write_text((ROOT / "config.example.yaml").read_text())
    options = Options()
    options.parseOptions(["--config", str(file)])
    made = makeService(options)
    assert reactor.seconds is time.monotonic
    serving, signals = made
    assert isinstance(signals, Signals)
    # What clients see ends first, and the store last: the others need it to end in good order.
    first, *others, last = serving
    assert (type(first), type(last)) == (ThreadedDatabase, Front)
    (beside,) = (each for each in others if isinstance(each, Beside))
    assert Upstream in map(type, beside)


def test_twistd_makes_a_master_of_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more than one worker there is a master, and nothing that serves; mistakes are told before it starts any."""
    monkeypatch.setattr(reactor, "seconds", reactor.seconds)
    LabState.load_or_create(tmp_path / "lab")
    example = (ROOT / "config.example.yaml").read_text().replace("workers: 1 ", "workers: 3 ")
    file = tmp_path / "scepra.yaml"
    file.write_text(example)
    options = Options()
    options.parseOptions(["--config", str(file)])
    assert [type(service) for service in makeService(options)] == [Master, Signals]
    file.write_text(example.replace("interface=127.0.0.1", "device=lo"))
    with pytest.raises(SystemExit, match=r"scepra\.yaml: listen\.scep: expected tcp:PORT, perhaps with"):
        makeService(options)
    file.write_text(example)
    (tmp_path / "lab" / "ra.key").write_text("no key")
    (tmp_path / "lab" / "ra-signing.key").write_text("no key")
    with pytest.raises(SystemExit, match=r"lab/ra.*\.key: "):
        makeService(options)


def test_twistd_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``twistd scepra --version`` tells the package's version."""
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"scepra {__version__}\n"
