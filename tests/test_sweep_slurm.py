"""A sweep whose workers are Slurm's jobs, on a real Slurm of one node: submitted, cancelled, killed, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dlplay import cli
from dlplay.engine.settings import SettingsError
from dlplay.experiments.sweep.slurm import parse_options
from dlplay.experiments.sweep.storage import address
from dlplay.runs import directory
from tests.conftest import wait_until
from tests.services import Slurm, check_untold, postgres, slurm
from tests.sweeps import check_whole, show, sweep

TRIALS = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with slurm() as started:
        yield started


@pytest.fixture
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without Slurm too."""
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("srun")
def test_what_slurm_is_told_is_checked() -> None:
    assert parse_options("partition=gpu,gres=gpu:1,time=60,cpus-per-task=2") == {
        "partition": "gpu",
        "gres": "gpu:1",
        "time": 60,
        "cpus_per_task": 2,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "for how many minutes"),
        ("partition=gpu", "for how many minutes"),
        ("time=1:00:00", "for how many minutes"),
        ("partitoin=gpu,time=60", "there is no such option; did you mean partition?"),
        ("setup=rm,time=60", "there is no such option"),
        ("time", "write names and values"),
        ("time=60,partition=$(reboot)", "write names and values"),
        ("time=60,partition=a\n#SBATCH -x", "write names and values"),
    ],
)
def test_what_slurm_cannot_be_told_is_said(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_options(text)
    assert words in str(error.value)


def test_without_slurm_or_submitit_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on = ["--on", "slurm", "--slurm", "time=5"]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        assert sweep(tmp_path / "runs", *on) == 2
    assert capsys.readouterr().err == "dlplay: --on slurm: there is no srun on this machine; submit from a login node of the cluster\n"
    monkeypatch.setitem(sys.modules, "submitit.slurm.slurm", None)
    assert sweep(tmp_path / "runs", *on) == 2
    assert capsys.readouterr().err == "dlplay: --on slurm needs the package submitit: pip install 'dlplay[slurm]'\n"
    assert not (tmp_path / "runs").exists()


def workers(name: str) -> list[int]:
    """The processes `dlplay sweep work NAME`."""
    found = []
    for process in psutil.process_iter():
        with psutil_gone():
            words = process.cmdline()
            if "sweep" in words and words[words.index("sweep") + 1 :][:2] == ["work", name]:
                found.append(process.pid)
    return found


def psutil_gone() -> contextlib.AbstractContextManager[None]:
    return contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess)


def saved(folder: Path) -> list[str]:
    """The runs that have saved a checkpoint after their first step."""
    return [name for name in directory.names(folder) if len([*(folder / name / "checkpoints").glob("step-*")]) > 1]


@pytest.mark.slow
def test_submitted_cancelled_and_killed_workers_lose_nothing(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    on = ["--on", "slurm", "--slurm", "partition=main,time=5", "--json"]
    assert sweep(tmp_path, "--trials", str(TRIALS), *on, name="slurm", steps=2000, jobs=2) == 0
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert [job.partition("_")[2] for job in jobs] == ["0", "1"]  # one array
    wait_until(lambda: len(saved(tmp_path)) == 2, "both workers have runs that train")
    cluster("scancel", jobs[0])
    (left,) = wait_until(lambda: len(found := workers("slurm")) == 1 and found, "one worker is cancelled")
    os.kill(left, signal.SIGKILL)
    wait_until(lambda: not cluster("squeue", "-h"), "no job is left")
    counts = show(tmp_path, capsys, "slurm").counts
    assert counts.get("complete", 0) < TRIALS
    assert sum(counts.values()) <= TRIALS
    assert cli.run(["sweep", "work", "slurm", "--jobs", "2", "--runs-dir", str(tmp_path), *on]) == 0
    wait_until(lambda: show(tmp_path, capsys, "slurm").counts == {"complete": TRIALS}, "all trials are complete", 150)
    wait_until(lambda: not cluster("squeue", "-h"), "the workers have ended")
    check_whole(tmp_path, TRIALS, "slurm")


@pytest.mark.slow
def test_stopped_it_leaves_no_worker_that_waits_for_its_place(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    on = ["--on", "slurm", "--slurm", "partition=main,time=5"]
    assert sweep(tmp_path, "--trials", "4", *on, name="crowd", steps=1_000_000, jobs=4) == 0
    wait_until(lambda: len(saved(tmp_path)) == 2, "there is place for two")
    assert cluster("squeue", "-h", "-t", "PENDING")
    assert cli.run(["stop", "crowd", "--runs-dir", str(tmp_path)]) == 0
    assert "0 of 4 trials have ended, 2 started and saved" in capsys.readouterr().out
    wait_until(lambda: not cluster("squeue", "-h"), "no job is left")
    assert workers("crowd") == []
    assert show(tmp_path, capsys, "crowd").counts == {"left": 2}


@pytest.mark.slow
def test_a_database_s_address_reaches_the_jobs_and_no_file(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    on = ["--on", "slurm", "--slurm", "time=5"]
    with postgres() as server:
        assert sweep(tmp_path, "--trials", "1", "--storage", server.url, *on) == 0
        wait_until(lambda: finished_runs(tmp_path), "the run has ended")
        wait_until(lambda: not cluster("squeue", "-h"), "the worker has ended")
        check_whole(tmp_path, 1, url=address(server.url))
        check_untold(server, tmp_path)
        said = capsys.readouterr()
        assert [secret for secret in server.secrets if secret in said.out + said.err] == []


def finished_runs(folder: Path) -> list[str]:
    return [name for name in directory.names(folder) if directory.summary(directory.find(folder, name)).state == "finished"]


@pytest.mark.slow
def test_what_slurm_refuses_is_told(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    assert sweep(tmp_path, "--trials", "1", "--on", "slurm", "--slurm", "partition=nowhere,time=5") == 2
    said = capsys.readouterr().err
    assert "Slurm refused the workers: " in said
    assert "invalid partition specified: nowhere" in said
    assert "then dlplay sweep work s --on slurm" in said
