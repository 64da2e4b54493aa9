"""The widget for each kind of panel, how it is given the panel's data, and what picking an item in it means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from textual.widget import Widget

from dlplay import widgets
from dlplay.engine import panels
from dlplay.engine.panels import AnyPanel

_WIDGET: dict[type, type[Widget]] = {
    panels.HeatMap: widgets.HeatMap,
    panels.ImageGrid: widgets.ImageGrid,
    panels.Bars: widgets.Bars,
    panels.Tokens: widgets.TokenStrip,
    panels.Scatter: widgets.Scatter,
    panels.Lines: widgets.LineChart,
    panels.Table: widgets.TableView,
    panels.Frame: widgets.FrameView,
    panels.Layers: widgets.LayerStrip,
}


def widget_for(panel: AnyPanel) -> type[Widget]:
    """The widget that shows this kind of panel."""
    return _WIDGET[type(panel)]


def fill(widget: Widget, panel: AnyPanel) -> None:
    """Give the panel's data to its widget. Raises `ValueError` when arrays and shapes do not fit together."""
    if isinstance(widget, widgets.Surface):
        widget.empty = (panel.caption if panels.is_empty(panel) else "") or "nothing to show yet"
    match panel:
        case panels.HeatMap():
            _fill_heat_map(widget, panel)
        case panels.ImageGrid():
            assert isinstance(widget, widgets.ImageGrid)
            images = panel.images.numpy()
            widget.show(images, labels=panel.labels, wrong=panel.wrong, signed=panel.signed, selected=panel.selected)
        case panels.Bars():
            assert isinstance(widget, widgets.Bars)
            fill_bars(widget, panel)
        case panels.Tokens():
            assert isinstance(widget, widgets.TokenStrip)
            widget.show(panel.words, panel.values, notes=panel.notes, selected=panel.place, ends=panel.ends)
        case panels.Scatter():
            _fill_scatter(widget, panel)
        case panels.Lines():
            assert isinstance(widget, widgets.LineChart)
            widget.log_scale, widget.percent, widget.x_title, widget.least = panel.log, panel.percent, panel.x_title, panel.least
            widget.x_names = tuple(panel.x_names)
            widget.show([_curve(panel, position, name) for position, name in enumerate(panel.series)])
        case panels.Table():
            assert isinstance(widget, widgets.TableView)
            shades = panel.shades.numpy() if panel.shades is not None else None
            widget.show(panel.columns, panel.rows, right=panel.right, shades=shades)
        case panels.Frame():
            assert isinstance(widget, widgets.FrameView)
            widget.show(panel.pixels.numpy(), panel.text, panel.facts, panel.ends)
        case panels.Layers():
            assert isinstance(widget, widgets.LayerStrip)
            widget.show([_layer(layer) for layer in panel.layers])


def _layer(layer: panels.Layer) -> widgets.Layer:
    images = layer.images.numpy() if layer.images is not None else None
    return widgets.Layer(layer.title, images, layer.values, layer.labels, layer.percent, layer.signed, layer.chosen, bool(layer.selects))


def fill_bars(widget: widgets.Bars, panel: panels.Bars) -> None:
    """Give the panel's data to its widget."""
    widget.show(
        panel.labels,
        panel.values,
        high=panel.high,
        percent=panel.percent,
        log=panel.log,
        second=panel.second,
        names=panel.names,
        chosen=panel.chosen,
    )


def part_at(panel: AnyPanel, cursor: object) -> str:
    """Address of the part of the model that the `cursor` of the panel's widget is on; empty where it is on none, or on a cell without a
    value."""
    more = panel.column_parts if isinstance(panel, panels.HeatMap) else []
    if len(panel.parts) == 1 and not more:
        return panel.parts[0]
    row, column = cursor if isinstance(cursor, tuple) else (cursor, None)
    if not isinstance(row, int) or row >= len(panel.parts) or not panel.parts[row]:
        return ""
    if column is None or column >= len(more):
        return panel.parts[row]
    assert isinstance(panel, panels.HeatMap)
    return "" if math.isnan(panel.values.numpy()[row, column]) else panel.parts[row] + more[column]


def picked_value(panel: AnyPanel, position: int, column: int = 0, *, as_text: bool) -> Any:
    """The value that picking an item gives to an option: its label, or its number. None when nothing can be picked in this panel."""
    match panel:
        case panels.ImageGrid():
            number = panel.ids[position] if panel.ids else position
            return str(number) if as_text else number
        case panels.Bars():
            return panel.labels[position] if as_text else position
        case panels.Tokens():
            return panel.words[position] if as_text else position
        case panels.Table():
            return panel.rows[position][0] if as_text else panel.ids[position] if panel.ids else position
        case panels.HeatMap():
            return panel.rows[position] if as_text and panel.rows else position
        case panels.Scatter():
            return panel.labels[position] if as_text and panel.labels else str(position) if as_text else position
    return None


def _fill_heat_map(widget: Widget, panel: panels.HeatMap) -> None:
    assert isinstance(widget, widgets.HeatMap)
    widget.show(
        panel.values.numpy(),
        rows=panel.rows,
        columns=panel.columns,
        row_title=panel.row_title,
        column_title=panel.column_title,
        signed=panel.signed,
        low=panel.low,
        high=panel.high,
        counts=panel.counts,
        percent=panel.percent,
        hatched=panel.hatched.numpy() if panel.hatched is not None else None,
    )


def _fill_scatter(widget: Widget, panel: panels.Scatter) -> None:
    assert isinstance(widget, widgets.Scatter)
    widget.show(
        panel.points.numpy(),
        groups=panel.groups,
        names=panel.names,
        labels=panel.labels,
        background=panel.background.numpy() if panel.background is not None else None,
        bounds=panel.bounds,
        arrows=panel.arrows.numpy() if panel.arrows is not None else None,
        x_title=panel.x_title,
        y_title=panel.y_title,
        pick=panel.pick,
        marked=panel.marked,
    )


def _curve(panel: panels.Lines, position: int, name: str) -> widgets.Curve:
    y = np.array([np.nan if value is None else value for value in panel.series[name]], dtype=float)
    return widgets.Curve(name, np.asarray(panel.x, dtype=float), y, colour=str(position % 10), sequence=panel.sequence)


def write_place(x: float, y: float) -> str:
    """A place in the plane as an option's value: `x,y`."""
    return f"{x + 0.0:.4g},{y + 0.0:.4g}"
