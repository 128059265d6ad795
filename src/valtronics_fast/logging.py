"""The log: text for people, JSON lines for machines, and a limit for lines that strangers can cause.

Untrusted values go into fields, never into the message:

    _logger.info("connected", extra=fields(connection=3, address="127.0.0.1"))

Both forms write a record as one line that begins with its time, whatever its values hold: control characters,
line ends, marks that turn the direction of writing, and lone surrogates are escaped. In text, a traceback
follows in indented lines.
"""

from __future__ import annotations

import logging
import math
import re
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

import orjson

from valtronics_fast import request_ids
from valtronics_fast.timestamps import iso_from_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = [
    "LINES",
    "PERIOD",
    "ROUTINE_LINES",
    "JsonFormatter",
    "RateLimitFilter",
    "TextFormatter",
    "escape",
    "fields",
    "limited",
    "setup",
    "tell_suppressed",
]

MAX_TEXT: Final = 2048
"""Characters of a message, a value, or a line of a traceback; the line says how many more there were."""

MAX_TRACE_LINES: Final = 200
"""Last lines of a traceback that are written."""

LINES: Final = 10
"""Lines of one kind in a PERIOD that tell of something wrong."""

ROUTINE_LINES: Final = 100
"""Lines of one kind in a PERIOD that tell who came and who went: the log is whole up to ten a second."""

PERIOD: Final = 10.0
"""Seconds."""

PACKAGE: Final = "valtronics_fast"

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BARE = re.compile(r"[^\s\"\\=]+")

_Scalar = str | int | float | bool | None


def fields(*, limit_key: str | None = None, **values: object) -> dict[str, object]:
    """Make the `extra` of a log call.

    Args:
        limit_key: what `RateLimitFilter` counts the line under, in place of its message.
        values: the line's fields; numbers, booleans and None stay what they are, all else becomes text.
    """
    return {"fields": values, "limit_key": limit_key}


def escape(text: str) -> str:
    r"""Write a text on one line: what is unsafe there becomes `\n`, `\x1b` or `\u2028`."""
    return _UNSAFE.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _cut(text: str) -> str:
    """Cut a text at MAX_TEXT."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT} more)"


def _fields_of(record: logging.LogRecord) -> dict[str, _Scalar]:
    """Return a record's fields; none when it comes from a library."""
    values = getattr(record, "fields", None)
    return {key: _scalar(value) for key, value in values.items()} if isinstance(values, Mapping) else {}


def _scalar(value: object) -> _Scalar:
    """Turn a field's value into one that both forms can write."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:  # what JSON's readers take
        return int(value)
    return _cut(str(value))


class _LineFormatter(logging.Formatter):
    """What both forms share."""

    def _trace(self, record: logging.LogRecord) -> list[str]:
        """Return the lines of a record's traceback and stack, escaped."""
        exception = self.formatException(record.exc_info) if record.exc_info else None
        lines = [line for part in (exception, record.stack_info) if part for line in part.split("\n")]
        return [escape(_cut(line)) for line in lines[-MAX_TRACE_LINES:]]


class TextFormatter(_LineFormatter):
    """Writes `2024-01-01T12:00:00.000Z INFO valtronics_fast.server: connected connection=3 user="a b"`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, and a traceback's lines indented below it."""
        message = escape(_cut(record.getMessage()))
        pairs = "".join(f" {key}={_quote(value)}" for key, value in _fields_of(record).items())
        line = f"{iso_from_seconds(record.created)} {record.levelname} {record.name}: {message}{pairs}"
        return "\n".join([line, *(f"    {traced}" for traced in self._trace(record))])


def _quote(value: _Scalar) -> str:
    """Write a value so that it can't be taken for several fields."""
    if not isinstance(value, str):
        return orjson.dumps(value).decode()
    if _BARE.fullmatch(value) and not _UNSAFE.search(value):
        return value
    return '"' + escape(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


class JsonFormatter(_LineFormatter):
    """Writes `{"time":..,"level":"info","logger":..,"message":..}` and the fields, on one line.

    A text is escaped before it becomes JSON, so that it is harmless when a reader prints it, too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line; a field whose name is taken gets `_` behind it."""
        line: dict[str, _Scalar] = {
            "time": iso_from_seconds(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escape(_cut(record.getMessage())),
        }
        if trace := self._trace(record):
            line["traceback"] = "\n".join(trace)
        for key, value in _fields_of(record).items():
            line[f"{key}_" if key in line else key] = escape(value) if isinstance(value, str) else value
        return orjson.dumps(line).decode()


class _Window(NamedTuple):
    """The period of one key: when it began, whose lines it counts, and `[passed, suppressed]`."""

    start: float
    name: str
    level: int
    like: str
    counts: list[int]


class RateLimitFilter(logging.Filter):
    """Lets so many lines of one key pass in a period, then says once how many it suppressed.

    A key is a line's logger, level, and its `limit_key` or else its message before the arguments are put in.
    It is told when the next line of any key comes after the period, and by `tell_suppressed`. The windows lie in a dict
    in the order of their starts, so that those that have ended are always its first ones. When the table is
    full, all further keys share one window: new keys never buy more lines.

    Args:
        lines: how many pass in a period, for one key.
        period: in seconds.
        keys: how many keys are told apart at a time.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        lines: int = LINES,
        period: float = PERIOD,
        keys: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._lines = lines
        self._period = period
        self._keys = keys
        self._clock = clock
        self._windows: dict[Hashable, _Window] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record may pass."""
        like = str(getattr(record, "limit_key", None) or record.msg)[:MAX_TEXT]
        key: Hashable = (record.name, record.levelno, like)
        with self._lock:
            now = self._clock()
            ended = self._end_windows(now - self._period)
            if key not in self._windows and len(self._windows) >= self._keys:
                key, like = None, "other lines"
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = _Window(now, record.name, record.levelno, like, [0, 0])
            passes = window.counts[0] < self._lines
            window.counts[0 if passes else 1] += 1
        _tell_suppressed(ended)
        return passes

    def tell(self, *, at_once: bool = False) -> None:
        """Say how many lines were suppressed in the periods that have ended; at once: in all, and begin anew."""
        with self._lock:
            ended = self._end_windows(math.inf if at_once else self._clock() - self._period)
        _tell_suppressed(ended)

    def _end_windows(self, latest_start: float) -> list[_Window]:
        """Take out the windows that began at this time or before."""
        ended = []
        while self._windows:
            key = next(iter(self._windows))
            if self._windows[key].start > latest_start:
                break
            ended.append(self._windows.pop(key))
        return ended


def _tell_suppressed(windows: list[_Window]) -> None:
    """Log the counts of ended windows, past the filters of their loggers."""
    for window in windows:
        if suppressed := window.counts[1]:
            logger = logging.getLogger(window.name)
            extra = fields(suppressed=suppressed, like=window.like)
            record = logger.makeRecord(
                window.name, window.level, __file__, 0, "lines suppressed", (), None, extra=extra
            )
            logger.callHandlers(record)


_filters: list[RateLimitFilter] = []


def limited(name: str, *, lines: int = LINES, period: float = PERIOD) -> logging.Logger:
    """Return the logger of a name, with a RateLimitFilter; what it had before is kept on a second call."""
    logger = logging.getLogger(name)
    if not any(isinstance(found, RateLimitFilter) for found in logger.filters):
        _filters.append(RateLimitFilter(lines=lines, period=period))
        logger.addFilter(_filters[-1])
    return logger


def tell_suppressed(*, at_once: bool = False) -> None:
    """Have every `limited` logger say how many lines it suppressed in the periods that have ended.

    To be called now and then, since nothing else may be logged for hours after a flood.

    Args:
        at_once: of the periods that have not ended, too.
    """
    for each in _filters:
        each.tell(at_once=at_once)


class _Origin(logging.Filter):
    """Says where a line comes from: which worker, and which HTTP request."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields, and let the record pass."""
        request_id = request_ids.current()
        if request_id or self._worker:
            request = {"request_id": request_id} if request_id else {}
            record.fields = {**(getattr(record, "fields", None) or {}), **request, **self._worker}
        return True


def setup(
    level: str = "info",
    format: str = "auto",  # noqa: A002
    stream: TextIO | None = None,
    *,
    worker: int | None = None,
) -> None:
    """Log to a stream from now on, in place of what an earlier call set up.

    Libraries log warnings and worse only, whatever the level: their other lines may quote a request, with the
    token in it.

    Args:
        level: least level of this package's lines: debug, info, warning or error.
        format: text, json, or auto: text on a terminal, else json.
        stream: where to; None is the standard error.
        worker: the index of this process, where it is one of several: each line tells it.
    """
    stream = sys.stderr if stream is None else stream
    as_text = format == "text" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    handler.addFilter(_Origin(worker))
    root = logging.getLogger()
    for former in [one for one in root.handlers if isinstance(one.formatter, _LineFormatter)]:
        root.removeHandler(former)
    root.addHandler(handler)
    least = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(least, logging.WARNING))
    logging.getLogger(PACKAGE).setLevel(least)
