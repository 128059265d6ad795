from __future__ import annotations

from pathlib import Path

from valtronics_fast.metrics.reference import reference
from valtronics_fast.metrics.table import METRICS, SUPERVISOR_METRICS, WORKER_METRICS

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference()


def test_every_metric_has_its_row() -> None:
    rows = [line.split("|")[1].strip(" `") for line in reference().splitlines() if line.startswith("| `")]
    assert rows == [metric.name for metric in (*METRICS, *WORKER_METRICS, *SUPERVISOR_METRICS)]
