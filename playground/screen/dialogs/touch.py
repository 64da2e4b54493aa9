"""Interventions from the screen: typed or taken from the focused panel, listed with what they cost, undone and redone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static

from dlplay.engine.interventions import Intervention, parse
from dlplay.engine.panels import AnyPanel, Table
from dlplay.engine.settings import SettingsError
from dlplay.runs.client import RunError
from dlplay.screen.dialogs.dialog import Choice, Dialog
from dlplay.screen.line_input import LineInput
from dlplay.screen.touches import Touches
from dlplay.widgets import TableView

AROUND = 20
"""Rows of the dialog without its table."""
LOOK_SECONDS = 0.25
"""Between two looks at whether a model answers that did not when the effect was asked for."""
EXAMPLES = "=0  =mean  *2  +0.5  ~0.1 (noise)  =skip  =from prompt: another text"


class TouchDialog(Dialog[None]):
    """Changes `touches` at once, and calls `changed` after every change."""

    DEFAULT_CSS = """
    TouchDialog .dialog { width: 96; }
    TouchDialog LineInput { margin: 1 0 0 0; background: $boost; }
    TouchDialog #touch-words { height: auto; min-height: 1; color: $text-error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+z", "move(-1)", "undo", show=False, priority=True),
        Binding("ctrl+y", "move(1)", "redo", show=False, priority=True),
        Binding("f6", "clear", "remove all", show=False),
        Binding("f7", "train_with", "train with these", show=False),
        Binding("f8", "saved", "those saved with the run", show=False),
    ]
    heading = "Touch the model"
    choices = (
        Choice("enter", "do what the line says as well", "submit"),
        Choice("ctrl+z", "undo, ctrl+y redo", "move(-1)"),
        Choice("f6", "remove all", "clear"),
        Choice("f7", "train with these: a lasting change, marked on the curves", "train_with"),
        Choice("f8", "do those that were saved with this run", "saved"),
        Choice("esc", "close; the panels show the answers before and after", "cancel"),
    )

    def __init__(
        self,
        touches: Touches,
        address: str,
        ask: Callable[[str, dict[str, Any]], Awaitable[AnyPanel]],
        answering: Callable[[], object],
        changed: Callable[[], None],
        train_with: Callable[[str], Awaitable[str]],
        saved: Callable[[], tuple[Intervention, ...]],
        trained: Callable[[], str] = lambda: "",
    ) -> None:
        """`address` is what the line begins with; `answering` returns who answers `ask` now, None while nobody does; `train_with` returns
        what became of it, in words, and raises `SettingsError`, as `saved` does; `trained` returns what the run is trained with now."""
        super().__init__()
        self._touches, self._address = touches, address
        self._ask, self._answering, self._changed, self._train_with, self._saved = ask, answering, changed, train_with, saved
        self._trained = trained
        self._asked: object = None
        """Who was asked for the effect last."""
        self._typed = ""
        """What the line said, if the last change came from it."""
        self._known: tuple[str, Table] | None = None
        """What was measured last, and of what."""
        self._line = LineInput(address, placeholder="a part, as the panel Anatomy lists them, and =0", select_on_focus=False, compact=True)
        self._table = TableView(empty="no interventions: the model is as it was trained")
        self._words = Static(id="touch-words")

    def body(self) -> ComposeResult:
        yield Static(
            Content(
                "What is done to a part of the model while you look: training never sees it. A part is a module, a unit in [ ], a "
                f'position behind @, an attention head, or a word: tokens["the"].\n{EXAMPLES}'
            ),
            classes="dialog-text",
        )
        yield self._line
        yield self._words
        yield self._table

    def on_mount(self) -> None:
        self._line.focus()
        self._line.cursor_position = len(self._address)
        self._measure()
        self.set_interval(LOOK_SECONDS, self._look)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_submit()

    def action_submit(self) -> None:
        before = self._touches.now
        try:
            self._touches.add(self._line.value)
        except SettingsError as error:
            self._words.update(Content(_plain(str(error))))
            return
        if self._touches.now != before:
            self._after_change()
            self._typed, self._line.value = self._line.value, ""

    def action_move(self, by: int) -> None:
        if self._touches.move(by):
            self._after_change()

    def action_clear(self) -> None:
        self._touches.put(())
        self._after_change()

    def action_saved(self) -> None:
        try:
            self._touches.put(self._saved())
        except SettingsError as error:
            self._words.update(Content(str(error)))
        else:
            self._after_change()

    async def action_train_with(self) -> None:
        try:
            said = await self._train_with(self._touches.text)
        except SettingsError as error:
            self._words.update(Content(str(error)))
        else:
            self._words.update(Content.styled(said, "$text-success"))
            self._measure_anew()

    def _after_change(self) -> None:
        self._words.update("")
        self._typed = ""
        self._changed()
        self._measure()

    def _look(self) -> None:
        """Measure anew once another model answers than the one that was asked: that of a run that has started, for one."""
        if (answering := self._answering()) is not None and answering is not self._asked:
            if self._asked is not None:
                self._words.update("")  # it was said of the model before
            self._measure_anew()

    def _measure_anew(self) -> None:
        """What was measured holds no longer."""
        self._known = None
        self._measure()

    @work(exclusive=True, group="effect")
    async def _measure(self) -> None:
        """What the interventions cost. One that the model refuses is taken back."""
        self._asked = self._answering()
        asked = self._touches.text
        if not asked:
            self._show([], [])
            return
        if self._known is not None and self._known[0] == asked and str(self._words.render()):
            self._show_effects(self._known[1])  # as it was before what was refused
        else:
            self._list("measuring …" if self._asked is not None else "not measured yet")
        try:
            panel = await self._ask("effect", {"do": asked})
        except (RunError, OSError) as error:
            if self._touches.text == asked:
                self._refused(str(error))
            return
        if isinstance(panel, Table) and self._touches.text == asked:
            if not str(self._words.render()):  # what was said of a key pressed meanwhile stays
                self._words.update(Content.styled(panel.caption, "$text-muted"))
            self._known = asked, panel
            self._show_effects(panel)

    def _show_effects(self, panel: Table) -> None:
        """A run that is trained with an intervention has it already: so it makes no difference, and that is said."""
        trained = {str(each) for each in parse(self._trained())}
        rows = [[f"{first} (trained with)" if first in trained else first, *rest] for first, *rest in panel.rows]
        self._show(panel.columns, rows, panel.right)

    def _refused(self, why: str) -> None:
        """Nobody could answer yet, the model refuses what is on, or its effect cannot be measured."""
        if self._asked is None or self._answering() is not self._asked:
            self._list(f"not measured yet: {why}")
            return
        self._words.update(Content(_plain(why)))
        if why.startswith("--do") and self._touches.move(-1):
            if not self._line.value:
                self._line.value = self._typed
                self._line.cursor_position = len(self._typed)
            self._changed()
            self._measure()
        else:
            self._list("not measured")

    def _list(self, said: str) -> None:
        """The interventions that are on, and what is said of their effect."""
        self._show(["intervention", "effect"], [[str(each), said] for each in self._touches.now])

    def _show(self, columns: list[str], rows: list[list[str]], right: Sequence[int] = ()) -> None:
        """As many rows as there are, within what a small window has beside the keys; the rest is scrolled to."""
        self._table.styles.height = min(len(rows) + 2, max(3, self.size.height - AROUND))
        self._table.show(columns, rows, right)


def _plain(error: str) -> str:
    """Without the name of the flag, which nobody has typed here."""
    return error.removeprefix("--do").lstrip(": ")


def begun(part: str, figure: str) -> str:
    """What the line begins with: the part that the cursor of a panel is on, or else the one that its figure begins with."""
    word = figure.partition(" ")[0]
    if part or "." not in word:
        return part and f"{part}="
    try:
        parse(f"{word}=0")
    except SettingsError:
        return ""
    return f"{word}="
