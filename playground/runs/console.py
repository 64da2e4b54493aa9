"""What a headless run prints: JSON lines, plain lines in a pipe, or a progress line on a terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import msgspec

from dlplay.engine.card import Card
from dlplay.engine.events import Baselines, DurableEvent, Evaluated, Failed, Finished, Saved, Started, Stepped, Warned
from dlplay.engine.printable import escaped, printable
from dlplay.engine.units import size

if TYPE_CHECKING:
    import rich.console

_encoder = msgspec.json.Encoder()
LARGE = 100_000_000
"""Bytes from which it is told what a model takes."""


class Console(Protocol):
    """Shows a run's durable events."""

    def show(self, event: DurableEvent) -> None:
        """Print an event that was just recorded."""

    def close(self) -> None:
        """Restore the terminal."""


def console(card: Card, as_json: bool) -> Console:
    """The console that suits standard output."""
    if as_json:
        return JsonLines()
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return ProgressLine(card)
    return PlainLines(card)


_reserved: TextIO | None = None
"""Standard output, while it is reserved."""
_failed: OSError | ValueError | None = None
"""Why standard output has refused a line."""


@contextlib.contextmanager
def reserved_output() -> Iterator[None]:
    """Within it standard output belongs to `print_line` alone. What anything else prints, such as an environment, a library in C or a
    process that they start, goes to standard error."""
    global _reserved
    with contextlib.ExitStack() as stack:
        _reserved = stdout = sys.stdout
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or replaced by an object without a descriptor
            number, stderr = stdout.fileno(), sys.stderr.fileno()
            stdout.flush()
            kept = os.dup(number)
            _reserved = stack.enter_context(os.fdopen(kept, "w", encoding=stdout.encoding, errors=stdout.errors))
            os.dup2(stderr, number)
            stack.callback(os.dup2, kept, number)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        try:
            yield
        finally:
            _reserved = None


@contextlib.contextmanager
def transient() -> Iterator[Callable[[str], None]]:
    """What is told within it stands in one line of the terminal, each instead of the one before, and is gone at the end. It is standard
    error's; where that is no terminal nothing is told."""
    shows = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def tell(text: str) -> None:
        if shows:
            with contextlib.suppress(OSError, ValueError):
                line = " ".join(printable(text).split())[: shutil.get_terminal_size().columns - 3]
                sys.stderr.write(f"\r{line} …\x1b[K")
                sys.stderr.flush()

    try:
        yield tell
    finally:
        if shows:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()


def print_line(text: str, *, error: bool = False) -> None:
    """Print a line, `printable`. An output that cannot be written to does not stop the run: what follows is discarded, and `output_failed`
    unless it is a pipe that was closed (`| head`)."""
    stream = sys.stderr if error else _reserved or sys.stdout
    try:
        stream.write(printable(text) + "\n")
        stream.flush()
    except (OSError, ValueError) as problem:
        discard(stream, problem)


def flush_output() -> bool:
    """Whether all that was printed on standard output has been written; a failure is told as `print_line` tells it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as problem:
        discard(sys.stdout, problem)
        return False
    return True


def output_failed() -> OSError | ValueError | None:
    """Why standard output refused a line since this was last asked, for another reason than that its reader has gone."""
    global _failed
    failed, _failed = _failed, None
    return failed


def discard(stream: TextIO, problem: OSError | ValueError) -> None:
    """Nothing more is written to the stream. Why is told once, unless the reader of a pipe has gone, who knows."""
    global _failed
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    if stream is not sys.stderr and not isinstance(problem, BrokenPipeError):
        _failed = problem
        why = problem.strerror if isinstance(problem, OSError) else problem
        print_line(f"dlplay: standard output cannot be written: {why}; what follows is not shown", error=True)


def prepare_streams() -> bool:
    """Make standard input, output and error fit to be used; False where there is no standard output.

    What a stream's encoding lacks is escaped; a closed one is replaced, lest the next file that is opened takes its number.
    """
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(nowhere)
    there = sys.stdout is not None
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    codecs.register_error("dlplay.escaped", escaped)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="dlplay.escaped")  # type: ignore[union-attr]
    return there


def rich_console(**options: Any) -> rich.console.Console:
    """A console of rich that raises `BrokenPipeError`, where rich's own ends the program."""
    from rich.console import Console as RichConsole

    class Raising(RichConsole):
        def on_broken_pipe(self) -> None:
            raise

    return Raising(**options)


class JsonLines:
    """The lines of the journal: one JSON object each."""

    def show(self, event: DurableEvent) -> None:
        print_line(_encoder.encode(event).decode())

    def close(self) -> None:
        pass


class PlainLines:
    """A readable log: one line for each event worth reading."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.settings: dict[str, Any] = {}
        self.latest: dict[str, float] = {}
        self.rate = Rate()
        self.name = ""

    def show(self, event: DurableEvent) -> None:
        for line in self.lines(event):
            print_line(line, error=isinstance(event, (Failed, Warned)))

    def close(self) -> None:
        pass

    def lines(self, event: DurableEvent) -> list[str]:
        """The lines to print for an event."""
        match event:
            case Started():
                self.name, self.settings = event.name, dict(event.settings)
                begin = f"resumed at step {event.step:,}" if event.step else "started" + (f" from {event.origin}" if event.origin else "")
                threads = "1 thread" if event.threads == 1 else f"{event.threads} threads"
                rounding = "" if event.precision == "float32" else f", {event.precision}"
                rounding += ", compiled" if event.compiled else ""
                rounding += ", steps captured" if event.settings.get("graph") else ""
                takes = f" ({size(event.memory)} with gradients and optimiser)" if event.memory >= LARGE else ""
                together = f"{event.ranks} ranks, " if event.ranks > 1 else ""
                return [
                    f"{event.name} {begin}: {self.card.title}, {event.parameters:,} parameters{takes}, {event.data}, "
                    f"on {event.device} ({event.device_name}){rounding}, {together}{threads}, seed {event.settings.get('seed')}"
                ]
            case Baselines():
                return [f"baselines of {metric}: {_baselines(values)}" for metric, values in event.values.items()]
            case Stepped():
                self.rate.add(event)
                self.latest = {name: column[-1] for name, column in event.metrics.items() if column and column[-1] is not None}
            case Evaluated():
                speed = f"  {self.rate.value:,.0f} steps/s" if self.rate.value else ""
                return [f"step {event.step:,} / {self.settings.get('steps', 0):,}  {_metrics(self.latest | event.metrics)}{speed}"]
            case Saved():
                return []
            case Warned():
                return [f"warning: {event.what}" + (f": {event.why}" if event.why else "") + (f"; {event.remedy}" if event.remedy else "")]
            case Failed():
                return [f"failed at step {event.step:,}: {event.what}", f"  {event.why}", f"  {event.remedy}"]
            case Finished():
                return self._finished(event)
        return []

    def _finished(self, event: Finished) -> list[str]:
        lines = [f"{self.name} {ENDS.get(event.reason, event.reason)} at step {event.step:,}, {event.steps_per_second:,.1f} steps/s"]
        for metric, value in event.metrics.items():
            baselines = _baselines(event.baselines.get(metric, {}))
            lines.append(f"  {metric:16} {format_number(value)}" + (f"   baselines: {baselines}" if baselines else ""))
        if event.ranks:
            lines.append(f"  waiting for the slowest rank: {', '.join(f'{100 * rank.waiting:.0f} %' for rank in event.ranks)} of the time")
        resume = f"dlplay resume {self.name} · " if event.reason in ("stopped", "interrupted") else ""
        lines.append(f"  saved as {self.name}: {resume}dlplay attach {self.name} · dlplay {self.card.name} --from {self.name}")
        return lines


ENDS = {
    "steps": "finished",
    "minutes": "ended by --minutes",
    "until": "reached --until",
    "stopped": "stopped",
    "interrupted": "interrupted, saved",
}


class ProgressLine(PlainLines):
    """The plain lines, with a progress bar below them."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}", markup=False),
            TimeRemainingColumn(compact=True),
            transient=True,
            refresh_per_second=4,
        )
        self._bar = self._progress.add_task("", total=None, metrics="")
        self._progress.start()

    def show(self, event: DurableEvent) -> None:
        for line in self.lines(event):
            with contextlib.suppress(OSError):
                self._progress.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
        with contextlib.suppress(OSError):
            if isinstance(event, Started):
                self._progress.update(self._bar, description=printable(event.name), total=self.settings.get("steps"), completed=event.step)
            elif isinstance(event, Stepped):
                speed = f"{self.rate.value:,.0f} steps/s  " if self.rate.value else ""
                self._progress.update(self._bar, completed=event.step, metrics=printable(speed + _metrics(self.latest)))
            elif isinstance(event, (Finished, Failed)):
                self._progress.stop()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._progress.stop()


class Rate:
    """Training steps per second over the last second or so, from `Stepped` events."""

    def __init__(self) -> None:
        self.value = 0.0
        self._mark: tuple[float, int] | None = None

    def add(self, event: Stepped) -> None:
        if self._mark is None:
            self._mark = (event.seconds, event.step)
        elif event.seconds - self._mark[0] >= 1:
            seconds, step = self._mark
            self.value = (event.step - step) / (event.seconds - seconds)
            self._mark = (event.seconds, event.step)


def format_number(value: float) -> str:
    """A number with four significant digits."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _metrics(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {format_number(value)}" for name, value in metrics.items())


def _baselines(values: dict[str, float]) -> str:
    return ", ".join(f"{method} {format_number(value)}" for method, value in values.items())
