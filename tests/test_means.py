"""What counts in means over held-out data and in what excites a unit: tokens, not padding, and nothing that was read beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlplay import architectures
from dlplay.architectures.seq2seq.model import PAD, Seq2Seq
from dlplay.architectures.seq2seq.problems.batches import make_batch
from dlplay.engine import hooks
from dlplay.engine.hooks import find, recorded
from dlplay.engine.interventions import parse
from dlplay.engine.means import MeanActivations
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Table
from dlplay.engine.task import Task, looking
from dlplay.microscope.anatomy import health
from dlplay.parts.head_table import first_order_costs
from dlplay.parts.held_out import WINDOWS
from tests.conftest import Build

pytestmark = pytest.mark.usefixtures("as_before")


def passes(task: Task[Any], address: str) -> list[Tensor]:
    """What stands there while the held-out examples are measured."""
    with looking(task), recorded([find(task.models, address)]) as [found]:
        task.measure()
    return found


def mean(task: Task[Any], address: str) -> Tensor:
    with looking(task):
        return task.means([find(task.models, address)])[0]


@pytest.fixture
def pairs(build: Build) -> tuple[Task[Any], Tensor, Tensor]:
    """With the tokens of the sources and of the outputs that the probe reads."""
    task: Any = build("seq2seq")
    batch = make_batch(task.problem, task.problem.held_out[:WINDOWS], task.device)
    assert (batch.source == PAD).any()
    assert (batch.output == PAD).any()
    return task, batch.source, batch.output


@pytest.mark.parametrize(
    ("address", "side"),
    [
        ("encoder.0.feed_forward", "source"),
        ("encoder.0.attention.key_value", "source"),
        ("encoder.0.head.1", "source"),
        ("decoder.0.cross.key_value", "source"),
        ("decoder.0.cross.head.0", "output"),
        ("decoder.0.feed_forward", "output"),
        ("decoder.0.around_cross.norm", "output"),
    ],
)
def test_a_mean_over_pairs_is_that_over_tokens(pairs: tuple[Task[Any], Tensor, Tensor], address: str, side: str) -> None:
    task, source, output = pairs
    [values] = passes(task, address)
    real = (source if side == "source" else output) != PAD
    torch.testing.assert_close(mean(task, address), values[real].mean(dim=0))
    assert not torch.allclose(values[real].mean(dim=0), values.mean(dim=(0, 1)))


def test_the_mean_of_an_embedding_that_two_sides_read_is_over_the_tokens_of_both(pairs: tuple[Task[Any], Tensor, Tensor]) -> None:
    task, source, output = pairs
    model = task.models["seq2seq"]
    assert isinstance(model, Seq2Seq)
    read = torch.cat([source[source != PAD], output[output != PAD]])
    torch.testing.assert_close(mean(task, "tokens"), model.tokens.weight[read].mean(dim=0).detach())


def test_what_is_replaced_by_its_mean_is_replaced_by_that(pairs: tuple[Task[Any], Tensor, Tensor]) -> None:
    task, source, _ = pairs
    [values] = passes(task, "encoder.0.feed_forward")
    by_hand = values[source != PAD].mean(dim=0)
    module = task.models["seq2seq"].get_submodule("encoder.0.feed_forward")
    with looking(task):
        handle = module.register_forward_hook(lambda module, inputs, output: by_hand.expand_as(output))
        wanted = task.measure().values
        handle.remove()
        with task.touched(parse("encoder.0.feed_forward=mean")):
            found = task.measure().values
    torch.testing.assert_close(found, wanted)


def test_a_cost_to_first_order_is_that_of_the_same_mean(pairs: tuple[Task[Any], Tensor, Tensor]) -> None:
    """The gradient times the change to the mean, by hand, of a head that reads padded sources."""
    task, source, _ = pairs
    site = find(task.models, "encoder.0.head.0")
    assert site.columns is not None
    part = slice(*site.columns)
    seen: list[Tensor] = []
    handle = site.module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with looking(task):
        found = first_order_costs(task)["encoder.0.head.0"]
        seen.clear()
        with torch.enable_grad():
            measured = task.measure().values.mean()
            [gradient] = torch.autograd.grad(measured, seen)
    handle.remove()
    values = seen[0].detach()[..., part]
    change = values[source != PAD].mean(dim=0) - values
    assert found == pytest.approx(float((change * gradient[..., part]).sum()), abs=1e-6)


def test_a_mean_over_classified_texts_is_that_over_their_tokens(build: Build, tmp_path: Path) -> None:
    file = tmp_path / "texts.tsv"
    lines = [f"{' '.join(['cat', 'sat', 'on', 'a', 'mat'][: 1 + n % 5])} {n}\t{'good' if n % 2 else 'bad'}" for n in range(200)]
    file.write_text("\n".join(lines))
    task: Any = build("bert", data=str(file))
    vocabulary = task.vocabulary()
    read: list[Tensor] = []
    handle = vocabulary.embedding.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    [values] = passes(task, "blocks.0.feed_forward")
    handle.remove()
    real = read[0] != vocabulary.padding
    assert not real.all()
    torch.testing.assert_close(mean(task, "blocks.0.feed_forward"), values[real].mean(dim=0))


def test_a_mean_over_masked_rows_is_that_over_their_tokens(build: Build) -> None:
    """The last row of a text is shorter than the others."""
    task: Any = build("bert", block_size=64)
    objective = task.pretraining
    valid = objective.held_out.valid
    assert not valid.all()
    read: list[Tensor] = []
    handle = task.vocabulary().embedding.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    with looking(task), recorded([find(task.models, "blocks.0.norm_1")]) as [found]:
        task.evaluate()
    handle.remove()
    special = objective.special
    assert any((each == special.pad).any() for each in read)
    counted = torch.cat([values[ids != special.pad] for values, ids in zip(found, read, strict=True)])
    over_all = MeanActivations(task.models, [task.evaluate], lambda: 0, task.vocabulary)
    with looking(task):
        torch.testing.assert_close(over_all([find(task.models, "blocks.0.norm_1")])[0], counted.mean(dim=0))


def test_the_health_of_a_layer_is_that_over_tokens(pairs: tuple[Task[Any], Tensor, Tensor]) -> None:
    task, source, _ = pairs
    [values] = passes(task, "encoder.0.feed_forward.expansion")
    real = values[source != PAD]
    with looking(task):
        found = health(task).activations["encoder.0.feed_forward.expansion"]
    assert (found.mean, found.deviation) == pytest.approx((float(real.mean()), float(real.std(correction=0))), rel=1e-4)
    assert float(values.mean()) != pytest.approx(found.mean, rel=1e-3)


# --- what excites a unit ----------------------------------------------------------------------------------------------------------


def units(room: str, task: Task[Any], module: str) -> list[list[str]]:
    shown = panel_of(task, architectures.card(room).panel("layer"), {"module": module, "details": "units"})
    assert isinstance(shown, Table)
    return shown.rows


def strongest(values: Tensor, real: Tensor) -> list[tuple[str, str, str, str]]:
    """Of each unit of values (B, T, C): the largest, the mean, the example and the position, of the real places (B, T) alone."""
    rows = []
    for unit in range(values.shape[2]):
        own = values[..., unit].masked_fill(~real, -torch.inf)
        example, position = divmod(int(own.argmax()), own.shape[1])
        rows.append((f"{float(own.max()):.3g}", f"{float(values[..., unit][real].mean()):.3g}", str(example), str(position)))
    return rows


@torch.no_grad()
def test_a_unit_is_excited_by_a_token_and_never_by_padding(pairs: tuple[Task[Any], Tensor, Tensor]) -> None:
    task, source, _ = pairs
    module = task.models["seq2seq"].get_submodule("encoder.0.feed_forward.expansion")
    [values] = passes(task, "encoder.0.feed_forward.expansion")
    real = source != PAD
    padded = values.masked_fill(real[..., None], -torch.inf).flatten(0, 1).max(dim=0).values
    tokens = values.masked_fill(~real[..., None], -torch.inf).flatten(0, 1).max(dim=0).values
    assert (padded > tokens).any(), "a unit that padding excites most is what this test is about"
    assert isinstance(module, nn.Linear)
    assert [tuple(row[1:5]) for row in units("seq2seq", task, "encoder.0.feed_forward.expansion")] == strongest(values, real)[:64]


def test_what_fills_a_memory_excites_no_unit_and_is_in_no_mean(build: Build) -> None:
    """Positions are those in the held-out windows."""
    task: Any = build("transformer-xl", task="text")
    length = task.probe().values  # of as many windows
    outputs = passes(task, "blocks.0.feed_forward")
    assert len(outputs) > 1
    windows = outputs[-1]
    assert len(windows) == len(length)
    everything = torch.ones(windows.shape[:2], dtype=torch.bool)
    assert [tuple(row[1:5]) for row in units("transformer-xl", task, "blocks.0.feed_forward")] == strongest(windows, everything)
    torch.testing.assert_close(mean(task, "blocks.0.feed_forward"), windows.mean(dim=(0, 1)))
    context = passes(task, "blocks.0.attention.key_value")[-1]
    read = context[:, -windows.shape[1] :]
    assert context.shape[1] > read.shape[1]
    assert [tuple(row[1:5]) for row in units("transformer-xl", task, "blocks.0.attention.key_value")] == strongest(read, everything)


def test_the_segments_of_a_sequence_to_recall_are_one_example(build: Build) -> None:
    task: Any = build("transformer-xl")
    outputs = torch.cat(passes(task, "blocks.0.feed_forward"), dim=1)
    assert outputs.shape[:2] == (len(task.probe().values), task.problem.held_out.shape[1])
    everything = torch.ones(outputs.shape[:2], dtype=torch.bool)
    assert [tuple(row[1:5]) for row in units("transformer-xl", task, "blocks.0.feed_forward")] == strongest(outputs, everything)


def test_a_room_without_words_has_the_means_that_it_had(build: Build) -> None:
    task = build("convnet")
    address = next(path for path, site in hooks.sites(task.models).items() if isinstance(site.module, nn.Conv2d))
    values = torch.cat(passes(task, address))
    torch.testing.assert_close(mean(task, address), values.mean(dim=(0, 2, 3)))
