"""The kinds of value, as Python makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

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
from tests.config.sample import PASSWORD


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
