"""The last runs of a tab, each with what it has reached, and what there is to compare them with. A click opens a run."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from dlplay.engine.card import Card
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.summary import Summary
from dlplay.screen.flow import fit
from dlplay.screen.leaving import EndsItsWork
from dlplay.screen.numbers import measure, words

MOST = 60
"""Runs that are looked at, the latest first."""
SECONDS = 1.0
"""Between two looks at the runs' folder."""
SIGNS = {"training": "▶", "waiting": "▶", "paused": "‖", "failed": "✗"}
INDENT = "  "
"""Before what goes on in the next line."""
UNDER_WAY = ("training", "waiting", "paused")
"""States that end without a word in the journal when the process is killed."""


class RecentRuns(EndsItsWork, Widget):
    """One line for each run: its name, its state, and the card's metric; below, the pretrained model and the baselines, the best first.
    `poll` keeps them up to date."""

    DEFAULT_CSS = "RecentRuns { background: $surface; padding: 0 1; text-wrap: nowrap; }"

    @dataclasses.dataclass
    class Chosen(Message):
        """This run is to be opened."""

        name: str

    def __init__(self, card: Card, runs_dir: Path) -> None:
        super().__init__()
        self._latest = LatestRuns(runs_dir, card.name)
        self._runs: list[Summary] = []
        self._own = ""
        """The tab's own run among them."""
        self._of: tuple[str, str] = ("", "")
        """The tab's own run and its state when the runs were last read."""
        self._own_state, self._own_value = "", math.nan
        """Of the tab's own run, from the same source as the run bar."""
        self._due = 0.0
        self._card_shown, self._others = card, list[tuple[str, float]]()

    def compare(self, card: Card, others: Mapping[str, float]) -> None:
        """The variant of the card that is shown, and what its metric is of others than runs: the pretrained model, baselines."""
        ranked = sorted(others.items(), key=lambda item: item[1], reverse=card.better == "higher")
        if (card, ranked) != (self._card_shown, self._others):
            self._card_shown, self._others = card, ranked
            self.refresh()

    def poll(self, own: str, state: str, value: float = math.nan) -> None:
        """Read the runs again when the tab's `own` run or its state has changed, and every second. `value`: the card's metric of that run;
        it and the state are shown at once."""
        now = time.monotonic()
        if (state, str(value)) != (self._own_state, str(self._own_value)):
            self._own_state, self._own_value = state, value
            self.refresh()
        if self.display and self.size.height and ((own, state) != self._of or now >= self._due):
            self._of, self._due = (own, state), now + SECONDS
            self.begin(self._read, "runs", exclusive=True)

    async def _read(self) -> None:
        runs = await asyncio.to_thread(self._latest.read, self.size.height)
        if (runs, self._of[0]) != (self._runs, self._own):
            self._runs, self._own = runs, self._of[0]
            self.refresh()

    def render(self) -> Content:
        width, height = self.content_size
        metric = self._card_shown.metric
        lines = [Content.assemble(("Runs", "bold"), ("  F4 all", "$text-muted"))]
        if not self._runs:
            lines += [Content.styled(line, "$text-muted") for line in ("none yet", "F5 trains one")]
        below = 2 + len(self._others) if self._others else 0
        for run in self._runs[: max(height - below - 2, 3)]:
            own = run.name == self._own
            live = own and not math.isnan(self._own_value)
            value = measure(self._own_value if live else run.metrics.get(metric), percent=self._percent)
            sign = SIGNS.get(self._own_state if own else run.state, " ")
            room = max(width - cell_len(value) - 5, 4)
            mark, style = ("● ", "bold") if own else ("○ ", "")
            lines.append(
                Content.assemble(
                    (mark, "$text-accent" if own else "$text-muted"), (f"{fit(run.name, room):<{room}}", style), f" {sign} ", value
                )
            )
        if self._others:
            lines += [Content(""), Content.styled(words(metric), "bold")]
        for other, number in self._others:
            value = measure(number, percent=self._percent)
            *above, last = _wrapped(other, max(width - cell_len(value) - 1, 4))
            lines += [Content.styled(line, "$text-muted") for line in above]
            lines.append(Content.assemble((last, "$text-muted"), " " * (width - cell_len(last) - cell_len(value)), value))
        return Content("\n").join(lines[:height])

    @property
    def _percent(self) -> bool:
        card = self._card_shown
        return any(chart.percent for chart in card.all_charts if card.metric in chart.held_out)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1 + max(len(self._runs), 2) + (2 + len(self._others) if self._others else 0)

    def on_click(self, event: events.Click) -> None:
        row = event.get_content_offset_capture(self).y - 1
        if 0 <= row < len(self._runs):
            self.post_message(self.Chosen(self._runs[row].name))


def _wrapped(name: str, width: int) -> list[str]:
    """A name in lines of whole words, those after the first indented; what stands in brackets is one word, and a longer one is cut."""
    lines = [""]
    for word in re.findall(r"\([^)]*\)|\S+", name):
        if len(lines[-1].split()) and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append(INDENT)
        line = f"{lines[-1]}{' ' * bool(lines[-1].strip())}{word}"
        lines[-1] = fit(line, width)
    return lines


class LatestRuns:
    """The last runs of an architecture. What a run came to is read again only when its journal has grown, or while it is not over."""

    def __init__(self, runs_dir: Path, architecture: str) -> None:
        self._runs_dir, self._architecture = runs_dir, architecture
        self._known: dict[str, tuple[float, Summary]] = {}
        """By name: when its journal was last written, and what it came to."""

    def read(self, count: int) -> list[Summary]:
        """The last `count`, the newest first; runs that cannot be read, or are being removed, are left out."""
        written: dict[str, float] = {}
        for name in directory.names(self._runs_dir):
            with contextlib.suppress(OSError):
                written[name] = RunDirectory(self._runs_dir / name).journal_path.stat().st_mtime
        self._known = {name: known for name, known in self._known.items() if name in written}
        found: list[Summary] = []
        for name in sorted(written, key=lambda name: (written[name], name), reverse=True)[:MOST]:
            at, summary = self._known.get(name, (0.0, None))
            if summary is None or at != written[name] or summary.state in UNDER_WAY:
                with contextlib.suppress(OSError):
                    summary = directory.summary(RunDirectory(self._runs_dir / name))
                    self._known[name] = written[name], summary
            if summary is not None and summary.architecture == self._architecture:
                found.append(summary)
            if len(found) >= count:
                break
        return found
