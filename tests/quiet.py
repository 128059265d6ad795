"""Loggers with a limit, for tests that count lines: other tests may have used up what they let pass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from valtronics_fast.logging import RateLimitFilter

if TYPE_CHECKING:
    import pytest


def renew_limit(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Let a logger that has a limit begin anew, with nothing captured."""
    for limit in logging.getLogger(name).filters:
        assert isinstance(limit, RateLimitFilter)
        limit.flush()
    caplog.clear()
