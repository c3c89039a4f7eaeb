"""The JSON Schema, and the page that documents every key."""

from __future__ import annotations

import pytest

from tests.config.reference import PAGE, SCHEMA, UPSTREAMS, resolved, sections, written, written_kinds

KEYS = {f"{name}.{key}": value for name, part in sections().items() for key, value in part["properties"].items()}


def test_it_is_a_closed_schema() -> None:
    """It names its dialect, describes one object, and refuses keys that it does not know at every level."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["required"] == ["upstreams", "profiles"]
    assert len(sections()) > 30
    assert all(section["additionalProperties"] is False for section in sections().values())


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described(key: str) -> None:
    """Every key has a sentence, in kebab-case, and nothing may be null."""
    assert resolved(KEYS[key])["description"].endswith(".")
    assert "_" not in key
    assert "null" not in str(KEYS[key])


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("Limits.request-deadline", "10s"),
        ("Upstream.refresh", "1h"),
        ("Renewal.grace", "0s"),
        ("EphemeralSigner.period", "1d"),
        ("Limits.body", 262144),
        ("Upstream.digest", "SHA-256"),
        ("CACertificates.root", False),
        ("Config.shutdown-grace", "25s"),
        ("Store.url", "sqlite:scepra.db"),
        ("Store.key-file", "scepra.key"),
        ("Queue.give-up-after", "7d"),
    ],
)
def test_defaults_are_as_the_file_has_them(key: str, default: object) -> None:
    """Defaults are written as a file would have them: durations with their unit."""
    assert KEYS[key]["default"] == default


def test_short_forms() -> None:
    """One text may stand for a list of it, and a path for a key without a passphrase."""
    assert KEYS["Profile.paths"]["anyOf"][0]["type"] == "string"
    assert KEYS["Profile.paths"]["anyOf"][1]["type"] == "array"
    assert KEYS["IPSpec.networks"]["anyOf"][0]["type"] == "string"
    assert SCHEMA["$defs"]["KeyFile"]["anyOf"][0] == {"type": "string"}


@pytest.mark.parametrize("name", sections())
def test_every_section_is_documented(name: str) -> None:
    """The page about the configuration has a table of each section's keys."""
    assert f".. keys of {name}\n" in PAGE.read_text("utf-8")


def test_the_page_says_what_the_models_say() -> None:
    """The tables are as `python -m tests.config.reference` writes them."""
    page = PAGE.read_text("utf-8")
    assert written(page) == page


def test_the_page_about_upstreams_says_what_the_kinds_say() -> None:
    """Its table is as `python -m tests.config.reference` writes it, with every kind."""
    page = UPSTREAMS.read_text("utf-8")
    assert written_kinds(page) == page
    assert "   * - ``openca``\n" in page
