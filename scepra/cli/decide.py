"""``scepra decide``: what the RA would say to a CSR, rule by rule, with nothing sent and nothing recorded."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, Literal

import click

from scepra.challenge.static import StaticChallenge
from scepra.config import challenge as config
from scepra.config.load import load
from scepra.config.model import NoChallenge, Profile
from scepra.enrolment import ChallengeRefused, Credential, EnrolmentRequest, Verdict
from scepra.errors import ConfigError, ScepError
from scepra.policy import RuleReport, build, explain, observing
from scepra.scep import der
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest, decode_challenge
from scepra.scep.message import MessageType

_PEM = re.compile(rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([^-]*)-----END (?:NEW )?CERTIFICATE REQUEST-----")

Outcome = Literal["approve", "hold", "reject"]
_CONCLUSIONS: Mapping[Outcome, str] = {
    "approve": "approved: it would be forwarded",
    "hold": "held: it would be forwarded once people have approved it",
    "reject": "refused: it would not be forwarded",
}


@click.command()
@click.argument("csr", type=click.File("rb"))
@click.option("--config", "file", type=click.Path(path_type=Path), required=True, help="The configuration file.")
@click.option("--profile", "name", required=True, help="The profile whose rules decide.")
@click.option("--challenge", help="Judge this challenge in the place of the CSR's own; other users see it in `ps`.")
@click.option("--challenge-file", type=click.File("rb"), help="The same from a file, without the line end after it.")
@click.option("--source", help="The client's IP address; needed where a rule looks at it.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for scripts.")
@click.pass_context
def decide(
    context: click.Context,
    csr: BinaryIO,
    file: Path,
    name: str,
    challenge: str | None,
    challenge_file: BinaryIO | None,
    source: str | None,
    as_json: bool,
) -> None:
    """Show the policy's verdict on a CSR, rule by rule, sending nothing.

    CSR is a file in PEM or DER, or - for standard input; it is judged as an initial enrolment. The challenge that is
    judged is the one in the CSR, as a device would send it; a CSR that has none yet is tried with
    --challenge or --challenge-file. Nothing is sent, recorded or used up, and no challenge is shown.

    Exits with 0 if the request would be forwarded, at once or after people have approved it, with 1 if it would be
    refused, with 2 if it cannot be judged.
    """
    profile = _profile(file, name)
    password = _password(challenge, challenge_file)
    address = _address(profile, source)
    encoding = _encoding(csr.read())
    try:
        request = CertificationRequest.parse(encoding)
    except ScepError as error:
        reports: tuple[RuleReport, ...] = (RuleReport("request", f"{len(encoding)} octets", error.reason, False),)
    else:
        if password is not None:
            request = replace(request, challenge_password=password)
        reports = _judge(profile, name, request, address)
    outcome = _outcome(reports)
    if as_json:
        click.echo(
            json.dumps({"outcome": outcome, "profile": name, "rules": [asdict(each) for each in reports]}, indent=2)
        )
    else:
        click.echo("\n".join(_lines(reports, outcome)))
    context.exit(1 if outcome == "reject" else 0)


def _judge(profile: Profile, name: str, csr: CertificationRequest, source: str) -> tuple[RuleReport, ...]:
    """The proof of possession, the challenge, and the policy."""
    request = EnrolmentRequest(
        name, Credential.INITIAL, MessageType.PKCS_REQ, "", csr, _signer(csr), source, datetime.now(UTC)
    )
    rules = build(profile.policy)
    rules = observing(rules) if profile.observe else rules
    return (_possession(profile, csr), _challenge(profile, request), *explain(rules, request))


def _challenge(profile: Profile, request: EnrolmentRequest) -> RuleReport:
    """What can be said of the challenge without asking the store or anybody else, who only know when it is used."""
    present = "present" if request.csr.challenge_password else "absent"
    if isinstance(profile.challenge, NoChallenge):
        return RuleReport("challenge", present, "ok", True)
    if not isinstance(profile.challenge, config.StaticChallenge):
        said = f"not judged here: {profile.challenge.type} is looked up when a request comes in"
        return RuleReport("challenge", present, said, bool(request.csr.challenge_password))
    verdict = _verdict(StaticChallenge(profile.challenge.secret.reveal()).check(request))
    if isinstance(verdict, ChallengeRefused):
        return RuleReport("challenge", present, verdict.reason, False)
    return RuleReport("challenge", present, "ok", True)


def _possession(profile: Profile, csr: CertificationRequest) -> RuleReport:
    digest = csr.signature_digest
    looked_at = f"{csr.public_key.kind} with {digest.value if digest is not None else 'an unknown algorithm'}"
    try:
        csr.verify(profile.floor)
    except ScepError as error:
        return RuleReport("possession", looked_at, error.reason, False)
    return RuleReport("possession", looked_at, "ok", True)


def _outcome(reports: tuple[RuleReport, ...]) -> Outcome:
    """What comes of it all: a single objection outweighs a hold."""
    if not all(report.ok for report in reports):
        return "reject"
    return "hold" if any(report.hold for report in reports) else "approve"


def _lines(reports: tuple[RuleReport, ...], outcome: Outcome) -> Iterator[str]:
    width = max(len(report.rule) for report in reports)
    for report in reports:
        mark = "REFUSE" if not report.ok else "HOLD" if report.hold else "REPORT" if report.reported else "ok"
        yield f"{mark:6} {report.rule:{width}}  {report.looked_at}"
        if mark != "ok":
            yield f"{'':{width + 9}}{report.said}"
    yield _CONCLUSIONS[outcome]


def _profile(file: Path, name: str) -> Profile:
    try:
        profiles = load(file).profiles
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    if name not in profiles:
        raise click.BadParameter(f"there is no profile {name!r}, but {', '.join(profiles)}", param_hint="--profile")
    return profiles[name]


def _password(challenge: str | None, file: BinaryIO | None) -> str | None:
    """The challenge to judge in the place of the CSR's; None for the CSR's."""
    if challenge is None and file is None:
        return None
    if challenge is not None and file is not None:
        raise click.UsageError("--challenge and --challenge-file are two answers to one question")
    if file is not None:
        content = file.read().removesuffix(b"\n").removesuffix(b"\r")
    else:
        content = (challenge or "").encode("utf-8", "surrogateescape")
    try:
        return decode_challenge(der.UTF8_STRING, content)
    except ScepError as error:
        raise click.UsageError(error.reason) from error


def _address(profile: Profile, source: str | None) -> str:
    """The client's address, checked; "" where it does not matter."""
    if source is None:
        if any(rule.source or (rule.hold and rule.hold.when.source) for rule in profile.policy):
            raise click.UsageError("a rule of the profile looks at the source: say --source, the client's IP address")
        return ""
    try:
        return str(ip_address(source))
    except ValueError as error:
        raise click.BadParameter("expected an IP address", param_hint="--source") from error


def _encoding(content: bytes) -> bytes:
    """DER of a CSR in PEM or DER."""
    if content.startswith(b"\x30"):
        return content
    match = _PEM.search(content)
    if match is None:
        raise click.UsageError("the file holds no CERTIFICATE REQUEST, neither in PEM nor in DER")
    try:
        return base64.b64decode(b"".join(match[1].split()), validate=True)
    except binascii.Error as error:
        raise click.UsageError("the file holds PEM that is no base64") from error


def _signer(csr: CertificationRequest) -> Certificate:
    """What stands for the self-signed certificate that a client would sign its message with."""
    algorithm = der.sequence(der.oid(csr.signature_algorithm))
    validity = der.sequence(der.tlv(der.UTC_TIME, b"260101000000Z"), der.tlv(der.UTC_TIME, b"360101000000Z"))
    tbs = der.sequence(der.integer(1), algorithm, csr.subject.der, validity, csr.subject.der, csr.spki)
    return Certificate.parse(der.sequence(tbs, algorithm, der.bit_string(csr.signature)))


def _verdict(coroutine: Coroutine[Any, Any, Verdict]) -> Verdict:
    """What a provider says that need not ask anyone else."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict
    coroutine.close()
    raise click.UsageError("this profile's challenges are judged by another service, which is not asked here")
