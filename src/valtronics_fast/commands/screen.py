"""A terminal that shows a page again and again: what `top` draws on.

The page is on the alternate screen, so that what was there before is there again afterwards, however it ends.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
import unicodedata
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["Screen", "fit", "usable"]

# ECMA-48 and what every terminal since xterm knows: the alternate screen, the cursor, line wrap.
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_END_OF_LINE: Final = "\x1b[K"
_END_OF_PAGE: Final = "\x1b[J"

_QUIT: Final = frozenset(b"qQ")
_KEYS: Final = 64


def usable(stream: TextIO) -> bool:
    """Say whether a page can be drawn on a stream."""
    return stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def fit(text: str, width: int) -> str:
    """Cut a text at so many columns; East Asian wide characters take two, and combining ones none."""
    columns = 0
    for index, character in enumerate(text):
        if unicodedata.east_asian_width(character) in "WF":
            columns += 2
        else:
            columns += not unicodedata.combining(character)
        if columns > width:
            return text[:index]
    return text


class Screen:
    """The alternate screen of the terminal that the standard output is, within a `with` block.

    A signal that ends the program, or stops it (Ctrl-Z), gives the terminal back first. Keys are read from the standard
    input where that is a terminal, too.
    """

    def __init__(self) -> None:
        self._input = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._saved: list[int | list[bytes | int]] | None = None
        self._wake, self._woken = -1, -1
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number, handler in {
            signal.SIGWINCH: self._resized,
            signal.SIGTERM: self._ended,
            signal.SIGHUP: self._ended,
            signal.SIGTSTP: self._stopped,
        }.items():
            self._handlers[number] = signal.signal(number, handler)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what it has returned
        signal.set_wakeup_fd(-1)
        os.close(self._wake)
        os.close(self._woken)

    def draw(self, lines: Sequence[str]) -> None:
        """Show a page: its lines, as many and as much of each as there is room for."""
        width, height = shutil.get_terminal_size()
        shown = [fit(line, width) + _END_OF_LINE for line in lines[:height]]
        self._write(_HOME + "\r\n".join(shown) + _END_OF_PAGE)

    def wait(self, seconds: float) -> bool | None:
        """Wait so long for a key.

        Returns:
            True: it was one that quits. None: the size has changed, or the program goes on after Ctrl-Z, and the page
            is to be drawn again. False: the time is over.
        """
        sources = [self._wake] if self._input is None else [self._wake, self._input]
        ready, _, _ = select.select(sources, [], [], max(seconds, 0.0))
        if self._wake in ready:
            os.read(self._wake, _KEYS)
            return None
        if not ready:
            return False
        keys = os.read(sources[-1], _KEYS)
        return None if keys and not _QUIT.intersection(keys) else True  # without any the terminal is gone

    def _take(self) -> None:
        if self._input is not None:
            self._saved = termios.tcgetattr(self._input)
            tty.setcbreak(self._input, termios.TCSANOW)  # keys come one by one and unseen; Ctrl-C and Ctrl-Z stay
        self._write(_ENTER)

    def _give_back(self) -> None:
        try:
            self._write(_LEAVE)
        finally:
            if self._input is not None and self._saved is not None:
                termios.tcsetattr(self._input, termios.TCSANOW, self._saved)

    @staticmethod
    def _write(text: str) -> None:
        """Write past the buffer, which a signal's handler must not meet half filled."""
        data = text.encode(sys.stdout.encoding, "replace")
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        """Nothing but waking `wait` up."""

    def _ended(self, number: int, _frame: FrameType | None) -> None:
        """Give the terminal back, and end by the signal."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _stopped(self, _number: int, _frame: FrameType | None) -> None:
        """Give the terminal back, stop, and take it again when the program goes on."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
