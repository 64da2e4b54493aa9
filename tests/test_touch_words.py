"""The embedding of a word, touched by its name, in every room that reads words: it is the same edit of one row, and of no other weight."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlplay import architectures
from dlplay.engine.interventions import parse
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Table
from dlplay.engine.settings import SettingsError
from dlplay.engine.task import Task, looking
from tests.conftest import Build
from tests.contract.test_task import step

pytestmark = pytest.mark.usefixtures("as_before")

ROOMS = ("recurrent", "seq2seq", "gpt", "bert", "transformer-xl")


@pytest.fixture(params=ROOMS)
def task(request: pytest.FixtureRequest, build: Build) -> Task[Any]:
    return build(request.param, **({"task": "text"} if request.param == "recurrent" else {}))


def read_words(task: Task[Any]) -> tuple[str, int, str, Tensor]:
    """The address of the embedding; the row and the name of the token that the held-out examples have most; the embedding's mean output."""
    vocabulary = task.vocabulary()
    assert vocabulary is not None
    seen: list[Tensor] = []
    handle = vocabulary.embedding.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten()))
    with looking(task):
        task.measure()
    handle.remove()
    every = torch.cat(seen)
    if vocabulary.padding is not None:
        every = every[every != vocabulary.padding]
    row = int(every.bincount().argmax())
    address = next(path for model in task.models.values() for path, module in model.named_modules() if module is vocabulary.embedding)
    word = next(name for name, number in vocabulary.names().items() if number == row)
    return address, row, word, vocabulary.embedding(every).detach().mean(dim=0)


@contextlib.contextmanager
def with_row(task: Task[Any], row: int, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Another row of the embedding, and of no head that is tied to it: the embedding is called with a weight of its own."""
    vocabulary = task.vocabulary()
    assert vocabulary is not None
    other = copy.deepcopy(vocabulary.embedding)
    with torch.no_grad():
        other.weight[row] = change(other.weight[row])
    handle = vocabulary.embedding.register_forward_hook(lambda module, inputs, output: other(inputs[0]))
    yield
    handle.remove()


def measured(task: Task[Any], do: str = "") -> Tensor:
    with looking(task), task.touched(parse(do)):
        return task.measure().values


@pytest.mark.parametrize("done", ["=0", "=0.3", "*2", "+0.5", "=mean", "~0.4", "[1]=0"])
def test_a_word_that_is_touched_is_its_row_of_the_embedding_edited(task: Task[Any], done: str) -> None:
    address, row, word, mean = read_words(task)
    noise = torch.randn(1, len(mean), generator=torch.Generator().manual_seed(20_261_128))[0]
    first = torch.zeros(len(mean), dtype=torch.bool).index_fill_(0, torch.tensor([1]), True)
    edits: dict[str, Callable[[Tensor], Tensor]] = {
        "=0": torch.zeros_like,
        "=0.3": lambda old: torch.full_like(old, 0.3),
        "*2": lambda old: 2 * old,
        "+0.5": lambda old: old + 0.5,
        "=mean": lambda old: mean,
        "~0.4": lambda old: old + 0.4 * noise,
        "[1]=0": lambda old: old.masked_fill(first, 0.0),
    }
    with looking(task), with_row(task, row, edits[done]):
        wanted = task.measure().values
    found = measured(task, f'{address}["{word}"]{done}')
    torch.testing.assert_close(found, wanted)
    assert not torch.equal(found, measured(task))


@pytest.mark.parametrize("room", ["seq2seq", "gpt", "transformer-xl"])
def test_the_head_that_is_tied_to_the_embedding_is_left_alone(build: Build, room: str) -> None:
    """Setting the row itself to 0 would make the word's logit 0 everywhere; the intervention does not."""
    task = build(room)
    address, row, word, _ = read_words(task)
    model = next(iter(task.models.values()))
    read = torch.tensor([[row - 1, row, row]])
    inputs = (read, read) if room == "seq2seq" else (read,)

    def logits() -> Tensor:
        with torch.no_grad():
            result = model(*inputs)
        found: Tensor = result if isinstance(result, Tensor) else result[0]
        return found

    with looking(task), task.touched(parse(f'{address}["{word}"]=0')):
        touched = logits()
    with torch.no_grad():
        weight = model.get_parameter(f"{address}.weight")
        kept = weight[row].clone()
        weight[row] = 0
        edited = logits()
        weight[row] = kept
    assert torch.equal(edited[..., row], torch.zeros_like(edited[..., row]))
    assert touched[..., row].abs().max() > 1e-4


def test_several_words_are_touched_together_and_an_empty_list_changes_no_bit(build: Build) -> None:
    task = build("gpt")
    with looking(task):
        plain = task.measure().values
    assert torch.equal(measured(task), plain)
    vocabulary = task.vocabulary()
    assert vocabulary is not None
    one, other = (task.tokenizer.label(token) for token in (1, 2))
    together = measured(task, f'tokens["{one}","{other}"]=0')
    torch.testing.assert_close(together, measured(task, f"tokens['{one}']=0; tokens[\"{other}\"]=0"))


def test_a_word_at_a_position_is_touched_there_alone(build: Build) -> None:
    task = build("gpt")
    model = task.models["gpt"]
    tokens = torch.tensor([[1, 2, 1, 3]])
    word = task.tokenizer.label(1)
    with looking(task):
        with task.touched(parse(f'tokens["{word}"]@1:4=0')):
            touched = model(tokens)
        plain = model(tokens)
    assert (touched != plain).any(dim=2).tolist() == [[False, False, True, True]]


def test_the_special_tokens_of_bert_and_of_pairs_have_names(build: Build) -> None:
    for room, words in (("bert", ["[MASK]", "[CLS]", "[SEP]"]), ("seq2seq", ["<bos>", "a"])):
        task = build(room)
        address, *_ = read_words(task)
        for word in words:
            assert not torch.equal(measured(task, f'{address}["{word}"]=0'), measured(task))


def test_a_blank_is_named_as_it_is_and_as_it_is_shown(build: Build) -> None:
    task = build("gpt", tokens="char")
    assert torch.equal(measured(task, 'tokens[" "]=0'), measured(task, 'tokens["␣"]=0'))
    assert not torch.equal(measured(task, 'tokens[" "]=0'), measured(task))


def test_what_is_no_word_is_refused_in_words(build: Build) -> None:
    task = build("gpt")
    known = task.tokenizer.label(1)
    for do, words in (
        (f'tokens["{known}x"]=0', f'--do: no row of tokens is that of "{known}x"; there are 60; did you mean "{known}"?'),
        ('tokens["%%%"]=0', f'no row of tokens is that of "%%%"; there are 60; words are "<unk>", "{known}", '),
        ('blocks.0["the"]=0', 'only the embedding has rows of words; write tokens["the"]'),
        ('tokens["the"]=skip', "a whole module is skipped"),
        ("tokens[the]=0", "nor words in quotes"),
    ):
        with pytest.raises(SettingsError) as refused:
            measured(task, do)
        assert words in str(refused.value)
        assert refused.value.field == "do"


def test_a_model_that_reads_no_words_says_so(build: Build) -> None:
    task = build("convnet")
    with pytest.raises(SettingsError, match="has no embedding of words"):
        measured(task, 'blocks.0["the"]=0')


def test_a_word_that_the_held_out_examples_do_not_have_is_told_and_not_refused(build: Build) -> None:
    """The dialog takes back what the panel of effects refuses; but a prompt may have the word."""
    task, card = build("gpt"), architectures.card("gpt")
    vocabulary = task.vocabulary()
    assert vocabulary is not None
    _, _, often, _ = read_words(task)
    with looking(task):
        seen: list[Tensor] = []
        handle = vocabulary.embedding.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten()))
        task.measure()
        handle.remove()
    read = set(torch.cat(seen).tolist())
    rare = next(word for word, token in vocabulary.names().items() if token not in read)
    shown = panel_of(task, card.panel("effect"), {"do": f'tokens["{rare}"]=0; tokens["{often}"]=0'})
    assert isinstance(shown, Table)
    assert shown.rows[1][1:] == ["", "", "not in these examples"]
    assert shown.rows[2][1:] == shown.rows[3][1:]
    alone = panel_of(task, card.panel("effect"), {"do": f'tokens["{rare}"]=0'})
    assert isinstance(alone, Table)
    assert alone.rows[-1][1:] == ["", "", "not in these examples"]


def test_training_with_a_word_touched_is_another_training_and_may_be_with_one_that_the_probe_does_not_have(build: Build) -> None:
    begun = build("gpt")
    vocabulary = begun.vocabulary()
    assert vocabulary is not None
    _, _, often, _ = read_words(begun)
    weights = []
    for train_with in ("", f'tokens["{often}"]*1', f'tokens["{often}"]=0'):
        task = build("gpt", train_with=train_with)
        task.train_with()
        for _ in range(2):
            step(task)
        weights.append(task.weights()["gpt/blocks.0.attention.qkv.weight"].clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    build("gpt", train_with='tokens["<unk>"]=0').train_with()
    with pytest.raises(SettingsError, match="--train-with: no row of tokens"):
        build("gpt", train_with='tokens["no such word"]=0').train_with()


def test_no_hook_is_left(build: Build) -> None:
    task = build("bert")
    address, _, word, _ = read_words(task)
    measured(task, f'{address}["{word}"]=mean')
    with pytest.raises(SettingsError):
        measured(task, f'{address}["no such word"]=mean')
    modules: list[nn.Module] = [module for model in task.models.values() for module in model.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
