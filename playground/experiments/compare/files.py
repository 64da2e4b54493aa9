"""Curves of other people's trainings: CSV files with a `step` column, and folders of TensorBoard's event files.

Such a file may hold anything, so what is read of it is bounded: bytes, rows, columns and the length of names.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlplay.data.bounded import clean, named, open_regular, read_bytes, size
from dlplay.engine.errors import DataError
from dlplay.engine.paths import expanded
from dlplay.engine.settings import SettingsError
from dlplay.experiments.compare.member import Measured, Member

CSV_LIMIT = 64 << 20
"""Bytes of a CSV file."""
MOST_ROWS = 1_000_000
MOST_METRICS = 200
"""Columns of a CSV file, and scalars of an event folder."""
MOST_VALUES = 2_000_000
"""Values of one file or folder."""
NAME_LENGTH = 100
"""Characters of a metric's name."""
CELL = 1000
"""Characters of a cell."""
EVENTS_LIMIT = 256 << 20
"""Bytes of all event files of a folder."""
RECORD_LIMIT = 16 << 20
"""Bytes of one record of an event file; pictures among the scalars may be large."""
MOST_FILES = 100
"""Event files, and folders that are looked into."""
DEPTH = 3
EVENT_FILE = "tfevents"
STEP, TIMES, EXAMPLES = "step", "seconds", "examples"
"""Columns that are no metric: the step, and the training time and the examples seen by then."""

Points = dict[int, float]
"""Values by step; of several values of one step the last one counts."""


def read(path: Path, names: Mapping[str, str], notes: list[str]) -> list[Member]:
    """The trainings in a CSV file, or in the event files of a folder, one for each folder. Raises `SettingsError` or `DataError`."""
    path = expanded(str(path))
    if path.is_dir():
        return _read_events(path, names, notes)
    if not path.exists():
        raise SettingsError(f"--from {named(path)}: there is no such file or folder")
    return [_read_csv(path, names)]


def _read_csv(path: Path, names: Mapping[str, str]) -> Member:
    try:
        text = read_bytes(path, CSV_LIMIT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{named(path)} is not UTF-8 (byte {error.start:,}); save it as CSV in UTF-8") from None
    rows = csv.reader(io.StringIO(text, newline=""))
    columns = [clean(cell, NAME_LENGTH) for cell in next(_checked(rows, path), [])]
    columns = [column.lower() if column.lower() in (STEP, TIMES, EXAMPLES) else column for column in columns]
    if len(columns) > MOST_METRICS:
        raise DataError(f"{named(path)} has {len(columns):,} columns; at most {MOST_METRICS} are read")
    if STEP not in columns:
        raise DataError(f"{named(path)} has no column step; its first line has {clean(', '.join(columns), 200) or 'nothing'}")
    if twice := next((column for at, column in enumerate(columns) if column and column in columns[:at]), None):
        raise DataError(f"{named(path)} has two columns called {twice}")
    step_at = columns.index(STEP)
    left = MOST_VALUES
    points: dict[str, Points] = {column: {} for at, column in enumerate(columns) if at != step_at and column}
    for number, row in enumerate(_checked(rows, path), start=2):
        if number > MOST_ROWS:
            raise DataError(f"{named(path)} has more than {MOST_ROWS:,} rows; thin it out")
        if not any(row):
            continue
        step = _number(row[step_at] if step_at < len(row) else "", path, number, STEP)
        if not step.is_integer() or step < 0 or step >= 1 << 53:
            raise DataError(f"{named(path)}, line {number:,}: a step cannot be {clean(row[step_at], 40) or 'empty'}")
        left -= len(row)
        if left < 0:
            raise DataError(f"{named(path)} has more than {MOST_VALUES:,} cells; thin it out")
        for at, cell in enumerate(row[: len(columns)]):
            if at != step_at and columns[at] and cell.strip():
                points[columns[at]][int(step)] = _number(cell, path, number, columns[at])
    return _member(path.stem, points, names, path)


def _checked(rows: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    """The rows. Raises `DataError` for what is no CSV."""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{named(path)} is not a CSV file: {error}") from None
        if any(len(cell) > CELL for cell in row):
            raise DataError(f"{named(path)} is not a CSV file of numbers: a cell has more than {CELL:,} characters")
        yield row


def _number(cell: str, path: Path, line: int, column: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(f"{named(path)}, line {line:,}: {clean(cell, 40)!r} in the column {column} is not a number") from None


def _member(name: str, points: Mapping[str, Points], names: Mapping[str, str], path: Path, clock: Points | None = None) -> Member:
    """A training of these points; columns `METRIC of METHOD`, as exports have them, are baselines."""
    own: dict[str, Points] = {}
    was: dict[str, str] = {}
    for metric, values in points.items():
        if values:
            called = names.get(metric, metric)
            if called in own:
                raise SettingsError(f"{named(path)}: {was[called]} and {metric} would both be called {called}")
            own[called], was[called] = values, metric
    times = clock or _counted(own.pop(TIMES, None), TIMES, path)
    seen = _counted(own.pop(EXAMPLES, None), EXAMPLES, path)
    baselines: dict[str, dict[str, float]] = {}
    for column in list(own):
        metric, of, method = column.partition(" of ")
        if of and metric in points:
            baselines.setdefault(names.get(metric, metric), {})[method] = next(iter(own.pop(column).values()))
    if not own:
        raise DataError(f"{named(path)} has steps but no values beside them")
    curves = {metric: Measured("unknown", *_arrays(values)) for metric, values in own.items()}
    last = max(int(curve.steps[-1]) for curve in curves.values())
    batches: tuple[tuple[int, int], ...] = ()
    if seen and (steps := max(seen)) > 0:
        batches = ((0, max(1, round(seen[steps] / steps))),)
    return Member(
        name=clean(name, NAME_LENGTH) or "file",
        kind="file",
        curves=curves,
        step=last,
        seconds=times[max(times)] if times else None,
        baselines=baselines,
        clock=_arrays(times) if times else None,
        batches=batches,
    )


def _counted(values: Points | None, column: str, path: Path) -> Points | None:
    """What only grows from 0 on. Raises `DataError`."""
    for step, value in (values or {}).items():
        if not 0 <= value < math.inf:
            raise DataError(f"{named(path)}: {value:g} in the column {column}, at step {step:,}, is not a number from 0 on")
    return values


def _arrays(points: Points) -> tuple[Any, Any]:
    steps = sorted(points)
    return np.array(steps, np.float64), np.array([points[step] for step in steps], np.float64)


# --- TensorBoard ------------------------------------------------------------------------------------------------------------------------


def _read_events(folder: Path, names: Mapping[str, str], notes: list[str]) -> list[Member]:
    by_folder: dict[Path, list[Path]] = {}
    files = list(itertools.islice(_event_files(folder, DEPTH), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise SettingsError(f"--from {named(folder)} has more than {MOST_FILES} event files; name a folder further in")
    if not files:
        raise SettingsError(f"--from {named(folder)}: no event file of TensorBoard lies in there (its name holds {EVENT_FILE})")
    total = 0
    for file in files:
        total += file.lstat().st_size
        by_folder.setdefault(file.parent, []).append(file)
    if total > EVENTS_LIMIT:
        raise SettingsError(f"--from {named(folder)}: its event files take {size(total)}; at most {size(EVENTS_LIMIT)} are read")
    members = []
    for where, found in by_folder.items():
        name = where.relative_to(folder).as_posix()
        try:
            members.append(_read_run(where, folder.absolute().name if name == "." else name, found, names, notes))
        except DataError as error:
            notes.append(str(error))
    if not members:
        raise DataError("; ".join(notes))
    return members


def _event_files(folder: Path, depth: int) -> Iterator[Path]:
    """Event files in the folder and those in it; links are not followed."""
    with os.scandir(folder) as entries:
        found = sorted(itertools.islice(entries, 10_000), key=lambda entry: entry.name)
    for entry in found:
        if entry.is_file(follow_symlinks=False) and EVENT_FILE in entry.name:
            yield Path(entry.path)
        elif depth and entry.is_dir(follow_symlinks=False):
            yield from _event_files(Path(entry.path), depth - 1)


def _read_run(where: Path, name: str, files: list[Path], names: Mapping[str, str], notes: list[str]) -> Member:
    """The scalars of a folder's event files, which one run wrote one after the other."""
    try:
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event
    except ImportError:
        raise SettingsError(
            f"--from {named(where)}: event files are read with the package tensorboard: pip install 'dlplay[tensorboard]'"
        ) from None
    points: dict[str, Points] = {}
    wall: dict[int, float] = {}
    left = MOST_VALUES
    for file in files:
        try:
            for record in _records(file):
                event = Event.FromString(record)
                for value in event.summary.value:
                    number = _scalar(value)
                    tag = clean(value.tag, NAME_LENGTH)
                    if number is None or not tag or event.step < 0:
                        continue
                    if tag not in points and len(points) >= MOST_METRICS:
                        raise DataError(f"{named(file)} has more than {MOST_METRICS} scalars; at most so many are read")
                    left -= 1
                    if left < 0:
                        raise DataError(f"{named(file)} has more than {MOST_VALUES:,} values; at most so many are read")
                    points.setdefault(tag, {})[event.step] = number
                    if math.isfinite(event.wall_time):
                        wall[event.step] = event.wall_time
        except (DecodeError, EOFError) as error:
            notes.append(
                f"{named(file)} is damaged or still being written: {error or 'a record cannot be read'}; what stands before is used"
            )
    if not points:
        raise DataError(f"{named(where)} has no scalars")
    first = min(wall.values(), default=0.0)
    return _member(name, points, names, where, {step: time - first for step, time in sorted(wall.items())})


def _records(file: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: a length of 8 bytes, its checksum, the data, their checksum. Raises `EOFError` for one that is cut
    off or longer than may be."""
    with open_regular(file, follow=False) as stream:
        while header := stream.read(12):
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else 0
            if len(header) < 12 or length > RECORD_LIMIT:
                raise EOFError(f"a record of {length:,} bytes" if length else "its last record is cut off")
            data = stream.read(length + 4)
            if len(data) < length + 4:
                raise EOFError("its last record is cut off")
            yield data[:length]


def _scalar(value: Any) -> float | None:
    """A summary's number, as PyTorch's writer has it, or as TensorFlow 2 does (a tensor with one element)."""
    if value.WhichOneof("value") == "simple_value":
        return float(value.simple_value)
    if value.WhichOneof("value") != "tensor" or value.metadata.plugin_data.plugin_name not in ("", "scalars"):
        return None
    tensor = value.tensor
    for numbers in (tensor.float_val, tensor.double_val, tensor.int_val, tensor.int64_val):
        if len(numbers) == 1:
            return float(numbers[0])
    formats = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}
    layout = formats.get(tensor.dtype)
    if layout and len(tensor.tensor_content) == struct.calcsize(layout):
        return float(struct.unpack(layout, tensor.tensor_content)[0])
    return None
