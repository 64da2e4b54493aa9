"""The screen in a browser: textual-serve's protocol, paced by what the browser has drawn.

With a frame goes a question that every terminal answers once it has drawn the frame. Until then nothing else is drawn, so that nothing
piles up before a browser that is slow or asleep.
"""

from __future__ import annotations

import os
import threading
import time
from queue import SimpleQueue
from typing import Any, cast

from textual import events
from textual.drivers.web_driver import WebDriver
from textual.geometry import Size

from dlplay.screen.changed_cells import SendsChangedCells
from dlplay.screen.terminal import Paced

MOST_UNSEEN = 256 << 10
"""Bytes that the browser has not drawn yet, from which on nothing more is sent; once it has drawn them, everything is drawn anew."""
LONGEST_SECONDS = 1.0
"""That drawing one frame counts for at most: longer, the browser was asleep, and it is not waited for again once it is awake."""
CLOSE_SECONDS = 1.0
_QUESTION = b"\x1b[5n"  # device status report (ECMA-48, 8.3.35)
_START = "\x1b[?1049h\x1b[?1000h\x1b[?1003h\x1b[?1006h\x1b[?25l\x1b[?2004h"
"""Another page, mouse, no cursor, and pasted text in brackets."""


class BrowserDriver(WebDriver, Paced):
    """Writes packets to standard output and reads some from standard input; `dlplay.web.served` is at the other end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._packets: SimpleQueue[bytes | None] = SimpleQueue()
        self._write: Any = self._packets.put  # the writing waits in a thread of its own; `MOST_UNSEEN` bounds the queue
        self._writer = threading.Thread(target=self._write_all, name="textual-output", daemon=True)
        self._lock = threading.Lock()  # the answers are read in another thread
        self._written = self._asked = self._drawn = 0
        self._since = self._took = 0.0
        self._away = self._missed = self._ended = False

    @property
    def busy(self) -> bool:
        return self._away or self._written != self._drawn

    @property
    def spent(self) -> float:
        return self._took

    @property
    def gone(self) -> bool:
        return self._ended

    # --- to the browser -----------------------------------------------------------------------------------------------------------

    def write(self, data: str) -> None:
        payload = data.encode(errors="replace")
        with self._lock:
            if self._away or self._written - self._drawn > MOST_UNSEEN:
                self._missed = True
                return
            if self._written == self._drawn:
                self._since = time.monotonic()
            self._written += len(payload)
            if self._asked == self._drawn:
                self._asked = self._written
                payload += _QUESTION
            self._send(payload)

    def _send(self, payload: bytes) -> None:
        self._write(b"D%s%s" % (len(payload).to_bytes(4, "big"), payload))

    def _write_all(self) -> None:
        while (packet := self._packets.get()) is not None:
            try:
                while packet:
                    packet = packet[os.write(self.fileno, packet) :]
            except OSError:  # the server is gone
                self._ended = True

    def _see_drawn(self) -> None:
        with self._lock:
            self._drawn = self._asked
            if self._written != self._drawn:
                self._asked = self._written
                self._send(_QUESTION)
                return
            if self._since:
                self._took += min(time.monotonic() - self._since, LONGEST_SECONDS)
                self._since = 0.0
            missed, self._missed = self._missed, False
        if missed:
            self._app.call_later(cast(SendsChangedCells, self._app).send_everything)

    # --- from the server ----------------------------------------------------------------------------------------------------------

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        if packet_type == "drawn":
            self._see_drawn()
        elif packet_type == "away":
            self._away = True
        elif packet_type == "back":
            with self._lock:
                self._written = self._asked = self._drawn = 0
                self._since = 0.0
                self._away = self._missed = False
            self.write(_START)
            super().on_meta("resize", payload)
            self._app.call_later(cast(SendsChangedCells, self._app).send_everything)
        elif packet_type == "quit":
            self._ended = True
        else:
            super().on_meta(packet_type, payload)

    def run_input_thread(self) -> None:
        super().run_input_thread()
        if not self.exit_event.is_set():  # the server closed its end, or was killed
            self._ended = True

    # --- from start to end --------------------------------------------------------------------------------------------------------

    def start_application_mode(self) -> None:
        self._writer.start()
        self._write(b"__GANGLION__\n")
        self.write(_START)
        size = Size(*(self._size or (80, 24)))
        self._app.call_later(self._app.post_message, events.Resize(size, size))
        self._request_terminal_sync_mode_support()
        self._key_thread.start()

    def close(self) -> None:
        self._packets.put(None)
        self._writer.join(CLOSE_SECONDS)
