"""Policy: what a CSR may ask for. Everything that no rule names is refused, and every violation is named (I12).

``build(policy)`` makes rules of the configuration's models, ``decide(rules, request)`` judges,
``build_issued(policy, tolerated)`` makes those that judge what was issued, ``observing(rules)`` has them report only,
``explain(rules, request)`` tells people how, and ``openness(policy)`` what an administrator may not have meant.
"""

from scepra.policy.condition import Conditions
from scepra.policy.contradiction import unmet
from scepra.policy.decision import Judged, build, build_issued, decide, explain, observing, version
from scepra.policy.model import Policy, PolicyRule
from scepra.policy.opening import Opening
from scepra.policy.openness import openness
from scepra.policy.rule import Reporting, Request, Rule, RuleReport, Rules

__all__ = [
    "Conditions",
    "Judged",
    "Opening",
    "Outcome",
    "Policy",
    "PolicyRule",
    "Reporting",
    "Request",
    "Rule",
    "RuleReport",
    "Rules",
    "build",
    "build_issued",
    "decide",
    "explain",
    "observing",
    "openness",
    "outcome",
    "unmet",
    "version",
]
