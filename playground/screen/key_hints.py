"""The bottom line: which keys do what just now. Every hint is a mouse target."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.binding import ActiveBinding, Binding
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input

from dlplay.screen.keys import ACTIONS

GAP = 2
LAST = ("help", "leave")
OF_THE_TAB = 3
"""Rank of the architecture's own actions: behind train, step and reset."""
Hint = tuple[str, str, ActiveBinding]


class KeyHints(Widget):
    """First the keys of what is focused, then those of the playground, as many as fit."""

    DEFAULT_CSS = "KeyHints { height: 1; background: $panel; text-wrap: nowrap; padding: 0 1; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hints: list[tuple[str, str, ActiveBinding]] = []
        self._spans: list[tuple[int, int, ActiveBinding]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.renew())
        self.watch(self.screen, "maximized", self.renew, init=False)
        self.renew()

    def renew(self) -> None:
        """Ask what the keys do now."""
        typing = isinstance(self.screen.focused, Input)
        ranks = {action.name: action.footer for action in ACTIONS}
        own: list[tuple[int, str, str, ActiveBinding]] = []
        near: list[tuple[str, str, ActiveBinding]] = []
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
                rank = OF_THE_TAB if binding.action.startswith("act(") else ranks.get(binding.action, 99)
                own.append((rank, shown, binding.description, active))
            else:
                near.append((shown, binding.description, active))
        if self.screen.maximized is not None:
            near = [self._way_back(), *(hint for hint in near if hint[2].binding.key not in ("escape", "m"))]
        hints = near + [hint[1:] for hint in sorted(own, key=lambda hint: hint[0])]
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    def _way_back(self) -> Hint:
        """How the other parts come back while one fills the window; Textual itself obeys that key, without a binding."""
        return "escape", "back", ActiveBinding(self.screen, Binding("escape", "minimize", "back"), True, "")

    def render(self) -> Content:
        """As many as fit; how to get help and how to leave always do, at the right."""
        width = self.content_size.width
        last = [hint for hint in self._hints if hint[2].binding.action in LAST]
        room = width - sum(_width(hint) for hint in last)
        first, used = [], 0
        for hint in self._hints:
            if hint not in last and used + _width(hint) <= room:
                first.append(hint)
                used += _width(hint)
        self._spans, at = [], 0
        parts: list[Content] = []
        for hint in [*first, *last]:
            if last and hint is last[0] and room > used:
                at += room - used
                parts.append(Content(" " * (room - used)))
            shown, words, active = hint
            self._spans.append((at, at + _width(hint) - GAP, active))
            parts += [Content.styled(shown, "bold $text-accent"), Content.styled(f" {words}", "$foreground 60%"), Content(" " * GAP)]
            at += _width(hint)
        return Content("").join(parts)

    async def on_click(self, event: events.Click) -> None:
        for start, stop, active in self._spans:
            if start <= event.x - 1 < stop:
                await self.app.run_action(active.binding.action, active.node)


def works_while_typing(key: str) -> bool:
    """A key that does not write a character into the field."""
    return key.startswith(("ctrl+", "alt+")) or key in ("escape", "enter", "f1", "up", "down", "tab")


def _width(hint: Hint) -> int:
    return cell_len(hint[0]) + 1 + cell_len(hint[1]) + GAP
