"""A sweep through a database, on a real PostgreSQL: machines that share nothing else, kills, an outage, an address that nobody reads."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dlplay import cli
from dlplay.experiments.sweep import outage
from dlplay.experiments.sweep import worker as worker_module
from dlplay.experiments.sweep.locks import held
from dlplay.experiments.sweep.spec import VARIABLE, find
from dlplay.experiments.sweep.storage import DatabaseLocks, address, opened
from dlplay.runs import directory
from dlplay.runs.lock import holder
from tests.conftest import Command, Dlplay, wait_until
from tests.services import Postgres, check_untold, postgres
from tests.sweeps import METRIC, Death, ForkedHere, Scripted, check_whole, finished, launch_with, resume, show, sweep

pytestmark = pytest.mark.slow

TRIALS, KILLS = 28, 10


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Runs that cost nothing."""
    runs = Scripted()
    launch_with(runs, monkeypatch)
    monkeypatch.setattr(worker_module, "IDLE", 0.01)
    return runs


def work(folder: str, name: str) -> int:
    """A worker as a process of its own, which has the address from the environment."""
    launch_with(Scripted())
    worker_module.POLL = worker_module.IDLE = 0.01
    return cli.run(["sweep", "work", name, "--jobs", "2", "--runs-dir", folder])


def ended(server: Postgres, name: str) -> int:
    """Trials of the sweep that have ended, as the database says."""
    asked = """SELECT count(*) FROM trials JOIN studies USING (study_id) WHERE study_name = %s AND state NOT IN ('RUNNING', 'WAITING')"""
    with psycopg.connect(server.url) as connection:
        (number,) = connection.execute(asked, (name,)).fetchone() or (0,)
        return int(number)


def test_machines_that_share_only_the_database_lose_nothing(
    tmp_path: Path, server: Postgres, dlplay: Dlplay, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    scripted.dies = lambda: True
    with pytest.raises(Death):
        sweep(one, "--trials", str(TRIALS), "--storage", server.url, name="shared")
    dice = random.Random(0)
    places = [one, one, other, other]

    def start(folder: Path) -> Command:
        return dlplay.start(str(folder), "shared", calling=work, env={VARIABLE: server.url})

    workers = [start(place) for place in places]
    kills = 0
    while kills < KILLS and any(worker.running for worker in workers):
        goal = ended(server, "shared") + dice.randrange(1, 3)
        wait_until(lambda: ended(server, "shared") >= min(goal, TRIALS), "more trials")  # noqa: B023
        number = dice.randrange(len(workers))
        if workers[number].running:
            workers[number].send(signal.SIGKILL)
            kills += 1
            workers[number] = start(places[number])
    assert kills == KILLS
    for worker in workers:
        end = worker.wait()
        assert (end.status, end.err) == (0, "")
        assert [secret for secret in server.secrets if secret in end.out] == []
    spec = find(one, "shared").spec
    assert spec == find(other, "shared").spec
    with opened(find(other, "shared"), spec, address(server.url)) as backend:
        trials = backend.study.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    for trial in trials:
        name = spec.run_name(trial.number)
        there = [directory.find(folder, name) for folder in (one, other) if name in directory.names(folder)]
        assert any(finished(run).metrics[METRIC] == trial.value for run in there if run.journal_path.exists())
    check_untold(server, one, other)
    show_arguments = ["sweep", "show", "shared", "--json", "--runs-dir", str(other), "--storage", server.url]
    capsys.readouterr()
    assert cli.run(show_arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"complete": TRIALS}
    assert found["best_value"] == min(trial.value for trial in trials)


def test_the_password_comes_from_the_environment_or_a_file(
    tmp_path: Path, server: Postgres, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = server.address(server.USER)
    monkeypatch.setenv("PGPASSWORD", server.PASSWORD)
    assert sweep(tmp_path, "--trials", "2", "--storage", without, name="variable") == 0
    check_whole(tmp_path, 2, "variable", address(without))
    monkeypatch.delenv("PGPASSWORD")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{server.port}:{server.DATABASE}:{server.USER}:{server.PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv(VARIABLE, without)
    assert resume(tmp_path, name="variable") == 0


@pytest.mark.parametrize("what", ["password", "user", "database", "silence"])
def test_what_a_database_refuses_is_told_without_its_address(
    what: str, tmp_path: Path, server: Postgres, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    url, words = {
        "password": (server.url.replace(server.PASSWORD, "wrong"), "refuses this user or password"),
        "user": (server.url.replace(server.USER, "nobody"), "refuses this user or password"),
        "database": (server.url.replace(server.DATABASE, "nothing"), "no such database"),
        "silence": (server.url.replace(str(server.port), "1"), "does not answer"),
    }[what]
    assert sweep(tmp_path / "runs", "--storage", url) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert [secret for secret in (*server.secrets, "wrong", "nobody", "nothing") if secret in said.replace("Nothing", "")] == []
    assert [path for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []


def studies(server: Postgres) -> list[str]:
    """The names of all sweeps in the database."""
    with psycopg.connect(server.url) as connection:
        return [name for (name,) in connection.execute("SELECT study_name FROM studies")]


def test_a_sweep_is_removed_with_its_trials_in_the_database(
    tmp_path: Path, server: Postgres, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--storage", server.url]
    for name in ("gone", "kept"):
        assert sweep(tmp_path, "--trials", "2", *where, name=name) == 0
    capsys.readouterr()
    with opened(find(tmp_path, "gone"), find(tmp_path, "gone").spec, address(server.url)) as backend:
        trial = backend.study.ask()
        with held(backend.locks, str(trial.number)):
            assert cli.run(["rm", "gone", *where, "--runs-dir", str(tmp_path)]) == 2
    assert "a worker has trial 3 of gone; stop it first: dlplay sweep stop gone --storage …" in capsys.readouterr().err
    assert directory.names(tmp_path) == ["gone-1", "gone-2", "kept-1", "kept-2"]
    assert cli.run(["rm", "gone", *where, "--runs-dir", str(tmp_path)]) == 0
    removed = ["removed gone-1", "removed gone-2", "removed the sweep gone", "removed the trials of gone from the database"]
    assert capsys.readouterr().out.splitlines() == removed
    assert "gone" not in studies(server)
    assert "kept" in studies(server)
    assert sweep(tmp_path, "--trials", "1", *where, name="gone") == 0  # the name is free again
    monkeypatch.setenv(VARIABLE, server.url)
    assert cli.run(["rm", "gone", "kept", "--runs-dir", str(tmp_path)]) == 0
    assert not {"gone", "kept"} & set(studies(server))


@pytest.mark.parametrize("why", ["silence", "password", "nothing given"])
def test_trials_that_stay_in_a_database_are_told_and_can_be_removed_later(
    why: str, tmp_path: Path, server: Postgres, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"stays-{why[:2]}"
    assert sweep(tmp_path, "--trials", "1", "--storage", server.url, name=name) == 0
    url, words = {
        "silence": (["--storage", server.url.replace(str(server.port), "1")], "it does not answer"),
        "password": (["--storage", server.url.replace(server.PASSWORD, "wrong")], "it refuses this user or password"),
        "nothing given": ([], "its address was given neither with --storage nor in the variable DLPLAY_STORAGE"),
    }[why]
    capsys.readouterr()
    assert cli.run(["rm", name, *url, "--runs-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    *_, last = said.splitlines()
    assert last.startswith(f"the trials of {name} stay in their database: {words}")
    assert last.endswith(f"; to delete them there: dlplay rm {name} --storage postgresql://USER@HOST/DATABASE")
    assert [secret for secret in (*server.secrets, "wrong") if secret in said] == []
    assert directory.names(tmp_path) == []
    assert name in studies(server)
    assert cli.run(["rm", name, "--storage", server.url, "--runs-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"removed the trials of {name} from the database\n"
    assert name not in studies(server)
    assert cli.run(["rm", name, "--storage", server.url, "--runs-dir", str(tmp_path)]) == 2
    assert f"there is no run, group or sweep '{name}', neither here nor in the database" in capsys.readouterr().err


def test_a_later_sweep_of_that_name_keeps_its_trials(
    tmp_path: Path, server: Postgres, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert sweep(one, "--trials", "1", "--storage", server.url, name="later") == 0
    assert resume(other, "--storage", server.url, name="later") == 0
    assert cli.run(["rm", "later", "--storage", server.url, "--runs-dir", str(one)]) == 0
    assert sweep(one, "--trials", "1", "--storage", server.url, name="later") == 0
    capsys.readouterr()
    assert cli.run(["rm", "later", "--storage", server.url, "--runs-dir", str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "removed the sweep later"
    assert "later" in studies(server)
    check_whole(one, 1, "later", address(server.url))


def test_a_database_that_stays_away_ends_the_workers_and_loses_nothing(
    tmp_path: Path, server: Postgres, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outage, "PATIENCE", 0.5)
    monkeypatch.setattr(outage, "RETRY", 0.1)
    scripted.dies = lambda: len(scripted.launched) == 3 and bool(server.stop() or True) and False
    assert sweep(tmp_path, "--trials", "5", "--storage", server.url, name="outage") == 2
    waits, ends = capsys.readouterr().err.splitlines()
    assert waits == "outage: the database does not answer; waiting up to 0.00833333 min, and the runs train on"
    assert "does not answer, or no longer" in ends
    assert [secret for secret in server.secrets if secret in waits + ends] == []
    server.start()
    scripted.dies = lambda: False
    assert resume(tmp_path, "--storage", server.url, name="outage") == 0
    check_whole(tmp_path, 5, "outage", address(server.url))
    check_untold(server, tmp_path)


def test_a_database_that_is_started_anew_is_waited_for(
    tmp_path: Path, server: Postgres, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the start, in the middle and at the end, with two trials at a time; it is away for several questions each time."""
    monkeypatch.setattr(outage, "RETRY", 0.05)
    questions: list[float] = []
    opens = outage.opened

    def opened_again(*arguments: Any) -> Any:
        questions.append(time.monotonic())
        if len(questions) % 5 == 0:
            server.start()
        return opens(*arguments)

    def goes_away() -> bool:
        if len(scripted.launched) in (1, 5, 9):
            server.stop()
        return False

    monkeypatch.setattr(outage, "opened", opened_again)
    scripted.dies = goes_away
    assert sweep(tmp_path, "--trials", "9", "--storage", server.url, name="anew", jobs=2) == 0
    check_whole(tmp_path, 9, "anew", address(server.url))
    assert capsys.readouterr().err == 3 * "anew: the database does not answer; waiting up to 5 min, and the runs train on\n"
    check_untold(server, tmp_path)


def test_both_ends_notice_when_the_other_machine_is_gone(tmp_path: Path, server: Postgres, scripted: Scripted) -> None:
    assert sweep(tmp_path, "--trials", "1", "--storage", server.url, name="ends") == 0
    with opened(find(tmp_path, "ends"), find(tmp_path, "ends").spec, address(server.url)) as backend:
        assert isinstance(backend.locks, DatabaseLocks)
        connection = backend.locks._connection
        theirs = [connection.exec_driver_sql(f"SHOW tcp_keepalives_{name}").scalar() for name in ("idle", "interval", "count")]
        with socket.socket(fileno=os.dup(connection.connection.driver_connection.fileno())) as ours:  # type: ignore[union-attr]
            options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
            assert (
                [ours.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [int(str(value)) for value in theirs] == [30, 10, 3]
            )


def test_a_sweep_in_a_database_is_stopped_and_gets_more_trials_from_another_folder(
    tmp_path: Path, server: Postgres, scripted: Scripted, dlplay: Dlplay, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert sweep(one, "--trials", "1", "--storage", server.url, name="far") == 0
    assert resume(other, "--trials", "3", "--storage", server.url, name="far") == 0
    capsys.readouterr()
    assert cli.run(["sweep", "show", "far", "--json", "--storage", server.url, "--runs-dir", str(one)]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"complete": 3}
    for name in ("far-2", "far-3"):
        assert name in directory.names(other)
    assert cli.run(["stop", "far", "--storage", server.url, "--runs-dir", str(other)]) == 0
    assert "far has ended, with 3 trials" in capsys.readouterr().out
    worker = dlplay.start(str(other), calling=sweep_for_long, env={VARIABLE: server.url})
    run = directory.RunDirectory(other / "long-1")
    wait_until(lambda: holder(run.lock_path), "it trains")
    assert cli.run(["sweep", "stop", "long", "--storage", server.url, "--runs-dir", str(one)]) == 0
    assert worker.wait().status == 130
    assert holder(run.lock_path) is None


def sweep_for_long(folder: str) -> int:
    """A sweep that does not end, as a process of its own."""
    launch_with(ForkedHere)
    return sweep(Path(folder), "--trials", "2", name="long", steps=1000000)


def test_a_sweep_in_a_database_needs_its_address_and_a_name_of_its_own(
    tmp_path: Path, server: Postgres, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path / "one", "--trials", "1", "--storage", server.url, name="named") == 0
    assert resume(tmp_path / "one", name="named") == 2
    assert (
        f"the trials of named are in a database: give its address with --storage, or in the variable {VARIABLE}" in capsys.readouterr().err
    )
    assert sweep(tmp_path / "other", "--trials", "1", "--storage", server.url, name="named") == 2
    assert "the database has a sweep 'named' already; join it: dlplay sweep work named" in capsys.readouterr().err
    assert resume(tmp_path / "other", "--storage", server.url, name="unknown") == 2
    assert "there is no sweep 'unknown', neither here nor in the database" in capsys.readouterr().err
    assert sweep(tmp_path / "plain", "--trials", "1", name="plain") == 0
    assert resume(tmp_path / "plain", "--storage", server.url, name="plain") == 2
    assert "the trials of plain are in its folder" in capsys.readouterr().err
    assert cli.run(["sweep", "list", "--runs-dir", str(tmp_path / "one")]) == 0
    assert capsys.readouterr().out == "named: autoencoder, in a database\n"
    assert show(tmp_path / "plain", capsys, "plain").counts == {"complete": 1}
