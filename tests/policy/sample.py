"""Policies as the configuration has them, and requests for them to judge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from scepra.enrolment import Credential, Violation
from scepra.policy import Policy, PolicyRule, build, decide
from scepra.scep.csr import CertificationRequest

POLICY: TypeAdapter[tuple[PolicyRule, ...]] = TypeAdapter(Policy)

KEY = {"key": {"rsa": {}, "ec": ["P-256"]}}
SUBJECT = {"subject": {"match": {"CN": "dev"}}}
EMPTY_SUBJECT = {"subject": {"empty": True}}


@dataclass(frozen=True)
class Asked:
    """What rules see of an enrolment."""

    csr: CertificationRequest
    source: str = "192.0.2.1"
    credential: Credential = Credential.INITIAL
    received: datetime = datetime(2026, 5, 6, 12, tzinfo=UTC)


def policy(*rules: dict[str, Any]) -> tuple[PolicyRule, ...]:
    """A policy of rules as YAML has them."""
    return POLICY.validate_python(list(rules))


def judged(
    encoding: bytes, *rules: dict[str, Any], source: str = "192.0.2.1", usual: bool = True
) -> tuple[Violation, ...]:
    """What a policy objects to; unless told otherwise it accepts the usual key and the usual subject."""
    kinds = {next(iter(rule)) for rule in rules}
    defaults = [rule for rule in (KEY, SUBJECT) if usual and next(iter(rule)) not in kinds]
    return decide(build(policy(*defaults, *rules)), Asked(CertificationRequest.parse(encoding), source)).violations


def objected(encoding: bytes, *rules: dict[str, Any], **options: Any) -> list[str]:
    """The paths that a policy objects to."""
    return [violation.path for violation in judged(encoding, *rules, **options)]
