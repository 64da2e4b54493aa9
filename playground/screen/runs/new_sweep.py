"""The dialog that begins a sweep over the settings of a tab, by the command that a person could have typed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from dlplay.engine.card import Card
from dlplay.engine.settings import SettingsError, field, fields, make, parse, show
from dlplay.experiments.command_line import flags
from dlplay.experiments.sweep.space import parse_search
from dlplay.experiments.sweep.spec import VARIABLE, Prune, Sampler, free_name, planned, whole
from dlplay.flags import SWEEP_FLAGS
from dlplay.runs.directory import RunNameError, explore_path, sweeps_dir
from dlplay.runs.launch import Launched, launch, terminate
from dlplay.screen.dialogs.dialog import Choice, Dialog
from dlplay.screen.line_input import LineInput

AROUND = 15
"""Rows of the window that the lines leave to the rest of the dialog."""
HIGH = 30
"""Rows of a window in which there is room to spare."""
WIDEST_COMMAND = 400
"""Characters of the command that are shown."""
PASSWORD = re.compile(r"(//[^:/@]*):[^/]*@")
"""In the address of a database."""


@dataclasses.dataclass(frozen=True)
class Begun:
    """A sweep that has begun, and its worker."""

    name: str
    worker: Launched


class OneOf(Widget, can_focus=True):
    """One of several words; left and right, or a click on an arrow, take the next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cycle(-1)", "choose", show=False),
        Binding("right,space", "cycle(1)", "choose", show=False),
    ]

    class Changed(Message):
        """Another word was chosen."""

    def __init__(self, words: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self.words, self.value = list(words), words[0]

    def render(self) -> Content:
        return Content.assemble(("‹ ", "$text-muted"), (self.value, "bold" if self.has_focus else ""), (" ›", "$text-muted"))

    def action_cycle(self, by: int) -> None:
        self.value = self.words[(self.words.index(self.value) + by) % len(self.words)]
        self.refresh()
        self.post_message(self.Changed())

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_cycle(-1 if event.x < 2 else 1)


class Lines(VerticalScroll, inherit_bindings=False):
    """It scrolls to the line with the focus; up and down are keys of the dialog."""


class NewSweepDialog(Dialog[Begun | None]):
    """Searches over the settings of a tab: `settings` are the form's, `origin` is the checkpoint that its runs start from."""

    DEFAULT_CSS = """
    NewSweepDialog .dialog { width: 96; }
    NewSweepDialog #sweep-lines {
        height: auto; scrollbar-size-vertical: 1;
        scrollbar-color: $foreground 60%; scrollbar-background: $panel; scrollbar-background-hover: $panel;
    }
    NewSweepDialog Vertical, NewSweepDialog Horizontal { height: auto; }
    NewSweepDialog .line-label { width: 12; height: 1; color: $text-muted; }
    NewSweepDialog .-here > .line-label { color: $text-accent; text-style: bold; }
    NewSweepDialog OneOf { height: 1; width: auto; min-width: 20; }
    NewSweepDialog Input { width: 1fr; background: $boost; }
    NewSweepDialog #sweep-says { margin: 1 0 0 0; color: $text-muted; }
    NewSweepDialog #sweep-command { height: auto; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "start", "start", show=False)]
    choices = (Choice("enter", "start the sweep; it continues without this screen", "start"), Choice("esc", "close", "cancel"))

    def __init__(self, card: Card, settings: Mapping[str, Any], origin: str, runs_dir: Path) -> None:
        super().__init__()
        self.card, self.origin, self.runs_dir = card.of(settings), origin, runs_dir
        self.settings = {name: value for name, value in settings.items() if name != "seeds"}  # every trial has one
        self.heading = f"New sweep of {card.title} with the form's settings"
        own_rate = any(item.name == "lr" for item in fields(card.settings))
        examples = card.search or (("lr=1e-4..1e-1:log",) if own_rate else ())
        self._searched = [_search_line(text) for text in (*examples, "")]
        kept = f"the database of ${VARIABLE}" if os.environ.get(VARIABLE) else "files beside the runs"
        self._texts = {
            "trials": LineInput(compact=True, id="trials", placeholder="20, or with the sampler grid every combination"),
            "jobs": LineInput(show(self.settings["jobs"]), compact=True, id="jobs"),
            "name": LineInput(free_name(runs_dir, card.name), compact=True, id="name"),
            "storage": LineInput(compact=True, id="storage", placeholder=kept),
            "slurm": LineInput(compact=True, id="slurm", placeholder="partition=gpu,gres=gpu:1,time=60 (minutes)"),
        }
        self._choices = {
            "sampler": OneOf(get_args(Sampler), id="sampler"),
            "prune": OneOf(["none", *(word for word in get_args(Prune) if word != "none")], id="prune"),
            "metric": OneOf(self.card.metrics, id="metric"),
            "on": OneOf(["this machine", "slurm"], id="on"),
        }
        self._lines = Lines(id="sweep-lines", can_focus=False)
        self._search = Vertical(id="sweep-search")
        self._says, self._command = Static(id="sweep-says"), Static(id="sweep-command")
        self._starting = False

    # --- building -----------------------------------------------------------------------------------------------------------------

    def body(self) -> ComposeResult:
        with self._lines:
            with self._search:
                yield from (_line("search", line) for line in self._searched)
            for name in ("trials", "jobs", "sampler", "prune", "metric", "name", "storage", "on", "slurm"):
                yield _line(name, self._texts[name] if name in self._texts else self._choices[name], "for-slurm" if name == "slurm" else "")
        yield self._says
        yield self._command

    def on_mount(self) -> None:
        self._changed()

    def on_resize(self) -> None:
        rows = self.app.size.height
        high = rows >= HIGH
        self.query_one(".dialog").styles.padding = (1, 2) if high else (1, 2, 0, 2)
        self._says.styles.height = 5 if high else 3
        self._command.styles.max_height = 3 if high else 2
        self._lines.styles.max_height = max(4, rows - AROUND)

    # --- what stands in the lines -------------------------------------------------------------------------------------------------

    @property
    def search(self) -> list[str]:
        """As `--search` takes it."""
        return [text for line in self._searched if (text := line.value.strip())]

    def _typed(self, name: str) -> str:
        return self._texts[name].value.strip()

    @property
    def _slurm(self) -> bool:
        return self._choices["on"].value == "slurm"

    @property
    def command(self) -> list[str]:
        """What a person would type behind `dlplay`, without the address of the database: the variable hands that on unseen."""
        words = ["sweep", self.card.name, *(word for text in self.search for word in ("--search", text))]
        for name in ("trials", "jobs", "name"):
            if (text := self._typed(name)) and (name, text) != ("jobs", "0"):
                words += [f"--{name}", text]
        for name, choice in self._choices.items():
            if choice.value != choice.words[0]:
                words += [f"--{name}", choice.value]
        if self._slurm and (options := self._typed("slurm")):
            words += ["--slurm", options]
        searched = set()
        for text in self.search:
            with contextlib.suppress(SettingsError):  # it is told when the sweep is to start
                searched.add(field(self.card.settings, text.partition("=")[0]).name)
        return words + flags(self.card, self.settings, self.origin, {"jobs", *searched})

    def _check(self) -> str:
        """The name of a sweep that can be begun so. Raises what `planned` raises."""
        settings = make(self.card.settings, {**self.settings, "jobs": parse(field(self.card.settings, "jobs"), self._typed("jobs") or 0)})
        trials = self._typed("trials")
        chosen: dict[str, Any] = {name: self._choices[name].value for name in ("sampler", "prune", "metric")}
        return planned(
            self.card,
            settings,
            (),
            self.origin,
            self.runs_dir,
            search=self.search,
            name=self._typed("name"),
            trials=whole("trials", trials) if trials else None,
            database=bool(self._typed("storage") or os.environ.get(VARIABLE)),
            **chosen,
        ).name

    # --- telling ------------------------------------------------------------------------------------------------------------------

    @on(Input.Changed)
    @on(OneOf.Changed)
    def _changed(self) -> None:
        """There is always one empty line more to search with."""
        if self._searched[-1].value.strip():
            self._searched.append(_search_line(""))
            self._search.mount(_line("search", self._searched[-1]))
        for widget in (self._texts["slurm"], *self._lines.query(".for-slurm")):
            widget.display = self._slurm
        command = shlex.join(["dlplay", *self.command])
        if storage := self._typed("storage"):
            command += " --storage " + PASSWORD.sub(r"\1:***@", storage)
        self._command.update(Content(command[:WIDEST_COMMAND] + "…" * (len(command) > WIDEST_COMMAND)))
        self._explain()

    def on_descendant_focus(self) -> None:
        for line in self._lines.query(Horizontal):
            line.set_class(line.has_focus_within, "-here")
        self._explain()

    def _explain(self) -> None:
        """What the line with the focus means, or what is wrong with it."""
        focused = self.focused
        if focused is None or self._starting:
            return
        if focused not in self._searched:
            self._say(self._help(focused.id or ""))
            return
        text = self._searched[self._searched.index(focused)].value.strip()
        if not text:
            names = ", ".join(
                item.name for item in fields(self.card.settings) if item.name not in ("seeds", "jobs", "per_gpu", "until") and not item.code
            )
            self._say(f"a setting and its values, as in lr=1e-4..1e-1:log or batch=32,64,128: {names}")
            return
        try:
            (dimension,) = parse_search(self.card, [text])
        except SettingsError as error:
            self._say(str(error), problem=True)
        else:
            item = dimension.field
            facts = [item.bounds, f"in the form {show(self.settings[item.name]) or 'empty'}"]
            self._say(f"{item.doc} ({'; '.join(filter(None, facts))})")

    def _help(self, name: str) -> str:
        if name == "name":
            return "Its runs are called by this name and a number: a-z, 0-9, dot, hyphen and underscore."
        if name == "jobs" and not self._slurm:
            return "Trials that train at the same time; 0: as many as there are GPUs or, without one, cores."
        words = {flag: words for flag, _, words in SWEEP_FLAGS}.get("on" if name == "jobs" else name, "")
        return words.format(metric=self.card.metric)

    def _say(self, text: str, *, problem: bool = False) -> None:
        if room := self._says.size.area:
            text = textwrap.shorten(text, round(0.9 * room), placeholder=" …")
        self._says.update(Content.styled(text, "$text-error") if problem else Content(text))

    # --- starting -----------------------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_start()

    def action_start(self) -> None:
        if self._starting:
            return
        try:
            name = self._check()
        except (SettingsError, RunNameError, OSError) as error:
            self._say(str(error), problem=True)
            return
        self._starting = True
        self._say(f"starting {name} …")
        self._start(name)

    @work(group="start")
    async def _start(self, name: str) -> None:
        """The process is told to end where this dialog is closed, or the screen, before the sweep is there."""
        log, place = explore_path(self.runs_dir) / f"{name}.txt", sweeps_dir(self.runs_dir) / name
        log.unlink(missing_ok=True)
        before = os.environ.get(VARIABLE)
        if storage := self._typed("storage"):
            os.environ[VARIABLE] = storage  # for the processes that are asked about this sweep later on, too
        starting = asyncio.ensure_future(launch([*self.command, "--runs-dir", str(self.runs_dir)], log))
        begun = False
        try:
            worker = await asyncio.shield(starting)
            while worker.returncode is None and not (place / "sweep.json").is_file():
                await asyncio.sleep(0.05)
            begun = (place / "sweep.json").is_file()
            if begun:
                log.rename(place / "log.txt")
                worker.log_path = place / "log.txt"
                self.dismiss(Begun(name, worker))
            else:
                self._refused(worker.last_words(1).removeprefix("dlplay: ") or f"dlplay sweep ended with status {worker.returncode}")
        except OSError as error:
            self._refused(str(error))
        finally:
            if not begun:
                if storage:
                    os.environ.pop(VARIABLE, None)
                    os.environ |= {VARIABLE: before} if before is not None else {}
                starting.add_done_callback(_end)  # nothing is awaited here: this may be cancelled once more

    def _refused(self, why: str) -> None:
        self._starting = False
        self._say(why, problem=True)


def _end(starting: asyncio.Future[Launched]) -> None:
    """Tell a process to end that has been started meanwhile."""
    if not starting.cancelled() and starting.exception() is None:
        terminate(starting.result())


def _search_line(text: str) -> LineInput:
    return LineInput(text, compact=True, classes="searched", placeholder="another setting, or nothing")


def _line(label: str, widget: Widget, classes: str = "") -> Horizontal:
    return Horizontal(Static(label, classes="line-label"), widget, classes=classes)
