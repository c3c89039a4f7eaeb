"""Checks of whoever is named as the next CA, and the tests that must notice when one is missing."""

from __future__ import annotations

from tests.mutations.removal import Removal

_SUCCESSION = "scepra/upstream/succession.py"
_TESTS = ("tests/upstream/test_succession.py",)

REMOVALS = (
    Removal(
        "a CA that came before an anchor is one",
        "scepra/provenance.py",
        "*(each for each in lineage[first:] if each not in anchors)",
        "*(each for each in lineage if each not in anchors)",
        ("tests/domain/test_renewal.py",),
    ),
    Removal(
        "lists of a CA count that follows no anchor",
        "scepra/provenance.py",
        "if each in anchors), len(lineage))",
        "if each in anchors), 0)",
        ("tests/domain/test_renewal.py",),
    ),
    Removal(
        "whoever is named in the store is followed",
        _SUCCESSION,
        "if anchored(authority) is None or not (_pinned(authority, settings) or authority in followed):",
        "if False:",
        _TESTS,
    ),
    Removal(
        "an RA's word is taken where it is not to be",
        _SUCCESSION,
        'if signer != authority and not (settings.rollover == "ra" and _speaks(signer)):',
        "if False:",
        _TESTS,
    ),
    Removal(
        "a certificate that only decrypts names the next CA",
        _SUCCESSION,
        'return is_ra(signer) and (signer.key_usage is None or "digitalSignature" in signer.key_usage)',
        "return is_ra(signer)",
        _TESTS,
    ),
    Removal(
        "rollovers are followed although they are refused",
        _SUCCESSION,
        'if settings.rollover == "refuse" or not path:',
        "if not path:",
        _TESTS,
    ),
    Removal(
        "the signature of an RA's certificate is not looked at",
        _SUCCESSION,
        "if not lower.signed_by(upper.public_key, floor.digests):",
        "if False:",
        _TESTS,
    ),
    Removal(
        "an expired CA names the next",
        _SUCCESSION,
        "if not all(each.valid_at(succession.seen) for each in path):",
        "if False:",
        _TESTS,
    ),
    Removal(
        "what no signature covers is evidence",
        _SUCCESSION,
        "return told.signed and certificate in told.certificates and",
        "return certificate in told.certificates and",
        (*_TESTS, "tests/ra/test_rollover.py"),
    ),
    Removal(
        "evidence is for any certificate",
        _SUCCESSION,
        "return told.signed and certificate in told.certificates and _fit",
        "return told.signed and _fit",
        _TESTS,
    ),
    Removal(
        "a next CA may have a weak key",
        _SUCCESSION,
        "    certificate.public_key.check(settings.floor)\n",
        "",
        _TESTS,
    ),
    Removal(
        "a next CA need not be one that signs certificates",
        _SUCCESSION,
        'return certificate.is_ca and (usage is None or "keyCertSign" in usage) and end is not None and now < end',
        "return certificate.is_ca and end is not None and now < end",
        _TESTS,
    ),
    Removal(
        "a message is relayed that names others, too",
        _SUCCESSION,
        " and all(each in believed for each in offered if each.is_ca)",
        "",
        _TESTS,
    ),
    Removal(
        "a request for the next CA is sealed to the CA of today",
        "scepra/conversation.py",
        "view.toward(authority).encryption,",
        "view.encryption,",
        ("tests/ra/test_rollover.py",),
    ),
    Removal(
        "certificates of any generation are believed",
        "scepra/upstream/view.py",
        "issuers = self.toward(authority).issuers\n",
        "issuers = (*self.current.issuers, *(self.next.issuers if self.next else ()))\n",
        ("tests/ra/test_rollover.py",),
    ),
    Removal(
        "any certificate of the RA's is told of as its next",
        "scepra/bag.py",
        "if each not in served and view.asked_by(each) != view.current.authority:",
        "if each not in served:",
        ("tests/ra/test_rollover.py",),
    ),
)
