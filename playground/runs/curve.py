"""The curves of a shipped model, from a run of the command that trained it: `python -m dlplay.runs.curve NAME RUNS_DIR/RUN` ships them.

They lie in `curve.json` beside its weights. A training metric is thinned to means over blocks of steps; evaluations are kept as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from dlplay.checkpoints import CheckpointError, shipped
from dlplay.checkpoints.format import read_bytes
from dlplay.checkpoints.shipped import Shipped
from dlplay.checkpoints.store import read_record
from dlplay.runs.directory import RunDirectory
from dlplay.runs.history import History, Series
from dlplay.runs.journal import JournalReader

FILE = "curve.json"
LIMIT = 1 << 18
"""Bytes of the file."""
BLOCKS = 60
"""Points of a training metric at most."""
TOLERANCE = 0.03
"""How far from the model the curves may end, as a share of its metric. A machine that rounds otherwise than the one that trained it
ends a per cent or two elsewhere after thousands of steps with dropout."""

Points = Annotated[list[tuple[int, float | None]], Meta(max_length=10_000)]


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """(step, value) of every metric."""

    training: dict[str, Points]
    held_out: dict[str, Points]


def curves(history: History) -> Curves:
    """What is shipped of a run's history."""
    return Curves(
        training={name: _thinned(series) for name, series in history.training.items()},
        held_out={name: _points(series.x.tolist(), series.y.tolist()) for name, series in history.held_out.items()},
    )


def _thinned(series: Series) -> Points:
    """The means over at most `BLOCKS` blocks of steps, each at the last step of its block."""
    known = ~np.isnan(series.y)
    parts = zip(*(np.array_split(each[known], min(BLOCKS, int(known.sum()) or 1)) for each in (series.x, series.y)), strict=True)
    blocks = [(x, y) for x, y in parts if len(x)]
    return _points([x[-1] for x, _ in blocks], [y.mean() for _, y in blocks])


def _points(steps: list[float], values: list[float]) -> Points:
    return [(int(step), float(f"{value:.6g}")) for step, value in zip(steps, values, strict=True)]


def read(item: Shipped, metric: str, better: Literal["higher", "lower"]) -> History:
    """The history of a shipped model with its settings and baselines. Raises `CheckpointError`.

    Where no curves are shipped each metric is a level line at the value that the model reached.
    """
    record = read_record(item.path)
    path = item.path / FILE
    if path.exists():
        try:
            found = msgspec.json.decode(read_bytes(path, LIMIT), type=Curves)
        except msgspec.DecodeError as error:
            raise CheckpointError(f"{path} does not hold the curves of a shipped model: {error}") from None
    else:
        found = Curves(training={}, held_out={name: [(0, value), (record.step, value)] for name, value in item.metrics.items()})
    for name, value in item.metrics.items():  # the curve may be of another machine's training; the model itself was measured
        if found.held_out.get(name) and found.held_out[name][-1][0] >= record.step:
            found.held_out[name][-1] = found.held_out[name][-1][0], value
    history = History(metric, better)
    for group, known in ((found.training, history.training), (found.held_out, history.held_out)):
        for name, points in group.items():
            known[name] = Series()
            known[name].append([step for step, _ in points], [value for _, value in points])
            history.step = max([history.step, *(step for step, _ in points)])
    history.baselines = {name: dict(values) for name, values in item.baselines.items()}
    history.settings = dict(record.meta.get("settings", {}))
    return history


def main() -> int:
    """Ship the curves of a run; returns the exit status."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        item = shipped.find(sys.argv[1])
        history = History()
        history.add(JournalReader(RunDirectory(Path(sys.argv[2])).journal_path).read())
        last = next(iter(history.held_out[item.metric].y[-1:]), float("nan"))
        if not abs(last - item.value) <= TOLERANCE * abs(item.value):
            raise CheckpointError(
                f"the run ends at {item.metric} {last:.6g} and {item.name} has {item.value:.6g}; ship its own run's curves"
            )
        (item.path / FILE).write_text(json.dumps(msgspec.to_builtins(curves(history))) + "\n")
    except (CheckpointError, OSError, KeyError) as error:
        print(f"dlplay.runs.curve: {error}", file=sys.stderr)
        return 1
    print(f"{item.name}: {(item.path / FILE).stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
