"""What happens when a part of the screen is taken away."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from textual.messages import Prune

if TYPE_CHECKING:
    from textual.widget import Widget as _AnyWidget
else:
    _AnyWidget = object


class EndsItsWork(_AnyWidget):
    """A mixin for widgets with workers, which end when the widget is told to go. Textual cancels them when its children are gone already;
    what a worker is answered in between would be shown in parts that are not there."""

    async def on_prune(self, event: Prune) -> None:
        self.workers.cancel_node(self)

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]], group: str, *, exclusive: bool = False) -> None:
        """Begin work, `exclusive` in place of what the group is doing. A function, since nobody would await a coroutine of work that is
        cancelled before it begins."""
        self.run_worker(cast(Any, work), name=group, group=group, exclusive=exclusive)
