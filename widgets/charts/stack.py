"""Charts that stand on each other share one x axis: the same part of it, from the same column on, with labels under the lowest alone."""

from __future__ import annotations

from collections.abc import Sequence

from dlplay.widgets.charts.line_chart import LineChart


def stack(charts: Sequence[LineChart]) -> None:
    """Paint these charts, from top to bottom, each of which has taken what it shows."""
    extents = [extent for chart in charts if (extent := chart.extent) is not None]
    shared = (min(low for low, _ in extents), max(high for _, high in extents)) if extents else None
    for chart in charts:
        chart.x_axis = chart is charts[-1]
        chart.shared = shared
        chart.repaint()
    gutter = max((chart.labels for chart in charts), default=0)
    for chart in charts:
        if chart.least_gutter != gutter:
            chart.least_gutter = gutter
            chart.repaint()
