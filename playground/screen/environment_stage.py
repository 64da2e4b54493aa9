"""The environment: the agent is watched at four speeds, with what it makes of what it sees; or a person takes the controls."""

from __future__ import annotations

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
from dlplay.screen.episode import MOST_STEPS, SPEEDS, Episode, Speed
from dlplay.screen.flow import Flow, Group, Piece, fit
from dlplay.screen.options_bar import STEPPING, known
from dlplay.screen.panel_body import fill_bars
from dlplay.screen.stage import ActionStage
from dlplay.screen.terminal import PacedDriver
from dlplay.widgets import ansi

LARGEST = (240, 160)
"""Pixels of a picture, columns and rows: larger ones are not asked for."""
BESIDE = (34, 58)
"""Cells that are kept beside the picture, in a narrow and in a wide window."""
WIDE = 100
SIDE_BY_SIDE = 52
"""Cells from which the facts stand beside the values, not below them."""
NO_ROOM = Array((0, 0, 3), "u1", b"")
CONTROLS = {"left": "←", "right": "→", "up": "↑", "down": "↓", "space": "space"}
"""Keys with which a person can act."""
WATCH = "w lets the agent act, arrows take the controls"


class EnvironmentStage(ActionStage):
    """The tab's action for an agent."""

    stage: stages.Environment

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w,enter", "watch", "watch/stop", key_display="w"),
        Binding("v", "speed", "speed", key_display="v"),
        Binding("left", "control('left')", "act yourself", key_display="← →"),
        Binding("right", "control('right')", "act yourself", key_display="← →", show=False),
        Binding("up", "control('up')", "act yourself", key_display="↑ ↓", show=False),
        Binding("down", "control('down')", "act yourself", key_display="↑ ↓", show=False),
        Binding("space", "control('space')", "act yourself", show=False),
        *STEPPING,
    ]
    MOST_LINES: ClassVar[int] = 4

    def __init__(self, card: Card, options: dict[str, Any], *, id: str | None = None) -> None:
        assert card.stage is not None
        super().__init__(card, options, card.panel(card.stage.panel).title, _of_actions(card, card.stage.option), id=id)
        self.episode = Episode(self, self.stage.advance, self.stage.take)
        self.episode.most_steps = self._most_steps()
        self.frame = Frame(pixels=NO_ROOM)
        self.in_hand = False
        """True once a person has acted in this episode, until the agent goes on."""
        self._aspect = 1.5
        self._picture = widgets.FrameView(empty="the environment, as soon as a model can answer")
        self._decision = Static("", classes="decision", markup=False)
        self._bars = widgets.Bars(empty="what each action is worth")
        self._bars.can_focus = False
        self._facts = widgets.Facts(empty="")
        self._controls = Flow(classes="controls")

    def compose(self) -> ComposeResult:
        """The picture at the left, beside it what the agent makes of it."""
        yield self._picture
        with Vertical(classes="beside"):
            yield self.bar
            yield self.said
            yield self._decision
            with Container(classes="mind"):
                yield self._bars
                yield self._facts
            yield self._controls
            yield self.chips

    def on_mount(self) -> None:
        """Everything as it stands before the first picture."""
        self._draw_controls()
        self.draw_said()

    # --- the room there is --------------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """As large a picture as the height allows, and just as many pixels asked for."""
        self._arrange()
        self.draw_said()

    def _arrange(self) -> None:
        width, height = self.content_size.width, self.content_size.height
        if width < 1 or height < 1:
            return
        kept = BESIDE[width >= WIDE]
        columns = max(8, min(round(2 * height * self._aspect), width - kept, LARGEST[0]))
        self._picture.styles.width = columns
        self.query_one(".mind").set_class(width - columns < SIDE_BY_SIDE, "-below")
        room = f"{columns}x{min(2 * height, LARGEST[1])}"
        if self.options.get(self.option.name) != room:
            self.options[self.option.name] = room
            self.wonder()

    def _most_steps(self) -> int:
        own = self._action(self.stage.advance)
        high = next((field.high for field in fields(own.options) if field.name == "steps"), None) if own is not None else None
        return int(high) if high is not None else MOST_STEPS

    def _action(self, name: str) -> ActionCard | None:
        return next((action for action in self.card.actions if action.name == name), None)

    # --- what the tab calls -------------------------------------------------------------------------------------------------------

    def offered(self) -> list[ActionCard]:
        """All but those that the stage does itself."""
        return [action for action in self.card.actions if action.name not in (self.stage.advance, self.stage.take)]

    def does(self, name: str) -> bool:
        """Watching and acting are the stage's own."""
        if name == self.stage.advance:
            self.action_watch()
        elif name == self.stage.take:
            self.say("arrow keys act in the agent's place, or a click on an action's bar")
        return name in (self.stage.advance, self.stage.take)

    def done(self, action: ActionCard, panel: AnyPanel | None) -> None:
        """An action was done; mostly it answers with a picture."""
        if isinstance(panel, Frame):
            self.in_hand = False
            self.answered(panel)
        super().done(action, panel)

    def renew(self) -> None:
        """The agent has learnt: what it makes of the picture is another. While it is watched, pictures come anyway."""
        if not self.episode.watching:
            super().renew()

    def wonder(self) -> None:
        """Before it has a size, nobody knows how many pixels to ask for."""
        if self.options.get(self.option.name) or self.ask is None:
            super().wonder()

    # --- pictures -----------------------------------------------------------------------------------------------------------------

    def answered(self, panel: AnyPanel) -> None:
        """Show the picture and what goes with it."""
        if not isinstance(panel, Frame):
            self.refused(f"the panel {self.question.name} answered with {type(panel).__name__.lower()}, not with a picture")
            return
        try:
            self._picture.show(panel.pixels.numpy(), panel.text)
        except ValueError as error:
            self.refused(f"this picture cannot be drawn: {error}")
            return
        controls = self.frame.controls
        self.frame = panel
        if panel.bars is not None:
            fill_bars(self._bars, panel.bars)
            self._bars.styles.height = max(1, min(len(panel.bars.labels), 8))
        self._bars.display = panel.bars is not None
        self._facts.show(panel.facts)
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
        if frame.text:
            lines = ansi.lines(frame.text)
            aspect = max((line.cell_len for line in lines), default=1) / max(1, len(lines))
        else:
            height, width = frame.pixels.shape[:2]
            aspect = width / height if height else self._aspect
        if abs(aspect / self._aspect - 1) > 0.06:  # a pixel more or less, from rounding, must not make the layout jump
            self._aspect = aspect
            self._arrange()

    def quiet_words(self) -> str:
        """Which episode it is, who acts, and whether it is over."""
        return ". ".join(words for words in (self.caption, self._who_acts()) if words)

    def _who_acts(self) -> str:
        if self.frame.ended:
            return "it is over; the next begins" if self.episode.watching else "it is over; the next step begins another"
        if self.in_hand:
            return "you have the controls; w lets the agent go on"
        if self.episode.watching:
            return {"fast": "as fast as training allows", "real time": "in real time; training waits"}.get(
                self.episode.speed, "four steps a second"
            )
        return WATCH if self.frame.controls else "w lets the agent act"

    # --- the episode's viewer -----------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether the next picture would be seen, and the terminal has taken the last one."""
        driver = self.app._driver
        return self.can_be_seen() and not (isinstance(driver, PacedDriver) and driver.busy)

    def request(self, extra: dict[str, Any]) -> dict[str, Any]:
        """The tab's options and those of this one request, as far as the action knows them."""
        action = self._action(self.stage.take if "action" in extra else self.stage.advance)
        return known(action.options if action is not None else Options, {**self.options, **extra})

    def shown(self, panel: AnyPanel | None) -> None:
        """A step was taken."""
        if panel is not None:
            self.answered(panel)
        else:
            self.wonder()

    def stopped(self, words: str) -> None:
        """It cannot go on."""
        self.say(words)
        self._draw_controls()

    # --- what a person does -------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Arrows act only where the environment has an action for them."""
        if action == "control":
            return parameters[0] in self.frame.controls
        return action != "edit" or all(offered.key != "e" for offered in self.card.actions)

    def action_watch(self) -> None:
        """Let the agent act, or stop it."""
        self.say("")
        self.in_hand = False
        self.episode.toggle()
        self._go_on()

    def action_speed(self, speed: Speed | None = None) -> None:
        """The next speed, or this one."""
        self.episode.choose(speed or SPEEDS[(SPEEDS.index(self.episode.speed) + 1) % len(SPEEDS)])
        self._go_on()

    def action_control(self, key: str) -> None:
        """Act in the agent's place with a key."""
        self._take(self.frame.controls[key])

    def _take(self, action: int) -> None:
        if not self.stage.take:
            return
        self.say("")
        self.in_hand = True
        self.episode.press(action)
        self._go_on()

    def _go_on(self) -> None:
        self._draw_controls()
        self.draw_said()
        if self.episode.wanted:
            self.run_worker(self.episode.run(), name="episode", group="episode")

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
        else:
            self.action_watch()

    def _draw_controls(self) -> None:
        watching, now = self.episode.watching, self.episode.speed
        word = "step" if now == "single step" else "stop " if watching else "watch"
        groups: list[Group] = [(Piece("w ", "flow--quiet", "watch"), Piece(word, "flow--chosen" if watching else "flow--plain", "watch"))]
        for position, speed in enumerate(SPEEDS):
            hint = (Piece("v ", "flow--quiet", f"speed:{speed}"),) if position == 0 else ()
            groups.append((*hint, Piece(speed, "flow--chosen" if speed == now else "flow--plain", f"speed:{speed}")))
        labels = self.frame.bars.labels if self.frame.bars is not None else []
        for key, action in self.frame.controls.items():
            name = labels[action] if 0 <= action < len(labels) else ""
            target = f"take:{action}"
            groups.append((Piece(CONTROLS.get(key, key) + " ", "flow--quiet", target), Piece(name or "act", "flow--plain", target)))
        self._controls.show(groups)


def _of_actions(card: Card, drawn: str) -> list[Field]:
    """Options of the card's actions that a person sets: neither what the stage says by itself nor what the question has already."""
    assert card.stage is not None
    known_already = {drawn, "steps", "action"} | {field.name for field in fields(card.panel(card.stage.panel).options)}
    everywhere = [field for action in card.actions for field in fields(action.options)]
    return list({field.name: field for field in everywhere if field.name not in known_already}.values())
