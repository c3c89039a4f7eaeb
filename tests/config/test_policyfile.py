"""Files with a second policy, and profiles that only observe theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from scepra.cli import main
from scepra.config.policyfile import load_policy, parse_policy, read_policy
from scepra.errors import ConfigError
from tests.config.sample import ENVIRONMENT, MINIMAL, altered, reading, said

SHADOW = ("    policy:", "    shadow: next.yaml\n    policy:")
GOOD = 'policy:\n  - key: {rsa: {}}\n  - subject: {match: {CN: "[a-z]+"}}\n'


def read(text: str) -> list[str]:
    """Every problem of a policy file, without its name."""
    return [str(problem).removeprefix("p.yaml:") for problem in parse_policy(text.encode(), "p.yaml").problems]


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("policy: [\n", "2:1: not YAML: did not find expected node content"),
        ("[]\n", "1:1: expected a mapping of sections such as listen, upstreams and profiles"),
        ("polic: []\n", "1:1: polic: unknown key; did you mean 'policy'?"),
        (GOOD + "  - key: {rsa: {}}\n", "1:1: policy: more than one rule of the kind key; put them together"),
        (
            "policy:\n  - subject: {match: {CN: '['}}\n",
            "2:23: policy[0].subject.match.CN: a pattern that cannot be used: at character 2: it ends too early",
        ),
        ("policy:\n  - key: {rsa: {min: big}}\n", "2:17: policy[0].key.rsa.min: expected a whole number"),
    ],
)
def test_mistakes_are_located_in_its_own_lines(text: str, expected: str) -> None:
    """What the configuration would refuse is refused with the place in this file."""
    assert expected in read(text)
    assert parse_policy(text.encode(), "p.yaml").policy is None


@pytest.mark.proves("DR-19")
def test_its_openness_is_reported() -> None:
    """Warnings about what a policy lets in have their places here too, and do not refuse it."""
    text = "policy:\n  - key: {rsa: {}}\n  - subject: {allow: CN}\n"
    assert read(text) == ["3:15: policy[1].subject.allow[0]: warning: CN may have any text: there is no match for it"]
    assert parse_policy(text.encode(), "p.yaml").policy is not None


def test_a_profile_names_one(tmp_path: Path) -> None:
    """It is read beside the configuration, and a right one is no problem."""
    (tmp_path / "next.yaml").write_text(GOOD)
    found = reading(altered(SHADOW), tmp_path)
    assert found.problems == ()
    assert found.config is not None
    assert found.config.profiles["wifi"].shadow == tmp_path / "next.yaml"
    assert [rule.kind for rule in load_policy(tmp_path / "next.yaml")] == ["key", "subject"]


@pytest.mark.proves("DR-19")
def test_what_is_wrong_in_it_is_wrong_with_the_configuration(tmp_path: Path) -> None:
    """Its mistakes stand after the configuration's own, once, under its own name; a missing one under the key."""
    assert said(altered(SHADOW), tmp_path) == ["12:5: profiles.wifi.shadow: cannot be read: No such file or directory"]
    assert not read_policy(tmp_path / "next.yaml").found
    (tmp_path / "next.yaml").write_text("policy: [{key: {}}, {hold: {}}, {nonsense: 1}]\n")
    text = altered(SHADOW, ("min: 2048", "min: 10"))
    second = text.replace("wifi", "lan").partition("profiles:\n")[2]
    found = said(text + second, tmp_path)
    assert [problem.partition(":")[0] for problem in found] == ["14", "23", f"{tmp_path}/next.yaml"]
    assert found[-1].startswith(f"{tmp_path}/next.yaml:1:34: policy[2].nonsense: unknown key")
    with pytest.raises(ConfigError, match="unknown key"):
        load_policy(tmp_path / "next.yaml")


@pytest.mark.proves("DR-19")
def test_an_observed_policy_is_a_loud_warning(tmp_path: Path) -> None:
    """check-config says that a profile enforces nothing, at the key, and accepts it."""
    text = altered(("    policy:", "    observe: true\n    policy:"))
    (problem,) = said(text)
    assert problem.startswith("12:5: profiles.wifi.observe: warning: THE POLICY IS NOT ENFORCED")
    assert said(MINIMAL) == []


def test_check_config_shows_both_files(tmp_path: Path) -> None:
    """The command prints the problems of the configuration, then those of the second policy, and counts all."""
    (tmp_path / "next.yaml").write_text("policy: [{key: {rsa: {}}}]\n")
    file = tmp_path / "scepra.yaml"
    file.write_text(altered(SHADOW))
    result = CliRunner().invoke(main, ["check-config", str(file)], env=ENVIRONMENT)
    lines = [line for line in result.output.splitlines() if "next.yaml" in line]
    assert lines == [
        f"{tmp_path}/next.yaml:1:1: policy: warning: there is no subject rule, so that every request is refused"
    ]
