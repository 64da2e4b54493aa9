"""What the machine did while a run trained, in `machine.jsonl` in its folder: a line for each `Sample`.

A thread of the run's process takes a sample a second, so that training never waits for a driver; it takes none while the run is paused.
The file is appended to, and written anew each time that samples are merged. It is of use and not needed: a line that cannot be read is left
out, and where the disk refuses a line, training goes on without it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dlplay.engine.errors import cause
from dlplay.engine.machine import LIMIT, SECONDS, Sample, from_step, merged, thinned
from dlplay.runs.console import print_line
from dlplay.runs.directory import RunDirectory
from dlplay.runs.files import open_regular
from dlplay.runs.panel_text import print_panel
from dlplay.system.figures import figures
from dlplay.system.panels import time_shares
from dlplay.system.shares import shares

if TYPE_CHECKING:
    from dlplay.system.gauges import Reading

FILE = "machine.jsonl"
LINE_LIMIT = 1 << 15
"""Bytes of a line."""
FILE_LIMIT = 1 << 25
"""Bytes that are read of a file."""

_decoder = msgspec.json.Decoder(Sample)
_encoder = msgspec.json.Encoder()


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is; all but the step only ever grow."""

    step: int
    examples: int
    """In a step."""
    tokens: int
    """In a step; 0 where examples have none, or not all as many."""
    times: dict[str, float]
    """As in a `Sample`, in all."""
    parts: dict[str, float]
    timed: int


def read(folder: Path) -> list[Sample]:
    """The samples of the run in this folder, in order; none where the file is missing or is none that this module writes."""
    found: list[Sample] = []
    try:
        with os.fdopen(open_regular(folder / FILE, os.O_RDONLY), "rb") as file:
            data = file.read(FILE_LIMIT)
    except OSError:
        return found
    for line in data.splitlines():
        if len(line) > LINE_LIMIT:
            continue
        try:
            sample = _decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if sample.first <= sample.step and (not found or sample.step >= found[-1].step):
            found.append(sample)
    return thinned(found)


def tell(run: RunDirectory, as_json: bool) -> None:
    """Print what the machine did while it trained: a table and where its time went, or a JSON object with every sample."""
    samples = read(run.path)
    traces = sorted(str(path) for path in run.path.glob("trace-*.json"))
    if as_json:
        told = {"name": run.name, "samples": samples, "shares": shares(samples), "traces": traces}
        print_line(msgspec.json.encode(told).decode())
        return
    print_panel(figures(samples), False)
    if samples:
        print_line("")
        print_panel(time_shares(samples), False)
    for path in traces:
        print_line(f"trace: {path}")


class Recording:
    """Takes samples until it is closed. `samples` may be read at any time, from any thread."""

    def __init__(
        self,
        folder: Path,
        step: int,
        counts: Callable[[], Counts],
        gauges: Callable[[], Reading],
        idle: Callable[[], bool],
        in_place: Callable[[], bool] = lambda: True,
    ) -> None:
        """Of a run that is at `step`. `idle` tells that nothing is to be recorded now, `in_place` whether the folder is still the run's."""
        self._path = folder / FILE
        self._counts, self._gauges, self._idle, self._in_place = counts, gauges, idle, in_place
        self._began = time.monotonic()
        self._kept: tuple[list[Sample], Sample | None] = from_step(read(folder), step), None
        """Samples that are complete, and the one in the making."""
        spans = [sample.span for sample in self._kept[0]]
        self._span = max(SECONDS, statistics.median(spans) if spans else 0.0)
        """Seconds of a sample that is complete."""
        self._closed = threading.Event()
        self._rewrite()
        self._thread = threading.Thread(target=self._record, name="machine", daemon=True)
        with self._guarded():
            self._before = counts()
            self._thread.start()

    @property
    def samples(self) -> Sequence[Sample]:
        """All that was recorded of this run, the last one in the making."""
        complete, pending = self._kept
        return [*complete, *([pending] if pending is not None else [])]

    def close(self) -> None:
        """Take the last sample."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        with self._guarded():
            self._take()
        if (pending := self._kept[1]) is not None:
            self._append(pending)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """A room's own card counts examples and tokens, and no fault in there may stop a run: only the recording ends, with a word."""
        try:
            yield
        except Exception as error:
            self._closed.set()
            print_line(f"dlplay: what the machine does is recorded no longer: {cause(error)}", error=True)

    def _record(self) -> None:
        with self._guarded():
            while not self._closed.wait(SECONDS):
                self._take()

    def _take(self) -> None:
        """What happened since the last sample; of a while in which nothing trained the beginning is left out."""
        now, reading = time.monotonic(), self._gauges()
        before, self._before = self._before, self._counts()
        began, self._began = self._began, now
        if self._idle() and self._before.step == before.step:
            return
        sample = _sample(before, self._before, max(now - began, 1e-3), reading)
        complete, pending = self._kept
        pending = merged(pending, sample) if pending is not None else sample
        if pending.span >= 0.75 * self._span:  # the clock of the thread is not exact
            self._append(pending)
        else:
            self._kept = complete, pending

    def _append(self, sample: Sample) -> None:
        complete = [*self._kept[0], sample]
        if len(complete) > LIMIT:
            self._kept = thinned(complete), None
            self._span *= 2
            self._rewrite()
            return
        self._kept = complete, None
        if not self._in_place():
            return
        with contextlib.suppress(OSError), os.fdopen(open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
            file.write(_encoder.encode(sample) + b"\n")

    def _rewrite(self) -> None:
        """Write all anew, beside the file, which is then replaced."""
        if not self._in_place():
            return
        draft = self._path.with_name(f".{FILE}")
        with contextlib.suppress(OSError):
            with os.fdopen(open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
                file.writelines(_encoder.encode(sample) + b"\n" for sample in self._kept[0])
            draft.rename(self._path)


def _sample(before: Counts, after: Counts, span: float, reading: Reading) -> Sample:
    steps = max(after.step - before.step, 0)
    return Sample(
        time=round(time.time(), 3),
        span=round(span, 4),
        first=min(before.step, after.step),
        step=after.step,
        examples=float(steps * after.examples),
        tokens=float(steps * after.tokens),
        cpu=reading.cpu,
        own_cpu=reading.own_cpu,
        memory=reading.memory,
        written=reading.written,
        cards=reading.cards,
        times=_grown(before.times, after.times),
        parts=_grown(before.parts, after.parts),
        timed=after.timed - before.timed,
    )


def _grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: round(max(value - before.get(name, 0.0), 0.0), 6) for name, value in after.items()}
