"""The one table of what a person can do: the key bindings, the footer, the command palette and the help are made from it."""

from __future__ import annotations

import dataclasses

from rich.cells import cell_len
from textual import events
from textual.binding import ActiveBinding, Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits
from textual.content import Content
from textual.geometry import Size
from textual.system_commands import SystemCommandsProvider
from textual.widget import Widget
from textual.widgets import Input


@dataclasses.dataclass(frozen=True)
class Action:
    name: str
    """`action_NAME` of the app."""
    key: str
    """Textual's names for the keys, separated by commas."""
    label: str
    """A word or two for the footer."""
    shown: str
    """The key as a person reads it."""
    help: str
    """One line for the palette and the help."""
    footer: int = 0
    """Rank in the footer, 1 first; 0: not there."""
    back: bool = False
    """It comes first in the footer while an earlier checkpoint is shown."""
    also: str = ""
    """A function key that does the same, in a line of text too."""


ACTIONS = (
    Action("train", "space", "train/pause", "space", "Start training with the settings in the form; or pause, or resume", 1, also="f5"),
    Action("step_once", "s", "step", "s", "Train for a single step, then pause", 2),
    Action("reset", "r", "reset", "r", "End this run, which stays on disk, and start over: same seed, same initial weights", 3),
    Action("stage", "slash", "try it", "/", "Go to Try it: the prompt, the pad, the plane, the environment", 4),
    Action("faster", "plus,equals_sign", "faster", "+", "Raise the limit on steps per second", 5),
    Action("slower", "minus", "slower", "-", "Lower the limit on steps per second, to watch training", 6),
    Action("save", "ctrl+s", "save", "ctrl+s", "Save a checkpoint now", 12),
    Action("load", "o", "load", "o", "Open a pretrained model or one of your runs", 10),
    Action("runs", "R", "runs", "R", "Every run: filter, sort, mark, compare, overlay, tag, rename, export, delete", also="f4"),
    Action("sweeps", "W", "sweeps", "W", "Sweeps: what one has found, while it runs; n starts one with this tab's settings"),
    Action("notes", "n", "learn", "n", "Lessons of this architecture, the guide of the one that is open, and the notes", 8),
    Action("maximise", "m", "maximise", "m", "Show the focused panel over the whole window; escape goes back", 9),
    Action("jump", "f3", "jump", "f3", "Jump mode: a letter on every pane; the next key goes to the pane that has it", 11),
    Action("help", "f1,question_mark", "help", "f1", "Help on the focused part, and every key", 13),
    Action("command_palette", "ctrl+p", "palette", "ctrl+p", "Every action by name", 14),
    Action("quit", "q,ctrl+q", "quit", "q", "Quit; training can continue in the background", 15, also="f10"),
    Action("look_back", "z", "look back", "z", "Every panel answers from the checkpoint at the cursor of the curves; again: from now", 7),
    Action("earlier", "left_parenthesis", "earlier", "(", "Looking back: the checkpoint before", 16, True),
    Action("later", "right_parenthesis", "later", ")", "Looking back: the checkpoint after", 17, True),
    Action("film", "f", "film", "f", "Show one checkpoint after the other in every panel; again: stop", 19, True),
    Action("branch", "B", "branch", "B", "Start a new run from the checkpoint at the cursor, with what you changed in the form", 20, True),
    Action("now", "escape,Z", "now", "esc", "Looking back: return to the model as it is now", 18, True),
    Action("stop", "ctrl+x", "stop", "ctrl+x", "Save a checkpoint and end this run"),
    Action("defaults", "ctrl+r", "defaults", "ctrl+r", "Reset every setting to its default"),
    Action("find_lr", "L", "find lr", "L", "Find a learning rate for the form's settings by a range test, beside whatever trains"),
    Action("touch", "T", "touch", "T", "Ablate, scale or patch any part of the model, and read what it costs on held-out data", 21),
    Action("doctor", "D", "doctor", "D", "What is wrong with this run, by its curves and its layers, and what would help"),
    Action("companions", "E", "earlier runs", "E", "Draw the curves of the runs before this one behind its own, or leave them out"),
    Action("next_tab", "ctrl+right,greater_than_sign,ctrl+pagedown", "next tab", ">", "The next tab; alt+1 to alt+9 go to one"),
    Action("previous_tab", "ctrl+left,less_than_sign,ctrl+pageup", "previous tab", "<", "The previous tab"),
    Action("next_theme", "ctrl+t", "theme", "ctrl+t", "The next colour theme; your choice is remembered"),
    Action("page('1')", "1", "try it", "1", "Go to Try it, in a small window its page"),
    Action("page('2')", "2", "curves", "2", "Go to the curves, in a small window their page"),
    Action("page('3')", "3", "inspect", "3", "Go to the panels, in a small window their page"),
    Action("page('4')", "4", "settings", "4", "Every setting; again: fold them to what was changed", also="f2"),
)
RANK_OF_CARD_ACTIONS = 3
"""In the footer and the palette, the architecture's own actions follow train, step and reset."""


def bindings() -> list[BindingType]:
    """The table as the app's bindings."""
    return [
        Binding(
            f"{action.key},{action.also}" if action.also else action.key,
            action.name,
            action.label,
            key_display=action.shown,
            show=bool(action.footer),
            tooltip=action.help,
        )
        for action in ACTIONS
    ]


def works_while_typing(key: str) -> bool:
    """Whether a key does not type a character into the field."""
    function_key = key.startswith("f") and key[1:].isdecimal()
    return function_key or key.startswith(("ctrl+", "alt+")) or key in ("escape", "enter", "up", "down", "tab")


# --- the footer ---------------------------------------------------------------------------------------------------------------------

GAP = 2
ALWAYS_SHOWN = ("train", "help", "quit")
Hint = tuple[str, str, ActiveBinding]


class KeyHints(Widget):
    """The bottom line, or two where the height is `auto`: the keys of what is focused, then those of the app, as many as fit.

    Every hint can be clicked.
    """

    DEFAULT_CSS = "KeyHints { height: 1; background: $panel; text-wrap: nowrap; padding: 0 1; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hints: list[Hint] = []
        self._spans: list[tuple[int, int, int, ActiveBinding]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.update_hints())
        self.watch(self.screen, "maximized", self.update_hints, init=False)
        self.update_hints()

    def on_resize(self) -> None:
        self.refresh()

    def update_hints(self) -> None:
        """Show what the keys do now."""
        typing = isinstance(self.screen.focused, Input)
        looking_back = getattr(self.app, "looking_back", False)
        ranks = {action.name: action.footer - 100 * (action.back and looking_back) for action in ACTIONS}
        of_app: list[tuple[int, str, str, ActiveBinding]] = []
        of_focused: list[Hint] = []
        seen: set[tuple[int, str]] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.show or not active.enabled or (id(active.node), binding.action) in seen:
                continue
            if typing and not works_while_typing(binding.key):
                continue
            seen.add((id(active.node), binding.action))
            shown = binding.key if typing and active.node is self.app else binding.key_display or self.app.get_key_display(binding)
            if active.node is self.app:
                rank = RANK_OF_CARD_ACTIONS if binding.action.startswith("act(") else ranks.get(binding.action, 99)
                of_app.append((rank, shown, binding.description, active))
            else:
                of_focused.append((shown, binding.description, active))
        of_focused.sort(key=lambda hint: not hint[2].binding.action.startswith("go("))  # how to reach the other panels comes first
        if self.screen.maximized is not None:
            of_focused = [self._back(), *(hint for hint in of_focused if hint[2].binding.key not in ("escape", "m"))]
        of_app.sort(key=lambda hint: hint[0])
        back = [hint[1:] for hint in of_app if hint[0] < 0]  # an earlier time is shown: first of all how to move in it, and to leave it
        hints = back + of_focused + [hint[1:] for hint in of_app if hint[0] >= 0]
        if hints != self._hints:
            self._hints = hints
            self.refresh(layout=self.styles.is_auto_height)

    def _back(self) -> Hint:
        """How to get back from a maximised part; Textual itself handles that key, without a binding."""
        return "escape", "back", ActiveBinding(self.screen, Binding("escape", "minimize", "back"), True, "")

    def render(self) -> Content:
        """As many as fit; train, help and quit always do, at the right."""
        width, height = self.content_size.width, max(1, self.content_size.height)
        last = [hint for hint in self._hints if hint[2].binding.action in ALWAYS_SHOWN]
        room = width - sum(_width(hint) for hint in last)
        lines: list[list[Hint]] = [[]]
        for hint in self._hints:
            fits = sum(map(_width, lines[-1])) + _width(hint) <= (room if last else room + GAP)
            if not fits and len(lines) < height:
                lines.append([])
            if (fits or not lines[-1]) and hint not in last:
                lines[-1].append(hint)
        used = sum(map(_width, lines[-1]))
        self._spans = []
        rows = [self._line(y, line) for y, line in enumerate(lines)]
        if last:
            rows[-1] += Content(" " * (room - used)) + self._line(len(lines) - 1, last, room)
        return Content("\n").join(rows)

    def _line(self, y: int, hints: list[Hint], x: int = 0) -> Content:
        parts: list[Content] = []
        for hint in hints:
            key, label, active = hint
            self._spans.append((y, x, x + _width(hint) - GAP, active))
            parts += [Content.styled(key, "bold $text-accent"), Content.styled(f" {label}", "$text-muted"), Content(" " * GAP)]
            x += _width(hint)
        return Content("").join(parts)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Two lines where one does not hold all of them; used where the height is `auto`."""
        return 1 + (sum(map(_width, self._hints)) - GAP > width)

    async def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset_capture(self)
        for y, start, stop, active in self._spans:
            if y == at.y and start <= at.x < stop:
                await self.app.run_action(active.binding.action, active.node)


def _width(hint: Hint) -> int:
    return cell_len(hint[0]) + 1 + cell_len(hint[1]) + GAP


# --- the command palette ------------------------------------------------------------------------------------------------------------


class PaletteCommands(SystemCommandsProvider):
    """The palette's entries in the app's order, most used first; Textual would sort them by name."""

    async def discover(self) -> Hits:
        for name, help_, callback, discover in self.app.get_system_commands(self.screen):
            if discover:
                yield DiscoveryHit(name, callback, help=help_)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, help_, callback, _ in self.app.get_system_commands(self.screen):
            if (score := matcher.match(name)) > 0:
                own = name.rpartition(": ")[2].partition(" (")[0]  # of `Panel: Layer` and `Panel: Logit lens (layer_lens)`
                named = query.strip().lower() == own.lower()
                yield Hit(2 * score if named else score, matcher.highlight(name), callback, help=help_)
