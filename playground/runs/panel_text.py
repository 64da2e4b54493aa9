"""A panel on standard output: a table for a person, JSON for a script."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
from rich.cells import cell_len

from dlplay.engine.panels import AnyPanel, Array, Bars, HeatMap, Layer, Layers, Panel, Table, Tokens, is_empty
from dlplay.engine.printable import printable
from dlplay.runs.console import print_line, rich_console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_COLUMNS = 16
"""Of a matrix that is printed as a table."""


def _plain(panel: Panel) -> dict[str, Any]:
    """A panel as JSON values for a script: bars and tokens as rows, arrays as nested lists, nothing empty, nothing only for drawing."""
    plain: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(panel).items():
        if isinstance(value, Array):
            plain[name] = value.numpy().tolist()
        elif isinstance(value, Panel):
            plain[name] = _plain(value)
        elif value not in ("", [], {}, None):
            plain[name] = msgspec.to_builtins(value)
    match panel:
        case Bars():
            plain["rows"] = [{"label": label, "value": value} for label, value in zip(panel.labels, panel.values, strict=True)]
            left_out = {"labels", "values", "high", "percent", "log", "appends", "sets"}
        case Tokens():
            plain["rows"] = [{"word": word, "value": value} for word, value in zip(panel.words, panel.values, strict=True)]
            left_out = {"words", "values", "ends", "notes", "masked", "filled"}
        case Layers():
            plain["layers"] = [_layer(layer) for layer in panel.layers]
            left_out = set()
        case _:
            left_out = {"signed", "low", "high", "counts", "pick", "least", "sequence"}
    return {"kind": type(panel).__name__.lower(), **{name: value for name, value in plain.items() if name not in left_out}}


def _layer(layer: Layer) -> dict[str, Any]:
    plain: dict[str, Any] = {"title": layer.title}
    if layer.images is not None:
        plain["images"] = layer.images.numpy().tolist()
    for name, values in (("labels", layer.labels), ("values", layer.values)):
        if values:
            plain[name] = values
    return plain


def _in_words(layer: Layer) -> str:
    """What stands after the layer, in one line."""
    if layer.images is not None:
        return f"images {' x '.join(map(str, layer.images.shape))}"
    if not layer.labels:
        return f"{len(layer.values)} values"
    if not layer.values:
        return " ".join(layer.labels)
    figures = [f"{100 * value:.1f} %" if layer.percent else f"{value:.3g}" for value in layer.values]
    return ", ".join(f"{label} {figure}".strip() for label, figure in zip(layer.labels, figures, strict=True))


def _lines_of(panel: HeatMap, width: int) -> list[list[str]]:
    """The matrix as lines of text, its columns' names first; turned on its side where only that fits into the width; none where neither
    does and there are many columns."""
    values = panel.values.numpy()
    corner = panel.column_title if panel.columns else ""
    upright = [["", *panel.columns], *([label, *_cells(panel, row)] for label, row in zip(panel.rows, values, strict=True))]
    turned = [[corner, *panel.rows], *([label, *_cells(panel, row)] for label, row in zip(panel.columns, values.T, strict=True))]
    for lines in (upright, turned):
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        if len(widths) <= MOST_COLUMNS + 1 and sum(widths) + len(widths) <= width:
            return lines
    return upright if len(panel.columns) <= MOST_COLUMNS else []


def _cells(panel: HeatMap, values: NDArray[np.generic]) -> list[str]:
    return [_cell(panel, float(value)) for value in values]


def _cell(panel: HeatMap, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{100 * value:.3g} %" if panel.percent else f"{value:.3g}" if panel.counts else f"{value:.2f}"


def print_panel(panel: AnyPanel, as_json: bool, *, at: int | None = None, step: int = 0) -> None:
    """Print a panel as a table, or as one JSON object; with `at`, as it was when that step was asked for and there was one of `step`."""
    if as_json:
        when = {} if at is None else {"at": at, "step": step}
        print_line(msgspec.json.encode(when | _plain(panel)).decode())
        return
    if at is not None:
        print_line(f"as of step {step:,}" + (f", the last checkpoint at or before step {at:,}" if step != at else ""))
    if is_empty(panel) and panel.caption:
        print_line(panel.caption)
        return
    from rich.table import Table as RichTable

    console = rich_console(highlight=False, markup=False)
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    match panel:
        case Bars():
            table.add_column("")
            both = [panel.values, panel.second] if panel.second else [panel.values]
            for name in panel.names[: len(both)] or [""] * len(both):
                table.add_column(printable(name), justify="right")
            table.add_column("")
            top = panel.high or max(panel.values, default=1.0) or 1.0
            for label, *values in zip(panel.labels, *both, strict=True):
                figures = [f"{100 * value:.2f} %" if panel.percent else f"{value:.4g}" for value in values]
                shown = ["" if math.isnan(value) else figure for value, figure in zip(values, figures, strict=True)]
                table.add_row(printable(label), *shown, "█" * round(30 * values[0] / top))
        case Tokens():
            if panel.text:
                print_line(panel.text)
            table.add_column("")
            values = ["" if value is None else f": {100 * value:.2f} %" for value in panel.values]
            for note in panel.notes or [word + value for word, value in zip(panel.words, values, strict=True)]:
                table.add_row(printable(note))
        case Table():
            for index, column in enumerate(panel.columns):
                table.add_column(printable(column), justify="right" if index in panel.right else "left")
            for row in panel.rows:
                table.add_row(*map(printable, row))
        case HeatMap() if panel.rows and panel.columns and (lines := _lines_of(panel, console.width)):
            table.add_column(printable(lines[0][0]), no_wrap=True, min_width=max(cell_len(line[0]) for line in lines))
            for column in lines[0][1:]:
                table.add_column(printable(column), justify="right")
            for line in lines[1:]:
                table.add_row(*map(printable, line))
        case Layers():
            table.add_column("after")
            table.add_column("")
            for layer in panel.layers:
                table.add_row(printable(layer.title), printable(_in_words(layer)))
        case _:
            print_line(msgspec.json.encode(_plain(panel)).decode())
            return
    if words := " · ".join(words for words in (panel.figure, panel.caption) if words):
        print_line(words)
    if table.row_count:
        console.print(table)
    if isinstance(panel, Tokens) and panel.alternatives is not None:
        place = panel.place or 0
        print_line(f"at place {place}, {panel.words[place] if panel.words else ''}:")
        print_panel(panel.alternatives, False)
