"""The command line as a script or a person without a screen meets it: what it prints, how it refuses, which status it ends with."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dlplay import architectures, cli
from dlplay.engine.events import Evaluated, Finished, Started, Stepped
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.journal import history
from tests.conftest import Dlplay, Small, flags, wait_until

DLPLAY = [sys.executable, "-P", "-m", "dlplay"]

TORCH_FREE = """
import json, sys
from dlplay.cli import run
report = {}
def note(what, status=0):
    report[what] = [status, sorted({"torch", "sklearn", "textual"} & set(sys.modules))]
note("--help", run(["--help"]))
for name in sys.argv[2:]:
    note(name, run([name, "--help"]))
note("runs", run(["runs", "--runs-dir", sys.argv[1]]))
note("compare", run(["compare", "gpt-reference", "--runs-dir", sys.argv[1]]))
note("unknown flag", run([sys.argv[2], "--no-such-flag"]))
import dlplay.screen.app
note("screen")
print(json.dumps(report), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def first() -> str:
    """The architecture of the first tab."""
    return next(iter(architectures.cards()))


def test_torch_is_not_imported_before_a_run_needs_it(tmp_path: Path) -> None:
    names = list(architectures.cards())
    ended = subprocess.run([sys.executable, "-c", TORCH_FREE, str(tmp_path), *names], capture_output=True, text=True, timeout=60)
    report = json.loads(ended.stderr.splitlines()[-1])
    assert {what: status for what, (status, _) in report.items()} == dict.fromkeys(["--help", *names, "runs", "compare", "screen"], 0) | {
        "unknown flag": 2
    }
    assert [what for what, (_, modules) in report.items() if set(modules) - {"textual"}] == []
    assert [what for what in ("--help", *names, "runs") if report[what][1]] == []  # nor Textual, before something is drawn
    for name, card in architectures.cards().items():
        assert name in ended.stdout
        assert card.summary in " ".join(ended.stdout.split())
    assert "no runs yet" in ended.stdout


FIRST_PAINT = """
import asyncio, os, sys
from pathlib import Path
from dlplay.screen.app import PlaygroundApp
async def main():
    app = PlaygroundApp(runs_dir=Path(sys.argv[1]), config_path=Path(sys.argv[1]) / "screen.json")
    app.open_tab = lambda *_: os.write(1, repr({"numpy", "torch"} & set(sys.modules)).encode()) and os._exit(0)
    async with app.run_test():
        await asyncio.Event().wait()
asyncio.run(main())
"""


def test_the_first_paint_waits_for_neither_numpy_nor_torch(tmp_path: Path) -> None:
    """Which takes a quarter of the time; what a tab needs is imported after it."""
    ended = subprocess.run([sys.executable, "-c", FIRST_PAINT, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "set()", ended.stderr[-2000:]


REFUSALS: dict[str, tuple[list[str], list[str]]] = {
    "unknown flag": (["ARCH", "--headless", "--stepz", "5"], ["--stepz", "--steps"]),
    "unknown architecture": (["convnett", "--headless"], ["convnett", "convnet"]),
    "bad value": (["ARCH", "--headless", "--steps", "many"], ["--steps many", "whole number", "1 to 1000000000"]),
    "out of bounds": (["ARCH", "--headless", "--threads", "999"], ["--threads 999", "1 to 256"]),
    "missing value": (["ARCH", "--headless", "--steps"], ["--steps"]),
    "bad device": (["ARCH", "--headless", "--device", "cudda"], ["--device cudda", "did you mean cuda?"]),
    "missing checkpoint": (["ARCH", "--headless", "--from", "no-such"], ["no-such", "no shipped model, run or checkpoint"]),
    "bad until": (["ARCH", "--headless", "--until", "accuracy=1"], ["--until", "accuracy=1", "test_accuracy>=0.99"]),
    "unknown metric": (["ARCH", "--headless", "--until", "nonsense>=1"], ["--until nonsense>=1", "known are"]),
    "unknown panel": (["ARCH", "--headless", "--panel", "no-such"], ["'no-such'", "known are"]),
    "training while asking": (["gpt", "--headless", "--prompt", "a", "--steps", "3"], ["--steps", "leave it out"]),
    "preset while asking": (["gpt", "--headless", "--prompt", "a", "--preset", "tiny"], ["--preset", "leave it out"]),
    "asking another model": (["seq2seq", "--headless", "--task", "dates", "--source", "a"], ["seq2seq-reverse", "--task reverse"]),
    "missing settings": (["ARCH", "--headless", "--set-file", "NOWHERE"], ["nowhere.json", "No such file"]),
    "bad settings": (["ARCH", "--headless", "--set-file", "BROKEN"], ["broken.json", "not JSON"]),
    "unknown setting": (["ARCH", "--headless", "--set-file", "FOREIGN"], ["'stepz'", "did you mean steps?"]),
    "unknown preset": (["ARCH", "--headless", "--preset", "no-such"], ["'no-such'", "known are"]),
    "json without headless": (["ARCH", "--json"], ["--json needs --headless"]),
    "bad name": (["ARCH", "--headless", "--name", "../up"], ["'../up'", "a-z 0-9"]),
    "no terminal": (["ARCH"], ["needs a terminal", "--headless"]),
    "no terminal at all": ([], ["needs a terminal", "--headless"]),
    "rm of an unknown run": (["rm", "no-such"], ["'no-such'", "none yet"]),
    "stop of an unknown run": (["stop", "no-such"], ["'no-such'"]),
    "attach to an unknown run": (["attach", "no-such"], ["'no-such'"]),
    "resume of an unknown run": (["resume", "no-such", "--headless"], ["'no-such'"]),
    "rm of nothing": (["rm"], ["NAMES"]),
}


def test_what_is_wrong_is_told_in_one_line(dlplay: Dlplay, first: str, tmp_path: Path) -> None:
    files = {"NOWHERE": "nowhere.json", "BROKEN": "broken.json", "FOREIGN": "foreign.json"}
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "foreign.json").write_text('{"stepz": 3}')
    runs = tmp_path / "runs"
    refusals = dict(REFUSALS)
    if not torch.cuda.is_available():
        refusals["no such device"] = (["ARCH", "--headless", "--device", "cuda"], ["--device cuda", "--device cpu"])
    for name, card in architectures.cards().items():
        for item in [item for item in ("data", "text") if hasattr(card.settings, item)]:
            refusals[f"missing data of {name}"] = ([name, "--headless", f"--{item}", "/no/such/file"], ["/no/such/file"])
            refusals[f"a folder of nothing for {name}"] = ([name, "--headless", f"--{item}", str(tmp_path / "empty")], ["empty"])
    (tmp_path / "empty").mkdir()
    wrong = {}
    for what, (arguments, words) in refusals.items():
        typed = [str(tmp_path / files[word]) if word in files else first if word == "ARCH" else word for word in arguments]
        if typed and what != "unknown architecture":
            typed[1:1] = ["--runs-dir", str(runs)]
        ended = dlplay(*typed)
        lines = ended.err.splitlines()
        fine = ended.status == 2 and ended.out == "" and len(lines) == 1 and lines[0].startswith("dlplay: ")
        if not fine or not all(word in lines[0] for word in words):
            wrong[what] = ended
    assert wrong == {}
    assert not runs.exists() or [*runs.iterdir()] == []  # a run that could not begin leaves nothing behind


def test_plain_output_ends_early_and_the_run_is_listed_and_removed(dlplay: Dlplay, small: Small, first: str, tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    metric, better = architectures.card(first).metric, architectures.card(first).better
    until = f"{metric}{'>=0' if better == 'higher' else '<=1e9'}"
    settings = small(first) | {"steps": 1000, "eval_every": 30, "until": until}
    ended = dlplay(first, "--headless", "--name", "early", "--runs-dir", runs, *flags(settings), env={"TERM": "xterm-256color"})
    assert (ended.status, ended.err) == (0, "")
    assert "\x1b" not in ended.out
    assert ended.out.startswith("early started: ")
    assert "early reached --until at step 30" in ended.out
    assert metric in ended.out
    assert len(ended.out.splitlines()) < 15
    table = dlplay("runs", "--runs-dir", runs)
    assert "early" in table.out
    assert "finished" in table.out
    [listed] = [json.loads(line) for line in dlplay("runs", "--json", "--runs-dir", runs).out.splitlines()]
    assert (listed["name"], listed["state"], listed["step"], listed["steps"]) == ("early", "finished", 30, 1000)
    near = dlplay("stop", "earlly", "--runs-dir", runs)
    assert (near.status, "did you mean early?" in near.err) == (2, True)
    taken = dlplay(first, "--headless", "--name", "early", "--runs-dir", runs)
    assert (taken.status, "dlplay rm early" in taken.err) == (2, True)
    assert dlplay("rm", "early", "--runs-dir", runs).out == "removed early\n"
    assert [*(tmp_path / "runs").iterdir()] == []


def test_words_are_printed_with_what_the_model_says_of_each(dlplay: Dlplay, tmp_path: Path) -> None:
    asked = ("gpt", "--headless", "--panel", "prompt_tokens", "--prompt", "the value of qzx", "--runs-dir", str(tmp_path))
    said = json.loads(dlplay(*asked, "--json").out)
    lines = dlplay(*asked).out.splitlines()
    assert lines[0] == "the value of qzx"
    assert said["figure"] in lines[1], "perplexity"
    assert "qzx" in lines[1], "what is not in the vocabulary"
    rows = {line.partition(":")[0].partition(" (")[0].strip(): line for line in lines[2:]}
    for row in said["rows"][1:]:
        assert f"{100 * row['value']:.2f} %" in rows[row["word"]]


def test_a_question_says_which_panel_knows_its_option(dlplay: Dlplay, tmp_path: Path) -> None:
    refused = dlplay("gpt", "--headless", "--layer", "1", "--runs-dir", str(tmp_path))
    assert refused.status == 2
    assert "--panel attention" in refused.err
    answered = dlplay("gpt", "--headless", "--layer", "1", "--panel", "attention", "--json", "--runs-dir", str(tmp_path))
    assert json.loads(answered.out)["kind"] == "heatmap"


def test_the_runs_are_listed_whole_and_the_newest_first(dlplay: Dlplay, small: Small, first: str, tmp_path: Path) -> None:
    for name in ("older-with-a-rather-long-name", "newer"):
        assert dlplay(first, "--headless", "--name", name, "--runs-dir", str(tmp_path), *flags(small(first) | {"steps": 2})).status == 0
    listed = dlplay("runs", "--runs-dir", str(tmp_path), env={"COLUMNS": "40"}).out.splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [["newer", "finished"], ["older-with-a-rather-long-name", "finished"]]
    assert all(line == line.rstrip() for line in listed)


def test_a_command_that_comes_after_a_flag_is_told_its_place(dlplay: Dlplay, tmp_path: Path) -> None:
    for typed in (["--runs-dir", str(tmp_path), "convnet"], ["--runs-dir", str(tmp_path), "runs"]):
        ended = dlplay(*typed)
        assert (ended.status, ended.err) == (2, f"dlplay: the command comes first: dlplay {typed[-1]} --runs-dir …\n")


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(dlplay: Dlplay, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = dlplay("gpt", "--headless", "--runs-dir", str(tmp_path / "file"), "--steps", "2")
    assert refused.status == 2
    assert "--runs-dir" in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_metric_that_these_settings_do_not_give_ends_the_run_in_words(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    ended = dlplay("bert", "--headless", "--until", "test_accuracy>=1", "--runs-dir", str(tmp_path), *flags(small("bert")))
    assert ended.status == 1
    assert "known are" in ended.err
    assert architectures.card("bert").metric in ended.err


def test_an_older_checkpoint_is_taken_aloud_and_none_at_all_changes_nothing(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    settings = small("convnet") | {"steps": 30, "save_every": 10}
    assert dlplay("convnet", "--headless", "--name", "own", "--runs-dir", str(tmp_path), *flags(settings)).status == 0
    run = RunDirectory(tmp_path / "own")

    def damage(step: int) -> None:
        weights = run.path / "checkpoints" / f"step-{step}" / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")

    damage(30)
    exported = dlplay("export", "own", str(tmp_path / "own.onnx"), "--to", "onnx", "--runs-dir", str(tmp_path))
    assert exported.status == 0
    assert "a checkpoint was refused" in exported.err
    assert "the one of step 20 is taken" in exported.err
    damage(20)
    damage(10)
    before = run.journal_path.read_bytes()
    refused = dlplay("resume", "own", "--headless", "--steps", "40", "--runs-dir", str(tmp_path))
    assert refused.status == 2
    assert "none of the 3 checkpoints of own can be read" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert run.journal_path.read_bytes() == before


def test_a_path_in_a_file_of_settings_means_the_same_everywhere(
    dlplay: Dlplay, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.txt").write_text("so on and so on, and no more of it. " * 100)
    (tmp_path / "settings.json").write_text(json.dumps(small("gpt") | {"text": "own.txt", "steps": 3}))
    monkeypatch.chdir(tmp_path)
    begun = dlplay("gpt", "--headless", "--set-file", "settings.json", "--runs-dir", "runs", "--name", "own")
    assert (begun.status, begun.err) == (0, "")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed = dlplay("resume", "own", "--headless", "--steps", "5", "--runs-dir", "../runs")
    assert (resumed.status, resumed.err) == (0, "")


def test_a_setting_that_changes_nothing_is_told(dlplay: Dlplay, tmp_path: Path) -> None:
    command = ["autoencoder", "--headless", *flags({"hidden": 4, "latent": 2, "steps": 2}), "--runs-dir", str(tmp_path), "--beta", "4"]
    ended = dlplay(*command, "--lr", "0.01", "--jobs", "2")
    told = "dlplay: no effect with these settings: --beta is for --variational; --jobs is for --seeds\n"
    assert (ended.status, ended.err) == (0, told)
    ended = dlplay(*command, "--variational")
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("gpt", "--headless", "--text", "~nobody-here/x"),
        ("gpt", "--headless", "--from", "~nobody-here/x"),
        ("gpt", "--headless", "--set-file", "~nobody-here/x"),
        ("export", "gpt-reference", "~nobody-here/x", "--to", "onnx"),
        ("runs", "--runs-dir", "~nobody-here/x"),
    ],
)
def test_the_home_of_nobody_is_refused_in_one_line(arguments: tuple[str, ...], dlplay: Dlplay) -> None:
    refused = dlplay(*arguments)
    assert refused.status == 2
    assert refused.err.count("\n") == 1
    assert "'~nobody-here/x' begins with the home folder of an unknown user; give the full path" in refused.err


def test_weights_are_taken_over_from_a_run_and_from_a_shipped_model(dlplay: Dlplay, small: Small, first: str, tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    assert dlplay(first, "--headless", "--name", "one", "--runs-dir", runs, *flags(small(first) | {"steps": 40})).status == 0
    ended = dlplay(first, "--headless", "--from", "one", "--name", "two", "--runs-dir", runs, "--json", "--steps", "1")
    assert (ended.status, ended.err) == (0, "")
    one, two = (history(tmp_path / "runs" / name / "events.jsonl") for name in ("one", "two"))
    assert isinstance(two[0], Started)
    assert two[0].origin == "one"
    assert [e.metrics for e in one if isinstance(e, Evaluated)][-1] == next(e.metrics for e in two if isinstance(e, Evaluated))
    other = next(name for name in architectures.cards() if name != first)
    foreign = dlplay(other, "--headless", "--from", "one", "--runs-dir", runs)
    assert (foreign.status, f"dlplay {first}" in foreign.err) == (2, True)


def test_a_reader_that_goes_away_does_not_end_the_run(small: Small, first: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "piped")
    typed = ["--headless", "--json", "--runs-dir", str(run.path.parent), "--name", run.name, *flags(small(first) | {"steps": 60})]
    process = subprocess.Popen([*DLPLAY, first, *typed], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["type"] == "started"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0
    assert isinstance(history(run.journal_path)[-1], Finished)


def test_an_interrupt_saves_and_ends_with_130(small: Small, first: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "broken-off")
    typed = ["--headless", "--runs-dir", str(run.path.parent), "--name", run.name, *flags(small(first) | {"steps": 10**6})]
    with subprocess.Popen([*DLPLAY, first, *typed], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path) as process:
        wait_until(lambda: any(isinstance(event, Stepped) for event in history(run.journal_path)), "training")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    finished = history(run.journal_path)[-1]
    assert isinstance(finished, Finished)
    assert f"broken-off interrupted, saved at step {finished.step:,}" in out
    assert run.store.names()[-1] == f"step-{finished.step}"


def test_a_terminal_that_cannot_draw_is_told_of_headless(first: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        ended = subprocess.run(
            [*DLPLAY, first],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "dumb"},
            text=True,
            timeout=60,
            cwd=tmp_path,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "TERM='dumb'" in ended.stderr
    assert "--headless" in ended.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr", "'lr' is not a name, = and a value"),
        ("batch=3", "batch cannot change in a run"),
        ("lrr=1", "did you mean lr"),
        ("lr=fast", "--lr fast is not a number"),
    ],
)
def test_what_cannot_change_in_a_resumed_run_is_refused(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = directory.create(tmp_path, "convnet", {})
    assert cli.run(["resume", run.name, "--headless", "--set", text, "--runs-dir", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_ctrl_c_while_it_still_imports_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("raise KeyboardInterrupt")
    program = Path(architectures.__file__).parents[1] / "__main__.py"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-P", program, "runs"], env=environment, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "dlplay: interrupted\n")
