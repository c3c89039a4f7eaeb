"""``scepra policy``: explain decisions, try another policy on what is stored, and propose one from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click

from scepra.cli.asn1_text import printable
from scepra.cli.draft import draft
from scepra.cli.explanation import Explanation, records
from scepra.cli.replay import Replay, read_policies
from scepra.cli.seen import moment, opened_vault, seen
from scepra.cli.store import (
    Ledger,
    Untold,
    config_option,
    json_option,
    limit_option,
    opened,
    optional_identifier_argument,
)
from scepra.cli.table import terminal_width, to_json
from scepra.config.load import read
from scepra.policy import version
from scepra.policy.generalisation import counted
from scepra.policy.learning import Learner
from scepra.store import listing
from scepra.store.approvals import NotPossible
from scepra.store.listing import Span
from scepra.store.rows import Corrupt
from scepra.transaction import State

since_option: Callable[[Any], Any] = click.option(
    "--since", metavar="DURATION|DATE", callback=moment, help="Only what came in since then, such as 30d or 2026-01-31."
)


@click.group()
def policy() -> None:
    """Explain decisions, and try policies before they are enforced.

    Nothing is sent or changed, and no challenge is shown.
    """


@policy.command()
@optional_identifier_argument
@click.option(
    "--record",
    "log",
    type=click.File("r", errors="replace"),
    help="Explain what lines of the log record instead; - is standard input.",
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="The configuration file; needed for an ID.")
@json_option
def explain(identifier: str | None, log: TextIO | None, file: Path | None, as_json: bool) -> None:
    """Show a decision rule by rule.

    The decision on the enrolment ID, from its audit record in the database; or, with --record, those in lines of the
    log: refusals are recorded there alone, by the reference that the client was told.

    Exits with 0 if it did, with 1 if there is nothing to show, with 2 if the command line or the configuration is
    wrong.
    """
    if (identifier is None) is (log is None):
        raise click.UsageError("say an ID, or --record FILE: one of them")
    current = _versions(file) if file is not None else {}
    if log is not None:
        found = [Explanation.of(each, current.get(each["profile"])) for each in records(log)]
        if not found:
            raise click.ClickException("there is no audit record in it")
    else:
        if file is None:
            raise click.UsageError("an ID needs --config FILE")
        with opened(file) as ledger:
            found = [_stored(ledger, identifier or "", current)]
    if as_json:
        click.echo(to_json([each.report() for each in found] if log is not None else found[0].report()))
    else:
        click.echo("\n\n".join("\n".join(each.lines()) for each in found))


@policy.command()
@click.argument("new", type=click.Path(path_type=Path))
@config_option
@since_option
@click.option("--profile", help="Only what came in to this profile; NEW may then be a policy alone.")
@limit_option(100)
@json_option
@click.pass_context
def replay(
    context: click.Context,
    new: Path,
    file: Path,
    since: datetime | None,
    profile: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Judge stored requests by the policy in NEW.

    NEW is a whole configuration, or a file with a policy alone (as a profile's shadow). The requests are those that the
    store of --config holds: what was refused at once is not stored. Only the policy is asked anew: challenges, renewal
    rules and what counts certificates are not.

    Exits with 0 if everything would be decided the same, with 1 if something would not, with 2 if that cannot be told.
    """
    policies, skipped, found = read_policies(new, profile), list[Corrupt](), Replay(limit)
    with _opened(file) as ledger:
        for request in seen(ledger, opened_vault(file), Span(profile, since, datetime.now(UTC)), skipped):
            found.judge(request, policies)
    if as_json:
        click.echo(to_json(found.report([error.transaction for error in skipped])))
    else:
        click.echo("\n".join(found.lines(len(skipped), terminal_width())))
    context.exit(1 if found.differing else 0)


@policy.command()
@config_option
@click.option("--profile", required=True, help="The profile whose requests are learned from.")
@since_option
def learn(file: Path, profile: str, since: datetime | None) -> None:
    """Propose a policy from the requests that a profile has seen.

    A file in YAML with comments, to be read and narrowed by a person, on standard output: it approves every stored
    request but those that were refused, that still wait for people, or that no policy approves. Make the profile
    observe-only first if its own policy refuses what you want to see.

    Exits with 0 if there is a proposal, with 1 if there is nothing to learn from, with 2 if that cannot be told.
    """
    learner, skipped, seen_but = Learner(), list[Corrupt](), Counter[str]()
    unfit: list[str] = []
    span = Span(profile, since, datetime.now(UTC))
    with _opened(file) as ledger:
        for request in seen(ledger, opened_vault(file), span, skipped):
            state = request.transaction.state
            if state in (State.REFUSED, State.HELD):
                seen_but[state.value] += 1
            elif objections := learner.add(request):
                seen_but["unfit"] += 1
                if len(unfit) < _MOST_NAMED:
                    unfit.append(f"  {request.transaction.id}: {objections[0]}")
    if not learner.count:
        raise click.ClickException(f"there is no stored request of profile {printable(profile)} to learn from")
    proposal = learner.propose()
    click.echo("\n".join(draft(proposal.rules, proposal.remarks, [*_head(span, learner.count, seen_but), *unfit])))


_MOST_NAMED = 10


def _head(span: Span, learned: int, seen_but: Counter[str]) -> Iterator[str]:
    """What stands before a proposal."""
    since = "" if span.since is None else f" from {span.since:%Y-%m-%d %H:%M} UTC"
    until = f" until {span.until:%Y-%m-%d %H:%M} UTC"
    yield f"Proposed from {counted(learned)} requests to profile {span.profile}{since}{until}."
    yield "Read it, narrow what is in capitals, and try it: as the profile's shadow, or by"
    yield f"scepra policy replay THIS-FILE --config CONFIGURATION --profile {span.profile}"
    if left := seen_but["refused"] + seen_but["held"]:
        yield f"Not learned from {counted(left)} requests that were refused, or wait for people."
    if unfit := seen_but["unfit"]:
        one = unfit == 1
        what, them = ("request is", "it") if one else ("requests are", "them")
        yield f"{counted(unfit)} {what} such that no policy approves {them}:"


def _stored(ledger: Ledger, identifier: str, current: dict[str, str]) -> Explanation:
    """The explanation of a stored decision.

    Raises:
        NotPossible: there is no record of it.
    """
    found = ledger.look(listing.decision, ledger.resolve(identifier))
    if found is None:
        raise NotPossible(f"there is no record of the decision on {identifier}: it is older than records are kept")
    return Explanation.of(found.record, current.get(str(found.record.get("profile"))))


def _versions(file: Path) -> dict[str, str]:
    """The versions of the policies in a configuration, as far as it can be read."""
    return {name: version(profile.policy) for name, profile in read(file).sections.profiles.items()}


@contextmanager
def _opened(file: Path) -> Iterator[Ledger]:
    """As :func:`opened`, for commands whose exit status 1 is an answer.

    Raises:
        Untold: the store cannot be used.
    """
    try:
        with opened(file) as ledger:
            yield ledger
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise Untold(error.message) from error
