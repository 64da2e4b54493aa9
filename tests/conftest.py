"""What tests of the whole program share: folders of their own, small settings, and the command run as a process that can be killed.

A process costs seconds when it has to import torch. `dlplay` forks it from a server that did so once (multiprocessing's forkserver): it
is a process like any other, with its own arguments, output, signals and exit status, and costs a twentieth.
"""

import contextlib
import dataclasses
import gc
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from dlplay.lessons import progress
from dlplay.runs import launcher
from tests.rooms import facts

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in every process

_variables_and_folder = launcher._surroundings


def _surroundings() -> tuple[dict[str, str], str]:
    """Without the name of the test, which pytest tells in a variable: else every test would need a launcher of its own."""
    variables, folder = _variables_and_folder()
    return {name: value for name, value in variables.items() if name != "PYTEST_CURRENT_TEST"}, folder


launcher._surroundings = _surroundings

Small = Callable[[str], dict[str, Any]]
"""Small settings of an architecture, by its name."""
Build = Callable[..., Any]
"""A task with such settings, and with others that are named."""

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0
"""Seconds until a condition that does not come true fails its test; the machine may be busy."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rooms", metavar="DIR", help="a folder with rooms of your own: the tests of the contract take them up")


def pytest_configure(config: pytest.Config) -> None:
    """Runs, caches and preferences of the tests are theirs alone; measured baselines are shared by all of them. A full garbage collection
    looks through the million objects that are imported, so it is rare: it took a quarter of the time of the screen's tests."""
    gc.set_threshold(50_000, 10, 20)
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    home = Path(tempfile.mkdtemp(prefix="dlplay-tests-"))
    for kind in ("DATA", "CACHE", "CONFIG", "STATE"):
        os.environ[f"XDG_{kind}_HOME"] = str(home / kind.lower())
    progress.mark_welcomed(Path(os.environ["XDG_CONFIG_HOME"]) / "dlplay" / progress.FILE)
    if folder := config.getoption("--rooms"):
        os.environ["DLPLAY_ROOMS"] = str(Path(folder).absolute())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


@pytest.fixture(scope="session")
def own_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 3,000 words over a vocabulary of 60, with some order in it."""
    pen = random.Random(0)
    words = ["".join(pen.choices("abcdefghijklmnoprstuvw", k=pen.randint(2, 7))) for _ in range(60)]
    text, at = [], 0
    for _ in range(3000):
        at = (at * 7 + pen.choice([1, 1, 1, 5, 11])) % 60
        text.append(words[at])
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(" ".join(text) + "\n")
    return path


@pytest.fixture(scope="session")
def small(own_words: Path) -> Small:
    """Small settings of an architecture, by its name."""
    return lambda name: {key: str(own_words) if value == "{text}" else value for key, value in facts(name).small.items()}


@pytest.fixture
def build(small: Small) -> Build:
    """Makes a task of an architecture, by its name and the settings that are to differ from the small ones."""
    from dlplay import architectures  # and torch with the task: most tests need neither
    from dlplay.engine.device import prepare
    from dlplay.engine.settings import make

    def build(name: str, **values: Any) -> Any:
        card = architectures.card(name)
        settings = make(card.settings, small(name) | {"device": "cpu", "steps": 100} | values)
        return card.load_task()(settings, prepare(settings), None)

    return build


def flags(values: dict[str, Any]) -> list[str]:
    """Settings as they are typed."""
    words: list[str] = []
    for name, value in values.items():
        if isinstance(value, bool):
            words.append(("--" if value else "--no-") + name.replace("_", "-"))
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += ["--" + name.replace("_", "-"), text]
    return words


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Until the condition holds; returns what it returned."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain: {what}"
        time.sleep(0.001)
    return value


@dataclasses.dataclass
class Ended:
    """A command that has ended."""

    status: int
    """Exit status; -N when signal N killed it."""
    out: str
    err: str


class Command:
    """One `dlplay …` in a process of its own."""

    def __init__(self, process: ForkServerProcess, out: Path, err: Path) -> None:
        self._process, self._out, self._err = process, out, err
        process.start()
        assert process.pid is not None
        self.pid = process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    @property
    def out(self) -> str:
        """What it printed so far."""
        return self._out.read_text()

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, patience: float = PATIENCE) -> Ended:
        self._process.join(patience)
        assert self._process.exitcode is not None, f"process {self.pid} did not end within {patience:g} s:\n{self.out[-2000:]}"
        return Ended(self._process.exitcode, self._out.read_text(), self._err.read_text())

    def kill(self) -> Ended:
        self.send(signal.SIGKILL)
        return self.wait()


class Dlplay:
    """Starts commands; called, it waits for the end as well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Command] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_modules())

    def start(self, *arguments: str, env: dict[str, str] | None = None, calling: Callable[..., Any] | None = None) -> Command:
        """`dlplay ARGUMENTS`, or with `calling` that function of the arguments."""
        number = len(self._started)
        out, err = self._folder / f"{number}.out", self._folder / f"{number}.err"
        process = self._context.Process(target=_enact, args=(arguments, env or {}, str(out), str(err), calling))
        self._started.append(Command(process, out, err))
        return self._started[-1]

    def __call__(self, *arguments: str, env: dict[str, str] | None = None, calling: Callable[..., Any] | None = None) -> Ended:
        return self.start(*arguments, env=env, calling=calling).wait()

    def end(self) -> None:
        for command in self._started:
            if command.running:
                command.kill()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, as the sums that are compared were added up."""
    import torch  # which many tests do without

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def as_before() -> Iterator[None]:
    """What `engine.device.prepare` sets for the whole process is put back."""
    import torch

    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


@pytest.fixture
def dlplay(tmp_path: Path) -> Iterator[Dlplay]:
    """The command line. Whatever still runs at the end of a test is killed."""
    folder = tmp_path / "output"
    folder.mkdir()
    commands = Dlplay(folder)
    yield commands
    commands.end()


def _modules() -> list[str]:
    """What the server imports beforehand: everything, and nothing is called."""
    from dlplay import architectures

    tasks = [card.task.partition(":")[0] for card in architectures.cards().values()]
    torch = ["torch._dynamo", "torch._inductor"]  # which the first optimizer and the deterministic mode import, in seconds
    return [
        *torch,
        "sklearn.svm",
        "sklearn.datasets",
        "dlplay.cli",
        "dlplay.commands.grammar",
        "dlplay.runs.process",
        "dlplay.runs.ask",
        *tasks,
        "pytest",
        "tests.conftest",
    ]


def _enact(arguments: tuple[str, ...], env: dict[str, str], out: str, err: str, calling: Callable[..., Any] | None) -> None:
    """In the new process: what `python -m dlplay ARGUMENTS` does."""
    gc.freeze()  # what the server imported is neither looked through nor copied
    os.environ.update(env)
    for path, stream in ((out, 1), (err, 2)):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(fd, stream)
        os.close(fd)
    sys.argv = ["dlplay", *arguments]
    if calling is not None:
        sys.exit(calling(*arguments))
    from dlplay.cli import main

    main()
