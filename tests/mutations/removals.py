"""One line of the program each, without which an attack succeeds, and the tests that must notice.

A removal is a text that stands exactly once in its file, and what takes its place; where it stands no more, its entry
has to follow it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Removal:
    """A check that is taken out of *file*; ``tests`` are the arguments of pytest that must fail without it."""

    name: str
    file: str
    line: str
    instead: str
    tests: tuple[str, ...]


REMOVALS = (
    Removal(
        "the proof of possession is not asked for",
        "scepra/reception.py",
        "    if possession is not None:\n",
        "    if False:\n",
        ("tests/domain/test_reception.py", "tests/ra/test_requests.py"),
    ),
    Removal(
        "any key signs for any request",
        "scepra/reception.py",
        "if not signer.public_key.same_key(csr.public_key):",
        "if False:",
        ("tests/domain/test_reception.py", "tests/ra/test_signers.py"),
    ),
    Removal(
        "a self-signed certificate renews",
        "scepra/reception.py",
        "if message_type is not MessageType.PKCS_REQ:",
        "if False:",
        ("tests/domain/test_reception.py", "tests/ra/test_signers.py"),
    ),
    Removal(
        "any issuer's certificate renews",
        "scepra/reception.py",
        "if not renewal.issued(signer):",
        "if False:",
        ("tests/domain/test_reception.py", "tests/ra/test_signers.py"),
    ),
    Removal(
        "an anchor's name is enough",
        "scepra/renewal.py",
        "            and signer.signed_by(anchor.public_key)\n",
        "",
        ("tests/domain/test_renewal.py", "tests/ra/test_signers.py"),
    ),
    Removal(
        "the RA's own certificate renews",
        "scepra/renewal.py",
        "if signer in self.infrastructure:",
        "if False:",
        ("tests/domain/test_renewal.py", "tests/ra/test_renewal.py", "tests/ra/test_signers.py"),
    ),
    Removal(
        "an expired certificate renews",
        "scepra/renewal.py",
        "elif now - self.grace > end:",
        "elif False:",
        ("tests/domain/test_renewal.py",),
    ),
    Removal(
        "a renewal takes other names",
        "scepra/renewal.py",
        "if new - old:",
        "if False:",
        ("tests/domain/test_renewal.py",),
    ),
    Removal(
        "a messageType that nobody knows is a PKCSReq",
        "scepra/scep/message.py",
        "        if found is None:\n            raise ScepError(",
        "        if found is None:\n            return MessageType.PKCS_REQ\n            raise ScepError(",
        ("tests/scep/test_message.py",),
    ),
    Removal(
        "a signed attribute may stand twice",
        "scepra/scep/cms.py",
        'raise ScepError(f"the attribute {oid.dotted(identifier)} is not there exactly once with one value")',
        "pass",
        ("tests/scep/test_cms.py", "tests/scep/test_message.py", "tests/ra/test_messages.py"),
    ),
    Removal(
        "the messageDigest is not compared",
        "scepra/scep/cms.py",
        'raise ScepError("the messageDigest attribute is missing or differs from the content\'s digest")',
        "pass",
        ("tests/scep/test_cms.py",),
    ),
    Removal(
        "a content key of a wrong length is used",
        "scepra/scep/envelope.py",
        "if len(content_key) != self.cipher.key_size:",
        "if False:",
        ("tests/scep/test_envelope.py",),
    ),
    Removal(
        "another transaction's answer is believed",
        "scepra/scep/certrep.py",
        "if read_text(info.attribute(oid.TRANSACTION_ID)) != expected.transaction_id:",
        "if False:",
        ("tests/scep/test_message.py", "tests/ra/test_upstream.py"),
    ),
    Removal(
        "yesterday's answer is believed",
        "scepra/scep/certrep.py",
        "if nonce is None or nonce.octets() != expected.sender_nonce:",
        "if False:",
        ("tests/scep/test_message.py", "tests/ra/test_upstream.py"),
    ),
    Removal(
        "the first certificate of an answer is the one",
        "scepra/scep/certrep.py",
        "    if len(found) != 1:\n",
        "    if not found:\n",
        ("tests/scep/test_message.py", "tests/ra/test_upstream.py"),
    ),
    Removal(
        "any CA's certificate is delivered",
        "scepra/issuance.py",
        'yield "issuer", "is not the pinned CA"',
        "pass",
        ("tests/domain/test_issuance.py",),
    ),
    Removal(
        "a CA's powers are delivered",
        "scepra/issuance.py",
        'yield "basicConstraints", "gives a CA\'s powers"',
        "pass",
        ("tests/domain/test_issuance.py",),
    ),
    Removal(
        "other names than were asked for are delivered",
        "scepra/issuance.py",
        'yield "subjectAltName", "has names that were not requested"',
        "pass",
        ("tests/domain/test_issuance.py",),
    ),
    Removal(
        "a CA that is not pinned is trusted",
        "scepra/upstream/view.py",
        "pinned = [item for item in offered if any(pin.matches(item) for pin in settings.ca_fingerprint)]",
        "pinned = [item for item in offered if item.is_ca]",
        ("tests/upstream/test_view.py",),
    ),
    Removal(
        "a request for a CA is forwarded",
        "scepra/policy/extension.py",
        'yield Violation(self.name, "extensions.basicConstraints", "asks to be a CA")',
        "pass",
        ("tests/policy/test_extension.py",),
    ),
    Removal(
        "names of types that nobody named are forwarded",
        "scepra/policy/alternative.py",
        'yield Violation(self.name, path, f"a name of the type {name.kind}: {NOT_NAMED}")',
        "pass",
        ("tests/policy/test_alternative.py",),
    ),
    Removal(
        "a request with violations is approved",
        "scepra/judgement.py",
        "        violations += decision.violations\n",
        "        pass\n",
        ("tests/ra/test_refusals.py",),
    ),
    Removal(
        "a refused challenge is as good as a right one",
        "scepra/judgement.py",
        "return isinstance(self.verdict, ChallengeRefused) or bool(self.violations)",
        "return bool(self.violations)",
        ("tests/ra/test_challenges.py", "tests/ra/test_minted.py"),
    ),
    Removal(
        "a wrong shared challenge is as good as the right one",
        "scepra/challenge/static.py",
        '        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._secret):\n',
        "        if False:\n",
        ("tests/ra/test_challenges.py",),
    ),
    Removal(
        "a challenge is good on any profile",
        "scepra/challenge/minted.py",
        "        if kept.profile != request.profile:\n",
        "        if False:\n",
        ("tests/ra/test_minted.py",),
    ),
    Removal(
        "a challenge is good for any name",
        "scepra/challenge/minted.py",
        "        if wrong:\n",
        "        if False:\n",
        ("tests/ra/test_minted.py",),
    ),
    Removal(
        "a name of another type slips through a binding",
        "scepra/binding.py",
        "            if not self._may_name(name):\n",
        '            if name.kind == "dns" and not self._may_name(name):\n',
        ("tests/domain/test_binding.py",),
    ),
    Removal(
        "a challenge that was revoked is redeemed",
        "scepra/store/reservations.py",
        "        if reason is not None:\n",
        "        if False:\n",
        ("tests/store/test_challenges.py", "tests/ra/test_minted.py"),
    ),
    Removal(
        "a challenge is redeemed for every key",
        "scepra/store/reservations.py",
        "    for use in range(used, wanted.uses):\n",
        "    for use in range(used, used + 1):\n",
        ("tests/store/test_challenges.py", "tests/ra/test_minted.py"),
    ),
    Removal(
        "a challenge is never suspended",
        "scepra/store/challenges.py",
        "if row is None or row.misuses < MOST_MISUSES or row.suspended is not None:",
        "if True:",
        ("tests/ra/test_minted.py",),
    ),
    Removal(
        "whoever was overtaken writes all the same",
        "scepra/store/outcomes.py",
        '    transactions.c.fence == sa.bindparam("held_fence"),\n',
        "",
        ("tests/store/test_outcomes.py", "tests/store/test_leases.py"),
    ),
    Removal(
        "a token that has ended is good",
        "scepra/web/admin/resource.py",
        "token is None or not token.good(self._now()) or",
        "token is None or",
        ("tests/web/test_admin.py",),
    ),
    Removal(
        "a token is good for every role",
        "scepra/web/admin/resource.py",
        "    if not route.roles & token.roles:\n",
        "    if False:\n",
        ("tests/web/test_admin.py",),
    ),
    Removal(
        "a token is good for every profile",
        "scepra/web/admin/challenges.py",
        "        if not call.token.reaches(order.profile):\n",
        "        if False:\n",
        ("tests/web/test_admin.py",),
    ),
    Removal(
        "a held request is approved by one who counts twice",
        "scepra/store/approvals.py",
        "    if any(each.person == person for each in before):\n",
        "    if False:\n",
        ("tests/store/test_approvals.py",),
    ),
    Removal(
        "an approval is good for something else",
        "scepra/store/approvals.py",
        "    if digest(shown(found)) != shown_digest:\n",
        "    if False:\n",
        ("tests/store/test_approvals.py",),
    ),
    Removal(
        "a poll is answered by its transactionID alone",
        "scepra/transaction.py",
        '(profile.encode("utf-8"), public_key.hex().encode("ascii"), transaction_id.encode("ascii"))',
        '(profile.encode("utf-8"), b"", transaction_id.encode("ascii"))',
        ("tests/domain/test_transaction.py", "tests/ra/test_polls.py"),
    ),
    Removal(
        "an address asks as often as it likes",
        "scepra/ra.py",
        "        self.admission.message(source)\n",
        "",
        ("tests/ra/test_rates.py",),
    ),
    Removal(
        "a key asks as often as it likes",
        "scepra/ra.py",
        "        self.admission.signed(record.source, signer.public_key.sha256)\n",
        "",
        ("tests/ra/test_rates.py",),
    ),
    Removal(
        "a thief's replays use up what a device may ask",
        "scepra/admission.py",
        "self._keys.take((self.place(source), key), self._seconds())",
        'self._keys.take(("", key), self._seconds())',
        ("tests/ra/test_rates.py",),
    ),
    Removal(
        "wrong challenges cost nothing",
        "scepra/ra.py",
        "            self.admission.wrong(self.name, record.source)\n",
        "            pass\n",
        ("tests/ra/test_rates.py",),
    ),
    Removal(
        "strangers slow down whoever has not been wrong",
        "scepra/admission.py",
        "if static and (profile, place) in self._pauses and self._failing.wait(profile, now):",
        "if static and self._failing.wait(profile, now):",
        ("tests/ra/test_rates.py",),
    ),
    Removal(
        "forgetting a bucket fills it",
        "scepra/bucket.py",
        "            self._tide = max(self._tide, full_at)\n",
        "",
        ("tests/domain/test_bucket.py",),
    ),
    Removal(
        "whoever likes fills the queue of approvals",
        "scepra/store/intents.py",
        'if intent.room is not None and values["state"] == State.HELD.value:',
        "if False:",
        ("tests/store/test_holding.py",),
    ),
    Removal(
        "any number of exchanges is under way with a CA",
        "scepra/upstream/turns.py",
        "        return self._taken >= self._concurrency\n",
        "        return False\n",
        ("tests/upstream/test_turns.py",),
    ),
)
