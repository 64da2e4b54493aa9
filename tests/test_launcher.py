"""The launcher: what it forks is a process like any other, equal to the bit, and neither end depends on the other."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dlplay import architectures
from dlplay.engine.settings import make, to_dict
from dlplay.runs import directory, launch
from dlplay.runs.launch import Launched, launch_blocking
from dlplay.runs.launcher import ENDED_UNSEEN, Forked, Launcher, _import_room
from dlplay.runs.lock import alive, holder
from tests.conftest import Small
from tests.test_launch import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every run is started as a command")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    monkeypatch.setattr(launch, "_launcher", None)
    launch.prepare("convnet")
    ready = launch._launcher
    assert ready is not None
    yield ready
    ready.close()


def started(folder: Path, architecture: str, settings: dict[str, object], *flags: str) -> tuple[directory.RunDirectory, Launched]:
    card = architectures.card(architecture)
    run = directory.create(folder, architecture, to_dict(make(card.settings, settings)))
    return run, launch_blocking(["resume", run.name, "--headless", "--runs-dir", str(folder), *flags], run.log_path)


def forked(launched: Launched) -> bool:
    return isinstance(launched._process, Forked)


def digests(run: directory.RunDirectory) -> dict[str, str]:
    folder = sorted((run.path / "checkpoints").glob("step-*"))[-1]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}


async def same_bits(folder: Path, architecture: str, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    launch.prepare(architecture)
    one, by_fork = started(folder, architecture, settings)
    assert forked(by_fork)
    monkeypatch.setattr(launch, "_launcher", None)
    other, by_command = started(folder, architecture, settings)
    assert not forked(by_command)
    assert [await by_fork.wait(), await by_command.wait()] == [0, 0], (by_fork.last_words(), by_command.last_words())
    assert len(digests(one)) == 2
    assert digests(one) == digests(other)


async def test_a_forked_run_equals_a_command_to_the_bit(
    launcher: Launcher, tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    await same_bits(tmp_path, "convnet", small("convnet") | {"steps": 12}, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(set(architectures.cards()) - {"convnet"}))
async def test_a_forked_run_of_every_architecture_equals_a_command_to_the_bit(
    launcher: Launcher, tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    await same_bits(tmp_path, architecture, small(architecture) | {"steps": 12}, monkeypatch)


async def test_it_is_a_process_like_any_other(launcher: Launcher, tmp_path: Path) -> None:
    log = tmp_path / "log"
    refused = launch_blocking(["runz"], log)
    assert forked(refused)
    assert await refused.wait() == 2
    assert refused.last_words() == "dlplay: there is no command 'runz'; did you mean runs?"
    run, waiting = started(tmp_path, "convnet", {}, "--paused")
    wait_until(lambda: run.socket_path.exists())
    assert os.getsid(waiting.pid) == waiting.pid
    assert {Path(f"/proc/{waiting.pid}/fd/{fd}").readlink() for fd in (1, 2)} == {run.log_path}
    assert Path(f"/proc/{waiting.pid}/fd/0").readlink() == Path(os.devnull)
    os.kill(waiting.pid, signal.SIGKILL)
    assert await waiting.wait() == -signal.SIGKILL
    assert not alive(waiting.pid)


async def test_runs_go_on_when_it_is_killed_and_the_next_one_starts_as_a_command(launcher: Launcher, tmp_path: Path) -> None:
    run, waiting = started(tmp_path, "convnet", {}, "--paused")
    wait_until(lambda: run.socket_path.exists())
    os.kill(launcher.pid, signal.SIGKILL)
    wait_until(lambda: not alive(launcher.pid))
    assert waiting.returncode is None
    assert alive(waiting.pid)
    after = launch_blocking(["--version"], tmp_path / "log")
    assert not forked(after)
    assert await after.wait() == 0
    assert "stopped run" in launch.stop_run(run)
    assert await waiting.wait() == ENDED_UNSEEN


async def test_one_that_does_not_answer_is_ended_and_never_forks_later(launcher: Launcher, tmp_path: Path) -> None:
    os.kill(launcher.pid, signal.SIGSTOP)
    launcher._socket.settimeout(0.1)
    after = launch_blocking(["--version"], tmp_path / "log")
    assert not forked(after)
    assert await after.wait() == 0
    wait_until(lambda: not alive(launcher.pid))


def test_a_process_ends_without_waiting_for_one_that_does_not_answer(launcher: Launcher, tmp_path: Path) -> None:
    os.kill(launcher.pid, signal.SIGSTOP)
    launcher._socket.settimeout(120)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(launch.launch(["--version"], tmp_path / "log"), 0.1)

    before = time.monotonic()
    asyncio.run(give_up())
    os.kill(launcher.pid, signal.SIGKILL)
    assert time.monotonic() - before < 60


async def test_launched_in_a_thread_it_tells_what_went_wrong(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(OSError, match="log"):
        await launch.launch(["--version"], tmp_path / "log")
    assert await (await launch.launch(["--version"], tmp_path / "other")).wait() == 0


def test_it_ends_with_the_process_that_started_it_and_the_runs_go_on(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from dlplay.runs import launch\n"
        "launch.prepare('convnet'); folder = Path(sys.argv[1])\n"
        "from tests.test_launcher import started\n"
        "run, launched = started(folder, 'convnet', {}, '--paused')\n"
        "print(launch._launcher.pid, launched.pid, flush=True); time.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        launcher, run = map(int, user.stdout.readline().split())
        wait_until(lambda: (tmp_path / "convnet-1" / "socket").exists())
        assert alive(launcher)
        user.kill()
    wait_until(lambda: not alive(launcher))
    assert alive(run)
    os.kill(run, signal.SIGKILL)
    wait_until(lambda: not alive(run))


async def test_another_environment_or_folder_is_not_its_own(launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_ANOTHER", "1")
    assert not forked(launch_blocking(["--version"], tmp_path / "log"))
    monkeypatch.delenv("OF_ANOTHER")
    assert forked(launch_blocking(["--version"], tmp_path / "log"))
    monkeypatch.chdir(tmp_path)
    assert not forked(launch_blocking(["--version"], tmp_path / "log"))


async def test_many_end_unasked_while_it_goes_on(launcher: Launcher, tmp_path: Path) -> None:
    all_of_them = [launch_blocking(["runz"], tmp_path / "log") for _ in range(20)]
    assert all(map(forked, all_of_them))
    assert [await asyncio.wait_for(each.wait(), 60) for each in all_of_them] == [2] * 20


READERS = ("dlplay.parts.corpora.read_corpus", "dlplay.data.images.load_digits", "dlplay.data.text._run_digests", "hashlib.sha256")


@pytest.mark.parametrize("architecture", ["gpt", "bert", "recurrent", "convnet", "autoencoder"])
def test_what_it_has_read_no_fork_reads_or_counts_again(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _import_room(architecture)
    for reader in READERS:
        monkeypatch.setattr(reader, None)
    card = architectures.card(architecture)
    task = card.load_task()(make(card.settings, {"device": "cpu"}), torch.device("cpu"))
    assert task.data
    assert task.data_key()


async def test_one_that_does_not_answer_in_time_forks_nothing_afterwards(launcher: Launcher, tmp_path: Path) -> None:
    """Else the run would be started twice: by it, and as a command."""
    os.kill(launcher.pid, signal.SIGSTOP)
    launcher._socket.settimeout(0.1)
    try:
        run, launched = started(tmp_path, "convnet", {"steps": 10_000, "channels": (2,)})
        assert not forked(launched)
        os.kill(launched.pid, signal.SIGKILL)
        await launched.wait()
    finally:
        os.kill(launcher.pid, signal.SIGCONT)
    wait_until(lambda: not alive(launcher.pid))
    assert holder(run.lock_path) is None


def test_what_only_evaluations_need_is_imported_once_nobody_waits(launcher: Launcher) -> None:
    """A GAN's room is open before optimal transport is imported, which takes as long as torch; a run forked later has it."""
    code = "import sys, dlplay.architectures.gan.task; sys.exit('ot' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
    launcher.prepare("gan")
    wait_until(lambda: "/ot/lp/" in Path(f"/proc/{launcher.pid}/maps").read_text())


def test_nothing_that_a_run_imports_after_its_seed_draws_from_the_generators() -> None:
    code = (
        "import random; import numpy as np; from dlplay.engine.device import seed_everything; seed_everything(0); "
        "states = random.getstate(), str(np.random.get_state()); "
        "import rich.console, dlplay.runs.console, dlplay.runs.process, dlplay.architectures.gan.task, ot, scipy.optimize, sklearn.svm; "
        "assert states == (random.getstate(), str(np.random.get_state()))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
