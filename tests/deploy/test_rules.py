"""The alert rules: checked and tried by promtool, and each with what to do about it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from services import program
from valtronics_fast.metrics.table import METRICS, SUPERVISOR_METRICS, WORKER_METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
TESTS = Path(__file__).parent / "rules_test.yml"
OPERATIONS = ROOT / "docs" / "operations.md"


def promtool(*arguments: str | Path) -> None:
    command = [program("promtool", "prometheus"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text())


def test_they_are_valid() -> None:
    promtool("check", "rules", RULES)


def test_they_fire_when_they_should() -> None:
    promtool("test", "rules", TESTS)


def test_each_alert_is_tried_firing_and_silent() -> None:
    tried = TESTS.read_text()
    for alert in alerts():
        cases = re.findall(rf"alertname: {alert}\n(\s+exp_alerts)?", tried)
        assert {bool(case) for case in cases} == {True, False}, alert


def test_each_alert_says_where_to_read_what_to_do() -> None:
    text, page = RULES.read_text(), OPERATIONS.read_text()
    rules = text.split("- alert: ")[1:]
    assert len(rules) == len(set(alerts())) > 10
    assert all("runbook: docs/operations.md#alerts\n" in rule for rule in rules)
    assert re.findall(r"^\| `(Valtronics\w+)` \|", page, re.MULTILINE) == alerts()


def test_each_metric_in_them_exists() -> None:
    known = {metric.name for metric in (*METRICS, *WORKER_METRICS, *SUPERVISOR_METRICS)}
    used = set(re.findall(r"valtronics_\w+", RULES.read_text()))
    assert {re.sub(r"_bucket$", "", name) for name in used} <= known
