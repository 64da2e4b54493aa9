"""Sweeps: what can be searched, that every trial is a run, that no death of a worker loses or repeats one, and what is found in the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from dlplay import cli
from dlplay.architectures import card as card_of
from dlplay.commands import training
from dlplay.engine.events import Evaluated, Finished, Saved, Started
from dlplay.engine.settings import SettingsError
from dlplay.experiments import pool
from dlplay.experiments.sweep import outage
from dlplay.experiments.sweep import worker as worker_module
from dlplay.experiments.sweep.locks import FolderLocks
from dlplay.experiments.sweep.report import Report
from dlplay.experiments.sweep.space import parse_search
from dlplay.experiments.sweep.spec import find
from dlplay.experiments.sweep.spec import names as sweep_names
from dlplay.experiments.sweep.storage import DatabaseGone, opened
from dlplay.runs import directory, launch
from dlplay.runs.journal import JournalReader
from dlplay.runs.lock import holder
from tests.conftest import Command, Dlplay, wait_until
from tests.runs import Following, same, weights
from tests.sweeps import (
    ARCHITECTURE,
    EVERY,
    METRIC,
    SEARCH,
    SMALL,
    STEPS,
    Death,
    Ended,
    Forked,
    ForkedHere,
    Killed,
    Scripted,
    check_whole,
    finished,
    fork_runs,
    launch_with,
    resume,
    show,
    sweep,
)

SECRETS = ("hidden-user", "hidden-password", "127.0.0.1", "hidden-database")
URL = "postgresql://hidden-user:hidden-password@127.0.0.1:1/hidden-database"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Runs that cost nothing."""
    runs = Scripted()
    launch_with(runs, monkeypatch)
    monkeypatch.setattr(worker_module, "POLL", 0.001)
    monkeypatch.setattr(worker_module, "IDLE", 0.01)
    return runs


# --- the search space ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ends", "values"),
    [
        ("lr=1e-4..1e-1:log", (1e-4, 1e-1), ()),
        ("dropout=0..0.5", (0.0, 0.5), ()),
        ("kernel=1..4", (1, 4), (1, 2, 3, 4)),
        ("batch=32,64,128", (32, 128), (32, 64, 128)),
        ("norm=batch,group", ("batch", "group"), ("batch", "group")),
        ("channels=16,32/8/32,64", ((16, 32), (32, 64)), ((16, 32), (8,), (32, 64))),
        ("eval-every=10,20", (10, 20), (10, 20)),
    ],
)
def test_a_setting_is_searched_over(text: str, ends: tuple[Any, Any], values: tuple[Any, ...]) -> None:
    (dimension,) = parse_search(card_of("convnet"), [text])
    assert dimension.ends == ends
    assert dimension.values == values
    assert dimension.log is text.endswith(":log")


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "there is nothing to search"),
        (["lr"], "write a range as in lr=1e-4..1e-1:log"),
        (["lr="], "write a range as in"),
        (["dropuot=1,2"], "there is no setting 'dropuot'; did you mean dropout?"),
        (["lr=1e-4..1e9"], "--lr 1000000000 is out of bounds; use above 0, at most 10"),
        (["lr=0.1..0.01"], "0.1 is not below 0.01"),
        (["lr=0.1..0.1"], "is not below"),
        (["dropout=0..0.5:log"], "a logarithmic scale begins above 0, not at 0"),
        (["lr=1e-4..1e-1:lin"], "'lin' is no scale"),
        (["lr=nan..1"], "is not a number"),
        (["kernel=1.5..3"], "--kernel 1.5 is not a whole number"),
        (["norm=batch,batsh"], "did you mean batch?"),
        (["norm=batch"], "give 2 to 1,000 values, parted by commas; there are 1"),
        (["channels=16,32"], "parted by slashes"),
        (["norm=batch,batch"], "twice"),
        (["batch=" + ",".join(map(str, range(1, 1002)))], "there are 1001"),
        (["lr=0.1,0.2", "lr=0.3,0.4"], "lr is searched already"),
        (["jobs=1,2"], "jobs is no setting of a single run"),
    ],
)
def test_what_cannot_be_searched_is_said_before_the_first_trial(texts: list[str], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_search(card_of("convnet"), texts)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_code_is_not_searched() -> None:
    with pytest.raises(SettingsError, match="names code to import, which no search can choose"):
        parse_search(card_of("dqn"), ["env_module=os,sys"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--lr", "0.1"], "lr is searched, and a value is given for it as well"),
        (["--trials", "0"], "--trials 0: use 1 to 100,000"),
        (["--trials", "many"], "--trials 'many' is not a whole number"),
        (["--metric", "test_msa"], "--metric test_msa: there is no such held-out metric; did you mean test_mse?"),
        (["--sampler", "grid"], "--sampler grid needs values, such as lr=0.001,0.01"),
        (["--sampler", "best"], "--sampler best: use tpe, random or grid"),
        (["--prune", "all"], "--prune all: use median, hyperband or none"),
        (["--on", "mars"], "--on mars: use slurm"),
        (["--until", "nothing>1"], "there is no metric nothing"),
        (["--on", "slurm", "--slurm", "time=soon"], "say for how many minutes"),
        (["--slurm", "time=60"], "--slurm needs --on slurm"),
        (["--storage", "mysql://somebody:secret@host/x"], "does not begin with postgresql://"),
        (["--seeds", "0..3"], "Unknown option"),
        (["--paused"], "Unknown option"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    more: list[str], words: str, tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "runs", *more) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert "secret" not in said.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["../s", "-s", "", "S", "s" * 64])
def test_a_name_that_no_run_can_have_is_refused(name: str, tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path / "runs", name=name) == 2
    assert " cannot be a " in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_combination_that_cannot_be_used_is_refused_at_once_only_when_all_are(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--runs-dir", str(tmp_path / "runs"), "--sampler", "grid", "--name", "s"]
    assert cli.run(["sweep", "convnet", "--search", "kernel=2,4", "--search", "lr=0.1,0.2", *small]) == 2
    assert "--kernel 2 is even" in capsys.readouterr().err
    assert cli.run(["sweep", ARCHITECTURE, "--search", "lr=0.1,0.2", "--search", "hidden=8/9", *SMALL, *small]) == 2  # given as well
    assert "hidden is searched" in capsys.readouterr().err
    assert scripted.launched == []


def test_without_optuna_it_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['optuna'] = None\nfrom dlplay.cli import run\nsys.exit(run(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", program, "sweep", "list", "--runs-dir", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (2, "dlplay: a sweep needs the package optuna: pip install 'dlplay[sweep]'\n")


def test_without_psycopg_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert sweep(tmp_path / "runs", "--storage", URL) == 2
    assert capsys.readouterr().err == "dlplay: a sweep in a database needs the package psycopg: pip install 'dlplay[postgres]'\n"


def test_torch_is_not_imported_by_a_worker(tmp_path: Path) -> None:
    program = "import sys, dlplay.experiments.sweep.commands\nprint(sorted({'torch', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout == "[]\n"


# --- trials are runs ----------------------------------------------------------------------------------------------------------------------

ASK = """
import json, optuna, sys
from optuna.storages.journal import JournalFileBackend
study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(JournalFileBackend(sys.argv[1])))
print(json.dumps([[t.number, t.state.name, t.params, t.value] for t in study.trials]))
"""


def test_every_trial_is_a_run_that_trains_for_real(
    tmp_path: Path, dlplay: Dlplay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fork_runs(dlplay, monkeypatch)
    folder = tmp_path / "runs"
    assert sweep(folder, "--trials", "5", "--json", jobs=2) == 0
    *told, last = capsys.readouterr().out.splitlines()
    assert sorted(json.loads(line)["run"] for line in told) == ["s-1", "s-2", "s-3", "s-4", "s-5"]
    check_whole(folder, 5)
    found = show(folder, capsys)
    assert msgspec.json.decode(last, type=Report) == found
    values = {name: finished(directory.find(folder, name)).metrics[METRIC] for name in directory.names(folder)}
    assert found.best == min(values, key=values.__getitem__)
    assert [row.value for row in found.trials] == sorted(values.values())
    assert found.importance.keys() == {"lr", "latent"}

    log = find(folder, "s").log_path
    asked = subprocess.run([sys.executable, "-W", "ignore", "-c", ASK, str(log)], capture_output=True, text=True, timeout=60, check=True)
    assert {f"s-{number + 1}": value for number, _, _, value in json.loads(asked.stdout)} == values

    words = shlex.split(found.command)
    assert words[:3] == ["dlplay", ARCHITECTURE, "--headless"]
    assert dlplay(*words[1:], "--runs-dir", str(folder), "--name", "again").status == 0
    (step, mine), (_, again) = weights(directory.find(folder, found.best)), weights(directory.find(folder, "again"))
    assert step == STEPS
    assert same(mine, again)


def test_the_samplers(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path, "--trials", "25", name="tpe") == 0
    assert sweep(tmp_path, "--trials", "25", "--sampler", "random", name="random") == 0
    grid = ["--search", "lr=0.001,0.01", "--search", "latent=2..4"]
    assert sweep(tmp_path, "--sampler", "grid", name="grid", search=grid) == 0
    rows = show(tmp_path, capsys, "grid").trials
    assert sorted((row.settings["lr"], row.settings["latent"]) for row in rows) == [(lr, n) for lr in (0.001, 0.01) for n in (2, 3, 4)]
    assert sweep(tmp_path, "--sampler", "grid", "--trials", "7", name="more", search=grid) == 2
    assert "--trials 7: use 1 to 6, as many as there are combinations" in capsys.readouterr().err
    drawn = {name: [row.settings for row in show(tmp_path, capsys, name).trials] for name in ("tpe", "random")}
    assert drawn["tpe"] != drawn["random"]
    learned = show(tmp_path, capsys, "tpe")
    assert {"lr": learned.trials[0].settings["lr"]}["lr"] == pytest.approx(0.01, rel=0.5)
    assert learned.importance["lr"] > learned.importance["latent"]


@pytest.mark.slow
def test_the_same_seed_draws_the_same_trials_whoever_works_on_them(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "one", "--trials", "15") == 0
    scripted.dies = lambda: len(scripted.launched) % 2 == 1  # every worker dies as it starts its second run
    with pytest.raises(Death):
        sweep(tmp_path / "other", "--trials", "15")
    assert until_whole(lambda: resume(tmp_path / "other")) > 5
    assert show(tmp_path / "one", capsys).trials == show(tmp_path / "other", capsys).trials
    scripted.dies = lambda: False
    assert sweep(tmp_path / "third", "--trials", "15", "--seed", "1") == 0
    assert show(tmp_path / "one", capsys).trials != show(tmp_path / "third", capsys).trials


# --- deaths -------------------------------------------------------------------------------------------------------------------------------


def until_whole(work: Callable[[], int]) -> int:
    """Work again and again until no worker dies; returns how many did."""
    deaths = 0
    while True:
        try:
            assert work() == 0
        except Death:
            deaths += 1
        else:
            return deaths


class Mortal:
    """Counts what a worker does; it dies before or after one of these, or the disk is full then."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or Death()
        self.count = 0
        self.last = 0
        """The one that it does not survive; 0: none."""

    def __call__(self, what: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            self.pass_()
            found = what(*arguments, **options)
            self.pass_()
            return found

        return act

    def pass_(self) -> None:
        self.count += 1
        if self.count == self.last:
            raise self.error


def begin(folder: Path, *more: str, name: str = "s") -> None:
    """A sweep on which nobody has worked yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_module.Worker, "work", Mock(side_effect=Death))
        with pytest.raises(Death):
            sweep(folder, *more, name=name)


def test_a_worker_may_die_before_or_after_anything_that_it_writes(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    mortal = Mortal()
    begin(tmp_path / "none", "--trials", "1")
    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", mortal(JournalFileBackend.append_logs))
        patch.setattr(directory, "create", mortal(directory.create))
        patch.setattr(launch, "launch_blocking", mortal(scripted))
        assert resume(tmp_path / "none") == 0
        everything = mortal.count
        for last in range(1, everything + 1):
            folder = tmp_path / str(last)
            begin(folder, "--trials", "1")
            mortal.count, mortal.last = 0, last
            with pytest.raises(Death):
                resume(folder)
    assert everything > 20
    for last in range(1, everything + 1):
        folder = tmp_path / str(last)
        scripted.launched.clear()
        assert resume(folder) == 0
        check_whole(folder, 1)
        assert len(scripted.launched) == len({*scripted.launched}), "a run that had ended was started again"
        assert resume(folder) == 0  # nothing is left to do
        check_whole(folder, 1)


def test_a_line_that_a_kill_or_a_full_disk_cut_short_is_no_loss(tmp_path: Path, scripted: Scripted) -> None:
    scripted.dies = lambda: len(scripted.launched) % 3 == 2
    with pytest.raises(Death):
        sweep(tmp_path, "--trials", "6")
    log = find(tmp_path, "s").log_path
    for length in (1, 30, 5000):
        whole = log.read_bytes()
        log.write_bytes(whole + b'{"op_code": 5, "worker_id": "' + b"x" * length)
        with pytest.raises(Death) if length < 5000 else contextlib.nullcontext():
            resume(tmp_path)
        assert log.read_bytes().startswith(whole + b'{"op_code":')
        assert b"xxx" not in log.read_bytes()
    check_whole(tmp_path, 6)


def test_the_disk_may_be_full_at_anything_that_a_worker_writes(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It waits until there is space, and goes on by itself."""
    monkeypatch.setattr(outage, "RETRY", 0.001)
    asked: list[Path] = []

    def no_space_yet(folder: Path) -> None:
        asked.append(folder)
        if len(asked) % 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outage, "check_space", no_space_yet)
    mortal = Mortal(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(JournalFileBackend, "append_logs", mortal(JournalFileBackend.append_logs))
    monkeypatch.setattr(directory, "create", mortal(directory.create))
    monkeypatch.setattr(launch, "launch_blocking", mortal(scripted))
    begin(tmp_path / "none", "--trials", "1")
    mortal.count = 0
    assert resume(tmp_path / "none") == 0
    for last in range(1, mortal.count + 1):
        folder = tmp_path / str(last)
        mortal.last = 0
        begin(folder, "--trials", "1")
        mortal.count, mortal.last = 0, last
        capsys.readouterr()
        asked.clear()
        scripted.launched.clear()
        assert resume(folder) == 0
        check_whole(folder, 1)
        assert asked == [find(folder, "s").path] * 3
        assert capsys.readouterr().err == "s: the disk is full; waiting until there is space, as its runs do\n"
        assert len(scripted.launched) == 1


def test_a_run_that_finds_no_space_to_begin_does_not_fail_its_trial(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outage, "RETRY", 0.001)
    refused: list[str] = []

    class Full(Ended):
        returncode = 4

    def full_at_first(arguments: Sequence[str], log_path: Path) -> Ended:
        if len(refused) < 7:
            refused.append(arguments[1])
            return Full()
        return scripted(arguments, log_path)

    launch_with(full_at_first, monkeypatch)
    assert sweep(tmp_path, "--trials", "2") == 0
    assert capsys.readouterr().err.count("the disk is full") == 1
    check_whole(tmp_path, 2)
    assert refused == ["s-1"] * 7
    assert scripted.launched == ["s-1", "s-2"]


def test_without_space_a_command_says_so_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By which a sweep knows; what the run prints may be lost on the same disk."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(directory, "create", full)
    assert cli.run(["convnet", "--headless", "--runs-dir", str(tmp_path)]) == 4
    assert "No space left on device; free some space" in capsys.readouterr().err


def work_in_a_process(folder: str) -> int:
    """A worker of scripted runs, as a process of its own."""
    runs = Scripted()
    launch_with(runs)
    worker_module.POLL = worker_module.IDLE = 0.001
    return resume(Path(folder), jobs=2)


def test_workers_side_by_side_never_work_on_the_same_trial(tmp_path: Path, dlplay: Dlplay, scripted: Scripted) -> None:
    begin(tmp_path, "--trials", "24")
    workers = [dlplay.start(str(tmp_path), calling=work_in_a_process) for _ in range(4)]
    assert [worker.wait().status for worker in workers] == [0] * 4
    check_whole(tmp_path, 24)
    told = [line.split()[0] for worker in workers for line in worker.out.splitlines() if re.match(r"s-\d+ complete", line)]
    assert sorted(told) == sorted(directory.names(tmp_path))
    assert len({json.dumps(directory.find(tmp_path, name).spec.settings) for name in told}) == 24


def test_the_run_of_a_dead_worker_is_followed_to_its_end(
    tmp_path: Path, dlplay: Dlplay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process outlives the worker: the next one starts no second."""
    started = []

    def once(arguments: Sequence[str], log_path: Path) -> Forked:
        assert not started, "it was started again"
        started.append(dlplay.start(*arguments))
        wait_until(lambda: holder(directory.find(tmp_path, "s-1").lock_path), "its process holds it")
        raise Death

    launch_with(once, monkeypatch)
    with pytest.raises(Death):
        sweep(tmp_path, "--trials", "1", steps=400)
    assert resume(tmp_path) == 0
    check_whole(tmp_path, 1)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_from_its_checkpoint(
    tmp_path: Path, dlplay: Dlplay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Command] = []

    def killed_twice(arguments: Sequence[str], log_path: Path) -> Forked:
        started.append(dlplay.start(*arguments))
        if len(started) < 3:
            following = Following(directory.find(tmp_path, "s-1"))
            wait_until(lambda: any(event.step for event in following.of(Saved)) and following.reached(1, started[-1]), "it has saved")
            started[-1].kill()
        return Forked(started[-1])

    launch_with(killed_twice, monkeypatch)
    assert sweep(tmp_path, "--trials", "1", steps=3000) == 0
    check_whole(tmp_path, 1)
    assert len(started) == 3
    starts = [event.step for event in JournalReader(directory.find(tmp_path, "s-1").journal_path).read() if isinstance(event, Started)]
    assert len(starts) == 3
    assert starts[1] > 0


def test_a_run_that_always_dies_fails_its_trial_alone(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def first_dies(arguments: Sequence[str], log_path: Path) -> Ended:
        if arguments[1] != "s-1":
            return scripted(arguments, log_path)
        scripted.launched.append("s-1")
        return Killed()

    launch_with(first_dies, monkeypatch)
    assert sweep(tmp_path, "--trials", "2") == 0
    assert scripted.launched == ["s-1"] * 5 + ["s-2"]
    failed = show(tmp_path, capsys).trials[-1]
    assert (failed.run, failed.state) == ("s-1", "failed")
    assert "its process died 5 times (status -9)" in failed.why


def test_a_run_that_is_killed_often_but_gets_on_is_started_again(tmp_path: Path, scripted: Scripted) -> None:
    scripted.deaths_before_the_end = 8
    assert sweep(tmp_path, "--trials", "1", steps=10 * EVERY) == 0
    check_whole(tmp_path, 1)
    assert scripted.launched == ["s-1"] * 9


def test_a_run_that_was_interrupted_by_another_is_started_again(tmp_path: Path, scripted: Scripted) -> None:
    def first_interrupted(arguments: Sequence[str], log_path: Path) -> Ended:
        scripted.reason = "steps" if scripted.launched else "interrupted"
        return scripted(arguments, log_path)

    with pytest.MonkeyPatch.context() as patch:
        launch_with(first_interrupted, patch)
        assert sweep(tmp_path, "--trials", "1") == 0
    assert scripted.launched == ["s-1"] * 2
    check_whole(tmp_path, 1)


def test_a_run_that_somebody_else_trains_is_followed(tmp_path: Path, dlplay: Dlplay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that this worker starts is refused then."""
    started: list[Command] = []

    class Refused(Ended):
        returncode = 3

    def after_another(arguments: Sequence[str], log_path: Path) -> Ended:
        assert not started, "it was started again"
        started.append(dlplay.start(*arguments))
        wait_until(lambda: holder(directory.find(tmp_path, "s-1").lock_path), "its process holds it")
        return Refused()

    launch_with(after_another, monkeypatch)
    assert sweep(tmp_path, "--trials", "1", steps=400) == 0
    check_whole(tmp_path, 1)


def test_optuna_s_journal_is_written_by_one_at_a_time(tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path, "--trials", "1")
    folder = find(tmp_path, "s")
    locked: list[bool] = []
    fsync = os.fsync

    def look(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), folder.log_path.stat()):
            with (folder.locks_path / "journal").open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    locked.append(True)
                else:
                    locked.append(False)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", look)
    assert resume(tmp_path) == 0
    assert locked
    assert all(locked)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_saves_its_runs_and_says_how_to_go_on(number: int, tmp_path: Path, dlplay: Dlplay) -> None:
    worker = dlplay.start(str(tmp_path), calling=sweep_for_long)
    run = wait_until(lambda: directory.names(tmp_path), "a run")[0]
    following = Following(directory.find(tmp_path, run))
    wait_until(lambda: following.of(Evaluated), "it trains")
    worker.send(number)
    ended = worker.wait()
    assert (ended.status, ended.err) == (130, "dlplay: interrupted; dlplay sweep resume s goes on\n")
    assert following.of(Finished)[-1].reason == "interrupted"
    assert holder(directory.find(tmp_path, run).lock_path) is None


def sweep_for_long(folder: str) -> int:
    """A sweep that does not end, as a process of its own."""
    launch_with(ForkedHere)
    return sweep(Path(folder), "--trials", "2", jobs=2, steps=1000000)


def resume_for_long(folder: str) -> int:
    """Its next worker."""
    launch_with(ForkedHere)
    return resume(Path(folder), jobs=2)


def test_stopped_by_a_command_its_worker_and_runs_end_and_it_goes_on(
    tmp_path: Path, dlplay: Dlplay, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = dlplay.start(str(tmp_path), calling=sweep_for_long)
    runs = wait_until(lambda: len(directory.names(tmp_path)) == 2 and directory.names(tmp_path), "two runs")
    followed = [Following(directory.find(tmp_path, run)) for run in runs]
    wait_until(lambda: all(following.of(Evaluated) for following in followed), "they train")
    assert cli.run(["stop", "s", "--runs-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "stopped s: 0 of 2 trials have ended, 2 started and saved; dlplay sweep resume s goes on\n"
    ended = worker.wait()
    assert (ended.status, ended.err) == (130, "dlplay: stopped; dlplay sweep resume s goes on\n")
    assert [following.of(Finished)[-1].reason for following in followed] == ["interrupted"] * 2
    assert [holder(directory.find(tmp_path, run).lock_path) for run in runs] == [None, None]
    assert show(tmp_path, capsys).counts == {"left": 2}
    worker = dlplay.start(str(tmp_path), calling=resume_for_long)
    wait_until(lambda: all(len(following.of(Started)) == 2 for following in followed), "they go on")
    assert all(following.of(Started)[1].step > 0 for following in followed)
    assert cli.run(["stop", "s", "--runs-dir", str(tmp_path)]) == 0
    assert worker.wait().status == 130


def test_a_run_whose_worker_is_dead_is_stopped_with_its_sweep(tmp_path: Path, dlplay: Dlplay, capsys: pytest.CaptureFixture[str]) -> None:
    worker = dlplay.start(str(tmp_path), calling=sweep_for_long)
    run = directory.find(tmp_path, wait_until(lambda: directory.names(tmp_path), "a run")[0])
    following = Following(run)
    wait_until(lambda: following.of(Evaluated), "it trains")
    worker.kill()
    assert holder(run.lock_path) is not None
    assert cli.run(["sweep", "stop", "s", "--json", "--runs-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) | {"begun": 2} == {"name": "s", "ended": 0, "begun": 2, "trials": 2}
    assert following.of(Finished)[-1].reason == "interrupted"
    assert [holder(directory.find(tmp_path, name).lock_path) for name in directory.names(tmp_path)] == [None] * len(
        directory.names(tmp_path)
    )


def test_more_trials_are_added_later(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path / "once", "--trials", "6", "--sampler", "random") == 0
    assert sweep(tmp_path / "later", "--trials", "2", "--sampler", "random") == 0
    assert resume(tmp_path / "later", "--trials", "6") == 0
    check_whole(tmp_path / "later", 6)
    once, later = (show(tmp_path / name, capsys) for name in ("once", "later"))
    assert later == once
    assert later.wanted == 6
    assert cli.run(["sweep", "list", "--runs-dir", str(tmp_path / "later")]) == 0
    assert "6 of 6 trials" in capsys.readouterr().out
    assert resume(tmp_path / "later", "--trials", "3") == 2
    assert "--trials 3: s is a sweep of 6 trials already; give more than that" in capsys.readouterr().err
    assert resume(tmp_path / "later", "--trials", "100001") == 2
    assert "--trials 100001: use 1 to 100,000" in capsys.readouterr().err
    assert cli.run(["stop", "s", "--runs-dir", str(tmp_path / "later")]) == 0
    assert "s has ended, with 6 trials; dlplay sweep resume s --trials 12 adds as many" in capsys.readouterr().out


def test_a_grid_has_no_more_trials_than_combinations(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    values = ["--search", "lr=0.001,0.01", "--search", "latent=2,3"]
    assert sweep(tmp_path, "--sampler", "grid", "--trials", "1", search=values) == 0
    assert resume(tmp_path, "--trials", "5") == 2
    assert "--trials 5: use 1 to 4, as many as there are combinations" in capsys.readouterr().err
    assert resume(tmp_path, "--trials", "4") == 0
    check_whole(tmp_path, 4)


@pytest.mark.parametrize("kept", [0, 10**9, "many", None])
def test_what_an_optuna_study_keeps_of_the_number_of_trials_is_checked(
    kept: object, tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--trials", "1") == 0
    with opened(find(tmp_path, "s"), find(tmp_path, "s").spec, "") as backend:
        backend.study.set_user_attr("trials", kept)
    assert resume(tmp_path) == 2
    assert "what is kept of the sweep s cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("line", [b'{"op_code":99}', b"[]", b'{"op_code":0,"worker_id":1}'])
def test_a_damaged_journal_of_optuna_is_told_and_the_other_sweeps_are_listed(
    line: bytes, tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("damaged", "whole"):
        assert sweep(tmp_path, "--trials", "1", name=name) == 0
    log = find(tmp_path, "damaged").log_path
    log.write_bytes(line + b"\n" + log.read_bytes())
    (tmp_path / ".sweeps" / "link").symlink_to(tmp_path / ".sweeps" / "whole")
    capsys.readouterr()
    assert cli.run(["sweep", "list", "--runs-dir", str(tmp_path)]) == 0
    damaged, link, whole = capsys.readouterr().out.splitlines()
    assert damaged == f"damaged: {log} is damaged: Optuna cannot read it; restore it from a copy, or start another sweep"
    assert "is a link" in link
    assert whole.startswith("whole: autoencoder, 1 of 1 trials")
    assert resume(tmp_path, name="damaged") == 2
    assert capsys.readouterr().err == f"dlplay: {damaged.removeprefix('damaged: ')}\n"


def test_what_a_killed_command_left_behind_is_removed_by_the_next_sweep(tmp_path: Path, scripted: Scripted) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for kind in ("new", "gone"):
        (tmp_path / ".sweeps" / f".{kind}-{ended.pid}-x" / "locks").mkdir(parents=True)
    assert sweep(tmp_path, "--trials", "1") == 0
    assert [path.name for path in (tmp_path / ".sweeps").iterdir()] == ["s"]


# --- an outage of the database ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def outage_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """After the third run begins, the storage is gone when it is asked next, and so many times when it is opened again."""

    def begin(times: int) -> list[str]:
        gone: list[str] = []
        ask, open_ = worker_module.Worker._ask, outage.opened

        def asked(self: worker_module.Worker) -> Any:
            if len(self._trials()) == 3 and not gone:
                gone.append("asked")
                raise DatabaseGone("the sweep's database cannot be used")
            return ask(self)

        def opened_again(*arguments: Any) -> Any:
            if 0 < len(gone) <= times:
                gone.append("opened")
                raise DatabaseGone("the sweep's database cannot be used")
            return open_(*arguments)

        monkeypatch.setattr(worker_module.Worker, "_ask", asked)
        monkeypatch.setattr(outage, "opened", opened_again)
        monkeypatch.setattr(outage, "RETRY", 0.001)
        return gone

    return begin


def test_a_worker_waits_for_a_database_that_comes_back(
    tmp_path: Path, scripted: Scripted, outage_of: Callable[[int], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    gone = outage_of(3)
    assert sweep(tmp_path, "--trials", "5", jobs=2) == 0
    check_whole(tmp_path, 5)
    assert gone == ["asked", *["opened"] * 3]
    assert capsys.readouterr().err == "s: the database does not answer; waiting up to 5 min, and the runs train on\n"


def test_a_database_that_stays_away_ends_the_worker(
    tmp_path: Path,
    scripted: Scripted,
    outage_of: Callable[[int], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = outage_of(10**9)
    monkeypatch.setattr(outage, "PATIENCE", 0.05)
    assert sweep(tmp_path, "--trials", "5") == 2
    assert len(gone) > 2
    assert capsys.readouterr().err.endswith("dlplay: the sweep's database cannot be used\n")


# --- pruning and failing ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("prune", ["median", "hyperband"])
def test_worse_runs_are_pruned_and_it_says_why(
    prune: str, sampler: str, tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--trials", "30", "--prune", prune, "--sampler", sampler) == 0
    found = show(tmp_path, capsys)
    assert set(found.counts) == {"complete", "pruned"}
    pruned = [row for row in found.trials if row.state == "pruned"]
    for row in pruned:
        step = max(row.values)
        assert step < STEPS
        assert row.value == row.values[step]
        assert f"at step {step} was not among the better ones ({prune})" in row.why
    complete = [row.value for row in found.trials if row.state == "complete"]
    assert sum(complete) / len(complete) < sum(row.value for row in pruned) / len(pruned)
    assert found.best_value == min(complete)


def test_a_pruned_run_is_stopped_with_a_checkpoint(
    tmp_path: Path, dlplay: Dlplay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fork_runs(dlplay, monkeypatch)
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: True)
    assert sweep(tmp_path, "--trials", "1", "--prune", "median", steps=1000000) == 1
    run = directory.find(tmp_path, "s-1")
    assert finished(run).reason == "stopped"
    assert weights(run)[0] == finished(run).step
    assert holder(run.lock_path) is None
    (row,) = show(tmp_path, capsys).trials
    assert (row.state, row.values.keys()) == ("pruned", {EVERY})


def test_a_run_that_is_at_its_end_is_not_pruned_any_more(tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: STEPS in trial.study.trials[trial.number].intermediate_values)
    assert sweep(tmp_path, "--trials", "1", "--prune", "median") == 0
    check_whole(tmp_path, 1)


def test_a_worker_that_dies_while_it_prunes_has_pruned(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "should_prune", lambda trial: True)
        patch.setattr(launch, "stop_run", Mock(side_effect=Death))
        with pytest.raises(Death):
            sweep(tmp_path, "--trials", "1", "--prune", "median")
    assert resume(tmp_path) == 1
    (row,) = show(tmp_path, capsys).trials
    assert (row.state, row.values.keys()) == ("pruned", {EVERY})
    assert f"at step {EVERY} was not among the better ones (median)" in row.why


def test_how_a_run_ends_is_how_its_trial_ends(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    scripted.reason = "stopped"
    assert sweep(tmp_path, "--trials", "1", name="stopped") == 1
    scripted.reason, scripted.failure = "steps", "the loss is not a finite number"
    assert sweep(tmp_path, "--trials", "1", name="failed") == 1
    scripted.failure, scripted.curve = "", lambda settings, step: math.nan
    assert sweep(tmp_path, "--trials", "1", name="nan") == 1
    ends = {name: show(tmp_path, capsys, name).trials[0] for name in ("stopped", "failed", "nan")}
    assert {name: row.state for name, row in ends.items()} == {"stopped": "pruned", "failed": "failed", "nan": "failed"}
    assert ends["stopped"].why == f"it was stopped by hand at step {STEPS}"
    assert ends["failed"].why == f"the loss is not a finite number: a test says so (step {STEPS})"
    assert ends["nan"].why == f"the run measured no {METRIC}"


def test_settings_that_do_not_go_together_fail_their_trial_alone(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.curve = lambda settings, step: 1 / settings["kernel"]
    search = ["--search", "kernel=2,3,5", "--metric", "test_loss", "--sampler", "grid", "--runs-dir", str(tmp_path), "--name", "s"]
    scripted.metric = "test_loss"
    assert cli.run(["sweep", "convnet", *search]) == 0
    *good, bad = show(tmp_path, capsys).trials
    assert [(row.settings["kernel"], row.state) for row in good] == [(5, "complete"), (3, "complete")]
    assert (bad.settings, bad.state) == ({"kernel": 2}, "failed")
    assert bad.why.startswith("these settings cannot be used: --kernel 2 is even")
    assert directory.names(tmp_path) == sorted(row.run for row in good)


# --- what lies on the disk ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trials": 0}, "Expected `int` >= 1"),
        ({"trials": 10**9}, "<= 100000"),
        ({"search": {"rl": "1..2"}}, "there is no setting 'rl'"),
        ({"search": {"lr": "1e-4..1e9"}}, "out of bounds"),
        ({"search": {}}, "nothing to search"),
        ({"settings": {"batch": "many"}}, "--batch many is not a whole number"),
        ({"settings": {"batches": 3}}, "there is no setting 'batches'"),
        ({"settings": {"device": 5}}, "--device 5"),
        ({"search": {"lr": "0.1," * 9000}}, "length <= 20000"),
        ({"sampler": "best"}, "Invalid enum value"),
        ({"metric": "accuracy"}, "no such held-out metric"),
        ({"architecture": "nothing"}, "there is no architecture"),
        ({"name": "../../etc"}, "cannot be a run's name"),
        ({"name": "other"}, "a sweep's folder cannot be renamed"),
        ({"format": 2}, "Invalid enum value 2"),
        ({"origin": "x" * (2 << 20)}, "is larger than"),
    ],
)
def test_a_description_is_checked_when_it_is_read(
    change: dict[str, Any], words: str, tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(tmp_path, "--trials", "1")
    path = find(tmp_path, "s").path / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert resume(tmp_path) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said) < 1000


def test_a_description_that_is_no_file_is_refused(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    begin(tmp_path, "--trials", "1")
    path = find(tmp_path, "s").path / "sweep.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert resume(tmp_path) == 2
    assert "links are not followed" in capsys.readouterr().err
    path.unlink()
    path.write_text("[" * 100_000)
    assert resume(tmp_path) == 2
    assert "is not a sweep's description" in capsys.readouterr().err


def test_a_run_of_the_same_name_is_never_taken_for_a_trial(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    directory.create(tmp_path, ARCHITECTURE, {}, name="s-2")
    assert sweep(tmp_path, "--trials", "2") == 2
    assert "there is a run 's-2' already" in capsys.readouterr().err
    begin(tmp_path, "--trials", "1")
    directory.create(tmp_path, ARCHITECTURE, {}, name="s-1")
    assert resume(tmp_path) == 2
    assert "the run s-1 is not the one that the sweep s made" in capsys.readouterr().err
    assert sweep(tmp_path, "--trials", "1") == 2
    assert "there is a sweep 's' already; go on with it: dlplay sweep resume s" in capsys.readouterr().err
    assert cli.run(["sweep", "resume", "t", "--runs-dir", str(tmp_path)]) == 2
    assert "there is no sweep 't'" in capsys.readouterr().err


def test_a_trial_keeps_its_name(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By which its sweep finds it, ended or not."""
    scripted.dies = lambda: len(scripted.launched) == 2
    with pytest.raises(Death):
        sweep(tmp_path, "--trials", "2")
    for name in ("s-1", "s-2"):
        capsys.readouterr()
        assert cli.run(["label", name, "--rename", "best", "--runs-dir", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert f"{name} is a trial of the sweep s, which finds it by this name; tag it instead: dlplay label {name} --tags best" in said
    scripted.dies = lambda: False
    assert resume(tmp_path) == 0
    check_whole(tmp_path, 2)
    directory.create(tmp_path, ARCHITECTURE, {}, name="t-1", group="t")  # seeds, and no sweep
    assert directory.rename(directory.find(tmp_path, "t-1"), "best").name == "best"


def test_code_that_a_file_names_is_not_imported(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    begin(tmp_path, "--trials", "1")
    path = find(tmp_path, "s").path / "sweep.json"
    spec = json.loads(path.read_text())
    dqn = {"architecture": "dqn", "settings": {"env_module": "evil"}, "search": {"lr": "0.1,0.2"}, "metric": "eval_return"}
    path.write_text(json.dumps({**spec, **dqn}))
    assert resume(tmp_path) == 2
    assert "the sweep s names code to import, --env-module evil" in capsys.readouterr().err


@pytest.mark.slow
def test_code_that_a_person_names_is_trusted_in_the_runs_of_that_worker(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Sequence[str]] = []

    def note(arguments: Sequence[str], log_path: Path) -> Any:
        started.append(arguments)
        if len(started) == 2:
            raise Death
        return scripted(arguments, log_path)

    launch_with(note, monkeypatch)
    scripted.curve, scripted.metric = (lambda settings, step: settings["lr"]), "eval_return"
    words = ["sweep", "dqn", "--env-module", "mine", "--search", "lr=0.1,0.2,0.3", "--trials", "3", "--jobs", "1", "--name", "s"]
    with pytest.raises(Death):
        cli.run([*words, "--runs-dir", str(tmp_path)])
    assert resume(tmp_path) == 2
    assert "add --trust-code" in capsys.readouterr().err
    assert resume(tmp_path, "--trust-code") == 0
    assert ["--trust-code" in arguments for arguments in started] == [True] * 4


def test_what_is_going_on_is_shown(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    scripted.dies = lambda: len(scripted.launched) == 3
    with pytest.raises(Death):
        sweep(tmp_path, "--trials", "9")
    found = show(tmp_path, capsys)
    assert (found.wanted, found.counts) == (9, {"complete": 2, "left": 1})
    locks = FolderLocks(find(tmp_path, "s").locks_path)
    assert locks.take("2")
    assert show(tmp_path, capsys).counts == {"complete": 2, "training": 1}
    locks.close()
    assert cli.run(["sweep", "show", "s", "--runs-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"s: {ARCHITECTURE}, {METRIC} (lower is better), 9 trials: 2 complete, 1 left")
    assert f"best: {found.best}, {METRIC}" in text
    assert f"  dlplay {ARCHITECTURE} --headless" in text
    begin(tmp_path, name="t")
    capsys.readouterr()
    assert cli.run(["sweep", "list", "--json", "--runs-dir", str(tmp_path)]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["name"], first["ended"], first["trials"], first["run"]) == ("s", 2, 9, found.best)
    assert (second["name"], second["ended"], second["trials"], second["best"]) == ("t", 0, 20, None)
    assert cli.run(["sweep", "list", "--runs-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"t: {ARCHITECTURE}, 0 of 20 trials"
    for name in ("u-10", "u-2"):
        begin(tmp_path, name=name)
    assert sweep_names(tmp_path) == ["s", "t", "u-2", "u-10"]


def test_trials_that_end_before_their_time_are_told(tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path, "--trials", "3", "--minutes", "5") == 0
    assert show(tmp_path, capsys).note.startswith("3 of 3 trials came to their last step before their time was over")
    assert cli.run(["sweep", "show", "s", "--runs-dir", str(tmp_path)]) == 0
    assert "note: 3 of 3 trials" in capsys.readouterr().out
    scripted.reason = "minutes"
    assert sweep(tmp_path, "--trials", "3", name="t") == 0
    assert show(tmp_path, capsys, "t").note == ""


def test_the_best_settings_as_a_command_are_those_of_its_run_where_a_checkpoint_has_others(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint was trained with --augment, and the best trial without, which is the default."""
    scripted.metric, scripted.curve = "test_accuracy", lambda settings, step: 0.9 - 0.1 * settings["augment"]
    search = ["--search", "augment=true,false", "--sampler", "grid", "--steps", "10", "--eval-every", "10", "--name", "s"]
    assert cli.run(["sweep", "convnet", "--from", "convnet-digits", *search, "--runs-dir", str(tmp_path)]) == 0
    found = show(tmp_path, capsys)
    monkeypatch.setattr(training, "train", lambda *_, **__: 0)
    assert cli.run([*shlex.split(found.command)[1:], "--name", "again", "--runs-dir", str(tmp_path)]) == 0
    assert directory.find(tmp_path, "again").spec.settings == directory.find(tmp_path, found.best).spec.settings


def test_a_sweep_is_a_group_of_runs_that_is_removed_and_resumed_as_a_whole(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--trials", "3") == 0
    directory.create(tmp_path, ARCHITECTURE, {}, name="other")
    capsys.readouterr()
    assert cli.run(["resume", "s", "--headless", "--runs-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "dlplay: s is a sweep: dlplay sweep resume s goes on with it\n"
    assert cli.run(["rm", "s", "--runs-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["removed s-1", "removed s-2", "removed s-3", "removed the sweep s"]
    assert directory.names(tmp_path) == ["other"]
    assert sweep(tmp_path, "--trials", "1") == 0
    assert sweep(tmp_path, "--trials", "1", name="other") == 2
    assert "there is a run or a group 'other' already" in capsys.readouterr().err
    directory.create(tmp_path, ARCHITECTURE, {}, name="t-2-1", group="t-2")
    assert sweep(tmp_path, "--trials", "3", name="t") == 2
    assert "there is a group 't-2' already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"), [("s", "--storage goes with a sweep in a database, and s is none"), ("t", "the sweep's database cannot be used")]
)
def test_what_is_in_no_database_is_not_removed_from_one(
    name: str, words: str, tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--trials", "1") == 0
    assert cli.run(["rm", name, "--storage", URL, "--runs-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert [secret for secret in SECRETS if secret in said] == []
    assert sweep_names(tmp_path) == ["s"]


def test_a_run_that_has_the_name_of_a_sweep_is_never_removed_in_its_place(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--trials", "1") == 0
    directory.create(tmp_path, ARCHITECTURE, {}, name="other")
    (tmp_path / "other").rename(tmp_path / "s")
    capsys.readouterr()
    assert cli.run(["rm", "s", "--runs-dir", str(tmp_path)]) == 2
    assert "s is a run and a sweep; give the run another name: dlplay label s --rename NAME" in capsys.readouterr().err
    assert directory.names(tmp_path) == ["s", "s-1"]
    assert cli.run(["label", "s", "--rename", "other", "--runs-dir", str(tmp_path)]) == 0
    assert cli.run(["rm", "s", "other", "other", "--runs-dir", str(tmp_path)]) == 0
    assert directory.names(tmp_path) == []


def test_trials_take_the_gpus_in_turn(tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def note(arguments: Sequence[str], log_path: Path) -> Any:
        started.append(arguments[arguments.index("--device") + 1])
        return scripted([word for word in arguments if word not in ("--device", started[-1])], log_path)

    launch_with(note, monkeypatch)
    monkeypatch.setattr(worker_module, "devices", lambda device: ["cuda:0", "cuda:1"])
    assert sweep(tmp_path, "--trials", "6", jobs=2) == 0
    assert sorted(started) == ["cuda:0"] * 3 + ["cuda:1"] * 3


def test_so_many_trials_are_on_each_gpu(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is refused is told before there is a sweep."""
    jobs: list[int] = []
    monkeypatch.setattr(pool, "devices", lambda device: ["cuda:0", "cuda:1"] if device != "cpu" else [])
    monkeypatch.setattr(outage, "work", lambda *_, **given: jobs.append(given["jobs"]) or pytest.fail("it works"))
    asked = ["sweep", ARCHITECTURE, *SEARCH, "--trials", "3", "--name", "s", "--runs-dir", str(tmp_path), "--per-gpu"]
    for words, told in (
        (["3", "--jobs", "7"], "--jobs 7: --per-gpu 3 allows 6 at a time on 2 GPUs; leave one of them out"),
        (["2", "--device", "cpu"], "--per-gpu 2: with --device cpu these runs take no GPU here; leave it out"),
        (["2", "--on", "slurm"], "--per-gpu 2: with --on slurm each worker has one trial at a time; leave it out"),
        (["x"], "--per-gpu x is not a whole number, 0 to 64"),
    ):
        assert cli.run([*asked, *words]) == 2
        assert capsys.readouterr().err == f"dlplay: {told}\n"
    assert sweep_names(tmp_path) == []
    with pytest.raises(pytest.fail.Exception):
        cli.run([*asked, "3"])
    with pytest.raises(pytest.fail.Exception):
        cli.run(["sweep", "work", "s", "--per-gpu", "2", "--runs-dir", str(tmp_path)])
    assert jobs == [6, 4]
    capsys.readouterr()
    assert cli.run(["sweep", "work", "s", "--per-gpu", "2", "--jobs", "5", "--trials", "9", "--runs-dir", str(tmp_path)]) == 2
    assert "--per-gpu 2 allows 4 at a time on 2 GPUs" in capsys.readouterr().err
    assert find(tmp_path, "s").spec.trials == 3


def test_a_gpu_on_which_the_run_of_a_dead_worker_trains_is_not_the_next_one(
    tmp_path: Path, dlplay: Dlplay, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def start_and_die(arguments: Sequence[str], log_path: Path) -> Any:
        at = arguments.index("--device")
        started.append(arguments[at + 1])
        dlplay.start(*arguments[:at], *arguments[at + 2 :])
        wait_until(lambda: holder(log_path.with_name("lock")), "it trains")
        raise Death

    launch_with(start_and_die, monkeypatch)
    monkeypatch.setattr(worker_module, "devices", lambda device: ["cuda:0", "cuda:1"])
    with pytest.raises(Death):
        sweep(tmp_path, "--trials", "2", steps=1_000_000)
    with pytest.raises(Death):
        resume(tmp_path, jobs=2)
    assert started == ["cuda:0", "cuda:1"]
    assert cli.run(["stop", "s", "--runs-dir", str(tmp_path)]) == 0


def test_a_trial_that_a_person_puts_in_with_optuna_is_one_of_them(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(tmp_path, "--trials", "3")
    with opened(find(tmp_path, "s"), find(tmp_path, "s").spec, "") as backend:
        backend.study.enqueue_trial({"lr": 0.01, "latent": 4})
        backend.study.enqueue_trial({"lr": 0.02, "latent": 4})
    assert resume(tmp_path) == 0
    check_whole(tmp_path, 3)
    assert show(tmp_path, capsys).best == "s-1"
    assert [row.settings for row in show(tmp_path, capsys).trials if row.number < 3] == [{"lr": lr, "latent": 4} for lr in (0.01, 0.02)]


def test_settings_that_a_description_lacks_have_their_defaults(tmp_path: Path, scripted: Scripted) -> None:
    begin(tmp_path, "--trials", "1")
    path = find(tmp_path, "s").path / "sweep.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "settings": {"steps": STEPS}, "prune": "hyperband"}))
    assert resume(tmp_path) == 0
    check_whole(tmp_path, 1)


# --- a database's address -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["convnet", "--search", "lr=0.1,0.2", "--storage", URL],
        ["convnet", "--search", "lr=0.1,0.2", "--storage", URL.replace("/hidden", "?connect_timeout=no&dbname=hidden")],
        ["convnet", "--search", "lr=0.1,0.2", "--storage", URL.replace(":1/", ":port/")],
        ["convnet", "--search", "lr=0.1,0.2", "--storage=" + URL, "--stepz", "3"],
        ["convnet", "--search", "lr=0.1,0.2", URL],
        ["convnet", "--search", "lr=" + URL],
        [URL],
        ["resume", "s", URL],
        ["resume", "s", "--storage", URL],
        ["resume", URL],
        ["show", "s", "--storage", URL],
        ["resume", "s", "--slurm", URL],
    ],
)
def test_no_error_tells_the_address_of_a_database(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["sweep", *arguments, "--runs-dir", str(tmp_path)]) == 2
    said = capfd.readouterr()
    assert said.err.count("\n") == 1
    assert [secret for secret in SECRETS if secret in said.err + said.out] == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
