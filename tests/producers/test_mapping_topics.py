"""Which rule takes a topic, and which rules there may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast.producers.mapping import (
    DEFAULT_TOPICS,
    MAX_KEPT_TOPIC,
    MAX_ROUTES,
    MappingError,
    TopicMap,
    compile_topics,
    covers,
)

PLATFORM = compile_topics(DEFAULT_TOPICS)


def outcome(topics: TopicMap, topic: str, payload: bytes) -> tuple[str, list[dict[str, object]]]:
    """Return what map() returned, or the reason of its refusal and no messages."""
    try:
        return topics.map(topic, payload)
    except MappingError as error:
        return error.reason, []


@pytest.mark.parametrize(
    ("level", "device"),
    [("1", 1), ("-5", -5), ("01", "01"), ("pump 3", "pump 3"), ("ü", "ü"), ("9" * 64, "9" * 64)],
)
def test_device_ids_are_canonical(level: str, device: int | str) -> None:
    assert outcome(PLATFORM, f"valtronics/{level}/heartbeat", b"")[1][0]["device_id"] == device
    assert outcome(PLATFORM, f"valtronics/devices/{level}/status/online", b"")[1][0]["device_id"] == device


@pytest.mark.parametrize("level", ["", "x" * 65, "ü" * 33])
def test_bad_devices(level: str) -> None:
    assert outcome(PLATFORM, f"valtronics/{level}/heartbeat", b"") == ("bad_device", [])


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "valtronics",
        "valtronics/1",
        "valtronics/1/telemetry/x",
        "valtronics/1/unknown",
        "other/1/telemetry",
        # the platform's own words are no devices of the first family
        "valtronics/devices/telemetry",
        "valtronics/devices/status",
        "valtronics/devices/heartbeat",
        "valtronics/devices/x/telemetry",
        "valtronics/devices/x/status",
        "valtronics/devices/x/heartbeat",
        "valtronics/devices/x/telemetry/y/z",
        "valtronics/system/telemetry",
        "valtronics/system/status",
        "valtronics/system/alert",
        "valtronics/system/alerts",
        "valtronics/system/alerts/info/x",
    ],
)
def test_topics_that_nobody_takes(topic: str) -> None:
    assert outcome(PLATFORM, topic, b"1") == ("unmapped_topic", [])


def test_the_platforms_filters() -> None:
    assert PLATFORM.filters == (
        "valtronics/+/telemetry",
        "valtronics/+/status",
        "valtronics/+/heartbeat",
        "valtronics/+/alert",
        "valtronics/devices/+/telemetry/+",
        "valtronics/devices/+/status/+",
        "valtronics/system/alerts/+",
    )


def test_own_topics() -> None:
    topics = compile_topics(
        [
            "plant/+/line/{device}/{metric} => telemetry",
            "  plant/alarm/{severity}/#   =>   alert ",
            "plant/# => alert",
            "gw/{device}/# => heartbeat",
            "gw/{device}/t/{metric} => telemetry",
        ]
    )
    assert topics.filters == ("plant/#", "gw/+/#")
    assert topics.map("plant/a/line/7/rpm", b"5")[1] == [
        {"type": "telemetry_update", "device_id": 7, "telemetry": {"rpm": {"value": 5}}}
    ]
    assert topics.map("plant/alarm/info", b"")[1] == [{"type": "alert", "severity": "info"}]
    assert topics.map("plant/alarm/info/a/b", b"")[1] == [{"type": "alert", "severity": "info"}]
    # "plant/#" takes the rest, also where the walk went deeper before it ended
    for rest in ("plant", "plant/x", "plant/a/line/7", "plant/a/line/7/rpm/x"):
        assert topics.map(rest, b'{"severity":"low"}')[0] == "alert"
    assert topics.map("gw/9", b"")[1][0]["device_id"] == 9
    assert topics.map("gw/9/t/volt", b"5")[0] == "telemetry"
    assert topics.map("gw/9/x/y/z", b"5")[0] == "heartbeat"
    with pytest.raises(MappingError):
        topics.map("gw", b"")


def test_an_alert_may_name_its_device_where_the_topic_does_not() -> None:
    topics = compile_topics(["alarms => alert"])
    assert topics.map("alarms", b'{"severity":"info","device_id":7}')[1][0]["device_id"] == 7


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ([], "at least one"),
        (["valtronics/{device}/telemetry"], "PATTERN => KIND"),
        (["=> telemetry"], "PATTERN => KIND"),
        (["a/{device} => metrics"], "the kind is one of telemetry, status, heartbeat, alert"),
        (["a/{device}/{metrics} => telemetry"], r"\{metrics\}: the placeholders of telemetry are"),
        (["a/{device}/{state} => telemetry"], r"\{state\}: the placeholders of telemetry are"),
        (["a/{device}/{state} => heartbeat"], r"the placeholders of heartbeat are \{device\}"),
        (["a/{device}/{device} => telemetry"], "twice"),
        (["a/b => telemetry"], r"telemetry needs \{device\}"),
        (["a/b/{state} => status"], r"status needs \{device\}"),
        (["a/#/{device} => telemetry"], "a level is"),
        (["a/x{device} => telemetry"], "a level is"),
        (["a/b+/{device} => telemetry"], "a level is"),
        (["a/\0/{device} => telemetry"], "a level is"),
        (["a/{device} => status", "a/{device} => heartbeat"], "takes the same topics as"),
        (["a/{device}/+ => heartbeat", "a/+/{severity} => alert"], "takes the same topics as"),
        (["a/{device}/# => heartbeat", "a/+/# => alert"], "takes the same topics as"),
    ],
)
def test_bad_rules(rules: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        compile_topics(rules)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("#", "a/b", True),
        ("a/#", "a", True),
        ("a/#", "a/+/b", True),
        ("a/#", "a/#", True),
        ("a/+", "a/b", True),
        ("a/+", "a/+", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/+", "a/#", False),
        ("a/b", "a/+", False),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
    ],
)
def test_covers(wide: str, narrow: str, expected: bool) -> None:
    assert covers(wide.split("/"), narrow.split("/")) is expected


@given(st.lists(st.text(), max_size=5))
def test_compiling_never_raises_anything_but_value_error(rules: list[str]) -> None:
    try:
        compile_topics(rules)
    except ValueError:
        return


def matches(topic_filter: list[str], topic: list[str]) -> bool:
    if topic_filter[-1] == "#":
        return len(topic) >= len(topic_filter) - 1 and matches_levels(topic_filter[:-1], topic)
    return len(topic) == len(topic_filter) and matches_levels(topic_filter, topic)


def matches_levels(topic_filter: list[str], topic: list[str]) -> bool:
    return all(level in {"+", topic[at]} for at, level in enumerate(topic_filter))


WORDS = st.sampled_from(["a", "b", "c"])
PATTERNS = st.builds(
    lambda levels, rest: "/".join([*levels, "#"] if rest else levels),
    st.lists(st.one_of(WORDS, st.just("+")), min_size=1, max_size=4),
    st.booleans(),
)


@given(st.lists(PATTERNS, min_size=1, max_size=5, unique=True), st.lists(WORDS, min_size=1, max_size=5))
def test_the_filters_bring_every_topic_of_the_rules(patterns: list[str], topic: list[str]) -> None:
    topics = compile_topics(f"{pattern} => alert" for pattern in patterns)
    wanted = any(matches(pattern.split("/"), topic) for pattern in patterns)
    assert any(matches(topic_filter.split("/"), topic) for topic_filter in topics.filters) is wanted
    kind, _ = outcome(topics, "/".join(topic), b'{"severity":"info"}')
    assert kind in ({"alert", "unmapped_topic"} if wanted else {"unmapped_topic"})


def test_the_memory_for_topics_is_bounded() -> None:
    topics = compile_topics(["plant/{device} => telemetry"])
    most = 0
    for number in range(MAX_ROUTES + 10):
        for _ in range(2):  # found, and remembered
            (message,) = topics.map(f"plant/{number}", b'{"name":"a","value":1}')[1]
            assert message["device_id"] == number
        most = max(most, len(topics._routes))
    assert most == MAX_ROUTES
    assert len(topics._routes) == 10


def test_long_topics_are_not_remembered() -> None:
    topics = compile_topics(["plant/{device}/# => heartbeat"])
    for size in (MAX_KEPT_TOPIC, MAX_KEPT_TOPIC + 1):
        assert topics.map("plant/1/".ljust(size, "x"), b"")[0] == "heartbeat"
    assert [len(topic) for topic in topics._routes] == [MAX_KEPT_TOPIC]


def test_what_has_no_route_is_not_remembered() -> None:
    topics = compile_topics(["plant/{device} => heartbeat"])
    for topic in ("office/1", "plant/", f"plant/{'x' * 65}"):
        assert outcome(topics, topic, b"")[1] == []
    assert topics._routes == {}
