"""The kinds of value, as Python makes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.config.model import (
    Fingerprint,
    IdentityFiles,
    KeyFile,
    Profile,
    Secret,
    SplitIdentity,
    StaticChallenge,
    Upstream,
)
from scepra.config.value import LONGEST, format_duration, parse_duration
from tests.config.sample import PASSWORD


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("0s", 0.0, "0s"),
        ("0d", 0.0, "0s"),
        ("500ms", 0.5, "500ms"),
        ("1500ms", 1.5, "1500ms"),
        ("30s", 30.0, "30s"),
        ("60s", 60.0, "1m"),
        ("5m", 300.0, "5m"),
        ("36h", 129600.0, "36h"),
        ("24h", 86400.0, "1d"),
        ("36500d", LONGEST, "36500d"),
    ],
)
def test_durations(text: str, seconds: float, shown: str) -> None:
    """A duration is a whole number and a unit; it is shown in the largest unit that fits."""
    assert parse_duration(text) == seconds
    assert format_duration(seconds) == shown
    assert parse_duration(shown) == seconds


@pytest.mark.parametrize("value", ["", "5", "s", "-5s", "1.5s", "5 s", "05s", "1h30m", "5S", "5w", "٣s", 5, None, []])
def test_what_is_no_duration(value: object) -> None:
    """Anything else is refused; a bare number has no unit."""
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(value)


@given(st.integers(0, 10**8), st.sampled_from(["ms", "s", "m", "h"]))
def test_durations_are_shown_exactly(number: int, unit: str) -> None:
    """What is shown is read as the same duration."""
    seconds = parse_duration(f"{number}{unit}") if number < 876_000 else 1.0
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


def test_models_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python the models take the values themselves, and what a file would say about secrets."""
    pin = Fingerprint(bytes(32))
    upstream = Upstream(url="http://127.0.0.1/", ca_fingerprint=(pin,), timeout=1.5)
    assert (upstream.ca_fingerprint, upstream.timeout) == ((pin,), 1.5)
    secret = Secret(b"password", "a test")
    for name in ("file", "environment", "insecure_inline"):
        assert StaticChallenge(type="static", **{name: secret}).secret is secret
    monkeypatch.setenv("CHALLENGE", PASSWORD)
    files = IdentityFiles(certificate=Path("/a.crt"), key=KeyFile(file=Path("/a.key")))
    profile = Profile.model_validate(
        {
            "paths": ("/scep",),
            "upstream": "lab",
            "ra": SplitIdentity(signing=files, encryption=files),
            "challenge": {"type": "static", "environment": "CHALLENGE"},
        }
    )
    assert profile.ra.signing.key.file == Path("/a.key")
    dual = profile.model_copy(update={"ra": files})
    assert dual.ra == files
