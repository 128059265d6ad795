"""What a metric is, and how its samples are found in the figures of `GET /api/v1/stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from valtronics_fast._core.wire import CHANNELS, MESSAGE_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["OTHER", "Kind", "Metric", "Sample", "by_channel", "each", "figure", "find"]

Kind = Literal["counter", "gauge", "info", "histogram", "gaugehistogram"]
Across = Literal["sum", "max", "min"]

UNITS = ("seconds", "bytes")

Sample = tuple[tuple[str, ...], Any]
"""Values of the labels, and the figure: a number, for histograms what a Histogram tells."""

OTHER = "other"
"""Stands for all values of a label that are not known beforehand, such as close codes that clients make up."""


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: as it is queried; that of a counter ends in `_total`, that of an info in `_info`.
        kind: its type in OpenMetrics; the text format of Prometheus calls an info a gauge.
        help: what it tells.
        read: finds its samples in the figures of a worker.
        labels: names of its labels, but for `worker`.
        across: how one figure is made of those of several workers.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[Mapping[str, Any]], Iterator[Sample]]
    labels: tuple[str, ...] = ()
    across: Across = "sum"

    @property
    def family(self) -> str:
        """The name of the family in OpenMetrics."""
        return self.name.removesuffix("_total").removesuffix("_info")

    @property
    def unit(self) -> str:
        """The unit, which the family's name ends in; "": it has none."""
        return next((unit for unit in UNITS if self.family.endswith(f"_{unit}")), "")


def figure(path: str) -> Callable[[Mapping[str, Any]], Iterator[Sample]]:
    """Read the one figure at a path (`a.b`), where it is there."""

    def read(figures: Mapping[str, Any]) -> Iterator[Sample]:
        found = find(figures, path)
        if found is not None:
            yield (), found

    return read


def each(path: str, known: tuple[str, ...] | None = None) -> Callable[[Mapping[str, Any]], Iterator[Sample]]:
    """Read the figures by one label, which stands for `*` in the path.

    Args:
        path: such as `a.*.b`, or `a.*`.
        known: the label's values, in their order, each of which is told; what has another one is OTHER. None: those
            that are there, which are few and our own.
    """
    before, _, behind = (part.strip(".") for part in path.partition("*"))

    def read(figures: Mapping[str, Any]) -> Iterator[Sample]:
        table = find(figures, before) or {}
        values = {name: find(one, behind) if behind else one for name, one in table.items()}
        for name in values if known is None else known:
            value = values.get(name, None if known is None else 0)
            if value is not None:
                yield (name,), value
        if known is not None and (rest := [value for name, value in values.items() if name not in known]):
            yield (OTHER,), sum(rest)

    return read


def by_channel(name: str) -> Callable[[Mapping[str, Any]], Iterator[Sample]]:
    """Read a figure of each channel; the type of its data messages is a label, too."""

    def read(figures: Mapping[str, Any]) -> Iterator[Sample]:
        for channel, number in CHANNELS.items():
            yield (channel, MESSAGE_TYPES[number]), figures["channels"][channel][name]

    return read


def find(figures: Any, path: str) -> Any:
    """Return what is at a path; None: there is nothing."""
    for name in path.split("."):
        if not isinstance(figures, dict) or name not in figures:
            return None
        figures = figures[name]
    return figures
