"""A small right configuration, to be made wrong in one place."""

from __future__ import annotations

from pathlib import Path

from scepra.config.load import Reading, parse
from scepra.config.section import Surroundings

PIN = "sha256:" + "5a" * 32
PASSWORD = "kX7-mQ2vRz9_TbW4nLp8"
MINIMAL = f"""\
listen: {{scep: "tcp:8080"}}
upstreams:
  lab:
    url: http://127.0.0.1:8089/scep
    ca-fingerprint: {PIN}
profiles:
  wifi:
    paths: /scep/wifi
    upstream: lab
    ra: {{certificate: ra.crt, key: ra.key}}
    challenge: {{type: static, environment: CHALLENGE}}
    policy:
      - key: {{rsa: {{min: 2048}}}}
      - subject: {{match: {{CN: "[a-z0-9]+"}}}}
"""
ENVIRONMENT = {"CHALLENGE": PASSWORD}


def reading(text: str, base: Path = Path(), mode: int = 0o600) -> Reading:
    """What becomes of a text."""
    return parse(text.encode(), "c.yaml", Surroundings(base, ENVIRONMENT), mode)


def said(text: str, base: Path = Path(), mode: int = 0o600) -> list[str]:
    """Every problem of a text, without the file's name."""
    return [str(problem).removeprefix("c.yaml:") for problem in reading(text, base, mode).problems]


def altered(*changes: tuple[str, str]) -> str:
    """The small configuration with pieces replaced; each piece must be there, so that a test cannot test nothing."""
    text = MINIMAL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text
