"""The reference page of the settings, docs/configuration.md, rendered from their definition."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from valtronics_fast.config import SETTINGS, Config, is_reloaded
from valtronics_fast.config_aliases import ALIASES
from valtronics_fast.config_secrets import MAX_SIZE, SUFFIX

if TYPE_CHECKING:
    from valtronics_fast.setting import Setting

__all__ = ["reference"]

_HEAD = """\
# Configuration

This page is made by `python -m valtronics_fast.config`; change src/valtronics_fast/config.py, not this file.

Without any configuration the server runs on this machine alone, with a secret that it makes up at every start.
`valtronics-fast check-config --config server.toml` tells everything that is wrong with a configuration, each fault
with the file and line, or the variable or flag, where it stands; the server tells the same when it starts, and on
SIGHUP. `valtronics-fast print-config` prints the settings in force, each with where it comes from, and no secrets: as a
configuration file, or as variables (`--format env`). `--format schema` prints the JSON Schema of the file, for editors.

## Sources

A setting comes from the first of these that has it:

1. a flag;
2. the variable `VFAST_<SECTION>__<NAME>`, or, of a secret, the file that `VFAST_<SECTION>__<NAME>_FILE` names;
3. of a secret, systemd's credential of the setting's name;
4. the file that `--config FILE.toml` names;
5. one of the platform's own variables;
6. its default.

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

Kubernetes tells containers of services in variables: for one named `valtronics-fast` they begin with
`VALTRONICS_FAST_`, and do no harm. Those of a service named `vfast` would be taken for mistyped settings: give it
another name, or set `enableServiceLinks: false`.

### Secrets from files

What can be a secret, or have one in it, need not stand in a configuration file or in the environment, which child
processes inherit and crash reports tend to show:

{secrets}

A file is UTF-8, of {size} KiB at most. One line end at its end is dropped. A file that is missing, empty, too large
or not UTF-8 is a fault, and so is a variable that is set together with its `_FILE`. A credential that is not there is
none. On SIGHUP the files are read again. With systemd:

```
[Service]
LoadCredential=auth.secret:/etc/valtronics/auth.secret
```

### The platform's variables

A deployment of the Valtronics platform has variables already with which this server starts as it is. They are the
weakest source: where a flag, a `VFAST_` variable, a credential or the file says anything about the setting, they are
not looked at, right or wrong. An empty one is none. A fault names the variable.

{aliases}

- `SECRET_KEY` is also left alone where `auth.public_key_file` or `auth.jwks_url` is set.
- The server still listens on 127.0.0.1: in a container, `VFAST_SERVER__HOST=0.0.0.0`.
- `REDIS_URL` is the platform's cache, and becomes the backplane too. All its keys and channels there begin with
  `{{PREFIX}}:log`, braces included (`backplane.prefix`), and no others are touched. But the log takes memory of that
  Redis (`backplane.entries`), and an eviction policy `allkeys-...` or a `FLUSHALL` takes from it what clients need
  for recovery; they are told so (`resync`). Two deployments that use one Redis, even by different database numbers,
  hear each other's messages unless their `backplane.prefix` differs: give each its own. A server that is to stand
  alone has `VFAST_BACKPLANE__URL=memory://`.
- Other variables of the platform (`DATABASE_URL`, `ACCESS_TOKEN_EXPIRE_MINUTES`, ...) mean nothing here.
"""


def reference() -> str:
    """Render the page in Markdown."""
    docs = {field.name: type(field.default).__doc__ for field in msgspec.structs.fields(Config)}
    parts = [_HEAD.format(secrets=_secrets(), size=MAX_SIZE >> 10, aliases=_aliases())]
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


def _secrets() -> str:
    """Render the settings that may come out of a file of their own."""
    rows = (f"| `{one.variable}{SUFFIX}` | `{one.key}` |" for one in SETTINGS.values() if one.sensitive)
    return "\n".join(("| variable | setting, and credential in `$CREDENTIALS_DIRECTORY` |", "| --- | --- |", *rows))


def _aliases() -> str:
    """Render the variables of the platform."""
    rows = (
        f"| {', '.join(f'`{name}`' for name in one.variables)} | `{one.key}` | {one.meaning} |" for one in ALIASES
    )
    return "\n".join(("| variable | setting | how it is read |", "| --- | --- | --- |", *rows))


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
