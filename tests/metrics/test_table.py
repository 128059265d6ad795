"""The table, against the conventions of Prometheus and the figures of real servers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness import configuration, running
from valtronics_fast import Server
from valtronics_fast.metrics.table import METRICS, SUPERVISOR_METRICS, WORKER_METRICS

if TYPE_CHECKING:
    from valtronics_fast.metrics.metric import Metric

ALL = (*METRICS, *WORKER_METRICS, *SUPERVISOR_METRICS)
# What there is only with a part that the server of these tests has not.
ABSENT = re.compile(r"valtronics_(backplane_(?!info|ready)|producer_|certificate_|jwks_)")


def test_a_name_stands_for_one_metric() -> None:
    families = [metric.family for metric in ALL]
    assert len(set(families)) == len(families)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"valtronics_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_info") == (metric.kind == "info")
    assert not re.search(r"_(count|sum|bucket|created|gcount|gsum)$", metric.name)
    assert not re.search(r"milli|micro|kilo|mebi|minutes|percent", metric.name)
    assert "seconds" not in metric.name or metric.unit == "seconds"
    assert "bytes" not in metric.name.removesuffix("_limit") or metric.unit == "bytes" or metric.name.endswith("limit")
    if metric.kind == "histogram":
        assert metric.unit
    assert not {"le", "worker", "job", "instance"} & set(metric.labels)
    assert re.fullmatch(r"[A-Za-z0-9].*[A-Za-z0-9)]\.", metric.help), metric.help
    assert "|" not in metric.help
    assert metric.across == "sum" or metric.kind != "histogram"


async def test_every_metric_is_found_in_the_figures_of_a_server() -> None:
    async with running() as site:
        figures = site.server.stats()
        for metric in METRICS:
            samples = list(metric.read(figures))
            assert samples or ABSENT.match(metric.name), metric.name
            assert len({labels for labels, _ in samples}) == len(samples)
            for labels, value in samples:
                assert len(labels) == len(metric.labels)
                assert isinstance(value, dict if "histogram" in metric.kind else int | float), metric.name


async def test_counters_of_a_server_never_fall_and_label_sets_stay() -> None:
    async with running() as site:

        def look() -> dict[tuple[str, tuple[str, ...]], float]:
            stats = site.server.stats()
            return {
                (metric.name, labels): value
                for metric in METRICS
                if metric.kind == "counter"
                for labels, value in metric.read(stats)
            }

        before = look()
        async with site.client() as client:
            await client.subscribe("telemetry")
            await client.fails("unknown_type", type="nonsense")
            await site.refusal("/nowhere")
            client.connection.transport.abort()
        after = look()
        assert after.keys() == before.keys()
        assert all(after[key] >= value for key, value in before.items())
        assert after != before


def test_close_codes_that_clients_make_up_share_a_label() -> None:
    (closed,) = (metric for metric in METRICS if metric.name == "valtronics_connections_closed_total")
    codes = {str(code): 1 for code in range(1000, 5000)}
    samples = dict(closed.read({"close_codes": codes}))
    assert len(samples) < 40
    assert sum(samples.values()) == 4000
    assert samples["other",] > 3900


def test_what_is_rejected_is_told_by_reason() -> None:
    (rejected,) = (metric for metric in METRICS if metric.name == "valtronics_producer_rejected_total")
    producers = {"mqtt": {"published": 4, "rejected_json": 2, "rejected_topic": 0}, "system": {"rejected": 3}}
    assert list(rejected.read({"producers": producers})) == [
        (("mqtt", "json"), 2),
        (("mqtt", "topic"), 0),
        (("system", "other"), 3),
    ]


async def test_a_server_that_goes_is_not_ready() -> None:
    (ready,) = (metric for metric in METRICS if metric.name == "valtronics_ready")
    server = Server(configuration())
    async with server:
        assert list(ready.read(server.stats())) == [((), True)]
    assert list(ready.read(server.stats())) == [((), False)]
