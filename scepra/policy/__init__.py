"""Policy: what a CSR may ask for. Everything that no rule names is refused, and every violation is named (I12).

``build(policy)`` makes rules of the configuration's models, ``decide(rules, request)`` judges,
``explain(rules, request)`` tells people how, and ``openness(policy)`` what an administrator may not have meant.
"""

from scepra.policy.decision import Judged, build, decide, explain, version
from scepra.policy.model import Policy, PolicyRule
from scepra.policy.openness import Opening, openness
from scepra.policy.rule import Reporting, Request, Rule, RuleReport, Rules

__all__ = [
    "Judged",
    "Opening",
    "Policy",
    "PolicyRule",
    "Reporting",
    "Request",
    "Rule",
    "RuleReport",
    "Rules",
    "build",
    "decide",
    "explain",
    "openness",
    "version",
]
