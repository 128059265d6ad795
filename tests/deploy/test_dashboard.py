"""The dashboard and the rules, against a real Prometheus that scrapes a real server with workers, MQTT and TLS.

Grafana is no Debian package: that it can read the dashboard is judged by its own SDK, whose classes are made of its
schemas, and by the structure that it documents.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from certificates import tls_config
from deploy.prometheus_server import scraping
from harness import http, telemetry
from services import Mosquitto
from valtronics_fast.metrics.table import METRICS, SUPERVISOR_METRICS, WORKER_METRICS
from workers.processes import processes

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "valtronics-fast.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
VARIABLES = {"$job": "valtronics", "$instance": ".*", "$__rate_interval": "1m"}
KINDS = {"stat", "timeseries", "heatmap", "state-timeline"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def substituted(expression: str) -> str:
    """Return an expression as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def test_it_can_be_provisioned() -> None:
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"} <= DASHBOARD.keys()
    assert "id" not in DASHBOARD
    assert "__inputs" not in DASHBOARD  # those are asked for by hand
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    queries = [one for name, one in variables.items() if name != "datasource"]
    assert [(one["type"], one["datasource"]) for one in queries] == [("query", SOURCE)] * 2


def test_grafana_knows_every_field_of_it() -> None:
    """What is read into the classes of Grafana's schemas and written again has all of it; defaults are added."""
    register_default_plugins()
    assert_kept(DASHBOARD, json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD))), "dashboard")


def assert_kept(before: Any, after: Any, place: str) -> None:
    """Assert that everything of one value is in another, too."""
    assert type(before) is type(after), place
    if isinstance(before, dict):
        for key, value in before.items():
            assert key in after, f"{place}: {key}"
            assert_kept(value, after[key], f"{place}.{key}")
    elif isinstance(before, list):
        assert len(before) == len(after), place
        for index, value in enumerate(before):
            assert_kept(value, after[index], f"{place}[{index}]")
    else:
        assert before == after, place


def test_the_rows() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Overview", "Traffic", "Latency", "Queues", "Producers", "Backplane", "Errors"]


def test_panels_are_whole_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in KINDS
        assert panel["datasource"] == SOURCE
        assert panel["description"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all(target["datasource"] == SOURCE for target in panel["targets"])


def test_every_query_is_of_the_job_and_nodes_that_were_chosen() -> None:
    for query in QUERIES:
        assert query.count("{") == query.count('{job="$job", instance=~"$instance"'), query


@pytest.mark.timeout(180)
async def test_a_real_prometheus_answers_every_panel_and_every_rule(tmp_path: Path) -> None:
    tls = tls_config(trustme.CA(), tmp_path)
    with Mosquitto(tmp_path) as broker:
        settings = {
            "VFAST_MQTT__URL": broker.url,
            "VFAST_TLS__CERTFILE": tls.certfile,
            "VFAST_TLS__KEYFILE": tls.keyfile,
            "VFAST_SYSTEM__INTERVAL": "1",
            "VFAST_SERVER__WORKERS": "2",
        }
        async with processes("--demo", **settings) as site:
            await site.publish(telemetry())
            broker.publish("valtronics/7/telemetry", '{"temperature": 21.5}')
            url = site.http_url("/metrics")
            async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": "text/plain"}) as answer:
                assert answer.status == 200
            with scraping(int(url.split(":")[2].split("/")[0]), tmp_path) as prometheus:
                await prometheus.until('count_over_time(valtronics_ready{worker="1"}[1m]) >= 4')
                assert await prometheus.query("up == 1")
                stored = set(await prometheus.ask("label/__name__/values"))
                for query in QUERIES:
                    expression = substituted(query)
                    for name in re.findall(r"valtronics_\w+", expression):
                        assert name in stored, (name, query)
                    assert await prometheus.query(expression), query
                groups = (await prometheus.ask("rules"))["groups"]
                rules = [rule for group in groups for rule in group["rules"]]
                assert len(rules) > 10
                assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
                firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
                assert firing == set()
                metadata = await prometheus.ask("metadata")
                for metric in (*METRICS, *WORKER_METRICS, *SUPERVISOR_METRICS):
                    for told in metadata.get(metric.family, ()):
                        assert told["type"] == metric.kind, metric.name
                assert (await http("GET", site.http_url("/health/ready")))[0] == 200
