"""Messages as lines for people: what `subscribe` prints.

Everything that comes from the wire is escaped here, so that it can do nothing to a terminal.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from valtronics_fast._core.wire import MESSAGE_TYPES, Channel
from valtronics_fast.logging import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import tzinfo

    Message = Mapping[str, Any]
    _Paint = Callable[[str, str | None], str]

__all__ = ["MAX_TEXT", "json_line", "line", "note"]

MAX_TEXT: Final = 200
"""Characters of a value or a text that a line shows."""

_DIM = "2"
_RED, _GREEN, _YELLOW, _CYAN, _BOLD_RED = "31", "32", "33", "36", "1;31"
_SEVERITIES = {"info": _CYAN, "warning": _YELLOW, "critical": _BOLD_RED}
_STATUSES = {"online": _GREEN, "warning": _YELLOW, "offline": _RED}

_SUBJECT_WIDTH = 10
_SEVERITY_WIDTH = 8


def _plain(text: str, style: str | None) -> str:  # noqa: ARG001 - the signature of _coloured
    """Write text as it is."""
    return text


def _coloured(text: str, style: str | None) -> str:
    """Write text in a style (ECMA-48, SGR); None is the terminal's own."""
    return text if style is None else f"\x1b[{style}m{text}\x1b[0m"


def line(message: Message, *, colour: bool = False, zone: tzinfo | None = None) -> str:
    """Return a data message (protocol.md, section 3) as one line: time, whom it is about, what it says.

    Args:
        message: the message, of one of the MESSAGE_TYPES; what it lacks is left out.
        colour: write severities and statuses in colour, and the time and the names of metrics dimly.
        zone: the time zone to tell the time in; None is the one of this machine.
    """
    paint = _coloured if colour else _plain
    body = _BODIES[message["type"]](message, paint)
    return f"{paint(_clock(message, zone), _DIM)}  {_subject(message):<{_SUBJECT_WIDTH}}  {body}"


def json_line(message: Message) -> str:
    """Return a message as JSON in ASCII: on one line, and without characters that a terminal obeys."""
    return json.dumps(message, separators=(",", ":"))


def note(message: Message) -> str:
    """Return what the server says about the connection itself, such as an error, as one line."""
    about = f"{_text(message['channel'])}: " if "channel" in message else ""
    match message.get("type"):
        case "error":
            detail = f" ({_text(message['message'])})" if message.get("message") else ""
            return f"{about}{_text(message.get('error'))}{detail}"
        case "unsubscribed":
            devices = f" from device {_listed(message['device_id'])}" if "device_id" in message else ""
            return f"{about}unsubscribed{devices} ({_text(message.get('reason'))})"
        case "subscribe_response":
            denied = _members(message.get("denied")).get("device_id")
            return f"{about}the token does not permit device {_listed(denied)}"
        case _:
            return _text(message)


def _listed(values: object) -> str:
    """Write one value, or those of a list."""
    return _text(", ".join(map(str, values)) if isinstance(values, list) else values)


def _text(value: object) -> str:
    """Write a value from the wire: text without quotes, all else as JSON; cut, and escaped."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return escape(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…")


def _members(value: object) -> dict[str, Any]:
    """Return an object's members; none when it is no object."""
    return value if isinstance(value, dict) else {}


def _subject(message: Message) -> str:
    """Say whom a message is about."""
    if message.get("type") == MESSAGE_TYPES[Channel.SYSTEM]:
        return "system"
    device = message.get("device_id")
    return "platform" if device is None else f"device {_text(device)}"


def _clock(message: Message, zone: tzinfo | None) -> str:
    """Return the time of day of a message, which for telemetry is that of its newest metric."""
    times = [each for entry in _entries(message) if (each := _time(entry.get("timestamp"), zone)) is not None]
    return f"{max(times):%H:%M:%S}" if times else "--:--:--"


def _entries(message: Message) -> Iterator[Message]:
    """Yield the parts of a message that can have a timestamp."""
    yield message
    for metric in _members(message.get("telemetry")).values():
        yield _members(metric)


def _time(value: object, zone: tzinfo | None) -> datetime | None:
    """Read a timestamp; one without an offset is UTC, as everything on the wire."""
    try:
        time = datetime.fromisoformat(value if isinstance(value, str) else "")
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(zone)
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        return None


def _telemetry(message: Message, paint: _Paint) -> str:
    """Write `temperature 23.5 °C  humidity 45.2 %`."""
    parts = []
    for name, metric in _members(message.get("telemetry")).items():
        entry = metric if isinstance(metric, dict) else {"value": metric}
        unit = entry.get("unit")
        shown = _text(entry.get("value")) + (f" {_text(unit)}" if unit else "")
        parts.append(f"{paint(_text(name), _DIM)} {shown}")
    return "  ".join(parts)


def _alert(message: Message, paint: _Paint) -> str:
    """Write `CRITICAL  Overheating: Above 80 °C`."""
    severity = _text(message.get("severity"))
    shown = paint(f"{severity.upper():<{_SEVERITY_WIDTH}}", _SEVERITIES.get(severity))
    texts = dict.fromkeys(_text(text) for text in (message.get("title"), message.get("message")) if text)
    return f"{shown}  {': '.join(texts)}"


def _status(message: Message, paint: _Paint) -> str:
    """Write `online → offline  (connection lost)`."""
    old, new, reason = (message.get(name) for name in ("old_status", "new_status", "reason"))
    status = _text(new)
    begin = f"{_text(old)} → " if old else ""
    end = f"  ({_text(reason)})" if reason else ""
    return f"{begin}{paint(status, _STATUSES.get(status))}{end}"


def _system(message: Message, paint: _Paint) -> str:
    """Write `cpu_usage 45.2  memory_usage 67.8`."""
    metrics = _members(message.get("metrics")).items()
    return "  ".join(f"{paint(_text(name), _DIM)} {_text(value)}" for name, value in metrics)


_BODIES: dict[str, Callable[[Message, _Paint], str]] = {
    MESSAGE_TYPES[Channel.TELEMETRY]: _telemetry,
    MESSAGE_TYPES[Channel.ALERTS]: _alert,
    MESSAGE_TYPES[Channel.DEVICES]: _status,
    MESSAGE_TYPES[Channel.SYSTEM]: _system,
}
