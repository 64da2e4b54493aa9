"""The command palette's entries, in the order in which the playground names them."""

from __future__ import annotations

from textual.command import DiscoveryHit, Hits
from textual.system_commands import SystemCommandsProvider


class TableCommands(SystemCommandsProvider):
    """Textual sorts its entries by their first letter; here what is done most comes first."""

    async def discover(self) -> Hits:
        """What the palette lists before anything is typed."""
        for name, words, callback, discover in self.app.get_system_commands(self.screen):
            if discover:
                yield DiscoveryHit(name, callback, help=words)
