"""Time series: a sum of sines with noise, or one column of the user's CSV file."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlplay.data import bounded
from dlplay.engine.errors import DataError

SINES = "sines"
"""Name of the series that is always there."""

MAX_BYTES = 64 * bounded.MIB
MAX_VALUES = 4_000_000
MAX_COLUMNS = 10_000
MAX_CELL = 10_000
"""Characters in a cell of the file, at most."""

HELD_OUT = 0.1
"""Share of the series, at its end, that is never trained on."""

DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*", re.ASCII)

PERIODS = ((25.0, 1.0), (40.0, 0.6), (93.7, 0.4))
"""Period (steps) and amplitude of each sine."""

NOISE = 0.1
"""Standard deviation of the noise added to each value of the mixture."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """How values are standardised: a model reads and predicts `(value - mean) / std`."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Scale:
        """The scale at which `values` have mean 0 and standard deviation 1."""
        return cls(float(values.mean()), float(values.std()) or 1.0)

    @classmethod
    def from_assets(cls, assets: Mapping[str, Any]) -> Scale:
        """Of a checkpoint. Raises `DataError` when it has none."""
        try:
            return cls(float(assets["mean"]), float(assets["scale"]))
        except (KeyError, TypeError, ValueError):
            raise DataError(
                "the checkpoint does not say how its series was scaled: it was trained on other data, or is damaged; "
                "leave its task as it is, or train on the series without --from"
            ) from None

    @property
    def assets(self) -> dict[str, Any]:
        return {"mean": self.mean, "scale": self.std}


@dataclasses.dataclass(frozen=True)
class Series:
    """Numbers in their order, the last tenth held out. A dataset."""

    name: str
    values: NDArray[np.float64]  # (steps,)
    key: str
    """Names everything that the values depend on."""
    scale: Scale
    """By default that of the training part."""

    @property
    def train(self) -> NDArray[np.float64]:
        """All but the last tenth."""
        return training_part(self.values)

    @property
    def held_out(self) -> NDArray[np.float64]:
        """The last tenth."""
        return self.values[len(self.train) :]

    @property
    def words(self) -> str:
        return (
            f"{self.name}: {len(self.train):,} values to train on (first {', '.join(f'{value:.5g}' for value in self.values[:3])}), "
            f"the last {len(self.held_out):,} held out, "
            f"mean {self.scale.mean:.4g}, standard deviation {self.scale.std:.4g}"
        )

    @property
    def assets(self) -> Mapping[str, Any]:
        return self.scale.assets


def training_part(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """All but the held-out end."""
    return values[: int(len(values) * (1 - HELD_OUT))]


def read_series(source: str, column: str = "") -> Series:
    """The series called `source`: `sines`, or `column` (a name, or a number from 1) of a CSV file. Raises `DataError`."""
    if source == SINES:
        return sines()
    return read_csv(Path(source), column)


def sines(steps: int = 6000) -> Series:
    """A mixture of three sines with noise; the same numbers every time."""
    at = np.arange(steps)
    clean = sum(amplitude * np.sin(2 * math.pi * at / period + phase) for phase, (period, amplitude) in enumerate(PERIODS))
    values = np.asarray(clean + NOISE * np.random.default_rng(0).standard_normal(steps))
    return Series("three sines with noise", values, f"sines {steps} 1", Scale.of(training_part(values)))


def read_csv(path: Path, column: str = "") -> Series:
    """One column of a CSV file (commas, semicolons or tabs; UTF-8; with or without a header).

    An empty `column` takes the first column of numbers; one that counts up, or a first one that rises at every line, as times do, is
    skipped if there is another with numbers in it. Raises `DataError`, which names the line of a cell that is not a number (nothing is
    filled in), and when the file can be read in two ways.
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
    if not column.strip() and len(names) < 2 and rows and all(len(row) == 2 and DECIMAL_COMMA.fullmatch(",".join(row)) for row in rows):
        raise DataError(
            f"{name} can be read in two ways: lines such as {','.join(rows[0])[:40]!r} are a number with a decimal comma, or two columns; "
            "write decimal points, or choose --column 1 or 2"
        )
    number = _find(column, names, rows, name)
    title = (bounded.clean(names[number]) if number < len(names) else "") or f"column {number + 1}"
    values = _numbers(rows, number, 2 if names else 1, f"{name}, {title}")
    if len(values) < 2 or float(values.std()) == 0:
        raise DataError(f"{title} of {name} holds {len(values):,} equal values; choose another --column")
    digest = hashlib.sha256(data).hexdigest()
    name = f"{title} of {bounded.clean(path.name) or 'the file'}"
    return Series(name, values, f"{digest} {number}", Scale.of(training_part(values)))


def _rows(text: str, name: str) -> list[list[str]]:
    """The cells of every line that is not empty."""
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    if 0 < first.count(";") >= first.count(",") - 1:  # the commas may be decimal ones
        separator = ";"
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
    """The header (empty when the first line holds a number), and the other lines.

    A line that begins with an empty cell is a header even so, when no other line does: pandas leaves the name of its index empty.
    """
    index = len(rows[0]) > 1 and len(rows) > 1 and not rows[0][0].strip() and all(row[0].strip() for row in rows[1:])
    if not index and any(_number(cell) is not None for cell in rows[0]):
        return [], rows
    return [cell.strip() for cell in rows[0]], rows[1:]


def _find(column: str, names: list[str], rows: list[list[str]], name: str) -> int:
    """Index of the column that is meant."""
    width = max((len(row) for row in rows), default=0)
    wanted = column.strip()
    known = ", ".join(bounded.clean(item, 30) for item in names[:12]) if names else f"1 to {width}"
    if wanted and wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:9]) <= width:
        return int(wanted) - 1
    if wanted:
        raise DataError(f"--column {bounded.clean(wanted)!r} is not in {name}; its columns are {known}")
    counts = [sum(number < len(row) and _number(row[number]) is not None for row in rows) for number in range(width)]
    whole = [number for number, count in enumerate(counts) if count == len(rows)]
    for number in whole:
        if not _counts([float(row[number]) for row in rows], rising=number == 0):
            return number
    commas = [sum(number < len(row) and DECIMAL_COMMA.fullmatch(row[number]) is not None for row in rows) for number in range(width)]
    spoilt = [number for number in range(width) if number not in whole and (counts[number] or (whole and commas[number]))]
    if spoilt:  # the reader names the line that spoils it
        return max(spoilt, key=lambda number: counts[number] + commas[number])
    if whole:
        return whole[0]
    hint = "write decimal points, not commas" if any(commas) else "choose one with --column to see which line does not"
    raise DataError(f"no column of {name} holds only numbers; {hint} (columns: {known})")


def _counts(values: list[float], *, rising: bool) -> bool:
    """Whether values rise by the same amount at every line, as line numbers do; or at least at every line, when `rising` is enough."""
    steps = np.diff(values)
    if rising and len(steps) > 1 and bool((steps > 0).all()):
        return True
    return len(steps) > 1 and steps[0] > 0 and bool(np.allclose(steps, steps[0], rtol=1e-6, atol=0))


def _numbers(rows: list[list[str]], number: int, first: int, where: str) -> NDArray[np.float64]:
    """The column's values. Raises `DataError` at the first that is not a finite number."""
    values = np.empty(len(rows))
    for line, row in enumerate(rows):
        cell = row[number] if number < len(row) else ""
        value = _number(cell)
        if value is None:
            raise DataError(
                f"{where}: line {line + first} (not counting empty ones) holds {bounded.clean(cell, 40)!r}, which is not a finite number; "
                + ("write decimal points, not commas" if DECIMAL_COMMA.fullmatch(cell) else "fill it in or choose another --column")
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
