"""How often may be asked: budgets that fill again, for addresses, keys and profiles (DR-12, DR-15; AC-094, FT-26)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from scepra.config.section import Section
from scepra.config.value import Count, Seconds

UNLIMITED = "unlimited"


class Rate(Section):
    """A budget: so many at once, and as many anew in every period, spread evenly over it."""

    count: Count = Field(description="How many, all at once or spread over the period.")
    per: Seconds = Field(gt=0, description="The period in which as many become possible again.")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"const": UNLIMITED}, handler(schema)]}


def _unlimited(value: Any) -> Any:
    if isinstance(value, str):
        if value != UNLIMITED:
            raise ValueError(f"expected a mapping with count and per, or the word {UNLIMITED}")
        return None
    return value


Budget = Annotated[Rate | None, BeforeValidator(_unlimited)]


class Rates(Section):
    """How often may be asked. What is more gets 429 and a Retry-After, before anything is decided or used up."""

    source: Budget = Field(
        default_factory=lambda: Rate(count=18000, per=60.0),
        description="PKIOperations from one address: 18000 in 1m, so that a fleet of thousands behind one address is"
        " served, and one client cannot keep a processor busy; divided by the number of workers, as all of these.",
    )
    key: Budget = Field(
        default_factory=lambda: Rate(count=120, per=60.0),
        description="Messages that one key signed, from one address: 120 in 1m, many times what a device needs that"
        " enrols and polls.",
    )
    profile: Budget = Field(
        default_factory=lambda: Rate(count=18000, per=60.0),
        description="New requests of one profile that may be forwarded: 18000 in 1m; what strangers send in vain does"
        " not count, so that they cannot use it up.",
    )
    failures: Budget = Field(
        default_factory=lambda: Rate(count=300, per=600.0),
        description="Wrong challenges from one address: 300 in 10m; then only polls are answered there until it fills"
        " again.",
    )
    profile_failures: Budget = Field(
        default_factory=lambda: Rate(count=3000, per=600.0),
        description="Wrong challenges at one profile: 3000 in 10m; more are an alarm in the log, and slow down, where a"
        " challenge is static, those addresses that have been wrong themselves.",
    )
    pause: Seconds = Field(
        default=60.0,
        gt=0,
        description="How long such an address must wait after each wrong challenge while the alarm lasts.",
    )
    under_way: Count = Field(
        default=200,
        description="How many requests from one address may be opened and not answered yet, in each worker.",
    )
    ipv6_prefix: Annotated[Count, Field(le=128)] = Field(
        default=64, description="How many leading bits of IPv6 addresses are counted as one address."
    )
    remembered: Count = Field(
        default=10000,
        description="How many addresses, and how many keys, each worker remembers; those that have asked least are"
        " forgotten first.",
    )
    retry_after: Seconds = Field(
        default=10.0, gt=0, description="When clients are told to come back at the earliest; spread up to half as much."
    )
