from __future__ import annotations

from typing import Any

import pytest

from valtronics_fast.metrics.metric import Metric, by_channel, each, figure, find

FIGURES: dict[str, Any] = {
    "one": 1,
    "off": False,
    "deep": {"er": {"two": 2}},
    "codes": {"1000": 5, "3999": 2, "4000": 1},
    "parts": {"a": {"n": 1}, "b": {"other": 2}},
    "channels": {name: {"n": i} for i, name in enumerate(("telemetry", "alerts", "devices", "system"))},
}


@pytest.mark.parametrize(
    ("path", "found"), [("one", 1), ("off", False), ("deep.er.two", 2), ("nothing", None), ("one.more", None)]
)
def test_a_figure_is_found_by_its_path(path: str, found: object) -> None:
    assert find(FIGURES, path) == found
    assert list(figure(path)(FIGURES)) == ([] if found is None else [((), found)])


@pytest.mark.parametrize(
    ("path", "known", "found"),
    [
        ("codes.*", ("1000", "1001"), [("1000", 5), ("1001", 0), ("other", 3)]),
        ("codes.*", ("1000", "3999", "4000"), [("1000", 5), ("3999", 2), ("4000", 1)]),
        ("nothing.*", ("a",), [("a", 0)]),
        ("nothing.*", None, []),
        ("codes.*", None, [("1000", 5), ("3999", 2), ("4000", 1)]),
        ("parts.*.n", None, [("a", 1)]),
    ],
)
def test_a_label_stands_for_a_part_of_the_path(
    path: str, known: tuple[str, ...] | None, found: list[tuple[str, int]]
) -> None:
    assert list(each(path, known)(FIGURES)) == [((name,), count) for name, count in found]


def test_a_channel_is_told_with_its_type() -> None:
    assert list(by_channel("n")(FIGURES)) == [
        (("telemetry", "telemetry_update"), 0),
        (("alerts", "alert"), 1),
        (("devices", "device_status_update"), 2),
        (("system", "system_status_update"), 3),
    ]


@pytest.mark.parametrize(
    ("name", "family", "unit"),
    [
        ("x_sent_bytes_total", "x_sent_bytes", "bytes"),
        ("x_build_info", "x_build", ""),
        ("x_lag_seconds", "x_lag_seconds", "seconds"),
        ("x_kilobytes", "x_kilobytes", ""),
    ],
)
def test_the_family_and_its_unit_follow_from_the_name(name: str, family: str, unit: str) -> None:
    metric = Metric(name, "counter", "", figure("one"))
    assert (metric.family, metric.unit) == (family, unit)
