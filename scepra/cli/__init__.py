"""The ``scepra`` command: a group whose commands are imported only when they are used, so that each starts fast."""

from __future__ import annotations

import importlib
from typing import ClassVar

import click

from scepra import __version__


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the chosen one."""

    modules: ClassVar[dict[str, tuple[str, str]]] = {
        "challenge": ("scepra.cli.challenge:challenge", "Make challenges for somebody; list and revoke them."),
        "check-config": ("scepra.cli.config:check_config", "Check a configuration file, its keys and certificates."),
        "config": ("scepra.cli.config:config", "Tell about the configuration's form."),
        "decide": ("scepra.cli.decide:decide", "Show the policy's verdict on a CSR, rule by rule, sending nothing."),
        "demo": ("scepra.cli.demo:demo", "Enrol through a real RA at a real CA, all on this machine."),
        "enroll-ra": ("scepra.cli.enroll_ra:enroll_ra", "Enrol certificates for the RA itself."),
        "fingerprint": ("scepra.cli.fingerprint:fingerprint", "Print what a SCEP CA offers, to compare out of band."),
        "inspect": ("scepra.cli.inspect:inspect", "Decode SCEP messages, CSRs, CA certificates and query strings."),
        "install": ("scepra.cli.enroll_ra:install", "Install certificates for the RA that a CA has issued by hand."),
        "lab-ca": ("scepra.cli.lab_ca:lab_ca", "Serve a small SCEP CA for trials."),
        "pending": ("scepra.cli.pending:pending", "List what waits for people, and approve or deny it."),
        "policy": ("scepra.cli.policy:policy", "Explain decisions; try policies on what is stored, or propose one."),
        "probe": ("scepra.cli.probe:probe", "Find out how a SCEP CA behaves, and how to configure it."),
        "reload": ("scepra.cli.reload:reload", "Have the RA take its changed configuration, and say whether it has."),
        "status": ("scepra.cli.status:status", "Show how everything is, and what needs somebody."),
        "token": ("scepra.cli.token:token", "Say who may use the administration, and for what."),
        "transactions": ("scepra.cli.transactions:transactions", "Show where enrolments stand; deal with stuck ones."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, without importing any."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None when there is none."""
        if cmd_name not in self.modules:
            return None
        module, _, attribute = self.modules[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and what each is for, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.modules.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scepra")
def main() -> None:
    """Scepra, a SCEP Registration Authority. The server itself is `twistd -n scepra --config FILE`."""
