"""The environment: watch the agent at four speeds, with its action values, or play yourself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from dlplay import widgets
from dlplay.engine import stages
from dlplay.engine.card import ActionCard, Card
from dlplay.engine.panels import AnyPanel, Array, Frame
from dlplay.engine.settings import Field, Options, fields
from dlplay.screen.flow import Flow, Group, Piece, fit
from dlplay.screen.panels.options_bar import STEPPING, filter_options
from dlplay.screen.panels.panel_widgets import fill_bars
from dlplay.screen.stages.environment.episode import MAX_STEPS, SPEEDS, Episode, Speed
from dlplay.screen.stages.stage import ActionStage
from dlplay.screen.terminal import Paced
from dlplay.widgets.drawing import ansi

MAX_PIXELS = (240, 160)
"""Columns and rows of a frame: larger ones are not asked for."""
BESIDE = (34, 58)
"""Cells reserved beside the frame, in a narrow and in a wide window."""
WIDE = 100
VALUES_ROWS, FACTS_ROWS = 6, 4
"""Rows below the picture that the action values and the facts need at least, and the facts alone."""
OBSERVATION = "observation"
"""The fact that is the first layer of the forward pass."""
STRIP_ROWS = 3
"""By so many rows the stage may grow or shrink, as it does when the strip of curves comes, and its parts stay where they are."""
CLEARLY = 1.2
"""How many times larger the picture has to become before the parts are arranged in the other way."""
SIDE_BY_SIDE = 52
"""Cells from which the facts stand beside the action values, not below them."""
MAX_BARS = 8
"""Rows of action values that are seen at once."""
NAMED_FROM = 3
"""Action values from which on there is room for the names of two bars each."""
NO_PIXELS = Array((0, 0, 3), "u1", b"")
KEYS_IN_WORDS = {"space": "f"}
"""How keys are shown where they are shown otherwise than they are called. In ASCII an arrow would be < or >, which are other keys."""
KEYS = {"left": "←", "right": "→", "up": "↑", "down": "↓"} | KEYS_IN_WORDS
"""Keys with which a person can play."""


class EnvironmentStage(ActionStage):
    """The stage for an agent."""

    stage: stages.Environment

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w,enter", "watch", "watch/stop", key_display="w"),
        Binding("v", "speed", "speed", key_display="v"),
        Binding("left", "play('left')", "play yourself", key_display="arrows"),
        Binding("right", "play('right')", "play yourself", key_display="arrows", show=False),
        Binding("up", "play('up')", "play yourself", key_display="arrows", show=False),
        Binding("down", "play('down')", "play yourself", key_display="arrows", show=False),
        Binding("f", "play('space')", "play yourself", show=False),
        *STEPPING,
    ]
    MAX_MESSAGE_LINES: ClassVar[int] = 4

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        assert card.stage is not None
        super().__init__(card, options, card.panel(card.stage.panel).title, _options_of_actions(card, card.stage.option), id=id)
        self.episode = Episode(self, self.stage.advance, self.stage.take)
        self.episode.max_steps = self._max_steps()
        self.frame = Frame(pixels=NO_PIXELS)
        self.playing = False
        """Whether a person has acted in this episode, and the agent has not since."""
        self._aspect = 1.5
        """Of the picture: its width by its height."""
        self._tall = False
        self._decided_for = (0, 0)
        """Width and height for which it was decided whether the parts are stacked."""
        self._picture = widgets.FrameView(empty="the environment, once there is a model")
        self._decision = Static("", classes="decision", markup=False)
        self._bars = widgets.Bars(empty="the action values")
        self._bars.can_focus = False
        self._facts = widgets.Facts(empty="")
        self._controls = Flow(classes="controls")
        self._values = Container(classes="values")
        self._below = False
        """Whether the forward pass below ends in the action values, which then stand there alone."""

    def compose(self) -> ComposeResult:
        yield self._picture
        with Vertical(classes="beside"):
            yield self.bar
            yield self.message
            yield self._decision
            with self._values:
                yield self._bars
                yield self._facts
            yield self._controls
            yield self.chips

    def on_mount(self) -> None:
        self._draw_controls()
        self.draw_message()

    # --- size ---------------------------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._arrange()
        self.draw_message()

    def _arrange(self) -> None:
        """Stack the parts, or put them side by side, whichever makes the picture larger, and ask for as many pixels as fit."""
        width, height = self.content_size.width, self.content_size.height
        if width < 1 or height < 1:
            return
        tall = self.stacks()
        self.set_class(tall, "-tall")
        columns, rows = self._fitted(tall)
        self._picture.styles.height, self._picture.styles.width = (rows, "100%") if tall else ("1fr", columns)
        self._values.set_class((width if tall else width - columns) < SIDE_BY_SIDE, "-below")
        size = "{}x{}".format(*self._room(tall))
        if self.options.get(self.option.name) != size:
            self.options[self.option.name] = size
            self.ask_question()

    def stacks(self) -> bool:
        """Whether the picture is larger with the other parts below it; it stays so for a few rows more or less."""
        width, height = self.content_size.width, self.content_size.height
        if width != self._decided_for[0] or abs(height - self._decided_for[1]) > STRIP_ROWS:
            self._decided_for = (width, height)
            self._tall = self._area(True) > self._area(False)
        elif self._area(not self._tall) > CLEARLY * self._area(self._tall):  # another kind of picture
            self._tall = not self._tall
        return self._tall

    def _room(self, tall: bool) -> tuple[int, int]:
        """Columns and rows of pixels that there is room for, with the other parts below the picture or beside it."""
        width, height = self.content_size.width, self.content_size.height
        if tall:
            lines = sum(part.get_content_height(self.size, self.size, width) for part in (self.bar, self._controls, self.chips))
            values = max(VALUES_ROWS if self._shows_bars(self.frame) else FACTS_ROWS, self._bar_rows())
            height = max(4, height - lines - values - 2)  # the message, and the decision
        else:
            width = max(8, width - BESIDE[width >= WIDE])
        return min(width, MAX_PIXELS[0]), min(2 * height, MAX_PIXELS[1])

    def _fitted(self, tall: bool) -> tuple[int, int]:
        """Columns and rows of cells that the picture takes of that room."""
        columns, rows = self._room(tall)
        columns = max(8, min(columns, round(rows * self._aspect)))
        return columns, max(4, min(rows // 2, math.ceil(columns / self._aspect / 2)))

    def _area(self, tall: bool) -> float:
        columns, rows = self._room(tall)
        return min(columns, rows * self._aspect) ** 2 / self._aspect

    def set_forward_pass(self, shown: bool) -> None:
        if shown != self._below:
            self._below = shown
            if self.frame.bars is not None:
                self.answered(self.frame)
            self._arrange()

    def _shows_bars(self, frame: Frame) -> bool:
        """The action values stand in the forward pass below, if there is one, unless a click on them is the only way to act."""
        return frame.bars is not None and not (self._below and len(set(frame.controls.values())) >= len(frame.bars.labels))

    def _bar_rows(self) -> int:
        bars = self.frame.bars
        if bars is None or not self._shows_bars(self.frame):
            return 0
        rows = max(1, min(len(bars.labels), MAX_BARS))
        return rows + 1 if bars.names and rows >= NAMED_FROM else rows  # a row that names both bars of each action

    def _max_steps(self) -> int:
        advance = self._action(self.stage.advance)
        high = next((field.high for field in fields(advance.options) if field.name == "steps"), None) if advance is not None else None
        return int(high) if high is not None else MAX_STEPS

    def _action(self, name: str) -> ActionCard | None:
        return next((action for action in self.card.actions if action.name == name), None)

    # --- what the tab calls -------------------------------------------------------------------------------------------------------

    def listed_actions(self) -> list[ActionCard]:
        return [action for action in self.card.actions if action.name not in (self.stage.advance, self.stage.take)]

    def handles(self, name: str) -> bool:
        if name == self.stage.advance:
            self.action_watch()
        elif name == self.stage.take:
            self.show_problem("to play, use the arrow keys, or click an action's bar")
        return name in (self.stage.advance, self.stage.take)

    def after_action(self, action: ActionCard, panel: AnyPanel | None) -> None:
        if isinstance(panel, Frame):
            self.playing = False
            self.episode.hand_over()
            self.answered(panel)
        super().after_action(action, panel)

    def model_changed(self) -> None:
        if not self.episode.watching:  # while it is watched, new frames arrive anyway
            super().model_changed()

    def ask_question(self) -> None:
        if self.options.get(self.option.name) or self.ask is None:  # before it has a size, it cannot say how many pixels it needs
            super().ask_question()

    # --- frames -------------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        if not isinstance(panel, Frame):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with a frame")
            return
        try:
            self._picture.show(panel.pixels.numpy(), panel.text, ends=panel.ends)
        except ValueError as error:
            self.refused(f"this frame cannot be drawn: {error}")
            return
        controls = self.frame.controls
        self.frame = panel
        self.episode.follow(panel)
        if panel.bars is not None:
            fill_bars(self._bars, panel.bars)
            self._bars.styles.height = self._bar_rows()
        self._bars.display = self._shows_bars(panel)
        self._facts.show({name: value for name, value in panel.facts.items() if name != OBSERVATION or not self._below})
        self.bar.show_figure(panel.figure)
        decision = panel.bars.caption if panel.bars is not None else ""
        self._decision.display = bool(decision)
        self._decision.update(fit(decision.replace("\n", " "), max(10, self._decision.size.width)))
        super().answered(panel)
        if controls != panel.controls:
            self._draw_controls()
            self.refresh_bindings()
        self._keep_aspect(panel)

    def _keep_aspect(self, frame: Frame) -> None:
        """Follow the frame's aspect ratio."""
        if frame.text:
            lines = ansi.lines(frame.text)
            aspect = max((line.cell_len for line in lines), default=1) / max(1, len(lines))
        else:
            height, width = frame.pixels.shape[:2]
            aspect = width / height if height else self._aspect
        if abs(aspect / self._aspect - 1) > 0.06:  # a pixel more or less, from rounding, must not change the layout
            self._aspect = aspect
            self._arrange()

    def idle_message(self) -> str:
        return ". ".join(text for text in (self.caption, self._who_acts()) if text)

    def _who_acts(self) -> str:
        if self.frame.ended:
            return "the episode is over; the next begins" if self.episode.watching else "the episode is over; the next step begins another"
        if self.playing:
            how = {"keys": ", a step a key", "held": ": hold a key", "time": " in real time"}[self.episode.pace]
            return f"you are playing{how} · w: agent plays"
        if self.episode.watching:
            if self.episode.speed == "fast":
                return "as fast as training allows"
            return "in real time" if self.episode.in_real_time else "four steps per second"
        return "w to watch, arrow keys to play" if self.frame.controls else "w to watch"

    # --- the episode's viewer (`Viewer`) ------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        driver = self.app._driver
        return self.can_be_seen() and not (isinstance(driver, Paced) and driver.busy)

    def request_options(self, extra: dict[str, Any]) -> dict[str, Any]:
        action = self._action(self.stage.take if "action" in extra else self.stage.advance)
        return filter_options(action.options if action is not None else Options, {**self.options, **extra})

    def stepped(self, panel: AnyPanel | None) -> None:
        if panel is not None:
            self.answered(panel)
        else:
            self.ask_question()

    def stopped(self, why: str) -> None:
        self.show_problem(why)
        self._draw_controls()

    # --- what a person does -------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Arrows are keys only where the environment has an action for them."""
        if action == "play":
            return parameters[0] in self.frame.controls
        return action != "edit" or all(offered.key != "e" for offered in self.card.actions)

    def action_watch(self) -> None:
        self.show_problem("")
        self.playing = False
        self.episode.hand_over()
        self.episode.toggle()
        self._run_episode()

    def action_speed(self, speed: Speed | None = None) -> None:
        self.episode.set_speed(speed or SPEEDS[(SPEEDS.index(self.episode.speed) + 1) % len(SPEEDS)])
        self._run_episode()

    def action_play(self, key: str) -> None:
        self._take(self.frame.controls[key])

    def _take(self, action: int) -> None:
        if not self.stage.take:
            return
        self.show_problem("")
        self.playing = True
        self.episode.take_action(action)
        self._run_episode()

    def _run_episode(self) -> None:
        self._draw_controls()
        self.draw_message()
        if self.episode.has_work:
            self.begin(self.episode.run, "episode")

    @on(widgets.Bars.Selected)
    def _action_picked(self, event: widgets.Bars.Selected) -> None:
        event.stop()
        self._picture.focus()
        self._take(event.index)

    @on(Flow.Pressed, ".controls")
    def _pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        self._picture.focus()
        kind, _, value = event.target.partition(":")
        if kind == "take":
            self._take(int(value))
        elif kind == "speed":
            self.action_speed(next(speed for speed in SPEEDS if speed == value))
        elif kind == "next":
            self.action_speed()
        else:
            self.action_watch()

    def _draw_controls(self) -> None:
        watching, present = self.episode.watching, self.episode.speed
        label = "step" if present == "single step" else "stop " if watching else "watch"
        groups: list[Group] = [(Piece("w ", "flow--quiet", "watch"), Piece(label, "flow--chosen" if watching else "flow--plain", "watch"))]
        for position, speed in enumerate(SPEEDS):
            hint = (Piece("v speed: ", "flow--quiet", "next"),) if position == 0 else ()
            shown = speed.removeprefix("single ")
            groups.append((*hint, Piece(shown, "flow--chosen" if speed == present else "flow--plain", f"speed:{speed}")))
        labels = self.frame.bars.labels if self.frame.bars is not None else []
        signs = KEYS_IN_WORDS if getattr(self.app, "characters", "all") == "ascii" else KEYS
        for key, action in self.frame.controls.items():
            name = labels[action] if 0 <= action < len(labels) else ""
            target = f"take:{action}"
            groups.append((Piece(signs.get(key, key) + " ", "flow--quiet", target), Piece(name or "act", "flow--plain", target)))
        self._controls.show(groups)


def _options_of_actions(card: Card, size: str) -> list[Field]:
    """Options of the card's actions that a person sets: without those that the stage sets, and those that the question has too."""
    assert card.stage is not None
    left_out = {size, "steps", "action"} | {field.name for field in fields(card.panel(card.stage.panel).options)}
    options = [field for action in card.actions for field in fields(action.options)]
    return list({field.name: field for field in options if field.name not in left_out}.values())
