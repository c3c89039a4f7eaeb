"""Checks of the challenges that others judge; see :mod:`tests.mutations.removals`."""

from __future__ import annotations

from tests.mutations.removal import Removal

_SIGNED, _WEBHOOK, _INTUNE = (f"scepra/challenge/{name}.py" for name in ("signed", "webhook", "intune"))
_OF_SIGNED, _OF_WEBHOOK, _OF_INTUNE = (
    (f"tests/challenge/test_{name}.py", "tests/ra/test_providers.py") for name in ("signed", "webhook", "intune")
)

REMOVALS = (
    Removal("any issuer's token is good", _SIGNED, 'if claims.get("iss") != settings.issuer:', "if False:", _OF_SIGNED),
    Removal(
        "a token for somebody else is good",
        _SIGNED,
        "if settings.audience not in _texts(audience):",
        "if False:",
        _OF_SIGNED,
    ),
    Removal(
        "a signed token is good for every profile",
        _SIGNED,
        "if profile not in _texts(profiles):",
        "if False:",
        _OF_SIGNED,
    ),
    Removal("a token never expires", _SIGNED, "if ends <= moment - skew:", "if False:", _OF_SIGNED),
    Removal(
        "a token may be good for a century",
        _SIGNED,
        "if not ends - since <= settings.longest:",
        "if False:",
        _OF_SIGNED,
    ),
    Removal(
        "a token may name nobody",
        _SIGNED,
        'if not binding.names_somebody and self._settings.unbound == "refuse":',
        "if False:",
        _OF_SIGNED,
    ),
    Removal(
        "a token is good for every name", _SIGNED, "wrong = binding.violations(request.csr)", "wrong = ()", _OF_SIGNED
    ),
    Removal(
        "a token is good for many keys",
        _SIGNED,
        "(Reservation(name),), binding.device)",
        "(), binding.device)",
        _OF_SIGNED,
    ),
    Removal(
        "a token's header may bring its key's address", _SIGNED, "not header.keys() <= _HEADER or ", "", _OF_SIGNED[:1]
    ),
    Removal(
        "the algorithm is not the key's",
        _SIGNED,
        'if header.get("alg") != key.algorithm:',
        "if False:",
        _OF_SIGNED[:1],
    ),
    Removal(
        "any answer is about this request",
        _WEBHOOK,
        'if said.get("csr_sha256") != csr_sha256:',
        "if False:",
        _OF_WEBHOOK,
    ),
    Removal(
        "an error with the right body allows",
        _WEBHOOK,
        'if reply.status != 200 or reply.media_type != "application/json":',
        "if False:",
        _OF_WEBHOOK,
    ),
    Removal(
        "a webhook's binding is not enforced",
        _WEBHOOK,
        "wrong = answer.binding.violations(request.csr)",
        "wrong = ()",
        _OF_WEBHOOK,
    ),
    Removal("a webhook's keys may be any", _WEBHOOK, "    if unknown:\n", "    if False:\n", _OF_WEBHOOK[:1]),
    Removal(
        "what Intune refuses is good",
        _INTUNE,
        "if code != SUCCESS:\n            return ChallengeRefused",
        "if False:\n            return ChallengeRefused",
        _OF_INTUNE,
    ),
    Removal("requests go wherever Graph says", _INTUNE, "or not inside or port", "or port", _OF_INTUNE[:1]),
    Removal(
        "Intune may answer about another transaction",
        _INTUNE,
        'if found.get("transactionId", inner["transactionId"]) != inner["transactionId"]:',
        "if False:",
        _OF_INTUNE[:1],
    ),
    Removal(
        "a device's challenge is good for every name",
        "scepra/challenge/directory.py",
        "wrong = device.binding.violations(csr)",
        "wrong = ()",
        ("tests/challenge/test_directory.py", "tests/ra/test_providers.py"),
    ),
    Removal(
        "JSON with a key twice has one reading",
        "scepra/challenge/json_object.py",
        "    if len(found) < len(pairs):\n",
        "    if False:\n",
        _OF_WEBHOOK[:1],
    ),
    Removal(
        "nobody is told of what was issued",
        "scepra/store/outcomes.py",
        "        notices.add(connection, held.id, held.notify, event, now)\n",
        "        pass\n",
        ("tests/store/test_notices.py",),
    ),
    Removal(
        "a notice that was taken up is lost",
        "scepra/store/notices.py",
        "connection.execute(sa.update(notices).where(notices.c.id.in_(ids)).values(next_at=until))",
        "connection.execute(sa.delete(notices).where(notices.c.id.in_(ids)))",
        ("tests/store/test_notices.py",),
    ),
)
