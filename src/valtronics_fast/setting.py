"""One setting: everything that is known about it, said once, where the section declares its field.

A section is a `Section` struct whose fields are `Annotated[type, setting(...)]`. From that follow the TOML
key, the variable, the flag, the reference page, what a text means, what is allowed, and what must be masked.
The type says how it is written: `float` is a duration, `int` a count, `Size` bytes, `Rate` a rate, a tuple
a list, a Literal a choice, `Fraction` a number from 0 to 1.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import orjson

from valtronics_fast.units import (
    DURATION_FORMS,
    RATE_FORMS,
    SIZE_FORMS,
    Rate,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_COUNT",
    "Count",
    "Duration",
    "Fraction",
    "Kind",
    "Section",
    "Setting",
    "Size",
    "all_settings",
    "setting",
    "settings_of",
]

MAX_COUNT = 2**31 - 1
"""Upper bound of counts: they reach C code as `int`."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 30, extra={"kind": "size"})]
Duration = Annotated[float, msgspec.Meta(ge=0, le=365 * 86400.0)]
"""Bounded by a year, which every timer takes."""

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1, extra={"kind": "fraction"})]

Kind = Literal["boolean", "choice", "count", "duration", "fraction", "list", "rate", "size", "text"]

_KINDS: dict[Any, Kind] = {
    bool: "boolean",
    Literal: "choice",
    int: "count",
    float: "duration",
    tuple: "list",
    Rate: "rate",
    str: "text",
}
_READERS: dict[Kind, Callable[[object], object]] = {
    "duration": parse_duration,
    "rate": parse_rate,
    "size": parse_size,
}
_WRITERS: dict[Kind, Callable[[Any], str]] = {
    "duration": format_duration,
    "rate": format_rate,
    "size": format_size,
}
_ALLOWED: dict[Kind, tuple[str, str]] = {
    "boolean": ("true or false", ""),
    "duration": ("a duration", f" up to a year ({DURATION_FORMS})"),
    "fraction": ("a number from 0 to 1", ""),
    "list": ("a list of texts", ""),
    "rate": ("a rate", f" ({RATE_FORMS})"),
    "size": ("a size", f" up to 1GiB ({SIZE_FORMS})"),
    "text": ("text", ""),
}
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,20})?(e-[0-9]{1,3})?")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHOWN = 80
_MASK = "***"


def setting(
    description: str = "",
    *,
    unit: str = "",
    zero: str = "",
    flag: str = "",
    allowed: str = "",
    sensitive: Literal["", "all", "url"] = "",
    check: Callable[[Any], None] | None = None,
) -> msgspec.Meta:
    """Describe a field of a section, or a type for several; the arguments are attributes of `Setting`."""
    given = {
        "unit": unit,
        "zero": zero,
        "flag": flag,
        "allowed": allowed,
        "sensitive": sensitive,
        "check": check,
    }
    extra = {name: value for name, value in given.items() if value}
    return msgspec.Meta(description=description or None, extra=extra)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as its section declares it.

    Attributes:
        section: the section's name; "" for a setting that is a flag alone.
        name: the field's name.
        hint: the annotated type, bounds included, that a value must fit.
        default: the value when nothing sets it.
        kind: how it is written.
        low: the least number, or None.
        high: the greatest number, or None.
        description: what it does.
        unit: what a count counts, or "".
        zero: what 0, or the empty text or list, means.
        flag: the command-line flag, or "".
        allowed: the values that are allowed, in words; from the type when "".
        sensitive: "all" when the value is never shown, "url" when its user part and query are not.
        check: raises ValueError("must be ...") for a value that the type alone lets pass; the refused value
            is put behind it, unless that is a list (the check names the entry) or is never shown.
    """

    section: str
    name: str
    hint: Any
    default: Any
    kind: Kind
    low: float | None = None
    high: float | None = None
    description: str
    unit: str = ""
    zero: str = ""
    flag: str = ""
    allowed: str = ""
    sensitive: Literal["", "all", "url"] = ""
    check: Callable[[Any], None] | None = None

    @property
    def key(self) -> str:
        """`section.name`, the name in messages."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def variable(self) -> str:
        """The environment variable, or "" for a setting that is a flag alone."""
        return f"VFAST_{self.section}__{self.name}".upper() if self.section else ""

    def parse(self, text: str) -> Any:
        """Turn the text of a variable or flag into a value.

        Raises:
            ValueError: with "must ...", naming what is allowed.
        """
        value: object = text
        word = text.strip().lower()
        if self.kind == "boolean" and word in _TRUE + _FALSE:
            value = word in _TRUE
        elif self.kind == "list":
            value = _split(text)
        elif self.kind == "count" and _INTEGER.fullmatch(word):
            value = int(word)
        elif self.kind == "fraction" and _DECIMAL.fullmatch(word):
            value = float(word)
        return self.convert(value)

    def convert(self, value: object) -> Any:
        """Turn a value as TOML and Python have it into the setting's type, and check it.

        Raises:
            ValueError: with "must ...", naming what is allowed.
        """
        try:
            read = _READERS.get(self.kind)
            converted = msgspec.convert(value if read is None else read(value), self.hint)
        except ValueError:  # msgspec.ValidationError is one
            raise ValueError(f"must be {self.describe()}, not {self.quote(value)}") from None
        if self.check is not None:
            try:
                self.check(converted)
            except ValueError as error:
                told = self.kind == "list" or self.sensitive == "all"
                raise ValueError(f"{error}" if told else f"{error}, not {self.quote(value)}") from None
        for entry in converted if self.kind == "list" else (converted,):
            if isinstance(entry, str) and _UNPRINTABLE.search(entry):
                raise ValueError("must not hold control characters or bytes that are not UTF-8")
        return converted

    def quote(self, value: object) -> str:
        """Write a refused value for a message: masked, on one line, and not long."""
        text = repr(self.show(value))
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

    def show(self, value: Any) -> Any:
        """Give a value in the form for people: masked where it must be."""
        if self.sensitive and value:
            return _mask_url(value) if self.sensitive == "url" and isinstance(value, str) else _MASK
        return value

    def is_hidden(self, value: object) -> bool:
        """Say whether a value, or a part of it, is not for people."""
        return bool(self.show(value) != value)

    def write(self, value: Any) -> str:
        """Write a value as people write it: texts and choices in quotes, durations, sizes and rates without."""
        write = _WRITERS.get(self.kind)
        return write(value) if write is not None else orjson.dumps(value).decode()

    def as_document(self, value: Any) -> Any:
        """Give a value in the form of TOML and JSON, which `convert` reads."""
        if self.kind in _WRITERS:
            return self.write(value)
        return list(value) if self.kind == "list" else value

    def as_text(self, value: Any) -> str:
        """Give a value in the form of a variable, which `parse` reads."""
        if self.kind == "list" and not any(re.search(r"^\s|^\[|,|\s$|^$", entry) for entry in value):
            return ",".join(value)
        return value if isinstance(value, str) else self.write(value)

    def describe(self, *, brief: bool = False) -> str:
        """Say what is allowed: `a whole number from 0 to 65535`; brief is without the forms of units."""
        if self.allowed:
            return self.allowed
        if self.kind == "choice":
            return " or ".join(f'"{choice}"' for choice in get_args(get_args(self.hint)[0]))
        if self.kind == "count":
            upper = "" if self.high == MAX_COUNT else f" to {self.high}"
            return f"a whole number from {self.low}{upper}"
        name, forms = _ALLOWED[self.kind]
        return name if brief else name + forms


def _split(text: str) -> object:
    """Read a list out of a variable: a JSON array, or entries separated by commas."""
    if text.lstrip().startswith("["):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text  # the caller refuses it as no list
    return [entry for part in text.split(",") if (entry := part.strip())]


def _mask_url(url: str) -> str:
    """Hide the user part and the query, in a malformed URL too: everything up to the last @."""
    url = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:/*)?.*@", rf"\g<1>{_MASK}@", url, flags=re.DOTALL)
    return re.sub(r"\?.*", f"?{_MASK}", url, flags=re.DOTALL)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections: settings with their defaults, immutable; secrets are masked when printed."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = {field.name: field.show for field in settings_of(type(self))}
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [(name, shown[name](value) if name in shown else value) for name, value in values]


@functools.cache
def settings_of(section: type[msgspec.Struct], section_name: str = "") -> tuple[Setting, ...]:
    """Read the settings out of a section's fields, in their order."""
    hints = get_type_hints(section, include_extras=True)
    return tuple(
        _describe(section_name, field, hints[field.name])
        for field in msgspec.structs.fields(section)
        if get_origin(hints[field.name]) is Annotated
    )


def all_settings(whole: type[Section]) -> dict[str, Setting]:
    """Read every setting out of a struct of sections, in their order, behind its own ones; by `section.name`."""
    found = list(settings_of(whole))
    for field in msgspec.structs.fields(whole):
        if isinstance(field.default, Section):
            found += settings_of(type(field.default), field.name)
    return {one.key: one for one in found}


def _describe(section_name: str, field: msgspec.structs.FieldInfo, hint: Any) -> Setting:
    """Gather what the field's annotations say; the later one wins."""
    base, *metas = get_args(hint)
    known: dict[str, Any] = {"kind": _KINDS[get_origin(base) or base]}
    for meta in metas:
        found = {"low": meta.ge, "high": meta.le, "description": meta.description, **(meta.extra or {})}
        known.update({key: value for key, value in found.items() if value is not None})
    return Setting(section=section_name, name=field.name, hint=hint, default=field.default, **known)
