"""`dlplay compare`: prints a comparison as text, as one JSON object or as CSV, and makes a picture of it."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dlplay.engine.settings import SettingsError
from dlplay.experiments.compare import picture, report, sources
from dlplay.experiments.compare.comparison import Comparison, compare
from dlplay.experiments.compare.member import Axis, Measured, Member
from dlplay.experiments.compare.statistics import METHODS, Difference
from dlplay.runs.console import print_line

NARROW, WIDE = 40, 160
"""Cells between which the width of the output lies."""
LINES = 2000
"""Lines of CSV that are written at once."""


def run(
    words: Sequence[str],
    imported: Sequence[Path],
    runs_dir: Path,
    *,
    axis: Axis = "step",
    metrics: Sequence[str] = (),
    renamed: Sequence[str] = (),
    as_json: bool = False,
    as_csv: bool = False,
) -> Callable[[], str]:
    """Compare and print; returns what makes the SVG of the same. Raises `SettingsError` and what `sources.find` raises."""
    if as_json and as_csv:
        raise SettingsError("--json and --csv both write to standard output; give one of them")
    found = sources.find(words, imported, runs_dir, dict(_renaming(text) for text in renamed))
    comparison = compare(found.sources, found.notes, metrics)
    width = min(max(shutil.get_terminal_size().columns, NARROW), WIDE)
    if as_json:
        print_line(msgspec.json.encode(as_object(comparison, axis)).decode())
    elif as_csv:
        _print_csv(comparison)
    else:
        picture.print_rows(lambda colours: report.rows(comparison, axis, width, colours))
    title = "dlplay compare " + " ".join(source.name for source in comparison.sources)
    return lambda: picture.svg(list(report.rows(comparison, axis, width, picture.colours(plain=False))), width, title)


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (equals and old and new):
        raise SettingsError(f"--rename {text[:80]!r} is not a name in the file, = and the name here; write it like loss/val=val_loss")
    return old, new


def as_object(comparison: Comparison, axis: Axis) -> dict[str, Any]:
    """Everything as JSON values; what is no number is null."""
    return {
        "sources": [
            {"name": source.name, "group": source.group, "members": [_member(member) for member in source.members]}
            for source in comparison.sources
        ],
        "settings": comparison.settings(),
        "metrics": [
            {
                **msgspec.to_builtins(metric),
                "reached": [msgspec.to_builtins(item) for item in comparison.reached(metric)],
                "differences": {name: _difference(found) for name, found in comparison.differences(metric).items()},
                "verdicts": report.verdicts(comparison, metric) if metric.kind != "training" else [],
                "curves": {
                    member.name: _points(member, member.curves[metric.name], axis)
                    for source in comparison.having(metric)
                    for member in source.having(metric.name)
                },
            }
            for metric in comparison.metrics
        ],
        "methods": METHODS,
        "notes": comparison.notes,
    }


def _member(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "kind": member.kind,
        "architecture": member.architecture,
        "data": member.data,
        "state": member.state,
        "step": member.step,
        "seconds": member.seconds,
        "settings": dict(member.settings),
        "changed": dict(member.changed),
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {**msgspec.to_builtins(found), "sure": found.sure}


def _points(member: Member, curve: Measured, axis: Axis) -> dict[str, Any]:
    points: dict[str, Any] = {"step": curve.steps.astype(int).tolist(), "value": curve.values.tolist()}
    return points if axis == "step" else points | {axis: member.at(curve.steps, axis).tolist()}


def _print_csv(comparison: Comparison) -> None:
    """A row for each value: run, metric, kind, step, seconds (empty where there are no times), value (empty where it is no number)."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["run", "metric", "kind", "step", "seconds", "value"])
    for number, row in enumerate(_csv_rows(comparison)):
        writer.writerow(row)
        if number % LINES == LINES - 1:
            print_line(buffer.getvalue().removesuffix("\n"))
            buffer.seek(0)
            buffer.truncate()
    if text := buffer.getvalue():
        print_line(text.removesuffix("\n"))


def _csv_rows(comparison: Comparison) -> Iterator[list[str | int]]:
    for metric in comparison.metrics:
        for source in comparison.having(metric):
            for member in source.having(metric.name):
                curve = member.curves[metric.name]
                timed = member.clock is not None and len(member.clock[0]) > 0
                seconds = member.at(curve.steps, "seconds").tolist() if timed else [math.nan] * len(curve.steps)
                for step, second, value in zip(curve.steps.tolist(), seconds, curve.values.tolist(), strict=True):
                    yield [member.name, metric.name, curve.kind, int(step), *("" if math.isnan(v) else repr(v) for v in (second, value))]
