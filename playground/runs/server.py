"""The run's server: a Unix socket that takes commands and sends live events, without training ever waiting for a client.

One thread does all input and output; the training thread only takes commands from a queue and puts events into another. For each client
only the newest `Shown` of a view and the newest `Status` are kept; an `Answered` is kept until it is sent. A client is disconnected when
it sends anything but commands, takes nothing for ten seconds while something waits for it, or belongs to another user.
"""

from __future__ import annotations

import collections
import contextlib
import os
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dlplay.engine.commands import AnyCommand, Watch
from dlplay.engine.events import Answered, Hello, LiveEvent
from dlplay.runs.channel import Channel, ChannelError, Outgoing
from dlplay.runs.wire import peer_uid, short_path

CLIENT_LIMIT = 32
STALL_SECONDS = 10.0
VIEW_LIMIT = 32
INBOX_LIMIT = 1024
"""Commands of one client that may wait for the training thread."""

ACCEPTS_PER_SECOND = 200
"""Connections beyond this rate wait in the backlog, so that a client that keeps reconnecting takes little of the processor."""

_BACKLOG = 128
_PAUSE = 0.5


class ServerError(OSError):
    """The socket cannot be created; the message says why."""


class Server:
    """`start` it, `poll` it between two steps, `close` it. `poll`, `reply` and `broadcast` take microseconds."""

    def __init__(self, socket_path: Path, hello: Callable[[], Hello] | None = None, *, stall_seconds: float = STALL_SECONDS) -> None:
        """`hello` says who answers here; every client is sent it first. It is called in the server's thread."""
        self.socket_path = socket_path
        self.hello = hello
        self.stall_seconds = stall_seconds
        self.clients: frozenset[int] = frozenset()
        """Ids of the clients attached now."""
        self._channels: dict[int, Channel] = {}
        self._inbox: collections.deque[tuple[int, AnyCommand]] = collections.deque()
        self._outbox: collections.deque[tuple[int | None, Outgoing]] = collections.deque()
        self._arrived = threading.Event()
        self._closing = False
        self._flush_until = 0.0
        self._resume_accept = 0.0
        self._listening = False
        self._accepted = 0
        self._window = 0.0
        self._last_id = 0
        self._selector = selectors.DefaultSelector()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the socket (mode 0600) in a folder of mode 0700. The caller holds the run's lock. Raises `ServerError` and `OSError`."""
        check_folder(self.socket_path.parent)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self.socket_path).st_mode):
                raise ServerError(f"{self.socket_path} is in the way: it is not a socket")
            self.socket_path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        former = os.umask(0o177)
        try:
            with short_path(self.socket_path) as path:
                listener.bind(path)
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(former)
        self.socket_path.chmod(0o600)
        self._inode = os.lstat(self.socket_path).st_ino
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._listener = listener
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._listen(True)
        self._thread = threading.Thread(target=self._run, name="run socket", daemon=True)
        self._thread.start()

    # --- for the training thread ----------------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = 0) -> list[tuple[int, AnyCommand]]:
        """The commands received since the last call, each with its client. Waits up to `timeout` seconds for the first."""
        if not self._inbox:
            if timeout == 0:
                return []
            self._arrived.clear()
            if not self._inbox and not self._arrived.wait(timeout):
                return []
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                client, command = self._inbox.popleft()
                if channel := self._channels.get(client):
                    channel.taken += 1
                taken.append((client, command))
        return taken

    def reply(self, client: int, event: LiveEvent) -> None:
        """Send to one client, if it is still attached."""
        if client in self.clients:
            self._outbox.append((client, Outgoing(event)))
            self._wake()

    def broadcast(self, event: LiveEvent) -> None:
        """Send to all clients."""
        if self.clients:
            self._outbox.append((None, Outgoing(event)))
            self._wake()

    def close(self, flush_seconds: float = 1.0) -> None:
        """Send what is still waiting, for at most `flush_seconds`, then disconnect. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._flush_until = time.monotonic() + flush_seconds
        self._closing = True
        self._wake()
        thread.join()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: the thread is about to wake up anyway
            self._wake_in.send(b"\0")

    # --- the thread ------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not (self._closing and self._flushed()):
                self._run_once()
        finally:
            self._close_all()

    def _flushed(self) -> bool:
        waiting = self._outbox or any(channel.waiting for channel in self._channels.values())
        return not waiting or time.monotonic() > self._flush_until

    def _run_once(self) -> None:
        for key, mask in self._selector.select(self._timeout()):
            if key.fileobj is self._wake_out:
                with contextlib.suppress(OSError):
                    self._wake_out.recv(4096)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                self._serve(key.data, mask)
        self._distribute()
        now = time.monotonic()
        if not self._listening and not self._closing and now >= self._resume_accept:
            self._listen(True)
        for channel in list(self._channels.values()):
            if channel.waiting and now - channel.last_progress > self.stall_seconds:
                self._drop(channel)

    def _timeout(self) -> float | None:
        now = time.monotonic()
        deadlines = [channel.last_progress + self.stall_seconds for channel in self._channels.values() if channel.waiting]
        if not self._listening and not self._closing:
            deadlines.append(self._resume_accept)
        if self._closing:
            deadlines.append(self._flush_until)
        return max(0.0, min(deadlines) - now) + 0.001 if deadlines else None

    def _accept(self) -> None:
        now = time.monotonic()
        if now - self._window >= _PAUSE:
            self._window, self._accepted = now, 0
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # out of file descriptors, most likely: leave the rest in the backlog for a while
            self._pause_accepting(now + _PAUSE)
            return
        self._accepted += 1
        if self._accepted >= ACCEPTS_PER_SECOND * _PAUSE:
            self._pause_accepting(self._window + _PAUSE)
        try:
            if self._closing or len(self._channels) >= CLIENT_LIMIT or peer_uid(connection) != os.geteuid():
                connection.close()
                return
            connection.setblocking(False)
        except OSError:
            connection.close()
            return
        self._last_id += 1
        channel = Channel(self._last_id, connection)
        self._channels[channel.id] = channel
        self._selector.register(connection, selectors.EVENT_READ, channel)
        if self.hello is not None:
            channel.greet(self.hello())
            self._select(channel)
        self.clients = frozenset(self._channels)

    def _pause_accepting(self, until: float) -> None:
        self._listen(False)
        self._resume_accept = until

    def _listen(self, on: bool) -> None:
        if on != self._listening:
            self._listening = on
            if on:
                self._selector.register(self._listener, selectors.EVENT_READ)
            else:
                self._selector.unregister(self._listener)

    def _serve(self, channel: Channel, mask: int) -> None:
        if channel.id not in self._channels:
            return
        try:
            if mask & selectors.EVENT_WRITE:
                channel.send()
            if mask & selectors.EVENT_READ:
                for command in channel.receive():
                    self._take(channel, command)
            self._select(channel)
        except (ChannelError, OSError):
            self._drop(channel)

    def _take(self, channel: Channel, command: AnyCommand) -> None:
        if isinstance(command, Watch) and len(command.views) > VIEW_LIMIT:
            words = f"{len(command.views):,} panels cannot be watched at once; the limit is {VIEW_LIMIT}"
            channel.put(Outgoing(Answered(id=command.id, error=words)))
            return
        if channel.received - channel.taken >= INBOX_LIMIT:
            raise ChannelError(f"more than {INBOX_LIMIT:,} commands are waiting")
        channel.received += 1
        self._inbox.append((channel.id, command))
        self._arrived.set()

    def _distribute(self) -> None:
        while self._outbox:
            client, outgoing = self._outbox.popleft()
            for channel in list(self._channels.values()) if client is None else filter(None, [self._channels.get(client)]):
                try:
                    channel.put(outgoing)
                    self._select(channel)
                except (ChannelError, OSError):
                    self._drop(channel)

    def _select(self, channel: Channel) -> None:
        """Wait for what the channel needs next, or close it when it has ended."""
        if channel.ended:
            self._drop(channel)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.waiting else 0)
        if events != self._selector.get_key(channel.connection).events:
            self._selector.modify(channel.connection, events, channel)

    def _drop(self, channel: Channel) -> None:
        if self._channels.pop(channel.id, None) is not None:
            self.clients = frozenset(self._channels)
            self._selector.unregister(channel.connection)
            channel.connection.close()

    def _close_all(self) -> None:
        for channel in list(self._channels.values()):
            self._drop(channel)
        for end in (self._listener, self._wake_in, self._wake_out):
            end.close()
        self._selector.close()
        with contextlib.suppress(OSError):
            if os.lstat(self.socket_path).st_ino == self._inode:
                self.socket_path.unlink()


def check_folder(folder: Path) -> None:
    """Raises `ServerError` unless the folder belongs to this user and is closed to all others."""
    facts = os.lstat(folder)
    if not stat.S_ISDIR(facts.st_mode):
        raise ServerError(f"{folder} is not a folder (links are not followed)")
    if facts.st_uid != os.geteuid():
        raise ServerError(f"{folder} belongs to user {facts.st_uid}, not to you ({os.geteuid()}); no socket is opened there")
    if facts.st_mode & 0o077:
        raise ServerError(f"{folder} is open to others (mode {stat.S_IMODE(facts.st_mode):04o}); make it yours alone: chmod 700 '{folder}'")
