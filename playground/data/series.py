"""Time series: a sum of sines with noise, or one column of the user's CSV file."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlplay.data import bounded
from dlplay.engine.errors import DataError

SINES = "sines"
"""Name of the built-in series."""

MAX_BYTES = 64 * bounded.MIB
MAX_VALUES = 4_000_000
MAX_COLUMNS = 10_000
MAX_CELL = 10_000
"""Most characters of a cell."""

HELD_OUT = 0.1
"""Share of the series, at its end, that is held out."""

PERIODS = ((25.0, 1.0), (40.0, 0.6), (93.7, 0.4))
"""Period (steps) and amplitude of each sine."""

NOISE = 0.1
"""Standard deviation of the noise on each value."""


@dataclasses.dataclass(frozen=True)
class Series:
    """A time series, whose last tenth is held out."""

    name: str
    values: NDArray[np.float64]  # (steps,)
    key: str
    """A digest of everything that the values depend on."""

    @property
    def train(self) -> NDArray[np.float64]:
        """All but the last tenth."""
        return self.values[: int(len(self.values) * (1 - HELD_OUT))]

    @property
    def held_out(self) -> NDArray[np.float64]:
        """The last tenth."""
        return self.values[int(len(self.values) * (1 - HELD_OUT)) :]


def read_series(source: str, column: str = "") -> Series:
    """The series called `source`: `sines`, or `column` (a name, or a number from 1) of a CSV file. Raises `DataError`."""
    if source == SINES:
        return sines()
    return read_csv(Path(source), column)


def sines() -> Series:
    """Three sines of different periods with noise; the same numbers every time."""
    steps = 6000
    at = np.arange(steps)
    clean = sum(amplitude * np.sin(2 * math.pi * at / period + phase) for phase, (period, amplitude) in enumerate(PERIODS))
    values = clean + NOISE * np.random.default_rng(0).standard_normal(steps)
    return Series("three sines with noise", np.asarray(values), f"sines {steps} 1")


def read_csv(path: Path, column: str = "") -> Series:
    """One column of a CSV file (commas, semicolons or tabs; UTF-8; with or without a header).

    An empty `column` is the first one that is all numbers, and rather one that does not only count up. Raises `DataError` with the line of
    a value that is not a number.
    """
    data = bounded.read_bytes(path, MAX_BYTES)
    name = bounded.named(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}; change its encoding") from None
    if "\0" in text:
        raise DataError(f"{name} is not a CSV file: it holds NUL; give lines of numbers with commas between them")
    rows = _rows(text, name)
    names, rows = _split_header(rows)
    number = _find(column, names, rows, name)
    title = bounded.clean(names[number]) if names and number < len(names) else f"column {number + 1}"
    values = _numbers(rows, number, 2 if names else 1, f"{name}, {title or f'column {number + 1}'}")
    if len(values) < 2 or float(values.std()) == 0:
        raise DataError(f"{title} of {name} holds {len(values):,} values that never change; choose another --column")
    digest = hashlib.sha256(data).hexdigest()
    return Series(f"{title} of {bounded.clean(path.name) or 'the file'}", values, f"{digest} {number}")


def _rows(text: str, name: str) -> list[list[str]]:
    """The cells of every line that is not empty."""
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    limit = csv.field_size_limit(MAX_CELL)
    try:
        rows = []
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if len(row) > MAX_COLUMNS:
                raise DataError(f"{name} has a line of {len(row):,} columns; the limit is {MAX_COLUMNS:,}")
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) > MAX_VALUES:
                raise DataError(f"{name} has more than {MAX_VALUES:,} lines, which is the limit; give a shorter file")
    except csv.Error as error:
        raise DataError(f"{name} is not a CSV file: {error}; give lines of numbers with commas between them") from None
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise DataError(f"{name} is empty; give lines of numbers with commas between them")
    return rows


def _split_header(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The header (empty when the first line holds a number), and the other lines."""
    if any(_number(cell) is not None for cell in rows[0]):
        return [], rows
    return [cell.strip() for cell in rows[0]], rows[1:]


def _find(column: str, names: list[str], rows: list[list[str]], name: str) -> int:
    """Position of the column that `column` means."""
    width = max((len(row) for row in rows), default=0)
    wanted = column.strip()
    known = ", ".join(bounded.clean(item, 30) for item in names[:12]) if names else f"1 to {width}"
    if wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:9]) <= width:
        return int(wanted) - 1
    if wanted:
        raise DataError(f"--column {bounded.clean(wanted)!r} is not in {name}; its columns are {known}")
    counting = None
    for number in range(width):
        if rows and all(number < len(row) and _number(row[number]) is not None for row in rows):
            if not _counts([float(row[number]) for row in rows]):
                return number
            counting = number if counting is None else counting
    if counting is not None:
        return counting
    raise DataError(f"no column of {name} is all numbers; name one with --column to see which line is not (columns: {known})")


def _counts(values: list[float]) -> bool:
    """Whether values rise by the same amount on every line, as line numbers and times do."""
    steps = np.diff(values)
    return len(steps) > 1 and steps[0] > 0 and bool(np.allclose(steps, steps[0], rtol=1e-6, atol=0))


def _numbers(rows: list[list[str]], number: int, first: int, where: str) -> NDArray[np.float64]:
    """The column's values. Raises `DataError` for the first that is not a finite number."""
    values = np.empty(len(rows))
    for line, row in enumerate(rows):
        cell = row[number] if number < len(row) else ""
        value = _number(cell)
        if value is None:
            raise DataError(
                f"{where}: line {line + first} (empty ones left out) holds {bounded.clean(cell, 40)!r}, which is not a finite number; "
                "fill it in or choose another --column"
            )
        values[line] = value
    return values


def _number(cell: str) -> float | None:
    """A finite number of reasonable size, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e30 else None
