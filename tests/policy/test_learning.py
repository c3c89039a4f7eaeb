"""What is proposed from requests that were seen: everything that was seen, and little else."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scepra.cli.draft import draft
from scepra.config.policyfile import parse_policy
from scepra.policy import PolicyRule, build, decide, openness
from scepra.policy.generalisation import MEMBERS, Texts
from scepra.policy.learning import Learner, Proposal
from scepra.policy.pattern import Pattern
from scepra.scep import der, oid
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.policy.sample import Asked

SITES = ("rome", "oslo", "bern", "riga")
FLEET = [f"laptop-{number:04}.corp.example" for number in range(20)]


def asked(*attributes: bytes, source: str = "192.0.2.1", **options: Any) -> Asked:
    """A request for rules to see."""
    return Asked(CertificationRequest.parse(csrs.build(*attributes, **options)), source)


def learned(requests: Iterable[Asked]) -> Proposal:
    """What is proposed from requests, all of which some policy approves."""
    learner = Learner()
    for request in requests:
        assert learner.add(request) == ()
    return learner.propose()


def text(proposal: Proposal) -> str:
    """The file of a proposal."""
    return "\n".join([*draft(proposal.rules, proposal.remarks, ["a proposal"]), ""])


def policy(proposal: Proposal) -> tuple[PolicyRule, ...]:
    """The policy in the file of a proposal."""
    reading = parse_policy(text(proposal).encode(), "proposal")
    assert reading.policy is not None, (reading.problems, text(proposal))
    return reading.policy


def spec(proposal: Proposal, kind: str) -> Any:
    """One rule of a proposal."""
    return next(rule[kind] for rule in proposal.rules if kind in rule)


def generalised(texts: Iterable[str]) -> str:
    """The pattern for some texts, which matches each of them."""
    seen, texts = Texts(), list(texts)
    for each in texts:
        seen.add(each)
    found = seen.generalise()
    assert all(Pattern(found.pattern).matches(each) for each in texts)
    return found.pattern + (" (varied)" if found.varied else "")


# --- Patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (FLEET, r"laptop-[0-9]{4}\.corp\.example"),
        (["Example GmbH"] * 5, "Example GmbH"),
        ([*FLEET, "printer", "Old (1)"], r"laptop-[0-9]{4}\.corp\.example|Old \(1\)|printer"),
        ([f"PC{number}" for number in range(95, 105)], "PC[0-9]{2,3}"),
        (["a0b1c2d3e4f5", "0123456789ab", "ffeeddccbbaa", "1a2b3c4d5e6f"], "[0-9a-f]{12}"),
        ([f"{site}-{number}" for site in ("rome", "oslo") for number in range(3)], "oslo-[0-9]|rome-[0-9]"),
        (
            [
                f"{site}-{kind}-{n}"
                for site in ("rome", "oslo", "bern", "riga")
                for kind in ("pc", "mac", "ap", "tv")
                for n in range(3)
            ],
            "(bern|oslo|riga|rome)-(ap|mac|pc|tv)-[0-9]",
        ),
        ([*(f"pc-{n}" for n in range(9)), "büro-1"], "pc-[0-9]|büro-1"),
        (["anna", "bert", "carl"], "[a-z]{4}"),
        (["Jürgen Groß", "Zoë Žák", "Iñes Ruíz"], "[A-Zañüë]{4}"),
        (["1", "2"], "1|2"),
        ([f"{letter * 300}-{letter * 300}" for letter in "xyz"], "[a-z]+-[a-z]+"),
    ],
)
def test_patterns_say_what_was_seen(texts: list[str], expected: str) -> None:
    """What is the same is literal, what varies is a class with the lengths that occurred, what is rare stays."""
    if "Jürgen Groß" in texts:
        pattern = Pattern(generalised(texts))
        assert not pattern.matches("Jürgen  Groß")
        assert not pattern.matches("Jürgen-Groß")
    else:
        assert generalised(texts) == expected


@pytest.mark.slow
def test_what_is_too_varied_is_marked() -> None:
    """Where nobody could read the alternatives, the pattern names the characters and the common end, and is marked."""
    many = [f"{'.'.join([label] * times)}.corp.example" for times in range(1, 30) for label in "abc"]
    assert generalised(many) == r"[a-z.]{1,57}\.corp\.example (varied)"
    assert generalised(["x" * 700, "y"]) == "[a-z]+ (varied)"
    assert generalised(chr(0x4E00 + 2 * number) for number in range(1500)) == ".+ (varied)"
    assert generalised(["_" * number for number in range(1, 300)]) == "[_]{0,298}_ (varied)"


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), min_size=1, max_size=60), min_size=1))
def test_patterns_match_all_that_was_seen(texts: list[str]) -> None:
    """Whatever the texts, the pattern is one, and matches each."""
    generalised(texts)


# --- Policies --------------------------------------------------------------------------------------------------------


def device(number: int) -> Asked:
    """One of a fleet."""
    name = FLEET[number]
    return asked(
        csrs.challenge("never-to-be-seen"),
        csrs.carried(
            csrs.san(csrs.dns(name), csrs.upn(f"user{number}@corp.example")),
            csrs.eku("1.3.6.1.5.5.7.3.2"),
            csrs.key_usage(b"\x05\xa0"),
        ),
        subject=csrs.name(csrs.value(csrs.CN, name), csrs.value(csrs.ORGANISATION, "Example Corp")),
        key=csrs.rsa_key(),
        source=f"192.0.2.{number}",
    )


@pytest.mark.proves("I10", "DR-19")
def test_a_fleet_becomes_a_policy() -> None:
    """Names, key, purposes, usages, digests and networks of a fleet become rules with counts; no challenge does."""
    proposal = learned(map(device, range(20)))
    assert proposal.rules == [
        {"key": {"rsa": {"min": 2048}}},
        {
            "subject": {
                "require": ["CN", "O"],
                "match": {"CN": r"laptop-[0-9]{4}\.corp\.example", "O": "Example Corp"},
            }
        },
        {
            "san": {
                "dns": {"match": r"laptop-[0-9]{4}\.corp\.example", "max": 1},
                "upn": {"match": r"user[0-9]{1,2}@corp\.example", "max": 1},
            }
        },
        {"eku": {"allow": ["clientAuth"]}},
        {"key-usage": {"allow": ["digitalSignature", "keyEncipherment"]}},
        {"signature": {"digests": ["SHA-256"]}},
        {"source": {"networks": ["192.0.2.0/24"]}},
    ]
    written = text(proposal)
    assert "# of 20 requests: RSA 2048 20\n" in written
    assert "never-to-be-seen" not in written
    assert openness(policy(proposal)) == ()
    rules = build(policy(proposal))
    assert all(decide(rules, device(number)).outcome == "approve" for number in range(20))
    stranger = device(3).csr.__class__.parse(csrs.build(subject=csrs.subject("root")))
    assert decide(rules, Asked(stranger)).outcome == "reject"


def test_what_is_open_is_said_loudly() -> None:
    """Everything that check-config would warn of has a remark in capitals at its place."""
    proposal = learned(
        asked(
            csrs.carried(
                csrs.extension("1.2.3.4", der.NULL), csrs.eku("2.5.29.37.0"), csrs.san(csrs.dns("*.a.example"))
            ),
            source="a socket",
        )
        for _ in range(3)
    )
    remarks = [sentence for said in proposal.remarks.values() for sentence in said]
    for opening in openness(policy(proposal)):
        assert f"OPEN: {opening.sentence}" in remarks
    assert "OPEN: 1.2.3.4 is allowed with any value" in remarks
    assert any(sentence.startswith("NO RULE ABOUT THE SOURCE") for sentence in remarks)
    assert all(f"# {sentence}" in text(proposal) for sentence in remarks)


def test_domains_take_the_place_of_patterns_that_nobody_can_read() -> None:
    """Many shapes below a few domains become those domains, each with enough members, and a loud remark."""
    hosts = [".".join([label] * times) for times in range(1, 30) for label in "abc"]
    names = [f"{host}.{domain}" for host in hosts for domain in ("corp.example", "lab.example")]
    proposal = learned(asked(csrs.carried(csrs.san(csrs.dns(name)))) for name in names)
    assert spec(proposal, "san")["dns"] == {"suffix": ["corp.example", "lab.example"], "max": 1}
    (remark,) = proposal.remarks[2, "san", "dns", "suffix"]
    assert remark.startswith("EVERY NAME below these is accepted")


def mailboxes(*domains: str) -> list[Asked]:
    """Devices with so many kinds of mail addresses, at each domain, that nobody can read the alternatives."""
    stems = [".".join([letter] * times) for times in range(1, 25) for letter in "abc"]
    names = [f"{stem}@{domain}" for stem in stems for domain in domains]
    return [asked(csrs.carried(csrs.san(der.tlv(0x81, name.encode())))) for name in names]


def test_mail_domains_are_exact() -> None:
    """Mail addresses below a domain are not at it: both are named, or, where one has too few members, no domain is."""
    fleet = mailboxes("corp.example", "lab.corp.example")
    assert spec(learned(fleet), "san")["email"] == {"domains": ["corp.example", "lab.corp.example"], "max": 1}
    odd = asked(csrs.carried(csrs.san(der.tlv(0x81, b"x@sub.corp.example"))))
    found = spec(learned([*fleet, odd]), "san")["email"]
    assert set(found) == {"match", "max"}
    assert decide(build(policy(learned([*fleet, odd]))), odd).violations == ()


def test_too_many_domains_are_none() -> None:
    """Names below more domains than are kept fall back to the characters that occur, loudly."""
    fleet = [asked(csrs.carried(csrs.san(csrs.dns(f"h.d{n}.{'a.' * (n % 20)}example")))) for n in range(1100)]
    proposal = learned(fleet)
    assert "suffix" not in spec(proposal, "san")["dns"]
    assert all(decide(build(policy(proposal)), request).violations == () for request in fleet[::100])


def test_old_keys_are_named() -> None:
    """Small exponents and large moduli are allowed as far as they occur."""
    modulus = csrs.rsa_key().public_key().public_numbers().n
    request = asked(public_key=csrs.rsa_spki(modulus, 3), key=csrs.rsa_key())
    assert spec(learned([request]), "key") == {"rsa": {"min": 2048, "exponent": 3}}


@pytest.mark.parametrize(
    ("request_", "because"),
    [
        (asked(csrs.carried(csrs.extension("2.5.29.19", der.sequence(der.tlv(der.BOOLEAN, b"\xff"))))), "ca-powers"),
        (asked(csrs.carried(csrs.san(csrs.dns("under_score.example")))), "san"),
        (asked(csrs.carried(csrs.san(der.tlv(0xA5, der.NULL)))), "san"),
        (asked(subject=csrs.subject("x" * 65)), "subject"),
        (asked(subject=csrs.subject("\u202e")), "subject"),
        (asked(subject=csrs.name()), "subject"),
        (asked(csrs.carried(csrs.extension("1.3.6.1.4.1.311.21.10", b"\x05\x00"))), "eku"),
    ],
)
def test_what_no_policy_approves_is_not_learned(request_: Asked, because: str) -> None:
    """What every policy refuses is turned down with the reason, and leaves no trace."""
    learner = Learner()
    assert {violation.rule for violation in learner.add(request_)} == {because}
    assert learner.count == 0


def test_security_identifiers_become_the_rule_about_them() -> None:
    """Accounts of two domains become these domains, required where all have one; built-in accounts no policy allows."""
    sids = ["S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002", "S-1-5-21-4-5-6-1001"]
    uris = [der.tlv(0x86, f"tag:microsoft.com,2022-09-14:sid:{sid}".encode()) for sid in (*sids, "S-1-5-21-1-2-3-500")]
    *fleet, administrator = [asked(csrs.carried(csrs.san(uri))) for uri in uris]
    proposal = learned(fleet)
    assert spec(proposal, "microsoft") == {"sid": "require", "domains": ["S-1-5-21-1-2-3", "S-1-5-21-4-5-6"]}
    rules = build(policy(proposal))
    assert all(decide(rules, request).outcome == "approve" for request in fleet)
    assert {violation.rule for violation in Learner().add(administrator)} == {"microsoft"}
    assert spec(learned([*fleet, asked()]), "microsoft")["sid"] == "allow"


@pytest.mark.proves("AC-121")
def test_what_clients_write_stays_text() -> None:
    """Quotes, colons, hashes, brackets and line ends in names come out as the same text, on their own lines."""
    names = ["it's: {a}", "- x #y", "true", "null", "1.5", "[a](b)*", "\\n", "Ünïcode"]
    templates = ["a\nb: c", "\u202ex", "'", '"']
    requests = [asked(subject=csrs.subject(name)) for name in names]
    for template in templates:
        content = der.tlv(der.BMP_STRING, template.encode("utf-16-be"))
        requests.append(asked(csrs.carried(csrs.extension("1.3.6.1.4.1.311.20.2", content))))
    proposal = learned(requests)
    assert all(line.isprintable() for line in text(proposal).split("\n"))
    rules = build(policy(proposal))
    assert all(decide(rules, request).outcome == "approve" for request in requests)
    assert set(spec(proposal, "extensions")["templates"]) == set(templates)


_label = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
_texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)
_host = st.builds("{}.{}.example".format, _label, st.sampled_from(["corp", "lab", "a.b"]))
_types = st.sampled_from([csrs.CN, csrs.ORGANISATION, csrs.UNIT, oid.encode("2.5.4.97"), oid.encode("1.2.3.4.5")])
_san = st.one_of(
    st.builds(csrs.dns, st.one_of(_host, _host.map("*.{}".format), st.just("xn--mnchen-3ya.example"))),
    st.builds(csrs.upn, st.builds("{}@{}".format, _label, _host)),
    st.builds(lambda text: der.tlv(0x81, text.encode()), st.builds("{}@{}".format, _label, _host)),
    st.builds(lambda text: der.tlv(0x86, text.encode()), st.builds("urn:device:{}".format, _label)),
    st.builds(
        lambda octets: der.tlv(0x87, octets),
        st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    ),
    st.builds(lambda text: der.tlv(0xA4, csrs.subject(text)), _texts),
    st.just(csrs.other("1.3.6.1.4.1.311.25.1", der.octet_string(b"x"))),
    st.just(der.tlv(0x88, oid.encode("1.2.3.4"))),
)
_extensions = st.lists(
    st.sampled_from(
        [
            csrs.eku("1.3.6.1.5.5.7.3.2", "1.2.3.4"),
            csrs.key_usage(b"\x05\xa0"),
            csrs.key_usage(b"\x07\x00"),
            csrs.extension("1.3.6.1.5.5.7.3.1", der.NULL),
            csrs.extension("1.3.6.1.4.1.311.20.2", der.tlv(der.BMP_STRING, "Wi-Fi".encode("utf-16-be"))),
        ]
    ),
    max_size=3,
    unique_by=lambda encoding: encoding[:8],
)
_keys = st.sampled_from([csrs.ec_key(), csrs.ec_key("P-384"), csrs.ed25519_key(), csrs.rsa_key()])


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    """A made-up device."""
    values = draw(st.lists(st.builds(csrs.value, _types, _texts), max_size=4))
    names, extensions = draw(st.lists(_san, max_size=4)), list(draw(_extensions))
    if names:
        extensions.append(csrs.san(*names))
    attributes = [csrs.carried(*extensions)] if extensions else []
    if draw(st.booleans()):
        attributes.append(csrs.attribute("1.2.840.113549.1.9.20", der.tlv(der.UTF8_STRING, b"x")))
    source = draw(st.one_of(st.ip_addresses().map(str), st.just("")))
    return asked(*attributes, subject=csrs.name(*values), key=draw(_keys), source=source)


@pytest.mark.slow
@pytest.mark.proves("DR-19")
@settings(max_examples=60, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=12))
def test_a_proposal_approves_all_that_it_was_learned_from(fleet: list[Asked]) -> None:
    """Whatever the fleet, the proposed file is right, names every opening loudly, and refuses nothing it was shown."""
    learner = Learner()
    taken = [request for request in fleet if not learner.add(request)]
    assert learner.count == len(taken)
    if not taken:
        return
    proposal = learner.propose()
    rules = build(policy(proposal))
    for request in taken:
        assert decide(rules, request).violations == (), text(proposal)
    remarks = [sentence for said in proposal.remarks.values() for sentence in said]
    assert all(f"OPEN: {opening.sentence}" in remarks for opening in openness(policy(proposal)))


def test_enough_members_are_three() -> None:
    """Two of a kind stay as they are; a third makes them a kind."""
    assert generalised(f"host-{number}" for number in range(MEMBERS - 1)) == "host-0|host-1"
    assert generalised(f"host-{number}" for number in range(MEMBERS)) == "host-[0-9]"
