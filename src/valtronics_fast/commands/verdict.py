"""What a token says, and whether a server would take it: the answer of `token verify`."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from valtronics_fast._core.wire import CHANNELS
from valtronics_fast.auth import Authenticator
from valtronics_fast.claims import MAX_TIME, AuthReason
from valtronics_fast.commands.parsing import EXIT_FAILURE, EXIT_OK, printable
from valtronics_fast.errors import AuthError

if TYPE_CHECKING:
    from valtronics_fast._core.scope import Grant
    from valtronics_fast.config import AuthConfig

__all__ = ["EXIT_CODES", "REASONS", "Verdict", "judge"]

EXIT_CODES: Final = {True: EXIT_OK, False: EXIT_FAILURE}

REASONS: Final = {
    AuthReason.NOT_A_STRING: "it is not text",
    AuthReason.TOO_LONG: "it is longer than a token may be",
    AuthReason.MALFORMED: "it is not three parts of base64url with JSON in the first two, or not signed as it says",
    AuthReason.CRITICAL_HEADER: "its header asks for an extension (crit), and none is known",
    AuthReason.BAD_ALGORITHM: "its algorithm (alg) is not among auth.algorithms",
    AuthReason.NO_KEY: "there is no key to verify it with: auth.jwks_url gave none",
    AuthReason.UNKNOWN_KEY: "the key that it names (kid) is not among those of auth.jwks_url",
    AuthReason.BAD_SIGNATURE: "it is signed with another key than the configured one, or was changed",
    AuthReason.MISSING_EXP: "it does not say when it expires (exp)",
    AuthReason.BAD_EXP: "its exp is no time in Unix seconds",
    AuthReason.EXPIRED: "it has expired",
    AuthReason.BAD_NBF: "its nbf is no time in Unix seconds",
    AuthReason.NOT_YET_VALID: "it is not valid yet (nbf)",
    AuthReason.MISSING_SUB: "it does not say whose it is (sub)",
    AuthReason.BAD_SUB: "its sub is not 1 to 256 bytes of text without control characters",
    AuthReason.WRONG_AUDIENCE: "its audience (aud) is not auth.audience",
    AuthReason.WRONG_ISSUER: "its issuer (iss) is not auth.issuer",
    AuthReason.BAD_CHANNELS: "its channels are not a list of names",
    AuthReason.BAD_DEVICES: 'its devices are neither "*" nor a list of ids',
    AuthReason.BAD_PUBLISH: "its publish is neither true or false nor a list of channels",
    AuthReason.BAD_MIN_INTERVAL: "its min_interval is no number of seconds up to a day",
    AuthReason.BAD_MONITOR: "its monitor is neither true nor false",
    AuthReason.BAD_ADMIN: "its admin is neither true nor false",
}
"""Why a token is refused, for people. Servers tell clients none of this."""

_TIMES = ("exp", "nbf", "iat")
_MAX_DEVICES = 10


class Verdict(NamedTuple):
    """What became of a token.

    Attributes:
        header: what it says of itself; None: that can't be read. Of a token that is refused, neither this nor the
            claims are proven.
        claims: its payload; None: that can't be read.
        grant: what it permits; None: it is refused.
        reason: why; None: it is not.
    """

    header: dict[str, Any] | None
    claims: dict[str, Any] | None
    grant: Grant | None
    reason: AuthReason | None

    @property
    def good(self) -> bool:
        """Whether a server would take it."""
        return self.reason is None

    def as_json(self) -> str:
        """Return the verdict on one line."""
        told = None if self.reason is None else {"reason": self.reason, "message": REASONS[self.reason]}
        return json.dumps({"valid": self.good, "refused": told, "header": self.header, "claims": self.claims})

    def as_text(self, source: str) -> str:
        """Return the verdict in lines; `source` says where the token is from."""
        if self.reason is None:
            lines = [f"valid: the server takes this token (from {source})"]
        else:
            lines = [f"refused: {REASONS[self.reason]} ({self.reason}; from {source})"]
        if self.header is not None:
            lines.append(f"  header   {_json(self.header)}")
        for name, value in (self.claims or {}).items():
            lines.append(f"  {printable(name):<8} {_json(value)}{_as_time(name, value)}")
        if self.grant is not None:
            lines += [f"  {what}" for what in _permits(self.grant)]
        return "\n".join(lines)


async def judge(config: AuthConfig, token: str) -> Verdict:
    """Judge a token as a server does.

    Raises:
        ConfigError: the keys and algorithms do not work together.
    """
    authenticator = Authenticator(config)
    header, claims = (_part(token, index) for index in (0, 1))
    await authenticator.start()
    try:
        found = authenticator.verify(token)
        grant = await found if isawaitable(found) else found
    except AuthError as error:
        return Verdict(header, claims, None, AuthReason(error.reason))
    finally:
        await authenticator.stop()
    return Verdict(header, claims, grant, None)


def _part(token: str, index: int) -> dict[str, Any] | None:
    """Return a part of a token that is a JSON object, whether or not anything else of it is good."""
    parts = token.split(".")
    try:
        value = json.loads(urlsafe_b64decode(parts[index] + "=" * (-len(parts[index]) % 4)))
    except (IndexError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False))


def _as_time(name: str, value: object) -> str:
    """Return `  2026-01-01 13:00:00 UTC, in 59 min` for a claim that is a time."""
    if name not in _TIMES or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not 0 <= value <= MAX_TIME:
        return ""
    return f"  ({datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC, {_distance(value - time.time())})"


def _distance(seconds: float) -> str:
    """Return `in 59 min` or `3 days ago`."""
    size = abs(seconds)
    units = (("days", 86400), ("h", 3600), ("min", 60))
    amount = next((f"{size / length:.0f} {unit}" for unit, length in units if size >= 2 * length), f"{size:.0f} s")
    return f"in {amount}" if seconds >= 0 else f"{amount} ago"


def _permits(grant: Grant) -> list[str]:
    """Say what a grant permits."""
    devices = "all devices"
    if grant.devices is not None:
        named = sorted(map(str, grant.devices))
        more = f" and {len(named) - _MAX_DEVICES} more" if len(named) > _MAX_DEVICES else ""
        devices = f"devices {printable(', '.join(named[:_MAX_DEVICES])) or 'none'}{more}"
    lines = [f"sees {_channels(grant.channels)}, {devices}", f"publishes on {_channels(grant.publish)}"]
    if grant.min_interval:
        lines.append(f"an update of a device every {grant.min_interval:g} s at most")
    if grant.monitor:
        lines.append("reads the server's figures")
    if grant.admin:
        lines.append("administers the server")
    return lines


def _channels(mask: int) -> str:
    """Return the names of the channels of a mask."""
    return ", ".join(name for name, channel in CHANNELS.items() if mask >> channel & 1) or "no channel"
