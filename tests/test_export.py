"""Taking what was trained elsewhere: curves as CSV and for TensorBoard, forward passes as ONNX, and a target that is whole or not there."""

import csv
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlplay import architectures
from dlplay.engine.errors import DataError
from dlplay.engine.events import Baselines, Evaluated, Started, Stepped
from dlplay.engine.graph import Graph
from dlplay.engine.settings import SettingsError, to_dict
from dlplay.exports import graph as onnx_graph
from dlplay.exports.curves import write_csv, write_tensorboard
from dlplay.exports.source import Source
from dlplay.exports.target import staged
from dlplay.runs import directory, origin
from dlplay.runs.journal import Journal
from tests.conftest import Dlplay, flags

CARDS = architectures.cards()


@pytest.fixture
def resumed(tmp_path: Path) -> Source:
    """A run that made five steps, was killed, and went on from step 3."""
    card = CARDS["gpt"]
    run = directory.create(tmp_path, "gpt", to_dict(card.settings()))
    first = Started(
        architecture="gpt", name=run.name, settings=to_dict(card.settings()), device="cpu", device_name="", threads=1, parameters=1, data=""
    )
    with Journal(run.journal_path) as journal:
        for event in (
            first,
            Baselines(values={"val_loss": {"bigram": 4.5}}),
            Stepped(first=1, step=3, metrics={"train_loss": [3.0, 2.5, math.nan]}, seconds=1.0),
            Evaluated(step=3, metrics={"val_loss": 2.75}),
            Stepped(first=4, step=5, metrics={"train_loss": [9.0, 9.0]}, seconds=1.0),
            Started(**{**{name: getattr(first, name) for name in first.__struct_fields__}, "step": 3}),
            Stepped(first=4, step=4, metrics={"train_loss": [1.5], "grad_norm": [0.25]}, seconds=1.0),
        ):
            journal.append(event)
    return Source(run.name, tmp_path)


def test_curves_as_csv_count_each_step_once(resumed: Source, tmp_path: Path) -> None:
    words = write_csv(resumed, tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["train_loss"] for row in rows] == ["3.0", "2.5", "", "1.5"], "the steps after the kill count, not those before"
    assert [row["grad_norm"] for row in rows] == ["", "", "", "0.25"]
    assert [row["val_loss"] for row in rows] == ["", "", "2.75", ""]
    assert [row["val_loss of bigram"] for row in rows] == ["", "", "4.5", ""]
    assert "4 steps" in words


def test_curves_for_tensorboard_can_be_read_back(resumed: Source, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_tensorboard(resumed, tmp_path / "curves")

    def scalars(name: str, metric: str) -> list[tuple[int, float]]:
        read = EventAccumulator(str(tmp_path / "curves" / name))
        read.Reload()
        return [(item.step, item.value) for item in read.Scalars(metric)]

    losses = scalars("run", "train_loss")
    assert losses == [(1, 3.0), (2, 2.5), (4, 1.5)], "a loss that was no number is no point"
    assert scalars("bigram", "val_loss") == [(1, 4.5), (4, 4.5)]


def test_what_has_no_curves_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gpt-reference is not a run.*dlplay runs"):
        write_csv(Source("gpt-reference", tmp_path), tmp_path / "x.csv")
    run = directory.create(tmp_path, "gpt", to_dict(CARDS["gpt"].settings()))
    with pytest.raises(SettingsError, match="recorded nothing yet"):
        write_csv(Source(run.name, tmp_path), tmp_path / "x.csv")
    with Journal(run.journal_path):
        pass
    with pytest.raises(SettingsError, match="has no metrics yet"):
        write_csv(Source(run.name, tmp_path), tmp_path / "x.csv")


def test_a_target_is_whole_or_not_there(tmp_path: Path) -> None:
    def fail(target: Path, *, folder: bool, force: bool = False) -> None:
        def write_half() -> None:
            with staged(target, folder=folder, force=force) as draft:
                draft.mkdir() if folder else draft.write_text("half")
                raise KeyError

        with pytest.raises(KeyError):
            write_half()

    def write(target: Path, content: str, *, folder: bool = False, force: bool = False) -> None:
        with staged(target, folder=folder, force=force) as draft:
            if folder:
                draft.mkdir()
            (draft / "file" if folder else draft).write_text(content)

    fail(tmp_path / "a", folder=False)
    fail(tmp_path / "b", folder=True)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a", "one")
    write(tmp_path / "b", "one", folder=True)
    with pytest.raises(SettingsError, match="exists already.*--force"):
        write(tmp_path / "a", "two")
    fail(tmp_path / "a", folder=False, force=True)
    assert (tmp_path / "a").read_text() == "one", "what stood there is left alone when the new one fails"
    write(tmp_path / "a", "two", force=True)
    write(tmp_path / "b", "two", folder=True, force=True)
    assert ((tmp_path / "a").read_text(), (tmp_path / "b" / "file").read_text()) == ("two", "two")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a", "b"]
    with pytest.raises(SettingsError, match="is a file or a link"):
        write(tmp_path / "a", "three", folder=True, force=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(SettingsError, match="or a link"):
        write(tmp_path / "link", "three", force=True)
    with pytest.raises(SettingsError, match="create it first"):
        write(tmp_path / "nowhere" / "c", "three")
    with pytest.raises(DataError, match="home folder of an unknown user"):
        write(Path("~nobody-here/c"), "three")


def test_force_replaces_an_earlier_export_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(target: Path | str) -> None:
        with staged(Path(target), folder=True, force=True) as draft:
            (draft / "run").mkdir(parents=True)
            (draft / "config.json").write_text("new")
            (draft / "run" / "curve.1").write_text("new")

    kept = tmp_path / "home"
    kept.mkdir()
    (kept / "config.json").write_text("somebody else's")
    with pytest.raises(SettingsError, match="is not an export"):
        write(kept)
    (kept / "config.json").unlink()
    write(kept)
    (kept / "config.json").write_text("old")
    write(kept)
    assert (kept / "config.json").read_text() == "new"
    write(kept)
    (kept / "run" / ".thesis").write_text("years")
    with pytest.raises(SettingsError, match=r"holds run/\.thesis, which no export wrote"):
        write(kept)
    (kept / "run" / ".thesis").rename(kept / "run" / "curve.2")  # like one of ours
    with pytest.raises(SettingsError, match=r"holds run/curve\.2, which no export wrote"):
        write(kept)
    (kept / "run" / "curve.2").unlink()
    (kept / "link").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="holds link"):
        write(kept)
    (kept / "link").unlink()
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "inner")
    for here in (".", "", "..", tmp_path / "empty"):
        with pytest.raises(SettingsError, match="is the working directory|there is no folder"):
            write(here)
    assert (tmp_path / "empty" / "inner").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "home"]


def test_what_cannot_be_put_in_place_leaves_the_previous_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(text: str) -> None:
        with staged(tmp_path / "out", folder=True, force=True) as draft:
            draft.mkdir()
            (draft / "config.json").write_text(text)

    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if "previous" not in self.name and target.name == "out":
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    write("old")
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(SettingsError, match="Input/output error"):
        write("new")
    assert (tmp_path / "out" / "config.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_appears_meanwhile_is_not_lost(tmp_path: Path) -> None:
    def write() -> None:
        with staged(tmp_path / "out", folder=True, force=False) as draft:
            draft.mkdir()
            (tmp_path / "out").mkdir()

    with pytest.raises(SettingsError, match="exists already"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_the_disk_refuses_is_said_in_the_words_of_an_export(tmp_path: Path) -> None:
    def write(error: OSError) -> None:
        with staged(tmp_path / "out", folder=False, force=False) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(SettingsError, match=r"cannot write .*out: No space left on device; free some space or grant access there"):
        write(OSError(28, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_exports_and_refuses_in_one_line(dlplay: Dlplay, small: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    trained = dlplay("convnet", "--headless", "--steps", "4", "--eval-every", "2", *flags(small("convnet")), "--runs-dir", runs)
    assert trained.status == 0
    done = dlplay("export", "convnet-1", "--to", "csv", str(tmp_path / "curves.csv"), "--runs-dir", runs)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(str(tmp_path / "curves.csv"))
    assert len((tmp_path / "curves.csv").read_text().splitlines()) >= 5
    for arguments, words in (
        (["convnet-1", "--to", "csv", str(tmp_path / "curves.csv")], "--force"),
        (["convnet-1", "--to", "zip", str(tmp_path / "x")], "zip"),
        (["convnet-1", "--to", "csv", str(tmp_path / "x"), "--part", "net"], "--to onnx"),
        (["convnet-1", "--to", "onnx", str(tmp_path / "x"), "--part", "encoder"], "parts net"),
        (["nothing", "--to", "onnx", str(tmp_path / "x")], "known are"),
    ):
        refused = dlplay("export", *arguments, "--runs-dir", runs)
        assert (refused.status, refused.out) == (2, "")
        assert refused.err.count("\n") == 1
        assert words in refused.err
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("length", [5, *(pytest.param(length, marks=pytest.mark.slow) for length in (2, 8))])
def test_a_small_block_becomes_a_graph_too(length: int, dlplay: Dlplay, small: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    values = small("gpt") | {"layers": 1, "block_size": length, "steps": 1}
    assert dlplay("gpt", "--headless", "--name", "short", "--runs-dir", str(tmp_path), *flags(values)).status == 0
    assert "within" in onnx_graph.write(Source("short", tmp_path), tmp_path / "short.onnx")


@pytest.mark.slow
@pytest.mark.slow
def test_the_shortest_pairs_become_a_graph_too(dlplay: Dlplay, small: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    values = small("seq2seq") | {"layers": 1, "task": "copy", "length": 1, "positions": "learned", "steps": 1}
    assert dlplay("seq2seq", "--headless", "--name", "short", "--runs-dir", str(tmp_path), *flags(values)).status == 0
    assert "within" in onnx_graph.write(Source("short", tmp_path), tmp_path / "short.onnx")


def test_a_shipped_name_means_the_shipped_model_in_every_format(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "gpt", {}, name="other")
    run.path.rename(tmp_path / "gpt-reference")  # from a time when that name could be given
    source = Source("gpt-reference", tmp_path)
    assert source.run is None
    assert source.checkpoint().step > 0


def test_what_the_exporter_refuses_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("an operator\nis missing")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(SettingsError, match=r"cannot export decoder as a graph \(an operator is missing\); use --to torch"):
        onnx_graph.write(Source("gpt-reference", tmp_path), tmp_path / "gpt.onnx")


def test_a_graph_names_its_axes_and_its_words(tmp_path: Path) -> None:
    import onnx

    onnx_graph.write(Source("gpt-reference", tmp_path), tmp_path / "gpt.onnx")
    model = onnx.load(str(tmp_path / "gpt.onnx"))
    axes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    words = json.loads({item.key: item.value for item in model.metadata_props}["vocabulary"])
    assert axes == {"tokens": ["batch", "time"], "logits": ["batch", "time", len(words)]}
    assert words == origin.find("gpt-reference", tmp_path).meta["assets"]["vocabulary"]


def test_a_graph_that_says_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing(nn.Module):
        """Says something else in every call."""

        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x + self.calls

    card = CARDS["convnet"]
    task = card.load_task()
    changing = {"net": Graph(Changing(), {"images": torch.zeros(2, 3)}, ("logits",), {"images": {0: "batch"}})}
    monkeypatch.setattr(task, "graphs", lambda self: changing)
    with pytest.raises(SettingsError, match="differ by"):
        onnx_graph.write(Source(origin.default(card), tmp_path), tmp_path / "x.onnx")
    monkeypatch.setattr(task, "graphs", lambda self: {})
    with pytest.raises(SettingsError, match="--to torch"):
        onnx_graph.write(Source(origin.default(card), tmp_path), tmp_path / "x.onnx")


@pytest.mark.parametrize(("module", "name"), [("onnx", "onnx"), ("torch.utils.tensorboard", "tensorboard")])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    module: str, name: str, resumed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    writer = write_tensorboard if name == "tensorboard" else onnx_graph.write
    with pytest.raises(SettingsError, match=rf"needs the package .*{name}.*pip install 'dlplay\[{name}\]'"):
        writer(resumed, tmp_path / "x")
