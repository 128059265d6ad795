"""The filters of subscribe commands (protocol.md, section 3, "Subscriptions and filters" and "frequency")."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.frequency_model import parse
from core.oracle import device_key
from valtronics_fast._core.commands import selection
from valtronics_fast._core.wire import CHANNELS

# The table of protocol.md: what each channel may be filtered by, beside device_id and frequency.
NAME_FILTERS = {
    "telemetry": ["metrics"],
    "alerts": ["severity", "alert_type"],
    "devices": ["status_types"],
    "system": ["metrics"],
}
HAVE_DEVICES = ["telemetry", "alerts", "devices"]
HAVE_FREQUENCY = ["telemetry", "system"]
CASES = [(channel, name) for channel, names in NAME_FILTERS.items() for name in names]
ANY_CHANNEL = pytest.mark.parametrize("channel", CHANNELS)

Selected = tuple[frozenset[int | str] | None, tuple[str, ...] | None, tuple[str, ...] | None]


def select(channel: str, message: dict[str, Any]) -> Any:
    return selection(CHANNELS[channel], message)


def oracle(channel: str, message: dict[str, Any]) -> Selected | None:
    """Return (devices, first, second), None when the answer is `invalid_filter`."""
    filters = {} if message.get("filters") is None else message["filters"]
    known = [*NAME_FILTERS[channel], *["device_id"] * (channel in HAVE_DEVICES), *["frequency"]]
    if not isinstance(filters, dict) or not set(filters) <= set(known):
        return None
    # `filters` wins over the top level, null is as good as absent.
    used = {key: message.get(key) if filters.get(key) is None else filters[key] for key in known}
    there = {key: value for key, value in used.items() if value is not None}
    values = {key: value if isinstance(value, list) else [value] for key, value in there.items()}
    frequency = used["frequency"]
    if frequency is not None and (channel not in HAVE_FREQUENCY or parse(frequency) is None):
        return None
    devices = [device_key(value) for value in values.get("device_id", [])]
    names = [values.get(name) for name in NAME_FILTERS[channel]]
    if [] in values.values() or None in devices:
        return None
    for name in (name for wanted in names for name in wanted or []):
        if not isinstance(name, str) or not 1 <= len(name.encode()) <= 128:
            return None
    first, second = (tuple(sorted(set(wanted))) if wanted else None for wanted in [*names, None][:2])
    return frozenset(key for key in devices if key is not None) if devices else None, first, second


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=4)
NAMES = st.sampled_from(["temperature", "critical", "x" * 128, "\u00e9" * 64])
NO_NAMES = st.sampled_from(["x" * 129, "\u00e9" * 65, "", 5, True, {}, [], ["x", None], ["", "x"]])
IDS = st.sampled_from([1, "1", 2, "x", "01", -5, "-5", 0, "x" * 64, 2**63 - 1])
NO_IDS = st.sampled_from(["x" * 65, "", True, 1.0, 2**63, [], [1, None], {}])
FREQUENCIES: list[Any] = [
    "real-time", "30s", "500ms", "5m", "24h", {"every": "30s"}, {"every": "30s", "deadband": 0.5},
    {"every": "1s", "deadband": "2%"}, {"every": "1s", "deadband": "2.5%"}, {"every": "1s", "deadband": 0},
]  # fmt: skip
NO_FREQUENCIES: list[Any] = [
    "0s", "1.5s", "-1s", "s", "10", "1 s", "1S", "10d", "", "30s\n", "\u0663s", 5, True, [], {},
    {"every": 5}, {"every": "1.5s"}, {"every": "1s", "x": 1}, {"deadband": 1},
    {"every": "1s", "deadband": -1}, {"every": "1s", "deadband": True}, {"every": "1s", "deadband": "2"},
    {"every": "1s", "deadband": "-2%"}, {"every": "1s", "deadband": None}, {"every": "1s", "deadband": []},
]  # fmt: skip
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "device_id": st.one_of(IDS, st.lists(IDS, min_size=1, max_size=4), st.none()),
    "frequency": st.sampled_from(FREQUENCIES) | st.none(),
    **{name: st.one_of(NAMES, st.lists(NAMES, min_size=1, max_size=4), st.none()) for _, name in CASES},
}
BAD = {name: NO_NAMES for _, name in CASES}
BAD |= {"device_id": NO_IDS, "frequency": st.sampled_from(NO_FREQUENCIES)}


@st.composite
def messages(draw: st.DrawFn, channel: str) -> dict[str, Any]:
    """Draw a subscribe command whose filters are valid, and one time in two spoil it in one place."""
    own = [*NAME_FILTERS[channel], *["device_id"] * (channel in HAVE_DEVICES)]
    own += ["frequency"] * (channel in HAVE_FREQUENCY)
    wanted = st.fixed_dictionaries({}, optional={key: GOOD[key] for key in own})
    top, filters = draw(wanted), draw(wanted)
    if draw(st.booleans()):
        place, key = draw(st.sampled_from([top, filters])), draw(st.sampled_from([*GOOD]))
        place[key] = draw(BAD[key] | GOOD[key])
    ignored = draw(st.dictionaries(st.sampled_from(["type", "id", "snapshot", "x", ""]), SCALARS))
    both = {"filters": filters}
    inside: dict[str, Any] = draw(st.sampled_from([both, both, {"filters": None}, {}]))
    return {**ignored, **top, **inside}


@ANY_CHANNEL
@settings(max_examples=300)
@given(st.data())
def test_it_agrees_with_the_oracle(channel: str, data: st.DataObject) -> None:
    message = data.draw(messages(channel))
    before = json.dumps(message)
    expected, actual = oracle(channel, message), select(channel, message)
    if expected is None:
        assert isinstance(actual, str), actual
        assert actual
    else:
        assert actual == expected
    assert json.dumps(message) == before


@ANY_CHANNEL
def test_without_filters_everything_is_selected(channel: str) -> None:
    messages: list[dict[str, Any]] = [{}, {"filters": None}, {"filters": {}}, {"id": 1, "snapshot": True}]
    for message in messages:
        assert select(channel, message) == (None, None, None)


@pytest.mark.parametrize(("channel", "name"), CASES)
def test_names_stand_at_either_place_as_a_scalar_or_an_array(channel: str, name: str) -> None:
    def chosen(message: dict[str, Any]) -> Any:
        result = select(channel, message)
        assert not isinstance(result, str), result
        return result[1 + NAME_FILTERS[channel].index(name)]

    for value, names in (("b", ("b",)), (["b"], ("b",)), (["b", "a", "b"], ("a", "b"))):
        assert chosen({name: value}) == names
        assert chosen({"filters": {name: value}}) == names
        assert chosen({name: "other", "filters": {name: value}}) == names
        assert chosen({name: value, "filters": {name: None}}) == names
    assert chosen({name: None}) is None


@pytest.mark.parametrize("channel", HAVE_DEVICES)
def test_devices_stand_at_either_place_as_a_scalar_or_an_array(channel: str) -> None:
    cases = [(1, {1}), ("1", {1}), ("x", {"x"}), ([1, "1", "x", 2], {1, 2, "x"}), (["01"], {"01"})]
    for value, devices in cases:
        assert select(channel, {"device_id": value}) == (devices, None, None)
        assert select(channel, {"filters": {"device_id": value}}) == (devices, None, None)
        assert select(channel, {"device_id": 9, "filters": {"device_id": value}}) == (devices, None, None)


def test_the_subscriptions_of_the_api_page() -> None:
    filters: dict[str, Any] = {"metrics": ["temperature", "humidity"], "frequency": "real-time"}
    message = {"device_id": 1, "filters": filters}
    assert select("telemetry", message) == ({1}, ("humidity", "temperature"), None)
    filters = {"severity": ["critical", "warning"], "device_id": 1}
    assert select("alerts", {"filters": filters}) == ({1}, ("critical", "warning"), None)
    filters = {"device_id": [1, 2, 3], "status_types": ["online", "offline", "warning"]}
    assert select("devices", {"filters": filters}) == ({1, 2, 3}, ("offline", "online", "warning"), None)
    filters = {"metrics": ["cpu_usage", "memory_usage"], "frequency": "30s"}
    assert select("system", {"filters": filters}) == (None, ("cpu_usage", "memory_usage"), None)
    assert select("alerts", {"severity": ["critical", "warning"]}) == (None, ("critical", "warning"), None)


@ANY_CHANNEL
@pytest.mark.parametrize("key", ["", "Metrics", "device", "filters", "snapshot", "type", "channel", "x\0"])
def test_unknown_keys_are_refused_inside_filters_only(channel: str, key: str) -> None:
    assert isinstance(select(channel, {"filters": {key: 1}}), str)
    assert isinstance(select(channel, {"filters": {key: None}}), str)
    if key != "filters":
        assert select(channel, {key: 1}) == (None, None, None)


@ANY_CHANNEL
def test_filters_of_other_channels_are_unknown_keys(channel: str) -> None:
    own = [*NAME_FILTERS[channel], *["device_id"] * (channel in HAVE_DEVICES)]
    for key in {name for _, name in CASES} | {"device_id"}:
        if key not in own:
            assert isinstance(select(channel, {"filters": {key: "x"}}), str)
            assert select(channel, {key: "x"}) == (None, None, None)


@ANY_CHANNEL
def test_the_text_about_an_unknown_key_lists_what_the_channel_has(channel: str) -> None:
    text = select(channel, {"filters": {"nonsense": 1}})
    assert isinstance(text, str)
    own = set(NAME_FILTERS[channel])
    own |= {"device_id"} if channel in HAVE_DEVICES else set()
    own |= {"frequency"} if channel in HAVE_FREQUENCY else set()
    assert own == {key for key in GOOD if key in re.findall(r"\w+", text)}
    assert "nonsense" not in text                           # nothing of the client's goes into logs this way


@ANY_CHANNEL
@pytest.mark.parametrize("filters", [[], ["metrics"], "metrics", 5, True, False, 0, ""], ids=repr)
def test_filters_are_an_object(channel: str, filters: object) -> None:
    assert isinstance(select(channel, {"filters": filters}), str)


@pytest.mark.parametrize(("channel", "name"), [*CASES, *((channel, "device_id") for channel in HAVE_DEVICES)])
@pytest.mark.parametrize("value", [[], "", [""], True, 1.5, {}, [[]], [None], ["x", None]], ids=repr)
def test_values_that_are_no_names_and_no_devices(channel: str, name: str, value: object) -> None:
    for message in ({name: value}, {"filters": {name: value}}, {name: "x", "filters": {name: value}}):
        assert isinstance(select(channel, message), str)


@pytest.mark.parametrize("frequency", FREQUENCIES, ids=repr)
def test_frequency_belongs_to_values_not_to_events(frequency: object) -> None:
    for channel in CHANNELS:
        for message in ({"frequency": frequency}, {"filters": {"frequency": frequency}}):
            assert isinstance(select(channel, message), str) is (channel not in HAVE_FREQUENCY)


@ANY_CHANNEL
@pytest.mark.parametrize("frequency", NO_FREQUENCIES, ids=repr)
def test_other_frequencies_are_refused(channel: str, frequency: object) -> None:
    assert parse(frequency) is None
    for message in ({"frequency": frequency}, {"filters": {"frequency": frequency}}):
        assert isinstance(select(channel, message), str)


@ANY_CHANNEL
def test_a_null_frequency_is_none(channel: str) -> None:
    assert select(channel, {"frequency": None, "filters": {"frequency": None}}) == (None, None, None)
