"""A terminal that is closed: the screen leaves cleanly within two seconds, whatever it was doing, and the run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import Any

from textual.app import App

from dlplay.screen.terminal import quiet_streams

GRACE_SECONDS = 1.5


class Hangup:
    """Textual installs no handler for SIGHUP and spins on a dead terminal."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._left = False

    def listen(self) -> None:
        """From now on a closed terminal, or a request to end, ends the screen."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: a test
                loop.add_signal_handler(number, self.leave)

    def leave(self) -> None:
        """Leave without asking and without writing; by force when it takes too long."""
        if self._left:
            return
        self._left = True
        quiet_streams()
        last_resort = threading.Timer(GRACE_SECONDS, os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()
        self._app.exit()
