"""libFuzzer within a Python process, which needs a core that was compiled with VFAST_FUZZ (make fuzz).

    python tests/fuzz/driver.py TARGET [libFuzzer's options and corpus folders]

libFuzzer has been loaded as a library (LD_PRELOAD) when this begins; the modules of the core tell it of their counters.
Python has no such counters: for the modules that a target names, a trace function counts the steps from line to line.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType, FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.targets import TARGETS

COUNTERS: Final = 1 << 14
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)


class LineCoverage:
    """Counts steps from line to line of some files for libFuzzer.

    Args:
        library: libFuzzer.
        files: names of the sources.
    """

    def __init__(self, library: ctypes.CDLL, files: Collection[str]) -> None:
        self._files = files
        self._counters = (ctypes.c_uint8 * COUNTERS)()
        # libFuzzer wants a place in the code for each counter; these are none, but distinct.
        self._places = (ctypes.c_size_t * (2 * COUNTERS))()
        for number in range(COUNTERS):
            self._places[2 * number] = 0x1000 + number
        for name, table in (("8bit_counters", self._counters), ("pcs", self._places)):
            begin = ctypes.addressof(table)
            init = getattr(library, f"__sanitizer_cov_{name}_init")
            init(ctypes.c_void_p(begin), ctypes.c_void_p(begin + ctypes.sizeof(table)))

    def trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        """Be the trace function of a call."""
        if event != "call" or frame.f_code.co_filename not in self._files:
            return None
        code, before = frame.f_code, 0

        def step(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            nonlocal before
            if event == "line":
                self._count(code, before, frame.f_lineno)
                before = frame.f_lineno
            return step

        return step

    def _count(self, code: CodeType, before: int, line: int) -> None:
        # Hashes of numbers are the same in every process.
        counter = hash((len(code.co_filename), code.co_firstlineno, before, line)) % COUNTERS
        self._counters[counter] = self._counters[counter] % 255 + 1


def main() -> None:
    """Run libFuzzer; it ends the process."""
    logging.disable()  # what the targets have to say of millions of bad inputs
    library = ctypes.CDLL(None)
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    run = target.start()
    if target.python:
        coverage = LineCoverage(library, [str(module.__file__) for module in target.python])
        sys.settrace(coverage.trace)

    def test_one_input(data: Any, size: int) -> int:
        try:
            run(ctypes.string_at(data, size))
        except BaseException:  # noqa: BLE001 - whatever it is, it is a finding
            traceback.print_exc()
            os.abort()
        return 0

    callback = CALLBACK(test_one_input)
    # The program's name is what libFuzzer starts for a merge, through a shell.
    program = f"{sys.executable} {__file__} {name}"
    arguments = [argument.encode() for argument in (program, *options)]
    count = ctypes.c_int(len(arguments))
    pointer = ctypes.pointer((ctypes.c_char_p * (len(arguments) + 1))(*arguments, None))
    library.LLVMFuzzerRunDriver(ctypes.byref(count), ctypes.byref(pointer), callback)


if __name__ == "__main__":
    main()
