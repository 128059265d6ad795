"""The JSON Schema (draft 2020-12) of the configuration file, for editors and pipelines; derived from the settings.

It takes every document that the server takes. What is not in the types (a secret that can be guessed, settings that do
not go together, files that can't be read) only the server finds: `valtronics-fast check-config`.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from valtronics_fast.config import SETTINGS, Config
from valtronics_fast.setting import Kind, Section, Setting
from valtronics_fast.units import DURATION_PATTERN, RATE_PATTERN, SIZE_PATTERN

__all__ = ["make_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PATTERNS: dict[Kind, str] = {"duration": DURATION_PATTERN, "rate": RATE_PATTERN, "size": SIZE_PATTERN}


def make_schema() -> dict[str, Any]:
    """Return the schema."""
    sections: dict[str, dict[str, Any]] = {
        field.name: {"description": type(field.default).__doc__, "type": "object", "properties": {}}
        for field in msgspec.structs.fields(Config)
        if isinstance(field.default, Section)
    }
    for setting in SETTINGS.values():
        if setting.section:
            sections[setting.section]["properties"][setting.name] = _describe(setting)
    for section in sections.values():
        section["additionalProperties"] = False
    return {
        "$schema": _DIALECT,
        "title": "The configuration file of valtronics-fast",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }


def _describe(setting: Setting) -> dict[str, Any]:
    """Return the schema of one setting."""
    off = "Empty" if setting.kind in {"list", "text"} else "0"
    schema: dict[str, Any] = {"description": setting.description + (f" {off}: {setting.zero}." if setting.zero else "")}
    if setting.unit:
        schema["description"] += f" Counts {setting.unit}."
    schema |= _describe_value(setting)
    schema["default"] = setting.as_document(setting.default)
    if setting.sensitive:
        schema["writeOnly"] = True
    return schema


def _describe_value(setting: Setting) -> dict[str, Any]:
    """Return what the type of a setting allows."""
    bounds = {"minimum": setting.low, "maximum": setting.high}
    numbers: dict[Kind, dict[str, Any]] = {
        "count": {"type": "integer", **bounds},
        "duration": {"type": "number", **bounds},
        "fraction": {"type": "number", **bounds},
        "rate": {"const": 0},
        "size": {"type": "integer", **bounds},
    }
    others: dict[Kind, dict[str, Any]] = {
        "boolean": {"type": "boolean"},
        "choice": {"enum": list(get_args(get_args(setting.hint)[0]))},
        "list": {"type": "array", "items": {"type": "string"}},
        "text": {"type": "string"},
    }
    value = (numbers | others)[setting.kind]
    pattern = _PATTERNS.get(setting.kind)
    return value if pattern is None else {"anyOf": [value, {"type": "string", "pattern": pattern}]}
