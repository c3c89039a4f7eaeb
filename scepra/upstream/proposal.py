"""What a probe comes to: the section of the configuration for what was found, as text that loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scepra.config.kind import KINDS
from scepra.config.upstream import Upstream
from scepra.upstream.likeness import Trait
from scepra.upstream.probe import Probe, Reading

NAME = "found"
_CIPHERS = ("AES-128-CBC", "DES-EDE3-CBC")
_DIGESTS = ("SHA-256", "SHA-512", "SHA-1")


def propose(probe: Probe) -> dict[str, Any]:
    """The section's keys, in the file's spelling: the kind, and where what was found differs from it.

    Raises:
        LookupError: there is no CA certificate to pin.
    """
    authority = probe.offer.authority
    if authority is None:
        raise LookupError("there is no CA certificate to pin")
    section: dict[str, Any] = {
        "url": probe.offer.url,
        "ca-fingerprint": f"sha256:{authority.fingerprint()}",
        "kind": probe.verdict.kind,
    }
    settings = read(section)
    section |= dict(_differences(probe, settings))
    if KINDS[settings.kind].answers:
        section["legacy"] = list(KINDS[settings.kind].answers)
    return section


def read(section: Mapping[str, Any]) -> Upstream:
    """The settings that a section comes to."""
    return Upstream.model_validate(section, by_alias=True, by_name=False)


def _differences(probe: Probe, settings: Upstream) -> Iterator[tuple[str, Any]]:
    """Where what was found is not what the kind says."""
    traits = probe.traits
    if settings.transport == "get" and Trait.GET_REFUSED in traits:
        yield "transport", "post"
    elif settings.transport != "get" and (Trait.POST_REFUSED in traits or Trait.POST_EMPTY in traits):
        yield "transport", "get"
    elif settings.transport == "auto" and Trait.GET_REFUSED in traits and not probe.offer.capabilities.post:
        yield "transport", "post"
    for key, now, others in (
        ("cipher", settings.cipher.value, _CIPHERS),
        ("digest", settings.digest.value, _DIGESTS),
    ):
        better = [each for each in others if probe.readings.get(each) is Reading.READ]
        if probe.readings.get(now) is Reading.REFUSED and better:
            yield key, better[0]
    listed = probe.offer.capabilities
    missing = [word for word in settings.expect_capabilities if word not in listed and not listed.standard]
    if missing:
        yield "expect-capabilities", [word for word in settings.expect_capabilities if word not in missing]


def write(section: Mapping[str, Any], issuer: str) -> str:
    """The section as text of a configuration file, with what has to be decided beside it.

    Args:
        issuer: the CA's name, for the comment.
    """
    lines = ["upstreams:", f"  {NAME}:"]
    for key, value in section.items():
        if isinstance(value, list):
            value = f"[{', '.join(value)}]"  # noqa: PLW2901 - as it is written
        text = f"    {key}: {value}"
        if key == "ca-fingerprint":
            lines.append(f"    # As found, and believed in nothing: compare it out of band. {issuer}")
            text = f'    {key}: "{value}"'
        if key == "legacy":
            lines.append(
                f"    # BROKEN; {section['kind']} answers in it as set up at first. Take it out if yours does not."
            )
        lines.append(text)
    return "\n".join(lines) + "\n"
