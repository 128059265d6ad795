"""Where values of settings come from: file or mapping, secret files, variables, flags; every fault is collected."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from valtronics_fast.config_aliases import ALIASES
from valtronics_fast.config_lines import find_fault_line, find_lines
from valtronics_fast.config_secrets import SUFFIX, SecretFileError, read_credential, read_named

if TYPE_CHECKING:
    from valtronics_fast.setting import Setting

__all__ = ["PREFIX", "Found", "gather"]

PREFIX = "VFAST_"
"""Every variable with this prefix must be a setting's, so that a mistyped one is told."""


class Found(msgspec.Struct):
    """What the sources hold.

    Attributes:
        values: the values in force that some source gave, by `section.name`.
        origins: where each of them came from, for messages.
        faulty: the settings for which a source had a value that is not allowed.
        problems: the faults, one line each.
    """

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    faulty: set[str] = set()
    problems: list[str] = []

    def locate(self, key: str) -> str:
        """Say where the value of a setting came from."""
        return self.origins.get(key, "default")

    def place(self, settings: Mapping[str, Setting], problems: Iterable[str]) -> list[str]:
        """Return faults that were found later, those that begin with a setting behind where its value came from."""
        keys = ((problem.partition(" ")[0], problem) for problem in problems)
        return [f"{self.locate(key)}: {problem}" if key in settings else problem for key, problem in keys]

    def take(self, setting: Setting, value: object, origin: str, *, text: bool = False) -> None:
        """Take a value, over that of an earlier source.

        Args:
            setting: the setting.
            value: its value there.
            origin: where that is, for messages.
            text: the value is text that has yet to be read, as in a variable.
        """
        try:
            taken = setting.parse(value) if text and isinstance(value, str) else setting.convert(value)
        except ValueError as error:
            self.refuse(setting, f"{origin}: {setting.key} {error}")
        else:
            self.values[setting.key] = taken
            self.origins[setting.key] = origin

    def refuse(self, setting: Setting, problem: str) -> None:
        """Note a fault of a setting's value."""
        self.faulty.add(setting.key)
        self.problems.append(problem)


def gather(
    settings: Mapping[str, Setting],
    source: Mapping[str, Mapping[str, object]] | str | Path | None,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
) -> Found:
    """Gather values from the sources in their order of precedence, the weakest first; but aliases fill what is left."""
    found = Found()
    if isinstance(source, Mapping):
        _take_sections(found, settings, source, "mapping", {})
    elif source is not None:
        sections, lines = _read_file(found, source)
        _take_sections(found, settings, sections, str(source), lines)
    _take_credentials(found, settings, environ)
    _take_variables(found, settings, environ)
    _take_flags(found, settings, flags)
    _take_aliases(found, settings, environ)
    return found


def _read_file(found: Found, path: str | Path) -> tuple[Mapping[str, object], Mapping[tuple[str, ...], int]]:
    """Read a TOML file, and where its keys stand; what keeps it from being read is a fault like any other."""
    try:
        document = Path(path).read_bytes().decode()
        return tomllib.loads(document), find_lines(document)
    except OSError as error:
        found.problems.append(f"{path}: cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        found.problems.append(f"{path}: is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        line = find_fault_line(error)
        found.problems.append(f"{path}{f':{line}' if line else ''}: is not valid TOML: {error}")
    return {}, {}


def _take_sections(
    found: Found,
    settings: Mapping[str, Setting],
    sections: Mapping[str, object],
    source: str,
    lines: Mapping[tuple[str, ...], int],
) -> None:
    """Take what a file or mapping has."""
    known: dict[str, dict[str, Setting]] = {}
    for setting in settings.values():
        if setting.section:
            known.setdefault(setting.section, {})[setting.name] = setting

    def place(*path: str) -> str:
        line = f":{lines[path]}" if path in lines else ""
        return " ".join((f"{source}{line} [{path[0]}]", *path[1:]))

    for section, values in sections.items():
        if section not in known:
            found.problems.append(f"{place(section)}: unknown section{_suggest(section, known)}")
        elif not isinstance(values, Mapping):
            found.problems.append(f"{place(section)}: must be a section of settings, not a value")
        else:
            for name, value in values.items():
                if name in known[section]:
                    found.take(known[section][name], value, place(section, name))
                else:
                    hint = _suggest(name, known[section])
                    found.problems.append(f"{place(section, name)}: unknown setting{hint}")


def _take_credentials(found: Found, settings: Mapping[str, Setting], environ: Mapping[str, str]) -> None:
    """Take the secrets that systemd hands over."""
    for setting in settings.values():
        if setting.sensitive:
            try:
                read = read_credential(environ, setting.key)
            except SecretFileError as error:
                found.refuse(setting, str(error))
            else:
                if read is not None:
                    found.take(setting, *read, text=True)


def _take_variables(found: Found, settings: Mapping[str, Setting], environ: Mapping[str, str]) -> None:
    """Take the variables, and the secrets in files that they name; only those with the prefix are looked at."""
    known = {setting.variable: setting for setting in settings.values() if setting.variable}
    named = {name + SUFFIX: setting for name, setting in known.items() if setting.sensitive}
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        if name in known:
            found.take(known[name], environ[name], f"variable {name}", text=True)
        elif name in named:
            _take_named(found, named[name], name, environ)
        else:
            found.problems.append(f"variable {name}: unknown setting{_suggest(name, known | named)}")


def _take_named(found: Found, setting: Setting, name: str, environ: Mapping[str, str]) -> None:
    """Take a secret out of the file that a variable names."""
    if setting.variable in environ:
        found.refuse(setting, f"variable {name}: must not be set together with {setting.variable}")
        return
    try:
        found.take(setting, *read_named(name, environ[name]), text=True)
    except SecretFileError as error:
        found.refuse(setting, str(error))


def _take_flags(found: Found, settings: Mapping[str, Setting], flags: Mapping[str, object]) -> None:
    """Take the flags; their values are text from a command line, or what a program put in its place."""
    for key, value in flags.items():
        if key not in settings:
            found.problems.append(f"flag {key}: unknown setting{_suggest(key, settings)}")
        elif value is not None:
            found.take(settings[key], value, f"flag {settings[key].flag or key}", text=True)


def _take_aliases(found: Found, settings: Mapping[str, Setting], environ: Mapping[str, str]) -> None:
    """Take what the platform's own variables say of settings about which nothing else does."""
    for alias in ALIASES:
        given = alias.find(environ)
        rivals = any(found.values.get(key) or key in found.faulty for key in alias.rivals)
        if given is None or rivals or alias.key in found.faulty or alias.key in found.values:
            continue
        values, origin = given
        try:
            text = alias.read(values)
        except ValueError as error:
            found.refuse(settings[alias.key], f"{origin}: {alias.key} {error}")
        else:
            found.take(settings[alias.key], text, origin, text=True)


def _suggest(name: str, known: Iterable[str]) -> str:
    """Name the nearest of the known names, when one is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
