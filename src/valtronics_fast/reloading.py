"""What a running server takes from a new configuration, and what must be right before that (docs/operations.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from valtronics_fast.auth import Authenticator
from valtronics_fast.config import SETTINGS, Config, is_reloaded
from valtronics_fast.config_checks import find_conflicts
from valtronics_fast.errors import ConfigError
from valtronics_fast.tls import load_context

if TYPE_CHECKING:
    from valtronics_fast.setting import Setting
    from valtronics_fast.tls import Loaded

__all__ = ["Reload", "prepare_reload"]

_KEYS: Final = ("secret", "public_key_file", "jwks_url")


class Reload(NamedTuple):
    """What is to be put in force: nothing of it can fail any more.

    Attributes:
        config: the settings in force from then on.
        unchanged: names of settings that have another value now, but only after a restart.
        authenticator: the one to verify tokens with; started.
        tls: for the next TLS connection; None: there is no TLS.
    """

    config: Config
    unchanged: list[str]
    authenticator: Authenticator
    tls: Loaded | None

    async def discard(self, authenticator: Authenticator) -> None:
        """Let go of what was got ready, beside an authenticator that stays in force."""
        if self.authenticator is not authenticator:
            await self.authenticator.stop()


async def prepare_reload(
    old: Config, new: Config, authenticator: Authenticator, *, secret_made_up: bool
) -> Reload:
    """Find out whether a new configuration can be taken, and get ready all that could fail.

    Args:
        old: the settings in force.
        new: those to be put in force; each one is valid, and all go with each other.
        authenticator: the one in force, which is kept where its keys can't have changed.
        secret_made_up: there was no key, and the secret in force is one for this run: it stays, if there is no key now.

    Raises:
        ConfigError: with every fault; nothing has changed then.
    """
    problems: list[str] = []
    if not any(getattr(new.auth, name) for name in _KEYS):
        if not secret_made_up:
            problems.append("auth.secret must stay, or another key come in its place, while the server runs")
        new = _replace(new, "auth", secret=old.auth.secret)
    config, unchanged = _merge(old, new)
    problems += [f"{key} {text}" for key, text in find_conflicts(config, lambda _: True)]
    tls = None
    try:
        if config.tls.certfile:
            tls = load_context(config.tls)
            problems += [tls.fault] if tls.fault else []
    except ConfigError as error:
        problems += error.problems
    try:
        if config.auth != old.auth or config.auth.public_key_file:  # the file may be another one under its old name
            authenticator = Authenticator(config.auth)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    if config.auth.jwks_url and config.auth != old.auth:
        await _fetch_keys(authenticator)
    return Reload(config, unchanged, authenticator, tls)


async def _fetch_keys(authenticator: Authenticator) -> None:
    """Fetch the keys of a new authenticator: there are old ones that work, so that nothing is no choice."""
    await authenticator.start()
    if not authenticator.stats()["jwks_keys"]:
        await authenticator.stop()
        raise ConfigError(["auth.jwks_url must lead to a usable key set, but nothing could be fetched from there"])


def _merge(old: Config, new: Config) -> tuple[Config, list[str]]:
    """Return the settings in force after a reload, and the names of those that would need a restart."""
    merged, unchanged = old, []
    tls_stays = bool(old.tls.certfile) == bool(new.tls.certfile)
    for setting in SETTINGS.values():
        before, after = _value(old, setting), _value(new, setting)
        if before == after:
            continue
        if is_reloaded(setting) and (tls_stays or setting.section != "tls"):
            merged = _replace(merged, setting.section, **{setting.name: after})
        else:
            unchanged.append(setting.key)
    return merged, unchanged


def _value(config: Config, setting: Setting) -> Any:
    return getattr(getattr(config, setting.section) if setting.section else config, setting.name)


def _replace(config: Config, section: str, **values: Any) -> Config:
    return msgspec.structs.replace(config, **{section: msgspec.structs.replace(getattr(config, section), **values)})
