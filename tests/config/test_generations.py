"""A directory in which the RA keeps certificates of its own, as the configuration has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scepra.config.load import load, read
from scepra.config.model import GenerationDirectory
from scepra.errors import ConfigError

TEXT = """\
upstreams:
  ca: {url: "http://ca.example/scep", ca-fingerprint: "sha256:AA", authorisation: network}
profiles:
  dev: &dev
    paths: /scep
    upstream: ca
    ra: {directory: own, subject: "CN=scepra RA,O=Example"}
    challenge: {type: none, anyone-may-enrol-without-a-challenge: true}
    policy: [{key: {rsa: {}}}]
""".replace("AA", "ab" * 32)


def problems(directory: Path, *changes: tuple[str, str], more: str = "") -> list[str]:
    """What is wrong with the configuration, its place and its file's name aside."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = directory / "scepra.yaml"
    file.write_text(text + more)
    return [f"{each.path}: {each.sentence}" for each in read(file).problems if ".ra" in each.path]


def test_defaults(tmp_path: Path) -> None:
    """A directory and a name are enough."""
    assert problems(tmp_path) == []
    ra = load(tmp_path / "scepra.yaml").profiles["dev"].ra
    assert isinstance(ra, GenerationDirectory)
    assert (ra.directory, ra.keys, ra.key.bits) == (tmp_path / "own", "split", 2048)
    assert load(tmp_path / "scepra.yaml").profiles["dev"].certifier == "ca"


@pytest.mark.parametrize("subject", ["scepra RA", "", "CN="])
def test_names(tmp_path: Path, subject: str) -> None:
    """What is no name is refused."""
    found = problems(tmp_path, ('"CN=scepra RA,O=Example"', f'"{subject}"'))
    assert found == ['profiles.dev.ra.subject: expected a distinguished name such as "CN=scepra RA,O=Example"']


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("settle: 31d", "settle: not shorter than renew: a generation could end before the next is served"),
        (
            "overlap: 10s",
            "overlap: shorter than settle: a process that is late would still give out what opens nothing any more",
        ),
        ("upstream: cb", "upstream: no upstream has this name"),
        ("key: {token: hsm}", "key.token: no token has this name"),
        ("signing-key: {token: hsm}", "signing-key.token: no token has this name"),
        ("encryption-key: {bits: 3072, token: hsm}", "encryption-key.token: no token has this name"),
    ],
)
def test_nonsense(tmp_path: Path, key: str, sentence: str) -> None:
    """Settings that do not go together are refused, and the place is named."""
    found = problems(tmp_path, ("directory: own", f"directory: own, {key}"))
    assert f"profiles.dev.ra.{sentence}" in found


def test_where_keys_are_made(tmp_path: Path) -> None:
    """Each key may be made otherwise than the other; one key for both purposes has no other."""
    assert problems(tmp_path, ("directory: own", "directory: own, key: {bits: 3072}, signing-key: {bits: 4096}")) == []
    ra = load(tmp_path / "scepra.yaml").profiles["dev"].ra
    assert isinstance(ra, GenerationDirectory)
    assert {role: made.bits for role, made in ra.new_keys.items()} == {"signing": 4096, "encryption": 3072}
    (found,) = problems(tmp_path, ("directory: own", "directory: own, keys: dual, encryption-key: {bits: 4096}"))
    said = "with dual there is one key: expected key in place of signing-key and encryption-key"
    assert found == f"profiles.dev.ra: {said}"


def test_a_challenge_that_is_missing(tmp_path: Path) -> None:
    """A CA that asks for a challenge gets none without a file: that is worth a warning."""
    (finding,) = problems(tmp_path, ("authorisation: network", "authorisation: challenge"))
    assert finding.startswith("profiles.dev.ra: the CA asks for a challenge")


def test_a_shared_directory(tmp_path: Path) -> None:
    """Two profiles may share a directory, with the same settings only."""
    same = "  two: {<<: *dev, paths: /two}\n"
    assert problems(tmp_path, more=same) == []
    other = '  two: {<<: *dev, paths: /two, ra: {directory: own, subject: "CN=other"}}\n'
    assert problems(tmp_path, more=other) == [
        "profiles.two.ra.directory: the profile dev has this directory too, with other settings"
    ]
    apart = '  two: {<<: *dev, paths: /two, ra: {directory: two, subject: "CN=other"}}\n'
    assert problems(tmp_path, more=apart) == []


def test_another_upstream(tmp_path: Path) -> None:
    """The certificates may be another CA's than the clients'; that upstream is used then."""
    more = ("profiles:\n", f'  other: {{url: "http://b.example/", ca-fingerprint: "sha256:{"cd" * 32}"}}\nprofiles:\n')
    assert problems(tmp_path, ("directory: own", "directory: own, upstream: other"), more) == []
    reading = read(tmp_path / "scepra.yaml")
    assert not any("no profile uses" in each.sentence for each in reading.problems)
    assert load(tmp_path / "scepra.yaml").profiles["dev"].certifier == "other"
    with pytest.raises(ConfigError, match="2048, 3072 or 4096"):
        problems(tmp_path, ("directory: own", "directory: own, key: {bits: 1024}"))
        load(tmp_path / "scepra.yaml")
