"""`--accumulate N`: one update by N batches is that by one batch N times as large, and every count of steps and examples says so."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlplay import architectures
from dlplay.architectures.bert.pretraining import objective as pretraining
from dlplay.architectures.bert.pretraining.masking import choose_targets, mask_targets, max_targets
from dlplay.architectures.recurrent.problems import adding, copying
from dlplay.architectures.seq2seq import task as seq2seq
from dlplay.architectures.seq2seq.problems.batches import make_batch
from dlplay.architectures.transformer_xl.problems import recall
from dlplay.engine.device import prepare
from dlplay.engine.errors import DataError
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import Share, Task
from dlplay.runs.check import examine
from dlplay.runs.directory import RunDirectory
from dlplay.runs.find_lr import range_test
from tests.conftest import Dlplay, Small
from tests.runs import begin, curves
from tests.toy import ToySettings, ToyTask

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

N = 3
CPU = torch.device("cpu")
Patch = pytest.MonkeyPatch
Join = Callable[[Task[Any], Patch], None]
"""Lets a task draw N of its batches at once, the same ones as N tasks steps draw one after the other."""


def cat(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def larger_batch(task: Task[Any], patch: Patch) -> None:
    """Its examples are drawn one by one."""
    patch.setattr(task, "settings", make(type(task.settings), vars(task.settings) | {"batch": N * task.settings.batch}))
    for source in ("classification", "problem"):
        if getattr(task, source, None) is not None:
            patch.setattr(getattr(task, source), "settings", task.settings)


def join_indices(task: Any, patch: Patch) -> None:
    draw = task.batches.next
    patch.setattr(task.batches, "next", lambda: torch.cat([draw() for _ in range(N)]))


def join_streams(task: Any, patch: Patch) -> None:
    """Every chunk starts from what the ones before it have left: with the same weights, since none is updated in between."""
    streams = getattr(task.problem, "streams", None) or task.problem.text.streams
    draw = streams.next

    def chunks(share: Share) -> tuple[Tensor, Tensor]:
        parts, states = [], []
        for _ in range(N):
            inputs, targets = draw()
            parts.append((inputs, targets))
            states.append(streams.carried)
            with torch.no_grad():
                more = (task.settings.memory,) if task.settings.task == "text" and hasattr(task.settings, "memory") else ()
                read = inputs[..., None] if task.settings.task == "series" else inputs
                streams.carry(task.model(read, streams.carried, *more)[1])
        rows = 0 if more else 1  # a memory is (B, M, C), a state (L, B, H)
        streams.carried = tuple(torch.cat(column, dim=rows) for column in zip(*states, strict=True))
        inputs, targets = cat(parts)
        return inputs, targets

    patch.setattr(streams, "next", chunks)


def join(module: Any, name: str) -> Join:
    """Of a function that returns one tensor or several."""

    def patched(task: Task[Any], patch: Patch) -> None:
        draw = getattr(module, name)

        def joined(*arguments: Any) -> Any:
            parts = [draw(*arguments) for _ in range(N)]
            return torch.cat(parts) if isinstance(parts[0], Tensor) else cat(parts)

        patch.setattr(module, name, joined)

    return patched


def join_pairs(task: Task[Any], patch: Patch) -> None:
    """All padded to the longest of them, which batches by themselves are not."""

    def draw(problem: Any, count: int, generator: torch.Generator, device: torch.device) -> Any:
        drawn = [problem.draw(count, random.Random(int(torch.randint(2**62, (), generator=generator)))) for _ in range(N)]
        return make_batch(problem, [pair for pairs in drawn for pair in pairs], device)

    patch.setattr(seq2seq, "next_batch", draw)


def join_masked_words(task: Any, patch: Patch) -> None:
    source = task.pretraining
    draw, share = source._batch, task.settings.mask_share
    found: dict[str, Tensor] = {}

    def joined() -> Any:
        parts = []
        for _ in range(N):
            rows, labels = draw()
            limit = max_targets(rows.idx.numel(), share)
            chosen = choose_targets(rows.idx, share, limit, source.special, source.generator)
            masked = mask_targets(rows.idx, chosen, task.settings.mask_kept, task.settings.mask_random, source.special, source.generator)
            parts.append((rows, labels, chosen, masked))
        found["chosen"], found["masked"] = (torch.cat([part[place] for part in parts]) for place in (2, 3))
        counts = [int(part[2].sum()) for part in parts]
        assert len(set(counts)) > 1, "batches of as many words each would show nothing"
        rows = dataclasses.replace(
            parts[0][0], **{name: torch.cat([getattr(part[0], name) for part in parts]) for name in ("idx", "segments", "valid")}
        )
        return rows, torch.cat([part[1] for part in parts])

    patch.setattr(source, "_batch", joined)
    patch.setattr(pretraining, "choose_targets", lambda *_: found["chosen"])
    patch.setattr(pretraining, "mask_targets", lambda *_: found["masked"])


STILL = {"dropout": 0.0}
CASES: dict[str, tuple[str, dict[str, Any], Join]] = {
    "convnet": ("convnet", {**STILL, "norm": "group", "channels": (8, 8)}, join_indices),
    "residual net": ("convnet", {**STILL, "kind": "resnet", "norm": "group", "channels": (8, 8, 8), "label_smoothing": 0.1}, join_indices),
    "autoencoder": ("autoencoder", {"variational": False, "noise": "masking", "sparsity": "l1"}, join_indices),
    "variational autoencoder": ("autoencoder", {"latent": 4, "noise": "none"}, join_indices),
    "next word": ("gpt", STILL, larger_batch),
    "masked words": ("bert", STILL, join_masked_words),
    "classes": ("bert", {**STILL, "data": "{pairs}"}, larger_batch),
    "pairs": ("seq2seq", {**STILL, "task": "addition", "label_smoothing": 0.1}, join_pairs),
    "pairs of many lengths": ("seq2seq", {**STILL, "task": "reverse", "length": 6}, join_pairs),
    "streams of a text": ("recurrent", {**STILL, "task": "text"}, join_streams),
    "the last token": ("recurrent", {**STILL, "task": "text", "predict": "last"}, larger_batch),
    "a series": ("recurrent", {**STILL, "task": "series", "cell": "gru"}, join_streams),
    "adding": ("recurrent", {**STILL, "task": "adding", "length": 6}, join(adding, "adding_batch")),
    "copying": ("recurrent", {**STILL, "task": "copy", "length": 4}, join(copying, "copy_batch")),
    "segments of a text": ("transformer-xl", {**STILL, "task": "text", "text": "{text}", "memory": 8}, join_streams),
    "recall": ("transformer-xl", {**STILL, "task": "recall"}, join(recall, "recall_batch")),
}
"""Each loss that batches are accumulated for."""
SUPERVISED = sorted({name for name, _, _ in CASES.values()})


@pytest.fixture
def files(own_words: Path, tmp_path: Path) -> dict[str, str]:
    words = own_words.read_text().split()
    pairs = tmp_path / "pairs.tsv"
    lines = (f"{' '.join(words[at : at + 3 + at % 4])}\t{words[at // 6 % 3]}\n" for at in range(0, 1200, 6))
    pairs.write_text("".join(lines))
    return {"{pairs}": str(pairs), "{text}": str(own_words)}


def in_float64(name: str, small: Small, values: dict[str, Any]) -> Task[Any]:
    card = architectures.card(name)
    settings = make(card.settings, small(name) | {"device": "cpu", "steps": 100, "clip": 0.0} | values, lenient=True)
    task = card.load_task()(settings, prepare(settings), None)
    for model in task.models.values():
        model.double()
        model.register_forward_pre_hook(lambda module, args: tuple(wide(value) for value in args))
    return task


def wide(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(wide, value))
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def update(task: Task[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients that one step updates with, and its metrics; the weights are left as they are."""
    [optimizer] = task.optimizers.values()
    found: list[dict[str, Tensor]] = []

    def keep(*_: Any) -> None:
        found.append({name: p.grad.clone() for model in task.models.values() for name, p in model.named_parameters() if p.grad is not None})

    optimizer.step = keep  # type: ignore[assignment,method-assign]
    metrics = task.advance()
    [gradients] = found
    return gradients, metrics


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_n_batches_is_that_of_one_batch_n_times_as_large(
    case: str, small: Small, files: dict[str, str], monkeypatch: Patch
) -> None:
    name, values, join = CASES[case]
    values = {key: files.get(value, value) if isinstance(value, str) else value for key, value in values.items()}
    parts = in_float64(name, small, values | {"accumulate": N})
    whole = in_float64(name, small, values)
    if join is join_streams:  # with something to remember
        for task in (parts, whole):
            with torch.no_grad():
                for _ in range(4):
                    task.problem.loss(task.model, task.drawn(), task.share)  # type: ignore[attr-defined]
    join(whole, monkeypatch)
    expected, measured = update(whole)
    monkeypatch.undo()
    found, accumulated = update(parts)
    assert found.keys() == expected.keys()
    largest = max(float(value.abs().max()) for value in expected.values())
    assert largest > 0
    for parameter, gradient in expected.items():
        assert gradient.dtype == torch.float64
        torch.testing.assert_close(found[parameter], gradient, rtol=0, atol=1e-6 * largest, msg=parameter)
    assert accumulated.keys() == measured.keys()
    for metric, value in measured.items():
        assert accumulated[metric].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-7), metric


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_run_that_accumulates_is_resumed_exactly(name: str, small: Small) -> None:
    values = {"norm": "group", "channels": (8, 8)} if name == "convnet" else {}
    found = examine(architectures.card(name), "cpu", 0.01, small(name) | values | {"accumulate": N})
    assert (found.problems, found.resumed_exactly) == ([], True)


# --- refusals -----------------------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "gan": ("gan", {}, "generator and discriminator are updated in turn"),
    "dqn": ("dqn", {}, "transitions"),
    "batch norm": ("convnet", {"norm": "batch"}, "batch norm takes its statistics from each batch by itself"),
    "KL sparsity": ("autoencoder", {"variational": False, "code": "sigmoid", "sparsity": "kl"}, "mean activation of each batch"),
    "next sentences": ("bert", {"next_sentence": True}, "the sum of two means"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_would_not_be_one_large_batch_it_is_refused_in_words_and_hidden(case: str) -> None:
    name, values, why = REFUSED[case]
    kind = architectures.card(name).settings
    with pytest.raises(SettingsError) as refused:
        make(kind, values | {"accumulate": 4})
    assert refused.value.field == "accumulate"
    assert str(refused.value).startswith("--accumulate 4 ")
    assert why in str(refused.value)
    assert "use --accumulate 1" in str(refused.value)
    assert "accumulate" in make(kind, values).unused()


def test_where_it_means_something_it_is_shown() -> None:
    assert "accumulate" not in make(architectures.card("gpt").settings, {}).unused()
    assert "accumulate" not in make(architectures.card("convnet").settings, {"norm": "group"}).unused()


class Twice(ToyTask):
    def train_step(self) -> dict[str, Tensor]:
        super().train_step()
        return super().train_step()


def test_a_room_that_minimises_twice_a_step_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="--accumulate needs an architecture whose steps minimise one loss once"):
        Twice(make(ToySettings, {"accumulate": 2}), CPU).advance()


# --- what a step is -----------------------------------------------------------------------------------------------------------------------


def test_a_step_is_an_update_for_the_schedule_the_counts_and_the_clipping() -> None:
    task = ToyTask(make(ToySettings, {"accumulate": 4}), CPU)
    updates: list[float] = []
    [optimizer] = task.optimizers.values()
    step = optimizer.step

    def counted() -> None:
        updates.append(float(nn.utils.get_total_norm([p.grad for p in task.models["model"].parameters() if p.grad is not None])))
        step()

    optimizer.step = counted  # type: ignore[assignment,method-assign]
    for number in range(3):
        metrics = task.advance()
        task.step += 1
        assert len(updates) == number + 1
        assert metrics.keys() == {"train_loss", "grad_norm"}
    assert max(updates) <= 1.0001, "the mean gradient is clipped, and not its parts"


def test_a_batch_that_is_not_finite_leaves_the_weights_alone() -> None:
    task = ToyTask(make(ToySettings, {"accumulate": 3}), CPU)
    before = {name: value.clone() for name, value in task.weights().items()}
    calls: list[int] = []
    train_step = task.train_step

    def poisoned() -> dict[str, Tensor]:
        calls.append(1)
        task.poison_at = 0 if len(calls) == 2 else -1
        return train_step()

    task.train_step = poisoned  # type: ignore[method-assign]
    task.advance()
    assert task.not_finite.item() == 1
    assert all(torch.equal(value, before[name]) for name, value in task.weights().items())


def test_the_range_test_takes_an_update_for_a_step() -> None:
    found = range_test(ToyTask(make(ToySettings, {"accumulate": 2}), CPU), steps=20)
    assert len(found.losses) > 5
    assert np.isfinite(found.losses).all()


def test_what_a_run_tells_counts_the_examples_of_an_update(dlplay: Dlplay, small: Small, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "gathered")
    ended = begin(dlplay, "gpt", run, small("gpt") | {"steps": 20, "accumulate": 4}).wait()
    assert ended.status == 0
    assert "4 x 8 x 8 = 256 a step" in ended.out
    assert [*curves(run)["train_loss"]] == [*range(1, 21)]
