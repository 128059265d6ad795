from __future__ import annotations

import msgspec
import pytest

from harness import configuration
from valtronics_fast.workers.segment import Layout
from valtronics_fast.workers.settings import Failed, Reloaded, WorkerSettings, decode, encode


def test_settings_arrive_as_they_were_sent() -> None:
    settings = WorkerSettings(
        config=configuration(limits={"connection_rate": "7/h"}, mqtt={"url": "mqtt://me:secret@broker"}),
        index=1,
        start=5,
        machine=2**63 - 1,
        segment=7,
        layout=Layout.of(2, 10, 10, 10),
        key=b"k" * 16,
        sockets={"ws": [8, 9]},
    )
    assert decode(WorkerSettings, encode(settings)) == settings


def test_what_a_worker_tells() -> None:
    assert decode(Reloaded, encode(Reloaded(["a"]))) == Reloaded(["a"])
    assert decode(Failed, encode(Failed(["a", "b"], configured=True))) == Failed(["a", "b"], configured=True)
    with pytest.raises(msgspec.ValidationError):
        decode(Failed, encode(Reloaded([])))
