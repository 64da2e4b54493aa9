"""The pretrained models and one's own runs of an architecture: open one to inspect it, or train from its weights."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from dlplay.checkpoints import CheckpointError, shipped
from dlplay.engine.card import Card
from dlplay.runs.directory import listing
from dlplay.runs.listing import families
from dlplay.screen import numbers
from dlplay.screen.dialogs.dialog import Choice, Dialog
from dlplay.screen.dialogs.palette import Options


@dataclasses.dataclass(frozen=True)
class LoadChoice:
    """What was chosen."""

    name: str
    kind: Literal["pretrained", "run"]
    how: Literal["open", "train"]
    """`train`: a new run from these weights."""


class LoadDialog(Dialog[LoadChoice | None]):
    """One row each: name, state, metric, steps, age."""

    DEFAULT_CSS = """
    LoadDialog OptionList, LoadDialog OptionList:focus {
        height: auto; background: transparent; border: none; padding: 0; text-wrap: nowrap; text-overflow: ellipsis;
    }
    LoadDialog OptionList:focus > .option-list--option-highlighted { background: $accent 20%; color: $foreground; text-style: bold; }
    LoadDialog .dialog { width: 100; }
    """
    scrolled = "OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "train", "train from it", show=False)]
    choices = (
        Choice("enter", "open: inspect it, resume a run, or attach to it", "open"),
        Choice("t", "train a new run from these weights", "train"),
        Choice("esc", "close", "cancel"),
    )

    def __init__(self, card: Card, runs_dir: Path) -> None:
        super().__init__()
        self.card, self.runs_dir = card, runs_dir
        self.heading = f"Open: {card.title}"
        self._kinds: dict[str, Literal["pretrained", "run"]] = {}
        self._rows: dict[str, Content] = {}
        self._problem = ""

    def body(self) -> ComposeResult:
        options = [*self._pretrained(), *self._runs()]
        if options:
            yield Options(*options, id="load-list")
        else:
            yield Static("Nothing to open yet: there is no pretrained model and no run. Space starts a run.", classes="dialog-text")
        if self._problem:
            yield Static(Content.styled(self._problem, "$text-error"), classes="dialog-text")

    def on_mount(self) -> None:
        for options in self.query(OptionList):
            options.focus()

    def _pretrained(self) -> list[Option]:
        try:
            found = [item for item in shipped.shipped().values() if item.architecture == self.card.name]
        except CheckpointError as error:
            self._problem = str(error)
            return []
        self._kinds |= {item.name: "pretrained" for item in found}
        return [self._option(item.name, self._row(item.name, "pretrained", "", item.metrics, "")) for item in found]

    def _runs(self) -> list[Option]:
        options = []
        for name, run in families([run for run in listing(self.runs_dir) if run.architecture == self.card.name]):
            self._kinds[run.name] = "run"
            steps = f"{numbers.count(run.step)} steps"
            age = f"{numbers.ago(time.time() - run.modified)} ago"
            options.append(self._option(run.name, self._row(name, run.state, steps, run.metrics, age)))
        return options

    def _row(self, name: str, state: str, steps: str, metrics: Mapping[str, float], age: str) -> Content:
        known = next((name for name in self.card.metrics if name in metrics), "")
        percent = any(chart.percent and known in chart.held_out for chart in self.card.all_charts)
        metric = f"{numbers.words(known)} {numbers.measure(metrics[known], percent=percent)}" if known else ""
        return Content.assemble((f"{name:<26.26}", "bold"), f" {state:<12}{metric:<21}", (f"{steps:>14}{age:>12}".rstrip(), "$text-muted"))

    def _option(self, name: str, row: Content) -> Option:
        self._rows[name] = row
        return Option(Content.assemble("  ", row), id=name)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        for name, row in self._rows.items():  # the row is marked with a sign, not only with colour
            mark = ("▸ ", "$text-accent") if name == event.option_id else ("  ", "")
            event.option_list.replace_option_prompt(name, Content.assemble(mark, row))

    def _choose(self, how: Literal["open", "train"]) -> None:
        for options in self.query(OptionList):
            option = options.highlighted_option
            if option is not None and option.id is not None:
                self.dismiss(LoadChoice(option.id, self._kinds[option.id], how))

    def action_open(self) -> None:
        self._choose("open")

    def action_train(self) -> None:
        self._choose("train")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._choose("open")
