from __future__ import annotations

import json

import pytest

from valtronics_fast._core.commands import item_sizes, parse, selection
from valtronics_fast._core.wire import Channel

SUBSCRIBE = {"type": "subscribe", "channel": "telemetry", "device_id": [1, 2, 3], "filters": {"metrics": ["a", "b"]}}
TEXT = json.dumps(SUBSCRIBE).encode()
BATCH = json.dumps({"type": "batch", "messages": [SUBSCRIBE] * 50}).encode()


@pytest.mark.benchmark(group="commands")
def test_parse_subscribe(benchmark):
    assert benchmark(parse, TEXT) == (SUBSCRIBE, None)


@pytest.mark.benchmark(group="commands")
def test_select_3_devices_2_metrics(benchmark):
    assert benchmark(selection, Channel.TELEMETRY, SUBSCRIBE)[0] == {1, 2, 3}


@pytest.mark.benchmark(group="commands")
def test_sizes_of_50_items(benchmark):
    assert benchmark(item_sizes, BATCH) == [len(TEXT)] * 50
