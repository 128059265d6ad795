"""Secrets out of files: `VFAST_<SECTION>__<NAME>_FILE` names one, and systemd's credentials are some."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CREDENTIALS", "MAX_SIZE", "SUFFIX", "SecretFileError", "read_credential", "read_named"]

SUFFIX: Final = "_FILE"
"""What the variable of a secret setting has behind it that names a file."""

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""The variable by which systemd tells where the credentials of a unit are (LoadCredential=, systemd.exec(5))."""

MAX_SIZE: Final = 64 << 10
"""Bytes of a file: no secret is longer, and a wrong file may be endless."""


class SecretFileError(Exception):
    """A file has no secret to give; the text says where and why, and has nothing of what may be one."""


def read_named(variable: str, path: str) -> tuple[str, str]:
    """Return the secret in the file that a variable names, and where it came from.

    Raises:
        SecretFileError: there is none. The path is not told: what stands there may be the secret itself.
    """
    try:
        data = _read(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        text = f"cannot be read ({why}); the variable holds the path of a file, not the secret itself"
        raise SecretFileError(f"secret file of {variable}: {text}") from None
    origin = f"secret file {path} ({variable})"
    return _decode(data, origin), origin


def read_credential(environ: Mapping[str, str], key: str) -> tuple[str, str] | None:
    """Return the credential of the name of a setting, and where it came from; None when there is none.

    Raises:
        SecretFileError: it can't be taken.
    """
    if not (directory := environ.get(CREDENTIALS)):
        return None
    path = Path(directory, key)
    origin = f"secret file {path} ({CREDENTIALS})"
    try:
        data = _read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        raise SecretFileError(f"{origin}: cannot be read ({why})") from None
    return _decode(data, origin), origin


def _read(path: str | Path) -> bytes:
    """Read one byte more than is allowed at most. A pipe that nobody writes to is empty, and not waited for."""
    with open(path, "rb", opener=_open) as file:
        return file.read(MAX_SIZE + 1) or b""


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _decode(data: bytes, origin: str) -> str:
    """Return the text of a file without the line end that editors and echo put behind it."""
    if len(data) > MAX_SIZE:
        raise SecretFileError(f"{origin}: is larger than {MAX_SIZE >> 10} KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SecretFileError(f"{origin}: is not UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretFileError(f"{origin}: is empty")
    return text
