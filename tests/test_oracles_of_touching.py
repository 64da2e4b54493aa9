"""What interventions must equal, on every architecture: the same edit of the weights, the answer to another input, and nothing at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dlplay import architectures
from dlplay.engine import hooks
from dlplay.engine.interventions import parse
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import AnyPanel, Bars, ImageGrid, Layers, Scatter, Tokens
from dlplay.engine.task import Task, looking
from tests.conftest import Build
from tests.contract.test_task import step

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

CARDS = architectures.cards()
WITH_HEADS: dict[str, dict[str, Any]] = {
    "gpt": {},
    "bert": {},
    "seq2seq": {},
    "transformer-xl": {},
    "gan": {"data": "digits", "generator": "transformer", "discriminator": "transformer", "heads": 2},
}
TEXT = "some of its words"
OTHERS: dict[str, tuple[str, dict[str, Any], str, Any, str]] = {
    "gpt": ("next_word", {}, "prompt", TEXT, "tokens"),
    "bert": ("forward", {}, "sentence", TEXT, "embeddings"),
    "seq2seq": ("translation", {"source": "abcd"}, "source", "dcba", "tokens"),
    "transformer-xl": ("next_token", {}, "prompt", TEXT, "tokens"),
    "recurrent": ("next_token", {}, "prompt", TEXT, "tokens"),
    "convnet": ("probabilities", {"image": 0}, "image", 3, "blocks.0"),
    "autoencoder": ("reconstruction", {"image": 0}, "image", 3, "encoder.0"),
    "gan": ("sample", {"latent_place": "0,0"}, "latent_place", "1,1", "generator.body.0"),
}
"""A panel, what it is asked, the option that is another, its other value, and where all that the model reads passes. `TEXT` stands for
words of its vocabulary, the same ones in another order."""


def stepped(task: Task[Any]) -> Task[Any]:
    for _ in range(2):
        step(task)
    return task


def passed(task: Task[Any]) -> list[torch.Tensor]:
    """Everything that the models return while real data pass them."""
    sites = [hooks.Site(name, model) for name, model in hooks.modules(task.models).items()]
    with looking(task), hooks.recorded(sites) as found:
        task.pass_through()
    return [each for passes in found for each in passes]


@pytest.mark.parametrize("name", WITH_HEADS)
def test_a_head_set_to_0_is_its_slice_of_the_projection_zeroed(name: str, build: Build) -> None:
    """Of the whole forward pass, encoder, decoder, cross-attention and memory included, not one bit is another."""
    task = stepped(build(name, **WITH_HEADS[name]))
    found = hooks.heads(task.models)
    plain = passed(task)
    acted = 0
    for address, site in found.items():
        assert isinstance(site.module, nn.Linear)
        assert site.columns is not None
        with task.touched(parse(f"{address}=0")):
            touched = passed(task)
        weight = site.module.weight.data
        kept = weight.clone()
        weight[:, slice(*site.columns)] = 0
        edited = passed(task)
        weight.copy_(kept)
        same = [one is other or (one.shape == other.shape and torch.equal(one, other)) for one, other in zip(touched, edited, strict=True)]
        assert all(same), address
        acted += any(not torch.equal(one, other) for one, other in zip(touched, plain, strict=True))
    assert acted == len(found) > 1


def numbers(panel: AnyPanel) -> list[Any]:
    """What the model computed, without what the question says itself."""
    match panel:
        case Bars():
            return [panel.labels, panel.values]
        case Tokens():
            return [panel.values, [note.partition(":")[2] for note in panel.notes]]
        case Layers():
            return [(layer.labels, layer.values) for layer in panel.layers[1:] if not layer.title.endswith("before")]
        case ImageGrid():
            return panel.images.numpy()[panel.labels.index("reconstruction")].tolist()  # type: ignore[no-any-return]
        case Scatter():
            return panel.points.numpy()[panel.marked].tolist()  # type: ignore[no-any-return]
    raise TypeError(type(panel).__name__)


@pytest.mark.parametrize("name", OTHERS)
def test_patching_everything_gives_the_other_answer_exactly(name: str, build: Build) -> None:
    task = stepped(build(name))
    panel, options, option, value, where = OTHERS[name]
    if value == TEXT:
        known = [word for word in task.vocabulary().names() if word.isalpha()][-4:]  # type: ignore[union-attr]
        options, value = {option: " ".join(known)}, " ".join(reversed(known))
    plain, other, patched = (
        numbers(panel_of(task, CARDS[name].panel(panel), options | more))
        for more in ({}, {option: value}, {"do": f"{where}=from {option}: {value}"})
    )
    assert plain != other
    assert patched == other


@pytest.mark.parametrize("name", CARDS)
def test_an_empty_list_changes_no_bit(name: str, build: Build) -> None:
    task = stepped(build(name))
    plain = passed(task)
    with task.touched(parse("")):
        touched = passed(task)
    assert all(torch.equal(one, other) for one, other in zip(plain, touched, strict=True))
    card = CARDS[name].panel(CARDS[name].stage.panel)  # type: ignore[union-attr]
    assert panel_of(task, card, {"do": " ; "}) == panel_of(task, card, {})


def test_a_mean_that_is_taken_under_interventions_is_not_that_of_the_model_as_it_is(build: Build) -> None:
    task, fresh = stepped(build("gpt")), stepped(build("gpt"))
    site, other = (hooks.find(each.models, "blocks.1.feed_forward") for each in (task, fresh))
    with looking(task), looking(fresh):
        with task.touched(parse("blocks.0=3")):
            touched = task.means([site])[0]
        [mean], [wanted] = task.means([site]), fresh.means([other])
    assert torch.equal(mean, wanted)
    assert not torch.equal(mean, touched)
