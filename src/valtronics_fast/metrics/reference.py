"""The reference page of the metrics, docs/metrics.md, rendered from their table: `python -m ...metrics.reference`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valtronics_fast.metrics.table import METRICS, SUPERVISOR_METRICS, WORKER_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from valtronics_fast.metrics.metric import Metric

__all__ = ["reference"]

_HEAD = """\
# Metrics

This page is made by `python -m valtronics_fast.metrics.reference`; change src/valtronics_fast/metrics/table.py, not
this file.

`GET /metrics` on the HTTP port tells all of this in the text format of Prometheus, or as OpenMetrics 1.0 where `Accept`
asks for it. Who may ask, how it is scraped, the dashboard and the alerts: [operations.md](operations.md#metrics).

- Every metric of the first table has the label `worker`, the index of its process: `0`, where there is one only. With
  `server.workers` all of them are in the answer, whichever is asked, and are not summed up: a sum would fall when a
  worker ends, and Prometheus would take that for a counter that began anew. *Across workers* says what makes one
  figure of them: `sum without (worker) (...)`, or `max`, or `min`, where each sees the same thing.
- Values of labels are fixed sets, in whole: a counter is there, with 0, before anything is counted. What is not in the
  set, such as close codes that clients make up, is counted as `other`. No label has a device, a user or an address.
- Metrics of what is not there are missing: of MQTT without a broker, of a shared backplane without one.
- The bounds of histograms are powers of two: of 1 µs (`valtronics_fanout_seconds` from 16 µs on,
  `valtronics_loop_lag_seconds` from 256 µs on), and of 1 KiB. `valtronics_queue_bytes` is a distribution of the moment,
  a *gaugehistogram*: take quantiles of its buckets as they are, without `rate`.

## Of each worker

"""

_SUPERVISED = """
## Of the workers, from outside

"""

_SUPERVISOR = """
## Of the supervisor

With `server.workers` only, and without the label `worker`.

"""


def reference() -> str:
    """Render the page in Markdown."""
    tables = ((_HEAD, METRICS), (_SUPERVISED, WORKER_METRICS), (_SUPERVISOR, SUPERVISOR_METRICS))
    return "".join(head + _table(metrics) for head, metrics in tables)


def _table(metrics: Iterable[Metric]) -> str:
    head = "| metric | type | labels | across workers | what it tells |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(map(_row, metrics))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.across} | {metric.help} |\n"


if __name__ == "__main__":
    print(reference(), end="")
