"""``scepra decide``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred

from scepra.cli import main
from scepra.cli.decide import _verdict
from scepra.enrolment import ChallengeAccepted, Verdict
from scepra.scep import der
from tests import csrs
from tests.csrs import attribute, build, carried, challenge, dns, pem, san

PASSWORD = "kX7-mQ2vRz9_TbW4nLp8"
CONFIGURATION = f"""\
upstreams:
  lab: {{url: "http://127.0.0.1:8089/scep", ca-fingerprint: "sha256:{"5a" * 32}"}}
profiles:
  wifi:
    paths: /scep/wifi
    upstream: lab
    ra: {{certificate: ra.crt, key: ra.key}}
    challenge: {{type: static, insecure-inline: {PASSWORD}}}
    policy:
      - key: {{ec: P-256}}
      - subject: {{match: {{CN: "[a-z0-9]+"}}}}
      - san: {{dns: {{suffix: wifi.example}}}}
  office:
    paths: /scep/office
    upstream: lab
    ra: {{certificate: ra.crt, key: ra.key}}
    challenge: {{type: none, anyone-may-enrol-without-a-challenge: true}}
    policy:
      - key: {{ec: P-256}}
      - subject: {{match: {{CN: "[a-z0-9]+"}}}}
      - source: {{networks: 192.0.2.0/24}}
  servers:
    paths: /scep/servers
    upstream: lab
    ra: {{certificate: ra.crt, key: ra.key}}
    challenge: {{type: static, insecure-inline: {PASSWORD}}}
    policy:
      - key: {{ec: P-256}}
      - subject: {{match: {{CN: "[a-z0-9]+"}}}}
      - hold: {{when: {{subject: {{CN: "dev|test"}}, source: 192.0.2.0/24}}, approvals: 2, expires: 7d}}
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a configuration, and in it."""
    (tmp_path / "c.yaml").write_text(CONFIGURATION, "utf-8")
    (tmp_path / "c.yaml").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def decide(encoding: bytes, *arguments: str, profile: str = "wifi") -> Result:
    """The command's outcome for a CSR."""
    Path("request").write_bytes(encoding)
    options = ["--config", "c.yaml", "--profile", profile, *arguments]
    return CliRunner().invoke(main, ["decide", "request", *options], catch_exceptions=False)


def wifi(*attributes: bytes, **options: Any) -> bytes:
    return build(challenge(PASSWORD), carried(san(dns("dev.wifi.example"))), *attributes, **options)


@pytest.mark.parametrize("encode", [bytes, pem, lambda content: pem(content, "NEW CERTIFICATE REQUEST")])
def test_approved(directory: Path, encode: Any) -> None:
    """A CSR in DER or PEM that satisfies the profile is approved, each rule shown, the challenge not."""
    outcome = decide(encode(wifi()))
    assert outcome.exit_code == 0
    assert outcome.output.splitlines()[-1] == "approved: it would be forwarded"
    assert "ok     subject     CN=dev\n" in outcome.output
    assert "ok     challenge   present\n" in outcome.output
    assert PASSWORD not in outcome.output


@pytest.mark.proves("I10", "I12")
def test_refused(directory: Path) -> None:
    """A CSR that does not satisfy it is refused with every reason, in a table and as JSON."""
    encoding = build(challenge("wrong-canary"), attribute("1.2.3", der.NULL), subject=csrs.subject("EVIL"))
    outcome = decide(encoding)
    assert outcome.exit_code == 1
    for line in (
        "REFUSE challenge   present",
        "wrong challenge",
        "subject.CN: does not match [a-z0-9]+",
        "attributes.1.2.3: no rule names it",
        "refused: it would not be forwarded",
    ):
        assert line in outcome.output
    outcome = decide(encoding, "--json")
    report = json.loads(outcome.output)
    assert outcome.exit_code == 1
    assert (report["outcome"], report["profile"]) == ("reject", "wifi")
    refused = [rule["rule"] for rule in report["rules"] if not rule["ok"]]
    assert refused == ["challenge", "subject", "attributes"]
    assert report["rules"][0] == {
        "rule": "possession",
        "looked_at": "EC with SHA-256",
        "said": "ok",
        "ok": True,
        "hold": None,
        "reported": False,
    }
    assert "canary" not in outcome.output


def test_reported(directory: Path) -> None:
    """What a rule only reports is shown as that, and the request would be forwarded."""
    old = '- subject: {match: {CN: "[a-z0-9]+"}}\n      - san'
    new = "- subject: {match: {CN: x}}\n        severity: report\n      - san"
    Path("c.yaml").write_text(Path("c.yaml").read_text().replace(old, new))
    outcome = decide(wifi())
    assert outcome.exit_code == 0
    assert ["REPORT", "subject", "CN=dev"] in [line.split() for line in outcome.output.splitlines()]
    assert outcome.output.splitlines()[-1] == "approved: it would be forwarded"
    assert "subject.CN: does not match x" in outcome.output
    report = json.loads(decide(wifi(), "--json").output)
    reported = [rule["rule"] for rule in report["rules"] if rule["reported"]]
    assert (report["outcome"], reported) == ("approve", ["subject"])


def test_held(directory: Path) -> None:
    """A request that would wait for people is shown as held, with for how many and how long; that is no refusal."""
    arguments = ("--source", "192.0.2.7")
    outcome = decide(build(challenge(PASSWORD)), *arguments, profile="servers")
    assert outcome.exit_code == 0
    assert outcome.output.splitlines()[-3:] == [
        "HOLD   hold        subject.CN matches dev|test: yes; source is in 192.0.2.0/24: yes",
        "                   waits for two approvals by different people, 7d at most",
        "held: it would be forwarded once people have approved it",
    ]
    outcome = decide(build(challenge(PASSWORD)), *arguments, "--json", profile="servers")
    assert outcome.exit_code == 0
    report = json.loads(outcome.output)
    assert report["outcome"] == "hold"
    assert report["rules"][-1]["hold"] == {
        "approvals": 2,
        "expires": 604800.0,
        "reason": "subject.CN matches dev|test; source is in 192.0.2.0/24",
    }


def test_not_held(directory: Path) -> None:
    """A request that does not meet the conditions is approved at once, and a bad challenge outweighs a hold."""
    other = decide(build(challenge(PASSWORD)), "--source", "203.0.113.7", "--json", profile="servers")
    assert (other.exit_code, json.loads(other.output)["outcome"]) == (0, "approve")
    wrong = decide(build(challenge("wrong")), "--source", "192.0.2.7", profile="servers")
    assert wrong.exit_code == 1
    assert wrong.output.splitlines()[-1] == "refused: it would not be forwarded"
    assert "HOLD   hold" in wrong.output


@pytest.mark.proves("P10-02", "AC-065", "AC-088")
def test_no_possession(directory: Path) -> None:
    """A CSR whose own signature is wrong, or of an unknown kind, is refused before anything else."""
    damaged = wifi()[:-1] + bytes((wifi()[-1] ^ 1,))
    outcome = decide(damaged)
    assert outcome.exit_code == 1
    assert "a request whose own signature does not verify" in outcome.output
    outcome = decide(wifi(signature_algorithm=csrs.algorithm(b"\x2a\x03")))
    assert outcome.exit_code == 1
    assert "REFUSE possession  EC with an unknown algorithm" in outcome.output


@pytest.mark.proves("AC-067")
def test_not_a_request(directory: Path) -> None:
    """What the RA could not read, it refuses; the reason is shown."""
    smuggled = build(
        carried(san(dns("a.wifi.example"))), carried(san(dns("evil.example")), carrier=csrs.oid.MICROSOFT_EXTENSIONS)
    )
    outcome = decide(smuggled)
    assert outcome.exit_code == 1
    assert "extensions in more than one attribute" in outcome.output


@pytest.mark.parametrize(("given", "accepted"), [(PASSWORD, True), ("wrong", False), ("", False)])
@pytest.mark.parametrize("inside", [(), (challenge(PASSWORD),), (challenge("other"),)], ids=["none", "right", "wrong"])
@pytest.mark.parametrize("by_file", [False, True])
def test_challenge_from_outside(
    directory: Path, inside: tuple[bytes, ...], given: str, accepted: bool, by_file: bool
) -> None:
    """A challenge that is given is judged in the place of the CSR's, whatever that is."""
    Path("challenge").write_bytes(given.encode() + b"\r\n")
    arguments = ("--challenge-file", "challenge") if by_file else ("--challenge", given)
    outcome = decide(build(*inside), *arguments)
    assert outcome.exit_code == (0 if accepted else 1)


def test_source(directory: Path) -> None:
    """Where a rule looks at the source, the client's address decides too, and is asked for."""
    assert decide(build(), "--source", "192.0.2.7", profile="office").exit_code == 0
    outcome = decide(build(), "--source", "203.0.113.7", profile="office")
    assert outcome.exit_code == 1
    assert "source: is in none of the networks" in outcome.output
    for profile in ("office", "servers"):
        outcome = decide(build(), profile=profile)
        assert outcome.exit_code == 2
        assert "say --source" in outcome.output
    assert decide(build(), "--source", "2001:db8::1", profile="wifi").exit_code == 1


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        (wifi(), ("--profile", "home"), "there is no profile 'home', but wifi, office, servers"),
        (wifi(), ("--config", "none.yaml"), "none.yaml: cannot be read"),
        (wifi(), ("--source", "somewhere"), "expected an IP address"),
        (wifi(), ("--challenge", "a", "--challenge-file", "request"), "two answers to one question"),
        (wifi(), ("--challenge", "a" * 20_000), "a challenge that is too long"),
        (wifi(), ("--challenge", "a\udcff"), "a challenge that cannot be decoded"),
        (b"hello", (), "neither in PEM nor in DER"),
        (pem(b"x", "CERTIFICATE"), (), "neither in PEM nor in DER"),
        (pem(wifi()).replace(b"\nMI", b"\n!MI"), (), "PEM that is no base64"),
    ],
)
def test_what_cannot_be_judged(directory: Path, content: bytes, arguments: tuple[str, ...], sentence: str) -> None:
    """What is wrong with the question is said, with exit code 2."""
    outcome = decide(content, *arguments)
    assert outcome.exit_code == 2
    assert sentence in outcome.output


def test_provider_that_would_wait() -> None:
    """A challenge that another service judges is not judged here, rather than waited for."""

    async def ask() -> Verdict:
        await Deferred()
        return ChallengeAccepted("never")

    with pytest.raises(click.UsageError, match="judged by another service"):
        _verdict(ask())


def test_only_observed(directory: Path) -> None:
    """Where a profile only observes its policy, objections are marked as reported, and the request would be
    forwarded."""
    Path("c.yaml").write_text(CONFIGURATION.replace("  office:", "    observe: true\n  office:", 1), "utf-8")
    result = decide(build(challenge(PASSWORD), subject=csrs.subject("NOT LIKE THAT")))
    assert result.exit_code == 0
    assert "REPORT subject" in result.output
    assert result.output.endswith("approved: it would be forwarded\n")
