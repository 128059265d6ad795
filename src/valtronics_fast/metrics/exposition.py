"""The metrics as text: the format of Prometheus (0.0.4), or OpenMetrics 1.0 for those that ask for it.

https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification, section 5.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from valtronics_fast.metrics.table import METRICS, SUPERVISOR_METRICS, WORKER_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from valtronics_fast.metrics.metric import Metric
    from valtronics_fast.workers.figures import ByWorker

    Figures = Sequence[tuple[str | None, Mapping[str, Any]]]

__all__ = ["OPENMETRICS", "TEXT", "render", "wants_openmetrics"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_VERSIONS = {"", "1.0.0", "0.0.1"}  # of OpenMetrics; what is told is valid in both
_TYPES = {"info": "gauge", "gaugehistogram": "histogram"}  # what the older format calls them
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def wants_openmetrics(accept: str) -> bool:
    """Say whether a request's header `Accept` asks for OpenMetrics, at least as much as for the older format."""
    wishes = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.split(","):
        media, *rest = (part.strip() for part in item.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        if media in wishes and (media == "text/plain" or parameters.get("version", "") in _VERSIONS):
            wishes[media] = max(wishes[media], _quality(parameters.get("q", "1")))
    return wishes["application/openmetrics-text"] > 0 and wishes["application/openmetrics-text"] >= wishes["text/plain"]


def _quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0


def render(figures: ByWorker, *, openmetrics: bool = False) -> bytes:
    """Write all metrics that there are figures for.

    Args:
        figures: of each worker by itself.
        openmetrics: as OpenMetrics.
    """
    names = sorted({*figures.workers, *figures.silent}, key=int)
    workers = [(name, figures.workers[name]) for name in names if name in figures.workers]
    starts = {} if figures.supervisor is None else figures.supervisor["starts"]
    states = [(name, {"up": name in figures.workers, "starts": starts.get(name)}) for name in names]
    lines: list[str] = []
    for metric in METRICS:
        lines += _family(metric, workers, openmetrics=openmetrics)
    for metric in WORKER_METRICS:
        lines += _family(metric, states, openmetrics=openmetrics)
    for metric in SUPERVISOR_METRICS if figures.supervisor is not None else ():
        lines += _family(metric, [(None, figures.supervisor or {})], openmetrics=openmetrics)
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def _family(metric: Metric, figures: Figures, *, openmetrics: bool) -> list[str]:
    """Write a metric's samples below what is told of it; nothing when there is none."""
    samples: list[str] = []
    beside: dict[str, list[str]] = {"_gcount": [], "_gsum": []}
    for worker, found in figures:
        for values, figure in metric.read(found):
            labels = _labels(metric.labels, values, worker)
            if metric.kind not in {"histogram", "gaugehistogram"}:
                samples.append(f"{metric.name}{{{labels}}} {_number(figure)}\n")
                continue
            samples += _buckets(metric.name, labels, figure)
            prefix = "_" if metric.kind == "histogram" else "_g"
            for member in ("count", "sum"):
                line = f"{metric.name}{prefix}{member}{{{labels}}} {_number(figure[member])}\n"
                # The older format knows no such members of a histogram: they are metrics of their own there.
                (samples if prefix == "_" or openmetrics else beside[prefix + member]).append(line)
    if not samples:
        return []
    if openmetrics:
        unit = [f"# UNIT {metric.family} {metric.unit}\n"] if metric.unit else []
        head = [f"# TYPE {metric.family} {metric.kind}\n", *unit, f"# HELP {metric.family} {metric.help}\n"]
        return [*head, *samples]
    lines = [*_head(metric.name, metric.help, _TYPES.get(metric.kind, metric.kind)), *samples]
    for suffix, found_beside in beside.items():
        if found_beside:
            lines += [*_head(metric.name + suffix, metric.help, "gauge"), *found_beside]
    return lines


@lru_cache(1 << 14)  # the sets of labels are fixed
def _labels(names: tuple[str, ...], values: tuple[str, ...], worker: str | None) -> str:
    pairs = [f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True)]
    return ",".join(pairs if worker is None else [*pairs, f'worker="{worker}"'])


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"]


def _buckets(name: str, labels: str, figure: Mapping[str, Any]) -> Iterator[str]:
    separator = "," if labels else ""
    for bound, count in figure["buckets"].items():
        yield f'{name}_bucket{{{labels}{separator}le="{bound}"}} {count}\n'
    yield f'{name}_bucket{{{labels}{separator}le="+Inf"}} {figure["count"]}\n'


def _number(value: float) -> str:
    """Write a number as both formats have it; True is 1."""
    if isinstance(value, float):
        if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        return repr(value)
    return str(int(value))
