"""The reference page of the settings, docs/configuration.md, rendered from their definition."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from valtronics_fast.config import SETTINGS, Config, is_reloaded

if TYPE_CHECKING:
    from valtronics_fast.setting import Setting

__all__ = ["reference"]

_HEAD = """\
# Configuration

This page is made by `python -m valtronics_fast.config`; change src/valtronics_fast/config.py, not this file.

A setting comes from a flag, else from a variable, else from the file that `--config FILE.toml` names, else it
has its default. Without any configuration the server runs on this machine alone, with a secret that it makes
up at every start.

- In the file, a setting stands in its section: `[server]`, then `port = 8000`.
- As a variable, it is `VFAST_<SECTION>__<NAME>`: `VFAST_SERVER__PORT=8000`. Lists are separated by commas, or
  a JSON array; booleans are true/false, yes/no, on/off or 1/0.
- A duration is `500ms`, `5s`, `10m`, `1h`, or a number of seconds, up to a year. A size is `64KiB`, `2MiB`,
  `1GiB`, or a number of bytes, up to 1GiB. A rate is `5/s`, `10/min`, `100/h`, or 0. In the file they stand
  in quotes, unless they are a number alone.
- 0 turns a limit off, and an empty text or list what it names; the tables say what that means in each case.
- An unknown section, setting or `VFAST_` variable is an error, and so is a value that is not allowed. All
  faults are told at once, each with the place where it came from, and the exit code is 2.
- Settings with a star are read again on SIGHUP ([operations.md](operations.md#reloading)); the others need a restart.
- Paths are relative to the directory in which the server is started.

`--demo`, which adds a simulated fleet of devices, is a flag alone.
"""


def reference() -> str:
    """Render the page in Markdown."""
    docs = {field.name: type(field.default).__doc__ for field in msgspec.structs.fields(Config)}
    parts = [_HEAD]
    for section, settings in groupby(SETTINGS.values(), key=lambda one: one.section):
        if section:
            rows = "\n".join(map(_row, settings))
            parts.append(
                f"## [{section}]\n\n{docs[section]}\n\n"
                "| setting | default | what it does | allowed | variable, flag |\n"
                "| --- | --- | --- | --- | --- |\n"
                f"{rows}\n"
            )
    return "\n".join(parts)


def _row(setting: Setting) -> str:
    """Render one setting."""
    off = "Empty" if setting.kind in {"list", "text"} else "0"
    what = setting.description + (f" {off}: {setting.zero}." if setting.zero else "")
    unit = f" ({setting.unit})" if setting.unit else ""
    names = f"`{setting.variable}`" + (f", `{setting.flag}`" if setting.flag else "")
    default = f"`{setting.write(setting.default)}`"
    star = " *" if is_reloaded(setting) else ""
    cells = (f"`{setting.name}`{star}", default, what, f"{setting.describe(brief=True)}{unit}", names)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
