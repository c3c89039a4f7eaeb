"""config.example.yaml: complete, and right."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepra.config.load import load, parse
from scepra.config.model import Config, Limits, OfferedCapabilities, SplitIdentity, Store
from scepra.config.section import Surroundings
from scepra.keys.check import examine
from scepra.lab.authority import utc_now
from scepra.lab.files import write_private
from scepra.lab.state import LabState
from tests import csrs
from tests.config.reference import ROOT, sections

TEXT = (ROOT / "config.example.yaml").read_text("utf-8")
# What is commented out stands two columns right of its number sign; prose stands one column right of it.
COMPLETE = re.sub(r"^#  ", "  ", TEXT, flags=re.MULTILINE).replace("# tokens:\n", "tokens:\n")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the example and the lab beside it."""
    path = tmp_path_factory.mktemp("example")
    (path / "config.example.yaml").write_text(TEXT, "utf-8")
    LabState.load_or_create(path / "lab")
    return path


def test_it_runs_as_it_stands(directory: Path) -> None:
    """Beside a lab it has no errors and no warnings, and neither have the keys and certificates that it names."""
    found = parse(TEXT.encode(), "example", Surroundings(directory, {}))
    assert found.problems == ()
    assert examine(found.sections, utc_now()).findings == []
    config = load(directory / "config.example.yaml")
    assert isinstance(config.profiles["lab"].ra, SplitIdentity)
    assert config.profiles["lab"].floor == config.upstreams["lab"].floor


def test_what_it_writes_out_are_the_defaults(directory: Path) -> None:
    """Values that the example gives for keys with a default are those defaults, but for where it listens."""
    config = load(directory / "config.example.yaml")
    assert config.limits == Limits()
    assert config.shutdown_grace == Config.model_fields["shutdown_grace"].default
    assert config.store == Store(url=f"sqlite:{directory}/scepra.db", key_file=directory / "scepra.key")
    assert config.profiles["lab"].capabilities == OfferedCapabilities()
    upstream, profile = config.upstreams["lab"], config.profiles["lab"]
    for model, given in ((upstream, {"url", "ca_fingerprint"}), (profile.renewal, {"trust"})):
        assert model is not None
        fields = type(model).model_fields
        for name in set(fields) - given:
            assert getattr(model, name) == fields[name].get_default(call_default_factory=True), name


def test_what_it_comments_out_is_right_too(directory: Path) -> None:
    """With everything commented in, nothing is missing but what the example cannot bring: its secrets' environment."""
    passwords = ("upstream.pass", "ra.pass", "ndes.pass", "hsm.pin")
    for name in (*passwords, "mdm.secret", "webhook.secret", "intune.secret", "enrol.secret"):
        write_private(directory / name, f"{secrets.token_urlsafe(32)}\n".encode())
    write_private(directory / "devices.csv", b"name,serial,challenge,uses,dns\na.example,17,0F1E2D3C4B5A69788796,1,\n")
    public = csrs.ec_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_private(directory / "mdm-2.pem", public)
    (directory / "next.yaml").write_text("policy: [{key: {rsa: {}}}]\n")
    environment = {"ROUTER_CHALLENGE": "correct horse battery staple"}
    found = parse(COMPLETE.encode(), "example", Surroundings(directory, environment))
    assert [str(problem) for problem in found.problems if problem.severity == "error"] == []
    assert isinstance(found.config, Config)
    assert set(found.config.profiles) == {
        "lab",
        "guarded",
        "routers",
        "renewed",
        "trial",
        "offices",
        "tried",
        "phones",
        "laptops",
        "users",
        "factory",
        "tablets",
        "asked",
        "intune",
        "expected",
        "open",
    }
    assert set(found.config.upstreams) == {"lab", "corporate", "ndes"}


def test_the_other_store_that_it_shows_is_right(directory: Path) -> None:
    """The store on a PostgreSQL server, which stands in a comment, is one in place of SQLite's."""
    (directory / "db.pass").touch(mode=0o600)
    (directory / "db.pass").write_text("password\n")
    text = re.sub(r"^store:.*\n(?: .*\n)+", "", TEXT, count=1, flags=re.MULTILINE).replace("# store: ", "store: ")
    found = parse(text.encode(), "example", Surroundings(directory, {}))
    assert found.problems == ()
    assert found.config is not None
    assert found.config.store.is_postgresql


@pytest.mark.parametrize("key", sorted({key for section in sections().values() for key in section["properties"]}))
def test_every_key_appears(key: str) -> None:
    """Every key that a configuration may have stands in the example."""
    assert re.search(rf"(?:^|[ {{]){re.escape(key)}:", COMPLETE, re.MULTILINE)
