"""An input line whose keys act in the order in which they were typed."""

from __future__ import annotations

from textual import events
from textual.screen import Screen
from textual.widgets import Input


class LineInput(Input):
    """Runs the bindings of the line, and of the widgets it is in, at once; those of the screen and the app wait for the app.

    Textual looks for a key's binding only when the key has bubbled up to the app. Letters that arrive in one burst with it (typed fast,
    or over a slow connection) would be inserted first, and a backspace would delete a letter typed after it.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a selection there is nothing to cut, and ctrl+x is left to the app."""
        return not self.selection.is_empty if action == "cut" else super().check_action(action, parameters)

    async def _on_key(self, event: events.Key) -> None:
        if event.is_printable:
            return  # the line inserts it
        for node in self.ancestors_with_self:
            if isinstance(node, Screen):
                return
            for binding in node._bindings.key_to_bindings.get(event.key, ()):
                if not binding.priority and await self.app.run_action(binding.action, node):
                    event.stop()
                    return
