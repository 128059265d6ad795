"""From the bytes of a message to a command: what is looked at before decoding, decoding, filters."""

from __future__ import annotations

import json

import pytest

from valtronics_fast._core.commands import item_sizes, parse, selection
from valtronics_fast._core.wire import Channel, ErrorCode

SUBSCRIBE = {"type": "subscribe", "channel": "telemetry", "device_id": [1, 2, 3], "filters": {"metrics": ["a", "b"]}}
MANY = {"type": "subscribe", "channel": "telemetry", "device_id": list(range(1000))}
TEXT = json.dumps(SUBSCRIBE).encode()
BATCH = json.dumps({"type": "batch", "messages": [SUBSCRIBE] * 50}).encode()


@pytest.mark.benchmark(group="commands: parse")
def test_parse_subscribe(steady):
    assert steady(parse, TEXT) == (SUBSCRIBE, None)


@pytest.mark.benchmark(group="commands: parse")
def test_parse_batch_of_50(steady):
    assert steady(parse, BATCH, iterations=50, items=50)[1] is None


@pytest.mark.benchmark(group="commands: parse")
def test_refuse_broken_json(steady):
    assert steady(parse, TEXT[:-1]) == (None, ErrorCode.INVALID_JSON)


@pytest.mark.benchmark(group="commands: parse")
def test_refuse_deep_json(steady):
    assert steady(parse, b"[" * 500 + b"]" * 500) == (None, ErrorCode.INVALID_MESSAGE)


@pytest.mark.benchmark(group="commands: filters")
def test_select_3_devices_2_metrics(steady):
    assert steady(selection, int(Channel.TELEMETRY), SUBSCRIBE)[0] == {1, 2, 3}


@pytest.mark.benchmark(group="commands: filters")
def test_select_1000_devices(steady):
    assert len(steady(selection, int(Channel.TELEMETRY), MANY, iterations=20, items=1000)[0]) == 1000


@pytest.mark.benchmark(group="commands: batch")
def test_sizes_of_50_items(steady):
    assert steady(item_sizes, BATCH, iterations=100, items=50) == [len(TEXT)] * 50
