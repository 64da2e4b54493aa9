"""Standard input, output and error as shells hand them over: full, closed, in another encoding."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dlplay import architectures
from dlplay.cli import run
from tests.conftest import Dlplay, Small, flags

QUICK = {"help": "--help", "runs": "runs", "version": "--version"}


def shell(command: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """`sh -c COMMAND`, in which "$dlplay" is the command line."""
    start = tmp_path / "start"
    start.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m dlplay "$@"\n')
    start.chmod(0o700)
    root = str(Path(__file__).parent.parent)
    whole = {**os.environ, "PYTHONPATH": root, "XDG_DATA_HOME": str(tmp_path), "dlplay": str(start), **env}
    return subprocess.run(["bash", "-c", command], cwd=tmp_path, env=whole, capture_output=True, timeout=300, check=False)


@pytest.mark.parametrize("command", QUICK.values(), ids=QUICK)
def test_a_full_disk_is_told_and_gives_a_status(command: str, tmp_path: Path) -> None:
    ended = shell(f'"$dlplay" {command} --runs-dir r >/dev/full' if command == "runs" else f'"$dlplay" {command} >/dev/full', tmp_path)
    assert ended.returncode == 4
    assert ended.stderr.startswith(b"dlplay: ")
    assert b"No space left on device" in ended.stderr
    assert ended.stderr.count(b"\n") == 1


def test_a_run_goes_on_without_an_output_and_says_so(dlplay: Dlplay, tmp_path: Path, small: Small) -> None:
    where = ["--name", "on", "--runs-dir", str(tmp_path / "runs")]
    typed = ["convnet", "--headless", "--json", *where, *flags(small("convnet") | {"steps": 5})]
    ended = dlplay(*typed, calling=into_a_full_disk)
    assert ended.status == 4
    assert ended.err.count("No space left on device") == 1
    kept = [json.loads(line) for line in (tmp_path / "runs" / "on" / "events.jsonl").read_text().splitlines()]
    assert kept[-1]["type"] == "finished"


def into_a_full_disk(*arguments: str) -> int:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    return run(arguments)


@pytest.mark.parametrize("command", QUICK.values(), ids=QUICK)
def test_a_closed_pipe_stays_quiet(command: str, tmp_path: Path) -> None:
    ended = shell(f'mkfifo p; (exec <p) & "$dlplay" {command} >p; echo "status $?"', tmp_path)
    assert ended.stdout == b"status 0\n"
    assert ended.stderr == b""


def test_closed_streams_are_told_or_done_without(tmp_path: Path) -> None:
    ended = shell('"$dlplay" runs >&-', tmp_path)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1)
    assert b"standard output is closed" in ended.stderr
    ended = shell('"$dlplay" runs 2>&- <&-', tmp_path)
    assert (ended.returncode, b"no runs yet" in ended.stdout) == (0, True)
    ended = shell('"$dlplay" <&-', tmp_path)
    assert (ended.returncode, b"needs a terminal" in ended.stderr) == (2, True)


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.slow)])
def test_another_encoding_escapes_what_it_lacks(encoding: str, tmp_path: Path) -> None:
    asked = '"$dlplay" gpt --headless --json --prompt "日本 é 𝄞" --device cpu'
    ended = shell(asked, tmp_path, PYTHONIOENCODING=encoding)
    assert ended.returncode == 0, ended.stderr
    plain = json.loads(shell(asked, tmp_path, PYTHONIOENCODING="utf-8").stdout)
    assert json.loads(ended.stdout.decode(encoding)) == plain
    assert shell('"$dlplay" gpt --help', tmp_path, PYTHONIOENCODING=encoding).returncode == 0


@pytest.mark.parametrize("locale", [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
@pytest.mark.parametrize("flag", ["--prompt", "--text", "--from", "--runs-dir", "--name"])
def test_bytes_of_another_encoding_are_refused_in_words(flag: str, locale: dict[str, str], tmp_path: Path) -> None:
    ended = shell(f'"$dlplay" gpt --headless {flag} "$(printf "caf\\351")"', tmp_path, **locale)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1)
    assert b"not UTF-8" in ended.stderr
    assert not [*tmp_path.glob("dlplay/runs/*")]


def test_a_folder_whose_name_is_not_utf_8_is_named(tmp_path: Path) -> None:
    made = 'mkdir "$(printf "d\\351")" && cd "$(printf "d\\351")" && echo "a b c d" > t.txt && '
    ended = shell(made + '"$dlplay" gpt --headless --from ./x --text t.txt', tmp_path)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1)
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("when", ["torch", "started"])
def test_an_interruption_at_the_start_leaves_a_word(dlplay: Dlplay, tmp_path: Path, small: Small, when: str) -> None:
    runs = tmp_path / "runs"
    typed = ["convnet", "--headless", "--name", "on", "--runs-dir", str(runs), *flags(small("convnet") | {"steps": 5})]
    ended = dlplay(*typed, calling=interrupted_before_torch if when == "torch" else interrupted_by_the_baselines)
    assert ended.status == 130
    assert ended.err.startswith("dlplay: interrupted")
    assert ended.err.count("\n") == 1
    assert (runs / "on").exists() == ("dlplay resume on" in ended.err) == (when == "started")


def interrupted_before_torch(*arguments: str) -> int:
    from dlplay.runs import process

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
    process.run = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)  # type: ignore[assignment,misc]
    return run(arguments)


def interrupted_by_the_baselines(*arguments: str) -> int:
    from dlplay.engine.task import Task

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for card in architectures.cards().values():
        task: type[Task] = card.load_task()  # type: ignore[type-arg]
        task.baselines = lambda _: os.kill(os.getpid(), signal.SIGINT)  # type: ignore[assignment,method-assign,misc]
        task.baselines_key = lambda _: ""  # type: ignore[method-assign,misc]
    return run(arguments)
