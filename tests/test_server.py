"""The run's socket: ours alone, whatever a client does training goes on, and what is asked is answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dlplay.engine.commands import AnyCommand, Ask, Pause, Save, Set, Stop, View, Watch
from dlplay.engine.events import Answered, Hello, LiveEvent, Shown, Status
from dlplay.engine.panels import Array, Bars, Frame
from dlplay.runs import server as servers
from dlplay.runs import wire
from dlplay.runs.channel import Channel, ChannelError, Outgoing
from dlplay.runs.client import NotListening, RunClient, RunError
from dlplay.runs.server import Server, ServerError

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.002)


async def wait_for(holds: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, holds)


def frame(megabytes: float) -> Frame:
    size = int(megabytes * (1 << 20))
    return Frame(pixels=Array((1, size, 1), "u1", bytes(size)))


class Training:
    """A thread that trains: it counts steps, polls between two of them and answers what it is asked."""

    def __init__(self, path: Path, stall_seconds: float) -> None:
        self.server = Server(path, stall_seconds=stall_seconds)
        self.steps = 0
        self.seen: list[AnyCommand] = []
        self.watchers: list[tuple[int, Watch]] = []
        self._ends = threading.Event()
        self.server.start()
        self._thread = threading.Thread(target=self._train)
        self._thread.start()

    def _train(self) -> None:
        while not self._ends.is_set():
            for client, command in self.server.poll(0):
                self._obey(client, command)
            self.steps += 1
            self._ends.wait(0.0005)

    def _obey(self, client: int, command: AnyCommand) -> None:
        self.seen.append(command)
        if isinstance(command, Watch):
            self.watchers.append((client, command))
        elif isinstance(command, Ask) and command.panel == "large":
            self.server.reply(client, Answered(id=command.id, panel=frame(5)))
        elif isinstance(command, Ask) and command.panel != "never":
            self.server.reply(client, Answered(id=command.id, panel=Bars(labels=[command.panel], values=[1.0])))
        elif isinstance(command, Set):
            self.server.reply(client, Answered(id=command.id, error=f"there is no setting {command.field!r}"))
        elif command.id and not isinstance(command, Ask):
            self.server.reply(client, Answered(id=command.id))

    def goes_on(self) -> None:
        before = self.steps
        wait_until(lambda: self.steps > before + 5)

    def end(self) -> None:
        self._ends.set()
        self._thread.join()
        self.server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "gpt-1"
    folder.mkdir(mode=0o700)
    return folder / "socket"


@pytest.fixture
def training(path: Path) -> Iterator[Training]:
    made = Training(path, stall_seconds=0.5)
    yield made
    made.end()


@pytest.fixture
async def client(training: Training, path: Path) -> AsyncIterator[RunClient]:
    made = await RunClient.connect(path)
    yield made
    made.close()


@contextlib.contextmanager
def raw(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))  # waits while others wait at the door
        connection.settimeout(PATIENCE)
        yield connection


def hung_up(connection: socket.socket) -> bool:
    """Waits for the server's end of it."""
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionError:
        pass
    return True


# --- being asked -------------------------------------------------------------------------------------------------------------------------


async def test_what_is_asked_is_answered(client: RunClient, training: Training) -> None:
    assert await client.ask("top", {"prompt": "the"}) == Bars(labels=["top"], values=[1.0])
    assert training.seen[0] == Ask(id=1, panel="top", options={"prompt": "the"})
    assert await client.command(Pause()) is None
    answers = await asyncio.gather(*(client.ask(f"p{n}") for n in range(50)))
    assert answers == [Bars(labels=[f"p{n}"], values=[1.0]) for n in range(50)]


async def test_a_refusal_comes_back_in_the_run_s_words(client: RunClient) -> None:
    with pytest.raises(RunError, match="there is no setting 'lrr'"):
        await client.command(Set(field="lrr", value=1))


async def test_no_answer_is_an_error_in_words(client: RunClient) -> None:
    with pytest.raises(RunError, match=r"the run did not answer within 0\.05 s"):
        await client.ask("never", timeout=0.05)
    assert await client.ask("top")


async def test_an_answer_that_is_too_large_to_send_is_a_refusal(client: RunClient) -> None:
    with pytest.raises(RunError, match="too large to send; the limit is 4,194,304"):
        await client.ask("large")


async def test_a_question_that_is_too_large_is_refused_before_it_is_sent(client: RunClient) -> None:
    with pytest.raises(RunError, match="too large to send"):
        await client.ask("top", {"text": "x" * (5 << 20)})
    assert await client.ask("top")


async def test_watched_panels_and_status_come_by_themselves(training: Training, path: Path) -> None:
    seen: list[LiveEvent] = []
    client = await RunClient.connect(path, seen.append)
    number = client.watch([View("a"), View("b")], rate=2.0)
    await wait_for(lambda: training.watchers)
    who, watch = training.watchers[0]
    assert (watch.id, watch.rate, [view.panel for view in watch.views]) == (number, 2.0, ["a", "b"])
    for view in (0, 1):
        training.server.reply(who, Shown(step=7, watch=number, view=view, panel=Bars(labels=[], values=[])))
    training.server.broadcast(Status(state="training", steps_per_second=3.0))
    await wait_for(lambda: len(seen) == 3)
    assert {(event.watch, event.view) for event in seen if isinstance(event, Shown)} == {(number, 0), (number, 1)}
    assert any(isinstance(event, Status) and event.steps_per_second == 3.0 for event in seen)
    client.close()
    await wait_for(lambda: not training.server.clients)


async def test_more_panels_than_a_screen_can_hold_are_refused(client: RunClient) -> None:
    with pytest.raises(RunError, match="33 panels cannot be watched at once; the limit is 32"):
        await client.command(Watch(views=[View("a")] * 33))


async def test_the_end_of_the_run_is_told_and_ends_every_question(training: Training, path: Path) -> None:
    reasons: list[str] = []
    client = await RunClient.connect(path, on_closed=reasons.append)
    question = asyncio.create_task(client.ask("never"))
    await wait_for(lambda: training.seen)
    await asyncio.to_thread(training.end)
    with pytest.raises(RunError, match="the run ended before it answered"):
        await question
    assert reasons == [""]
    with pytest.raises(RunError, match="the connection to the run is closed"):
        client.send(Pause())
    assert not path.exists()
    with pytest.raises(NotListening, match="the run gpt-1 does not listen: No such file"):
        await RunClient.connect(path)


async def test_every_client_is_told_first_who_answers(path: Path) -> None:
    hello = Hello(architecture="gpt", name="gpt-1", step=7, pid=42)
    server = Server(path, lambda: hello)
    server.start()
    with raw(path) as connection:
        server.broadcast(Status(state="training"))
        assert wire.Decoder[LiveEvent](LiveEvent).feed(connection.recv(1 << 16))[0] == hello
    client = await RunClient.connect(path)
    assert await client.hello() == hello
    client.close()
    await wait_for(lambda: not server.clients)
    server.close()


async def test_a_run_that_does_not_say_who_it_is(client: RunClient, training: Training) -> None:
    with pytest.raises(RunError, match="does not say who it is"):
        await client.hello(timeout=0.05)
    await asyncio.to_thread(training.end)
    with pytest.raises(RunError, match="does not say who it is"):
        await client.hello()


async def test_one_who_hangs_up_is_not_told_so(client: RunClient, training: Training) -> None:
    client._on_closed = lambda reason: pytest.fail("told")
    client.close()
    client.close()
    await wait_for(lambda: not training.server.clients)


async def test_nonsense_from_the_run_ends_the_connection_in_words(path: Path) -> None:
    reasons: list[str] = []

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\5hello")
        await reader.read()
        writer.close()
        babbled.set()

    babbled = asyncio.Event()

    listener = await asyncio.start_unix_server(babble, str(path))
    client = await RunClient.connect(path, on_closed=reasons.append)
    await wait_for(lambda: reasons)
    assert "a message that cannot be read" in reasons[0]
    client.close()
    await babbled.wait()
    listener.close()


async def test_a_socket_far_down_is_reached_by_a_short_way(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    training = Training(folder / "socket", stall_seconds=5)
    try:
        client = await RunClient.connect(folder / "socket")
        assert await client.ask("top")
        client.close()
    finally:
        training.end()
    assert list(folder.iterdir()) == []


def test_what_was_asked_just_before_hanging_up_is_obeyed(training: Training, path: Path) -> None:
    with raw(path) as connection:
        connection.sendall(wire.encode(Stop()))
    wait_until(lambda: Stop() in training.seen)


def test_what_still_waits_is_sent_before_the_run_ends(training: Training, path: Path) -> None:
    with raw(path) as connection:
        connection.sendall(wire.encode(Save(id=5)))
        wait_until(lambda: training.seen)
        training.end()
        data = b""
        while chunk := connection.recv(4096):
            data += chunk
    assert wire.Decoder[LiveEvent](LiveEvent).feed(data) == [Answered(id=5)]


def test_waiting_for_a_command_ends_with_the_command_or_the_time(path: Path) -> None:
    server = Server(path)
    server.start()
    assert server.poll(0) == []
    assert server.poll(0.01) == []
    with raw(path) as connection:
        connection.sendall(wire.encode(Pause()) + wire.encode(Stop()))
        found: list[AnyCommand] = []
        while len(found) < 2:
            found += [command for _, command in server.poll(None)]
    assert found == [Pause(), Stop()]
    server.close()
    server.close()


# --- who may ------------------------------------------------------------------------------------------------------------------------------


def test_the_socket_is_ours_alone_under_any_umask(path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from dlplay.runs.server import Server; os.umask(0); s = Server(Path(sys.argv[1])); "
        "s.start(); print(oct(os.lstat(sys.argv[1]).st_mode), os.umask(0)); s.close()"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    mode, umask = done.stdout.split()
    assert stat.S_IMODE(int(mode, 8)) == 0o600
    assert umask == "0"  # put back


def test_no_socket_is_opened_where_others_could_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o750)
    with pytest.raises(ServerError, match=r"is open to others \(mode 0750\); make it yours alone: chmod 700"):
        Server(folder / "socket").start()
    folder.chmod(0o700)
    (tmp_path / "linked").symlink_to(folder)
    with pytest.raises(ServerError, match="is not a folder"):
        Server(tmp_path / "linked" / "socket").start()
    me = os.geteuid()
    monkeypatch.setattr(servers.os, "geteuid", lambda: me + 1)
    with pytest.raises(ServerError, match=rf"belongs to user {me}, not to you \({me + 1}\)"):
        Server(folder / "socket").start()
    assert list(folder.iterdir()) == []


def test_what_a_killed_run_left_is_replaced_and_what_is_no_socket_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    server = Server(path)
    server.start()
    with raw(path):
        wait_until(lambda: server.clients)
    server.close()
    path.write_text("precious")
    with pytest.raises(ServerError, match="is in the way: it is not a socket"):
        Server(path).start()
    assert path.read_text() == "precious"


def test_another_user_is_turned_away(training: Training, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(path) as connection:
        assert wire.peer_uid(connection) == os.geteuid()
    monkeypatch.setattr(servers, "peer_uid", lambda connection: os.geteuid() + 1)
    with raw(path) as connection:
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(wire.encode(Stop()))
        assert hung_up(connection)
    monkeypatch.undo()
    with raw(path):
        wait_until(lambda: training.server.clients)
    assert training.seen == []


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_peer_s_uid_is_read_as_the_kernel_gives_it(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            if platform == "darwin":
                assert (level, option) == (0, 1)
                return (0).to_bytes(4, sys.byteorder) + (501).to_bytes(4, sys.byteorder) + bytes(size - 8)
            return b"".join(number.to_bytes(4, sys.byteorder) for number in (4242, 501, 20))

    monkeypatch.setattr(wire.sys, "platform", platform)
    monkeypatch.setattr(wire.socket, "SO_PEERCRED", 17, raising=False)
    assert wire.peer_uid(Connection()) == 501  # type: ignore[arg-type]


# --- hostile and slow --------------------------------------------------------------------------------------------------------------------


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def asking(options: bytes) -> bytes:
    """A question with these options, packed already."""
    return framed(b"\x83" + b"".join(map(msgspec.msgpack.encode, ("type", "ask", "panel", "loss", "options"))) + options)


OVERFULL = {
    "four million lists": asking(b"\x81\xa1x\xdd" + (4_000_000).to_bytes(4, "big") + b"\x90" * 4_000_000),
    "four million numbers": asking(b"\x81\xa1x\xdd" + (4_000_000).to_bytes(4, "big") + b"\x01" * 4_000_000),
    "a million options": asking(b"\xdf" + (1_000_000).to_bytes(4, "big") + b"\xa1x\x01" * 1_000_000),
    "a list in a list": asking(b"\x81\xa1x\x91\x91\x01"),
    "a million panels": framed(b"\x82\xa4type\xa5watch\xa5views\xdd" + (1_000_000).to_bytes(4, "big") + b"\x91\xa1x" * 1_000_000),
    "a setting of a million values": framed(
        b"\x83\xa4type\xa3set\xa5field\xa1x\xa5value\xdd" + (1_000_000).to_bytes(4, "big") + b"\x01" * 1_000_000
    ),
}
HOSTILE = {
    **OVERFULL,
    "random bytes": random.Random(0).randbytes(100_000),
    "a length of 4 GiB": b"\xff\xff\xff\xff",
    "a length of nothing": b"\0\0\0\0",
    "a length over the limit": (wire.MESSAGE_LIMIT + 1).to_bytes(4, "big"),
    "no msgpack": b"\0\0\0\1\xc1",
    "another kind": b"\0\0\0\5hello",
    "an unknown command": (lambda body: len(body).to_bytes(4, "big") + body)(msgspec.msgpack.encode({"type": "erase"})),
    "wrong types": (lambda body: len(body).to_bytes(4, "big") + body)(msgspec.msgpack.encode({"type": "ask", "panel": 3})),
    "deep nesting": (lambda body: len(body).to_bytes(4, "big") + body)(b"\x91" * 100_000 + b"\xc0"),
    "a flood": wire.encode(Pause()) * 200_000,
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_client_is_dropped_and_training_goes_on(what: str, client: RunClient, training: Training, path: Path) -> None:
    assert await client.ask("before")
    slowed = threading.Event()
    if what == "a flood":  # the training thread is in a long step
        obey = training._obey
        training._obey = lambda who, command: (slowed.wait(PATIENCE), obey(who, command))[1]  # type: ignore[func-returns-value, method-assign]
    with raw(path) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(HOSTILE[what])
        assert hung_up(connection)
    slowed.set()
    await asyncio.to_thread(training.goes_on)
    assert await client.ask("after")
    assert len(training.server.clients) == 1


@pytest.mark.parametrize("what", OVERFULL)
def test_a_message_of_too_much_is_refused_before_it_is_built(what: str) -> None:
    decoder: wire.Decoder[AnyCommand] = wire.Decoder(AnyCommand)
    tracemalloc.start()
    try:
        with pytest.raises(wire.WireError):
            decoder.feed(OVERFULL[what])
        assert tracemalloc.get_traced_memory()[1] < 2 * len(OVERFULL[what]) + 100_000  # the bytes themselves, twice
    finally:
        tracemalloc.stop()


async def test_a_message_may_come_byte_by_byte(training: Training, path: Path) -> None:
    with raw(path) as connection:
        for byte in wire.encode(Save(id=9)):
            connection.sendall(bytes([byte]))
        wait_until(lambda: Save(id=9) in training.seen)


async def test_a_thousand_connections_leave_room_for_a_screen_once_they_are_gone(training: Training, path: Path) -> None:
    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(lambda: [stack.enter_context(raw(path)) for _ in range(1000)])
        assert len(training.server.clients) <= servers.CLIENT_LIMIT
        training.goes_on()
    await wait_for(lambda: not training.server.clients)
    client = await RunClient.connect(path)
    assert await client.ask("after")
    client.close()


async def test_one_who_connects_without_end_is_let_in_at_a_bounded_rate(
    training: Training, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "ACCEPTS_PER_SECOND", 20)  # 10 in half a second
    begun = time.monotonic()

    def knock() -> None:
        for _ in range(31):
            with raw(path) as connection:
                connection.sendall(wire.encode(Save(id=1)))
                assert connection.recv(4096)

    await asyncio.to_thread(knock)
    assert time.monotonic() - begun > 1.0
    training.goes_on()


async def test_no_more_descriptors_means_a_pause_and_not_a_spinning_thread(
    training: Training, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, calls = socket.socket.accept, []

    def full(listener: socket.socket) -> Any:
        calls.append(time.monotonic())
        if len(calls) < 3:
            raise OSError(24, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", full)
    client = await RunClient.connect(path)
    assert await client.ask("after")
    assert len(calls) == 3
    assert calls[2] - calls[0] > 0.9
    client.close()


async def test_one_who_takes_nothing_is_dropped_and_others_are_served(client: RunClient, training: Training, path: Path) -> None:
    with raw(path) as stalled:
        stalled.sendall(wire.encode(Watch(id=1, views=[View("a")])))
        await wait_for(lambda: training.watchers)
        who = training.watchers[0][0]
        training.server.reply(who, Shown(watch=1, view=0, panel=frame(3)))
        for _ in range(3):
            assert await client.ask("meanwhile")
        await wait_for(lambda: who not in training.server.clients)
        assert await client.ask("after")
        training.server.reply(who, Answered(id=3))  # nobody is there any more
        assert hung_up(stalled)
    training.goes_on()


async def test_one_who_takes_slowly_gets_the_newest_and_is_kept(training: Training, path: Path) -> None:
    with raw(path) as slow:
        slow.sendall(wire.encode(Watch(id=1, views=[View("a"), View("b")])))
        await wait_for(lambda: training.watchers)
        who = training.watchers[0][0]
        for step in range(1, 501):
            for view in (0, 1):
                training.server.reply(who, Shown(step=step, watch=1, view=view, panel=frame(1)))
            training.server.broadcast(Status(step=step, state="training"))
        training.server.reply(who, Answered(id=7))
        decoder = wire.Decoder[LiveEvent](LiveEvent)
        seen: list[LiveEvent] = []
        while not ({type(event) for event in seen if event.step == 500} == {Shown, Status} and Answered(id=7) in seen):
            seen += decoder.feed(slow.recv(65_536))
    latest = [(event.view, event.step) for event in seen if isinstance(event, Shown)]
    assert len(latest) < 400  # the others were overtaken
    assert [event.step for event in seen if isinstance(event, Status)][-1] == 500
    for view in (0, 1):
        steps = [step for which, step in latest if which == view]
        assert steps == sorted(set(steps))


def test_answers_are_kept_in_order_up_to_a_bound() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(1, ours)
        for number in range(1, 257):
            channel.put(Outgoing(Answered(id=number)))
        with pytest.raises(ChannelError, match="257 answers"):
            channel.put(Outgoing(Answered(id=257)))
        channel = Channel(1, ours)
        large = Outgoing(Answered(id=1, panel=frame(3.9)))
        for _ in range(4):
            channel.put(large)
        with pytest.raises(ChannelError, match="5 answers of"):
            channel.put(large)


def test_what_is_no_longer_watched_is_no_longer_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(1, ours)
        panel = Bars(labels=[], values=[])
        channel.put(Outgoing(Shown(watch=1, view=0, panel=panel)))
        channel.put(Outgoing(Shown(watch=2, view=0, panel=panel)))
        channel.send()
        assert wire.Decoder[LiveEvent](LiveEvent).feed(theirs.recv(4096)) == [Shown(watch=2, view=0, panel=panel)]


def test_an_event_is_encoded_once_for_all_and_not_at_all_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[LiveEvent] = []
    monkeypatch.setattr("dlplay.runs.channel.encode", lambda event: calls.append(event) or wire.encode(event))  # type: ignore[func-returns-value]
    pairs = [socket.socketpair() for _ in range(3)]
    channels = [Channel(number, ours) for number, (ours, _) in enumerate(pairs)]
    for step in (1, 2):
        outgoing = Outgoing(Status(step=step, state="training"))
        for channel in channels:
            channel.put(outgoing)
    for channel in channels:
        channel.send()
    assert [event.step for event in calls] == [2]
    for pair in pairs:
        for end in pair:
            end.close()
