"""Runs beside each other on the command line: what is shared, what differs, what was reached, and what cannot be read."""

import csv
import io
import json
import math
import re
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from dlplay import architectures, cli, widgets
from dlplay.engine.events import Applied, Baselines, DurableEvent, Evaluated, Finished, Started, Stepped
from dlplay.engine.settings import SettingsError, to_dict
from dlplay.experiments.compare import files, picture, report, sources, spread
from dlplay.experiments.compare.comparison import compare
from dlplay.experiments.compare.member import Measured, Member, Source
from dlplay.exports.curves import write_csv, write_tensorboard
from dlplay.exports.source import Source as Exported
from dlplay.runs import directory
from dlplay.runs.directory import RunDirectory
from dlplay.runs.history import History
from dlplay.runs.journal import Journal
from dlplay.widgets.charts.plot import draw
from tests.terminal import Terminal

DATA = "moved-digits: 5,748 training and 1,440 held-out images"
WORDS = "the reference: 65,343 words to train on; 16 x 64 = 1,024 a step"
CHARACTERS = "the reference: 334,412 characters to train on; 32 x 64 = 2,048 a step"
Compare = Callable[..., str]


def make(
    runs_dir: Path,
    name: str,
    architecture: str = "convnet",
    *,
    group: str = "",
    data: str = DATA,
    finals: Sequence[dict[str, float]] = ({"test_accuracy": 0.5}, {"test_accuracy": 0.8}),
    more: Sequence[DurableEvent] = (),
    **settings: Any,
) -> RunDirectory:
    """A run of 100 steps in 10 seconds after each evaluation but the first."""
    values = to_dict(architectures.card(architecture).settings(**settings))
    run = directory.create(runs_dir, architecture, values, name=name, group=group)
    begin = Started(architecture=architecture, name=name, settings=values, device="cpu", device_name="", threads=1, parameters=1, data=data)
    with Journal(run.journal_path) as journal:
        journal.append(begin)
        journal.append(Baselines(values={"test_accuracy": {"SVC": 0.75}}))
        for number, metrics in enumerate(finals):
            step = 100 * number
            if number:
                losses: list[float | None] = [1.0 / (step - 99 + i) for i in range(100)]
                journal.append(Stepped(first=step - 99, step=step, metrics={"train_loss": losses}, seconds=10.0 * number))
            journal.append(Evaluated(step=step, metrics=metrics))
        for event in more:
            journal.append(event)
    return run


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def typed(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """`dlplay compare` of these words: what it prints, or with `fails` its complaint, one line."""

    def call(*words: str, fails: bool = False) -> str:
        capsys.readouterr()
        status = cli.run(["compare", *words, "--runs-dir", str(runs_dir)])
        printed = capsys.readouterr()
        assert status == (2 if fails else 0), printed.err
        if fails:
            assert printed.err.count("\n") == 1
            assert "Traceback" not in printed.err
        return printed.err if fails else printed.out

    return call


def test_two_runs_are_told_apart_in_plain_text(runs_dir: Path, typed: Compare) -> None:
    make(runs_dir, "a", lr=0.003)
    make(runs_dir, "b", lr=0.01, finals=[{"test_accuracy": 0.4}, {"test_accuracy": 0.9}])
    text = typed("a", "b")
    assert "\x1b" not in text, "no colours in a pipe"
    assert all(len(line) <= 80 for line in text.splitlines())
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["lr"] == ["0.003", "0.01"]
    assert "channels" not in rows, "only what differs"
    assert rows["b"] == ["90.0", "%", "100", "+10.00", "points", "90.0", "%", "100"]
    assert "baselines: SVC 75.0 %" in text
    assert "test accuracy (higher is better)" in text
    assert "takes more seeds" in text
    for mark in "●▲":
        assert sum(mark in line for line in text.splitlines()) > 6, "each curve has its own marker in every chart"


def test_one_json_object_has_everything(runs_dir: Path, typed: Compare) -> None:
    make(runs_dir, "a", lr=0.003)
    make(runs_dir, "b", lr=0.01, finals=[{"test_accuracy": math.nan}, {"test_accuracy": 0.9}])
    found = json.loads(typed("a", "b", "--json", "--x", "seconds"))
    assert found["settings"] == {"lr": ["0.003", "0.01"]}
    metrics = {metric["name"]: metric for metric in found["metrics"]}
    assert list(metrics) == ["train_loss", "test_accuracy"]
    accuracy = metrics["test_accuracy"]
    assert (accuracy["direction"], accuracy["kind"]) == ("higher", "held_out")
    assert accuracy["curves"]["b"] == {"step": [0, 100], "value": [None, 0.9], "seconds": [0.0, 10.0]}
    assert accuracy["differences"]["b"]["difference"] == pytest.approx(0.1)
    assert not accuracy["differences"]["b"]["sure"]
    assert metrics["train_loss"]["curves"]["a"]["seconds"][49] == pytest.approx(5.0), "between two events the time goes evenly"


def test_csv_has_a_row_for_each_value(runs_dir: Path, typed: Compare) -> None:
    make(runs_dir, "a")
    make(runs_dir, "b", finals=[{"test_accuracy": math.nan}, {"test_accuracy": 0.9}])
    rows = list(csv.DictReader(io.StringIO(typed("a", "b", "--csv"))))
    assert len(rows) == 2 * 102
    assert rows[0] == {"run": "a", "metric": "train_loss", "kind": "training", "step": "1", "seconds": "0.1", "value": "1.0"}
    held_out = [(row["run"], row["step"], row["value"]) for row in rows if row["kind"] == "held_out"]
    assert held_out == [("a", "0", "0.5"), ("a", "100", "0.8"), ("b", "0", ""), ("b", "100", "0.9")]


def test_the_picture_is_that_of_the_screen(runs_dir: Path, typed: Compare, tmp_path: Path) -> None:
    make(runs_dir, "a")
    make(runs_dir, "b", lr=0.01)
    text = typed("a", "b", "--metric", "test_accuracy", "--svg", str(tmp_path / "picture.svg"))
    svg = (tmp_path / "picture.svg").read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "#56b4e9" in svg, "the first curve has its colour"
    assert "#f0a514" in svg, "and the second"
    legend = next(line for line in text.splitlines() if line.startswith("● a"))
    assert legend.split()[1] in svg
    assert "exists already" in typed("a", "b", "--svg", str(tmp_path / "picture.svg"), fails=True)
    typed("a", "b", "--svg", str(tmp_path / "picture.svg"), "--force")


def test_a_terminal_has_its_colours_on_its_own_background(runs_dir: Path) -> None:
    make(runs_dir, "a")
    make(runs_dir, "b", lr=0.01)
    for environment, colours in (({}, {"56b4e9", "f0a514"}), ({"NO_COLOR": "1"}, set())):
        with Terminal("compare", "a", "b", "--runs-dir", str(runs_dir), size=(100, 70), environment=environment) as terminal:
            terminal.until("takes more seeds")
            assert colours <= terminal.colours
            assert bool(colours) == (terminal.colours != {"default"})
            assert "292929" not in terminal.colours, "the background of the picture is not the terminal's"
            widths = [len(line) for line in terminal.text.splitlines()]
            assert 90 < max(widths) <= 100


def test_a_group_is_one_source_with_quartiles_and_a_verdict(runs_dir: Path, typed: Compare) -> None:
    random = np.random.default_rng(0)
    for group, centre, lr in (("slow", 0.7, 0.003), ("fast", 0.9, 0.01)):
        for seed in range(8):
            final = {"test_accuracy": centre + 0.01 * random.normal()}
            make(runs_dir, f"{group}-{seed}", group=group, lr=lr, seed=seed, finals=[{"test_accuracy": 0.1}, final])
    text = typed("slow", "fast")
    words = " ".join(text.split())
    assert "8 runs of ConvNet" in words
    assert "fast is better than slow by" in words
    assert "with a probability of 1.00. The difference is significant: p = 0.00016." in words
    assert "permutation test" in words
    assert "seed" not in json.loads(typed("slow", "fast", "--json"))["settings"], "of which both have the same eight"
    found = json.loads(typed("slow", "fast", "--json"))
    accuracy = next(metric for metric in found["metrics"] if metric["name"] == "test_accuracy")
    assert accuracy["differences"]["fast"]["sure"]
    assert 0.17 < accuracy["differences"]["fast"]["low"] < accuracy["differences"]["fast"]["high"] < 0.21
    assert len(accuracy["curves"]) == 16
    assert [source["name"] for source in json.loads(typed("*", "--json"))["sources"]] == ["fast", "slow"], (
        "a group is one of its runs' line"
    )
    assert len(json.loads(typed("fast-*", "--json"))["sources"]) == 8, "which can be named one by one"


def test_a_group_whose_runs_differ_in_more_than_their_seed_is_noted(runs_dir: Path, typed: Compare) -> None:
    """Such as a sweep: how sure a difference is, is then no answer about one setting."""
    for number in range(4):
        final = {"test_accuracy": 0.8 + 0.01 * number}
        make(runs_dir, f"sweep-{number}", group="sweep", lr=0.001 * (number + 1), finals=[{"test_accuracy": 0.1}, final])
        make(runs_dir, f"seeds-{number}", group="seeds", seed=number, device="cuda:1", finals=[{"test_accuracy": 0.1}, final])
    found = json.loads(typed("sweep", "seeds", "--json"))
    assert found["settings"]["seed"] == ["0", "0..3"]
    notes = found["notes"]
    assert notes == ["the runs of sweep differ in lr, not in their seed alone: how sure a difference is says nothing of one setting"]


def test_what_luck_can_explain_is_not_called_better_for_sure(runs_dir: Path, typed: Compare) -> None:
    finals = {"one": [0.70, 0.80, 0.75, 0.78], "two": [0.72, 0.81, 0.79, 0.77]}
    for group, values in finals.items():
        for seed, value in enumerate(values):
            make(runs_dir, f"{group}-{seed}", group=group, seed=seed, finals=[{"test_accuracy": 0.1}, {"test_accuracy": value}])
    words = " ".join(typed("one", "two").split())
    assert "two has a better mean than one, by 1.50 points" in words
    assert "That may be chance: the interval holds 0, and p = " in words
    assert "more seeds each would tell" in words


def test_where_interval_and_test_disagree_it_is_said_that_it_takes_both(runs_dir: Path, typed: Compare) -> None:
    """Three runs against three: no permutation test can give less than 0.1, however far apart they are."""
    for group, values in {"one": [0.10, 0.11, 0.12], "two": [0.17, 0.19, 0.21]}.items():
        for seed, value in enumerate(values):
            make(runs_dir, f"{group}-{seed}", group=group, seed=seed, finals=[{"test_accuracy": 0.1}, {"test_accuracy": value}])
    words = " ".join(typed("one", "two").split())
    assert "two has a better mean than one, by 8.00 points" in words
    assert "the interval leaves out 0, but p = 0.1 by the permutation test, and a significant difference takes both; about" in words
    assert "two is better" not in words


def test_a_verdict_on_paired_runs_stands_first_and_alone(runs_dir: Path) -> None:
    for group in ("one", "two"):
        for seed in range(3):
            make(runs_dir, f"{group}-{seed}", group=group, seed=seed, finals=[{"test_accuracy": 0.1}, {"test_accuracy": 0.1 * seed}])
    found = sources.find(["one", "two"], (), runs_dir)
    drawn = report.rows(compare(found.sources, found.notes), "step", 100, picture.colours(plain=True), answer_first=True, verdict=["so"])
    lines = ["".join(segment.text for segment in row) for row in drawn]
    assert lines[0] == "so"
    assert not [line for line in lines if "chance" in line or "permutation" in line]


def test_lower_is_better_where_the_card_says_so(runs_dir: Path, typed: Compare) -> None:
    for group, loss in (("high", 2.0), ("low", 1.0)):
        for seed in range(4):
            make(runs_dir, f"{group}-{seed}", group=group, seed=seed, finals=[{"test_loss": 3.0}, {"test_loss": loss + seed / 100}])
    words = " ".join(typed("high", "low").split())
    assert "low is better than high by 1 (95 % interval" in words
    assert "a run of it is better with a probability of 1.00" in words
    assert "lower is better" in words


def test_which_values_are_better_is_not_guessed(runs_dir: Path, typed: Compare, tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / f"{name}.csv").write_text(f"step,my_score\n0,0\n10,{value}\n")
    words = " ".join(typed("--from", str(tmp_path / "a.csv"), "--from", str(tmp_path / "b.csv")).split())
    assert "my score (which values are better is not known)" in words
    card = architectures.card("autoencoder")
    assert card.direction("test_mse") == "lower"
    assert card.direction("code_accuracy") == "higher"
    assert card.direction("mean_activation") == "", "neither"
    assert architectures.card("dqn").direction("start_q") == "", "an estimate is no score"


def test_runs_that_ended_without_a_number_are_counted(runs_dir: Path, typed: Compare) -> None:
    for group, values in (("one", [0.7, 0.8, math.nan]), ("two", [math.nan, math.nan, math.nan]), ("three", [0.9, 0.9, 0.9])):
        for seed, value in enumerate(values):
            make(runs_dir, f"{group}-{seed}", group=group, seed=seed, finals=[{"test_accuracy": 0.1}, {"test_accuracy": value}])
    words = " ".join(typed("one", "two", "three").split())
    assert "1 of 3 of one ended without a number" in words
    assert "3 of 3 of two ended without a number" in words
    assert "three has a better mean than one" in words


def test_tokens_decide_whether_a_loss_means_the_same(runs_dir: Path, typed: Compare) -> None:
    both = [{"val_loss": 5.0, "val_bits_per_byte": 3.0}, {"val_loss": 4.0, "val_bits_per_byte": 2.0}]
    make(runs_dir, "words", "gpt", data=WORDS, finals=both)
    make(runs_dir, "letters", "recurrent", data=CHARACTERS, finals=both)
    make(runs_dir, "more-words", "recurrent", data=WORDS.replace("16 x 64", "8 x 32"), finals=both)
    found = json.loads(typed("words", "letters", "--json"))
    assert [metric["name"] for metric in found["metrics"]] == ["val_bits_per_byte"]
    assert "val_loss and train_loss would not mean the same" in found["notes"][0]
    found = json.loads(typed("words", "letters", "more-words", "--json"))
    shared = {metric["name"]: metric["sources"] for metric in found["metrics"]}
    assert shared["val_loss"] == ["words", "more-words"], "one text in the same tokens, whatever the batch"
    assert shared["val_bits_per_byte"] == ["words", "letters", "more-words"]
    found = json.loads(typed("words", "letters", "--metric", "val_loss", "--json"))
    assert [metric["name"] for metric in found["metrics"]] == ["val_loss"], "who asks for it gets it"
    assert "the data differ" in found["notes"][0]


def test_what_shares_nothing_says_what_each_has(runs_dir: Path, typed: Compare) -> None:
    make(runs_dir, "a")
    make(runs_dir, "b", "gpt", data=WORDS, finals=[{"val_loss": 4.0}])
    complaint = typed("a", "b", fails=True)
    assert "a has train_loss, test_accuracy; b has val_loss" in complaint
    assert "there is no metric nothing" in typed("a", "b", "--metric", "nothing", fails=True)


def test_examples_are_steps_times_the_batch(runs_dir: Path, typed: Compare) -> None:
    make(runs_dir, "small", batch=32)
    make(runs_dir, "large", batch=64)
    found = json.loads(typed("small", "large", "--x", "examples", "--metric", "test_accuracy", "--json"))
    curves = found["metrics"][0]["curves"]
    assert (curves["small"]["examples"], curves["large"]["examples"]) == ([0, 3200], [0, 6400])
    assert "images" in typed("small", "large", "--x", "examples")
    make(runs_dir, "gathered", norm="group", batch=32, accumulate=4)
    member = sources.find(["gathered"], [], runs_dir).sources[0].members[0]
    assert member.at(np.array([100.0]), "examples").tolist() == [12800], "an update by four batches"
    change = Applied(step=50, what="batch", value=32, before=16)
    make(runs_dir, "changed", "gpt", data=WORDS, batch=16, finals=[{"val_loss": 5.0}, {"val_loss": 4.0}], more=[change])
    member = sources.find(["changed"], [], runs_dir).sources[0].members[0]
    assert member.at(np.array([0.0, 50.0, 100.0]), "examples").tolist() == [0, 800, 2400], "a batch may change during a run"
    make(runs_dir, "player", "dqn", data="CartPole-v1: 4 numbers", finals=[{"eval_return": 1.0}, {"eval_return": 2.0}])
    assert sources.find(["player"], [], runs_dir).sources[0].members[0].at(np.array([100.0]), "examples").tolist() == [100.0]


def test_the_nearest_name_is_suggested(runs_dir: Path, typed: Compare) -> None:
    make(runs_dir, "first-run")
    make(runs_dir, "member-0", group="whole-group")
    assert "did you mean first-run?" in typed("frst-run", fails=True)
    assert "did you mean the group whole-group?" in typed("whole-grup", fails=True)
    assert "did you mean the shipped model gpt-reference?" in typed("gpt-referenc", fails=True)
    assert "no run or group matches 'x*'" in typed("x*", fails=True)
    assert "cannot be a run's name" in typed("Ω", fails=True)
    assert "name what to compare" in typed(fails=True)
    assert "does not exist" in typed("./nowhere", fails=True)
    assert "neither a run nor a checkpoint; CSV files and TensorBoard's folders are named with --from" in typed(str(runs_dir), fails=True)


def test_shipped_models_and_checkpoints_are_points(runs_dir: Path, typed: Compare) -> None:
    found = json.loads(typed("gpt-reference", "transformer-xl-reference", "recurrent-reference", "--json"))
    shared = {metric["name"]: metric["sources"] for metric in found["metrics"]}
    assert shared["val_loss"] == ["gpt-reference", "transformer-xl-reference"], "both read words"
    run = make(runs_dir, "a")
    run.store.save(
        60, {"w": np.zeros(1)}, {}, {"architecture": "convnet", "settings": {"lr": 0.5}, "metrics": {"test_accuracy": 0.6}, "data": DATA}
    )
    folder = run.path / "checkpoints" / "step-60"
    found = json.loads(typed("a", str(folder), "--json"))
    curves = found["metrics"][0]["curves"]
    assert curves[str(folder)] == {"step": [60], "value": [0.6]}
    assert json.loads(typed(str(run.path), str(folder.parent), "--json"))["sources"][0]["name"] == "a", "a run's folder is the run"
    other = make(runs_dir.parent / "elsewhere", "a")
    found = json.loads(typed("a", str(other.path), "--json"))
    assert [source["name"] for source in found["sources"]] == ["a", str(other.path)], "two runs of one name are two"
    (folder / "meta.json").write_text("{}")
    assert "meta.json" in typed(str(folder), fails=True)


def test_what_is_damaged_or_still_empty_ends_nothing(runs_dir: Path, typed: Compare) -> None:
    make(runs_dir, "whole")
    damaged = make(runs_dir, "damaged")
    damaged.journal_path.write_bytes(damaged.journal_path.read_bytes().replace(b'{"type":"evaluated"', b"\xff{{", 1) + b'{"type":"st')
    make(runs_dir, "one-point", finals=[{"test_accuracy": 0.3}])
    make(runs_dir, "no-number", finals=[{"test_accuracy": math.nan}])
    directory.create(runs_dir, "convnet", to_dict(architectures.card("convnet").settings()), name="empty")
    unreadable = make(runs_dir, "unreadable")
    (unreadable.path / "run.json").write_text("{")
    fifo = make(runs_dir, "fifo")
    fifo.journal_path.unlink()
    fifo.journal_path.mkdir()
    text = typed("*")
    assert "damaged: 1 damaged lines of its journal were skipped" in text
    assert "unreadable is left out" in text
    for name in ("whole", "damaged", "one-point", "no-number", "empty", "fifo"):
        assert f"{name} " in text
    assert "empty has no metrics yet" in typed("empty", "whole", fails=True)
    assert json.loads(typed("no-number", "one-point", "--json"))["metrics"][0]["differences"] == {}


def test_a_run_may_train_or_vanish_meanwhile(runs_dir: Path, typed: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    make(runs_dir, "a")
    make(runs_dir, "b")
    gone = make(runs_dir, "c")
    found = directory.groups

    def then_delete(*arguments: Any) -> Any:
        groups = found(*arguments)
        directory.remove(gone)
        return groups

    monkeypatch.setattr(directory, "groups", then_delete)
    assert "c was deleted meanwhile" in typed("*")
    monkeypatch.undo()
    done = threading.Event()

    def write() -> None:
        with Journal(runs_dir / "a" / "events.jsonl") as journal:
            step = 100
            while not done.wait(0.001):
                journal.append(Stepped(first=step + 1, step=step + 1, metrics={"train_loss": [0.5]}, seconds=11.0))
                step += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            assert "test accuracy" in typed("a", "b")
    finally:
        done.set()
        writer.join()


def test_an_architecture_that_is_not_here_compares_all_the_same(runs_dir: Path, typed: Compare) -> None:
    for name in ("a", "b"):
        run = make(runs_dir, name)
        spec = json.loads((run.path / "run.json").read_text())
        (run.path / "run.json").write_text(json.dumps({**spec, "architecture": "somebody-elses"}))
    assert "test accuracy (higher is better)" in typed("a", "b")


# --- files of others ----------------------------------------------------------------------------------------------------------------------


def test_own_exports_come_back(runs_dir: Path, typed: Compare, tmp_path: Path) -> None:
    make(
        runs_dir,
        "a",
        more=[Finished(step=100, reason="steps", metrics={"test_accuracy": 0.8}, baselines={}, steps_per_second=1, seconds=10)],
    )
    exported = Exported("a", runs_dir)
    write_csv(exported, tmp_path / "a.csv")
    write_tensorboard(exported, tmp_path / "board")
    found = json.loads(typed("a", "--from", str(tmp_path / "a.csv"), "--from", str(tmp_path / "board"), "--json"))
    assert [source["name"] for source in found["sources"]] == ["a", "a-2", "SVC", "run"]
    for metric in ("train_loss", "test_accuracy"):
        curves = next(item for item in found["metrics"] if item["name"] == metric)["curves"]
        assert curves["a-2"] == curves["a"]
        assert curves["run"]["step"] == curves["a"]["step"]
        assert curves["run"]["value"] == pytest.approx(curves["a"]["value"])
    accuracy = next(item for item in found["metrics"] if item["name"] == "test_accuracy")
    assert accuracy["reached"][1]["baselines"] == {"SVC": 0.75}


def test_a_files_metrics_can_be_renamed(runs_dir: Path, typed: Compare, tmp_path: Path) -> None:
    make(runs_dir, "a")
    (tmp_path / "mine.csv").write_text("Step,Acc/test,seconds,examples\n0,0.1,0,0\n50,,4,1600\n100,0.7,8,3200\n")
    found = json.loads(typed("a", "--from", str(tmp_path / "mine.csv"), "--rename", "Acc/test=test_accuracy", "--x", "examples", "--json"))
    curves = found["metrics"][0]["curves"]
    assert curves["mine"] == {"step": [0, 100], "value": [0.1, 0.7], "examples": [0, 3200]}
    assert found["metrics"][0]["direction"] == "higher"
    assert "write it like loss/val=val_loss" in typed("a", "--rename", "x", fails=True)
    mine = ["a", "--from", str(tmp_path / "mine.csv"), "--rename"]
    assert "--rename Acc/tets=test_accuracy: no file has a metric Acc/tets; did you mean Acc/test?" in typed(
        *mine, "Acc/tets=test_accuracy", fails=True
    )
    assert "--rename x=y: there is no file to rename a metric of; name one with --from" in typed("a", "--rename", "x=y", fails=True)
    (tmp_path / "two.csv").write_text("step,loss,test_loss\n0,1,2\n")
    two = typed("a", "--from", str(tmp_path / "two.csv"), "--rename", "loss=test_loss", fails=True)
    assert "two.csv: loss and test_loss would both be called test_loss" in two
    (tmp_path / "timeless.csv").write_text("step,test_accuracy\n0,0.1\n")
    assert "timeless has no times" in typed("a", "--from", str(tmp_path / "timeless.csv"), "--x", "seconds", fails=True)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no column step"),
        (b"epoch,loss\n1,2\n", "no column step; its first line has epoch, loss"),
        (b"step\n1\n", "steps but no values"),
        (b"step,loss\n1,two\n", "line 2: 'two' in the column loss is not a number"),
        (b"step,loss\n\xff,1\n", "not UTF-8"),
        (b"step,loss\nnan,1\n", "a step cannot be nan"),
        (b"step,loss\n-5,1\n", "a step cannot be -5"),
        (b"step,loss\n1e300,1\n", "a step cannot be 1e300"),
        (b"step," + b"x" * 2000 + b"\n1,1\n", "more than 1,000 characters"),
        (b'step,loss\n1,"' + b"9" * 200_000, "not a CSV file"),
        (b"step" + b",a" * 300 + b"\n", "301 columns; at most 200"),
        (b"\x00\x1b[31mstep,loss\n", "no column step"),
        (b"step,loss\n1.5,1\n", "line 2: a step cannot be 1.5"),
        (b"step,loss,loss\n1,2,3\n", "has two columns called loss"),
        (b"step,loss,Step\n1,2,3\n", "has two columns called step"),
        (b"step,loss,examples\n1,2,nan\n", "nan in the column examples, at step 1, is not a number from 0 on"),
        (b"step,loss,Seconds\n1,2,inf\n", "inf in the column seconds, at step 1, is not a number from 0 on"),
        (b"step,loss,examples\n1,2,-1\n", "-1 in the column examples, at step 1, is not a number from 0 on"),
    ],
)
def test_a_hostile_csv_is_refused_in_one_line(content: bytes, complaint: str, typed: Compare, tmp_path: Path) -> None:
    path = tmp_path / "hostile.csv"
    path.write_bytes(content)
    said = typed("--from", str(path), fails=True)
    assert complaint in said
    assert "\x1b" not in said


def test_a_csv_may_hold_what_is_no_number_as_a_value(typed: Compare, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("﻿step,loss\r\n2,nan\r\n1,inf\r\n2,0.5\r\n\r\n3,\r\n")
    curves = json.loads(typed("--from", str(tmp_path / "a.csv"), "--json"))["metrics"][0]["curves"]
    assert curves["a"] == {"step": [1, 2], "value": [None, 0.5]}, "in order of steps, the last value of each"
    typed("--from", str(tmp_path / "a.csv"))


def test_too_many_rows_are_refused(typed: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("step,loss\n" + "1,1\n" * 50)
    for limit in ("MOST_ROWS", "MOST_VALUES"):
        with monkeypatch.context() as patch:
            patch.setattr(files, limit, 20)
            assert "thin it out" in typed("--from", str(tmp_path / "a.csv"), fails=True)
    monkeypatch.setattr(files, "CSV_LIMIT", 100)
    assert "larger than 100 bytes" in typed("--from", str(tmp_path / "a.csv"), fails=True)
    fifo = tmp_path / "device.csv"
    fifo.symlink_to("/dev/zero")
    assert "not a regular file" in typed("--from", str(fifo), fails=True)
    assert "no such file" in typed("--from", str(tmp_path / "nowhere.csv"), fails=True)


def record(data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(data) if length is None else length) + b"crc!" + data + b"crc!"


def scalar(tag: str, step: int, value: float) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    event = Event(wall_time=1000.0 + step, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
    data: bytes = event.SerializeToString()
    return data


def test_event_files_are_read_within_bounds(typed: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = b"".join(record(scalar("loss\x1b[2J", step, 1.0 / (step + 1))) for step in range(5))

    def told(content: bytes, *, fails: bool = False) -> str:
        folder = tmp_path / "board"
        folder.mkdir(exist_ok=True)
        (folder / "events.out.tfevents.1").write_bytes(content)
        return typed("--from", str(folder), *(() if fails else ("--json", "--x", "seconds")), fails=fails)

    whole = json.loads(told(good))
    assert whole["metrics"][0]["curves"]["board"]["seconds"] == [0, 1, 2, 3, 4]
    assert "\x1b" not in whole["metrics"][0]["name"]
    for bad, why in (
        (record(b"", 1 << 62), "a record of 4,611,686,018,427,387,904 bytes"),
        (record(b"\xff" * 50), "damaged"),
        (b"\x05\x00", "cut off"),
        (record(scalar("loss", 9, 1.0))[:-6], "cut off"),
    ):
        found = json.loads(told(good + bad))
        assert found["metrics"][0]["curves"]["board"]["step"] == [0, 1, 2, 3, 4], "what stands before is used"
        assert why in found["notes"][0]
    assert "has no scalars" in told(b"", fails=True)
    assert "has no scalars" in told(record(b"\xff" * 50), fails=True)
    monkeypatch.setattr(files, "MOST_VALUES", 3)
    assert "more than 3 values" in told(good, fails=True)
    monkeypatch.setattr(files, "EVENTS_LIMIT", 10)
    assert "at most 10 bytes are read" in told(good, fails=True)
    (tmp_path / "board" / "events.out.tfevents.1").unlink()
    assert "no event file" in typed("--from", str(tmp_path / "board"), fails=True)
    (tmp_path / "board" / "events.out.tfevents.2").symlink_to("/dev/zero")
    assert "no event file" in typed("--from", str(tmp_path / "board"), fails=True)


def test_without_tensorboard_the_extra_is_named(typed: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(record(scalar("loss", 1, 1.0)))
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    assert "pip install 'dlplay[tensorboard]'" in typed("--from", str(tmp_path), fails=True)


# --- curves -------------------------------------------------------------------------------------------------------------------------------


def test_the_quartiles_are_those_of_the_members() -> None:
    x = np.arange(5.0)
    lines = [(x, x * 0 + value) for value in (1.0, 2.0, 3.0, 4.0, 10.0)]
    lines.append((np.array([0.0, 2.0]), np.array([0.0, 0.0])))
    at, low, quarter, median, three_quarters, high = spread.quartiles(lines)
    assert at.tolist() == [0, 1, 2, 3, 4]
    assert (low[1], high[1]) == (0, 10), "between two points a member is a straight line"
    for step, members in ((1, [0, 1, 2, 3, 4, 10]), (4, [1, 2, 3, 4, 10])):
        assert (quarter[step], median[step], three_quarters[step]) == tuple(np.quantile(members, [0.25, 0.5, 0.75]))
    longest = spread.quartiles([(np.arange(100_000.0), np.ones(100_000)), (np.arange(0, 100_000, 7.0), np.ones(14_286))])
    assert len(longest[0]) == spread.GRID


@pytest.mark.parametrize("plain", [False, True])
def test_bands_stand_behind_the_curves_and_decide_the_limits(plain: bool) -> None:
    x = np.arange(50.0)
    band = widgets.Band(x, x * 0 - 1, x * 0 + 9)
    chart = widgets.LineChart()
    chart.show([widgets.Curve("median", x, x * 0 + 4, smoothed=False, marker="●", bands=(band, widgets.Band(x, x * 0 - 2, x * 0 + 9.5)))])
    plot, rows = draw(chart.state(), 60, 14, picture.colours(plain=plain))
    assert (plot.bottom, plot.top) == (-5, 10)
    text = ["".join(segment.text for segment in row) for row in rows]
    assert sum("●" in line for line in text[1:]) == 1, "the markers stand on the line"
    inked = [row for row, line in enumerate(text[1:-1]) if any(0x2800 < ord(character) < 0x2900 for character in line)]
    assert len(inked) <= 5 if plain else len(inked) >= 8, "filled where there is colour, else thin lines"


def test_equal_curves_all_show_their_markers() -> None:
    x = np.arange(300.0)
    names = [picture.marker(position) for position in range(12)]
    assert len(set(names)) == 12
    chart = widgets.LineChart()
    chart.show([widgets.Curve(f"run-{name}", x, x, smoothed=False, marker=name, colour=str(i)) for i, name in enumerate(names)])
    _, rows = draw(chart.state(), 80, 14, picture.colours(plain=True))
    drawn = "".join(segment.text for row in rows[1:] for segment in row)
    assert all(drawn.count(name) >= 3 for name in names[:-1]), drawn
    legend = "".join(segment.text for segment in rows[0])
    assert len(legend.rstrip()) <= 80
    assert re.search(r"\+\d+ *$", legend), "the chart has more curves than its legend has room for"
    sources = [
        Source(name, (Member(name=name, kind="file", curves={"score": Measured("unknown", x, x)}),)) for name in map("{}".format, range(30))
    ]
    comparison = compare(sources, [])
    for row in picture.chart(comparison, comparison.metrics[0], "step", 60, picture.colours(plain=True)):
        assert sum(segment.cell_length for segment in row) <= 60


def test_the_clock_of_a_history_is_cut_with_its_steps(runs_dir: Path) -> None:
    from dlplay.runs.journal import JournalReader

    run = make(runs_dir, "a", finals=[{"test_accuracy": 0.1}] * 4)
    begin = JournalReader(run.journal_path).read()[0]
    assert isinstance(begin, Started)
    history = History()
    history.add(JournalReader(run.journal_path).read())
    assert (history.clock.x.tolist(), history.clock.y.tolist()) == ([100, 200, 300], [10, 20, 30])
    with Journal(run.journal_path) as journal:
        journal.append(Started(**{**{name: getattr(begin, name) for name in begin.__struct_fields__}, "step": 100}))
        journal.append(Stepped(first=101, step=150, metrics={"train_loss": [1.0] * 50}, seconds=13.0))
    history = History()
    history.add(JournalReader(run.journal_path).read())
    assert (history.clock.x.tolist(), history.clock.y.tolist()) == ([100, 150], [10, 13])


def test_several_data_sets_are_tasks_of_their_own() -> None:
    def member(name: str, data: str, value: float) -> Member:
        measured = Measured("held_out", np.array([1.0]), np.array([value]))
        return Member(name=name, kind="run", curves={"score": measured}, data=f"{data}: 100 examples", architecture="x")

    groups = [
        Source(
            name, tuple(member(f"{name}-{data}-{seed}", data, base + shift + seed / 100) for data, base in TASKS for seed in range(5)), True
        )
        for name, shift in (("one", 0.0), ("two", 0.2))
    ]
    comparison = compare(groups, [], ["score"])
    found = comparison.differences(comparison.metrics[0])["two"]
    assert found.statistic == "interquartile mean"
    assert found.difference == pytest.approx(0.2)
    assert found.sure
    with pytest.raises(SettingsError, match="no metric"):
        compare(groups, [], ["other"])


TASKS = (("easy", 0.0), ("hard", 10.0), ("harder", 20.0))
