"""The configuration's JSON Schema, made from the models: every key with its description and its default."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from scepra.config.model import Config
from scepra.policy.value import format_duration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """What pydantic generates, less what a file cannot have: null, and durations in bare seconds."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """A key that may be left out may not be null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default as the file would have it."""
        made = super().default_schema(schema)
        if isinstance(made.get("default"), float):
            made["default"] = format_duration(made["default"])
        elif made.get("default", ...) is None:
            del made["default"]
        return made

    def get_title_from_name(self, name: str) -> str:
        """A key's name is its title."""
        return name


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file."""
    return {"$schema": DIALECT, **Config.model_json_schema(schema_generator=_Generator)}
