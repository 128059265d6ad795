"""What is written, read by the parsers of prometheus_client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from valtronics_fast._core.histogram import Histogram
from valtronics_fast.metrics import exposition
from valtronics_fast.metrics.exposition import render, wants_openmetrics
from valtronics_fast.metrics.metric import Metric, each, figure
from valtronics_fast.workers.figures import ByWorker

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = (
    Metric("x_things_total", "counter", "Things.", figure("things")),
    Metric("x_part_bytes", "gauge", "Parts.", each("parts.*"), ("part",)),
    Metric("x_build_info", "info", "Build.", each("build.*"), ("name",)),
    Metric("x_time_seconds", "histogram", "Times.", figure("times")),
    Metric("x_queue_bytes", "gaugehistogram", "Queues.", figure("queues")),
    Metric("x_missing", "gauge", "Nowhere.", figure("nowhere")),
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.1"
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "METRICS", TABLE)


def histogram(*values: float) -> Mapping[str, Any]:
    counts = Histogram(1.0, 0, 3)
    for value in values:
        counts.observe(value)
    return counts.figures()


def figures(**more: object) -> dict[str, object]:
    return {"things": 7, "parts": {"a": 1.5, "b": True}, "build": {"n": 1}, "times": histogram(1, 3, 99)} | {
        "queues": histogram(0, 2)
    } | more


def samples(page: bytes, *, openmetrics: bool) -> Samples:
    families = (parse_openmetrics if openmetrics else parse_text)(page.decode())
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def of(found: Samples, name: str, /, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_both_formats_tell_the_same(openmetrics: bool) -> None:
    workers = {"10": figures(things=1), "2": figures()}
    found = samples(render(ByWorker(workers, (), None), openmetrics=openmetrics), openmetrics=openmetrics)
    assert of(found, "x_things_total", worker="10") == 1
    assert of(found, "x_things_total", worker="2") == 7
    assert of(found, "x_part_bytes", worker="2", part="a") == 1.5
    assert of(found, "x_part_bytes", worker="2", part="b") == 1
    assert of(found, "x_build_info", worker="2", name="n") == 1
    for bound, count in {"1.0": 1, "2.0": 1, "4.0": 2, "+Inf": 3}.items():
        assert of(found, "x_time_seconds_bucket", worker="2", le=bound) == count
    assert of(found, "x_time_seconds_count", worker="2") == 3
    assert of(found, "x_time_seconds_sum", worker="2") == 103
    assert of(found, "x_queue_bytes_bucket", worker="2", le="1.0") == 1
    assert of(found, "x_queue_bytes_gcount", worker="2") == 2
    assert of(found, "x_queue_bytes_gsum", worker="2") == 2
    assert of(found, "valtronics_worker_up", worker="10") == 1
    assert not any(name.startswith("x_missing") for name, _ in found)


def test_types_and_units() -> None:
    both = ByWorker({"0": figures()}, (), None)
    families = {family.name: family for family in parse_openmetrics(render(both, openmetrics=True).decode())}
    assert {name: family.type for name, family in families.items() if name.startswith("x_")} == {
        "x_things": "counter", "x_part_bytes": "gauge", "x_build": "info", "x_time_seconds": "histogram",
        "x_queue_bytes": "gaugehistogram",
    }  # fmt: skip
    assert (families["x_time_seconds"].unit, families["x_things"].unit) == ("seconds", "")
    assert families["x_things"].documentation == "Things."
    text = {family.name: family.type for family in parse_text(render(both).decode())}
    assert text["x_build_info"] == "gauge"
    assert text["x_queue_bytes_gsum"] == "gauge"
    assert text["x_things"] == "counter"
    assert b"# TYPE x_things_total counter\n" in render(both)


def test_workers_that_do_not_answer_and_the_supervisor() -> None:
    supervisor = {
        "pid": 1, "cpu_seconds": 1.5, "starts": {"0": 1, "1": 3},
        "bus": {"entries": 5, "position": 9, "kept_bytes": 100, "dropped": 0, "losses": 1},
    }  # fmt: skip
    found = samples(render(ByWorker({"0": figures()}, ["1"], supervisor)), openmetrics=False)
    assert [of(found, "valtronics_worker_up", worker=each) for each in "01"] == [1, 0]
    assert [of(found, "valtronics_worker_starts_total", worker=each) for each in "01"] == [1, 3]
    assert of(found, "valtronics_bus_losses_total") == 1
    assert of(found, "valtronics_supervisor_cpu_seconds_total") == 1.5
    assert not any(name.startswith("x_") and ("worker", "1") in labels for name, labels in found)


@pytest.mark.parametrize("openmetrics", [False, True])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_label_holds_any_text(openmetrics: bool, text: str) -> None:
    page = render(ByWorker({"0": figures(parts={text: 1})}, (), None), openmetrics=openmetrics)
    assert of(samples(page, openmetrics=openmetrics), "x_part_bytes", worker="0", part=text) == 1


@pytest.mark.parametrize("openmetrics", [False, True])
@given(st.integers(0, 2**64 - 1) | st.floats(allow_nan=False))
def test_a_number_is_written_in_full(openmetrics: bool, number: float) -> None:
    page = render(ByWorker({"0": figures(parts={"a": number})}, (), None), openmetrics=openmetrics)
    found = of(samples(page, openmetrics=openmetrics), "x_part_bytes", worker="0", part="a")
    assert found == float(number) or math.isclose(found, number)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=0.0.1", True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.6", False),
        ("application/openmetrics-text;q=0.5,text/plain;version=0.0.4;q=0.5", True),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=9", False),
        ("application/openmetrics-text;q=x;;=,,", False),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
    ],
)
def test_what_is_asked_for(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected


@given(st.text())
def test_no_header_is_a_fault(accept: str) -> None:
    wants_openmetrics(accept)
