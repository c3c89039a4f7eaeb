"""Policy: what a CSR may ask for. Everything that no rule names is refused, and every violation is named (I12).

``build(policy)`` makes rules of the configuration's models, ``decide(rules, request)`` judges,
``explain(rules, request)`` tells people how, and ``openness(policy)`` what an administrator may not have meant.
"""

from scepra.policy.decision import build, decide, explain, version
from scepra.policy.model import Policy, PolicyRule
from scepra.policy.openness import Opening, openness
from scepra.policy.rule import Request, Rule, RuleReport

__all__ = [
    "Opening",
    "Policy",
    "PolicyRule",
    "Request",
    "Rule",
    "RuleReport",
    "build",
    "decide",
    "explain",
    "openness",
    "version",
]
