"""The settings in force as a file to be used again, TOML or variables: each with its origin, and without secrets."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

import orjson

from valtronics_fast.config import SETTINGS
from valtronics_fast.logging import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from valtronics_fast.config import Config
    from valtronics_fast.config_load import Found
    from valtronics_fast.setting import Setting

__all__ = ["print_env", "print_toml"]

_HEAD = """\
# The settings in force, each with where it comes from. Secrets are not shown: whoever uses this as {what}
# has to add them (docs/configuration.md).
"""
_ENV_HEAD = """\
# The quotes are those of a shell and of EnvironmentFile= of systemd. `docker run --env-file` knows none.
"""
_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./-]*")


def print_toml(config: Config, found: Found) -> str:
    """Return the settings as a configuration file.

    Args:
        config: the settings.
        found: where they come from.
    """
    parts = [_HEAD.format(what="a configuration file")]
    for section, settings in groupby(SETTINGS.values(), key=lambda one: one.section):
        if section:
            parts.append(f"\n[{section}]\n")
        for setting, value, origin in _values(config, found, settings):
            if setting.is_hidden(value):
                parts.append(f"# {setting.name} is set, but not shown  # {origin}\n")
            elif not section:
                parts.append(f"\n# {setting.flag} is {setting.write(value)}, and a flag alone  # {origin}\n")
            else:
                written = orjson.dumps(setting.as_document(value)).decode()
                parts.append(f"{setting.name} = {written}  # {origin}\n")
    return "".join(parts)


def print_env(config: Config, found: Found) -> str:
    """Return the settings as variables; arguments as of `print_toml`."""
    parts = [_HEAD.format(what="an environment file"), _ENV_HEAD]
    for setting, value, origin in _values(config, found, SETTINGS.values()):
        if setting.is_hidden(value):
            parts.append(f"# {origin}: {setting.variable} is set, but not shown\n")
        elif not setting.section:
            parts.append(f"# {origin}: {setting.flag} is {setting.write(value)}, and a flag alone\n")
        else:
            parts.append(f"# {origin}\n{setting.variable}={_quote(setting.as_text(value))}\n")
    return "".join(parts)


def _values(config: Config, found: Found, settings: Iterable[Setting]) -> Iterator[tuple[Setting, object, str]]:
    """Yield each setting with its value and origin."""
    for setting in settings:
        section = getattr(config, setting.section) if setting.section else config
        yield setting, getattr(section, setting.name), escape(found.locate(setting.key))


def _quote(text: str) -> str:
    """Quote a value in the way that shells and systemd have in common (systemd.exec(5), EnvironmentFile=)."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\$`])', r"\\\1", text) + '"'
