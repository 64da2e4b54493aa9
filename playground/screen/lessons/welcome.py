"""The one line of the very first start."""

from __future__ import annotations

from textual.message import Message

from dlplay.screen.flow import Flow, Piece

DISMISS = "dismiss"


class Welcome(Flow):
    """What to do first; a click or escape takes it away for good, and so do the keys that it names."""

    DEFAULT_CSS = "Welcome { height: 1; padding: 0 1; background: $accent 12%; }"

    class Dismissed(Message):
        """It is not to be shown again."""

    def __init__(self) -> None:
        super().__init__(id="welcome")
        words = ("/", " tries the model · "), ("F5", " trains your own · "), ("n", " teaches")
        pieces = [Piece(text, style) for key, rest in words for text, style in ((key, "flow--strong"), (rest, "flow--plain"))]
        self.show([tuple(pieces), (Piece("esc dismisses this line", "flow--quiet", DISMISS),)])

    def on_flow_pressed(self, event: Flow.Pressed) -> None:
        event.stop()
        self.post_message(self.Dismissed())
