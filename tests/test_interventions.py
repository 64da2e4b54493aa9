"""What is done to a part of a model while somebody looks: how it is written, and that it equals the same edit of the weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dlplay.architectures.convnet.model import ConvNet
from dlplay.architectures.gpt.model import GPT
from dlplay.engine import hooks
from dlplay.engine.hooks import applied, attach, find
from dlplay.engine.interventions import Intervention, parse, parse_lasting, written
from dlplay.engine.means import MeanActivations
from dlplay.engine.settings import SettingsError
from dlplay.microscope.panels import interval

TOKENS = torch.arange(12).view(2, 6)


@pytest.fixture
def gpt() -> GPT:
    torch.manual_seed(0)
    model = GPT(20, layers=2, heads=2, width=8, block_size=8).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def no_means(sites: list[hooks.Site]) -> list[Tensor]:
    raise AssertionError("no mean is asked for")


@torch.no_grad()
def under(model: nn.Module, do: str, *inputs: Tensor, means: Any = no_means, recordings: Any = None) -> Tensor:
    """The output of the model with these interventions."""
    with applied({"net": model}, parse(do), means, recordings):
        result: Tensor = model(*inputs)
    return result


@torch.no_grad()
def plain(model: nn.Module, *inputs: Tensor) -> Tensor:
    result: Tensor = model(*inputs)
    return result


# --- how they are written ---------------------------------------------------------------------------------------------------------


def test_an_intervention_is_read_as_it_is_written() -> None:
    text = "blocks.1.head.3=mean; blocks.0.feed_forward[17]*2; conv[0:4,7]=0; blocks.1@-1+0.5; a.b~0.1; blocks.2=skip"
    text += "; tokens@3=from prompt: the cat"
    found = parse(text)
    assert written(found) == text
    assert found[0] == Intervention("blocks.1.head.3", "mean")
    assert found[2] == Intervention("conv", "set", 0.0, units=((0, 4), (7, None)))
    assert found[3] == Intervention("blocks.1", "add", 0.5, positions=((-1, None),))
    assert found[6] == Intervention("tokens", "patch", positions=((3, None),), source=("prompt", "the cat"))
    assert parse(" ; ") == ()


NAMES = st.lists(st.sampled_from(["blocks", "feed_forward", "x_1", "head", "qkv"]), min_size=1, max_size=4).map(".".join)
WORDS = st.lists(st.text("a\"'\\];, \nö", max_size=5), max_size=2).map(tuple)
RANGES = st.lists(st.tuples(st.integers(-99, 99), st.none() | st.integers(-99, 99)), max_size=3).map(tuple)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:.10g}"))


@given(NAMES, st.sampled_from(["set", "scale", "add"]), NUMBERS, RANGES, RANGES, WORDS)
def test_what_is_written_is_read_again(part: str, kind: Any, value: float, units: Any, positions: Any, words: Any) -> None:
    one = Intervention(part, kind, value, units, positions, words=words)
    assert parse(written((one, one))) == (one, one)


def test_words_stand_in_quotes_of_either_kind_and_may_hold_any_sign() -> None:
    for other in ("the; cat", " spaces ", '"quoted"', 'say "no"; then', "don't", "", ";", 'back\\slash"; x'):
        (one,) = parse(written((Intervention("a.b", "patch", source=("prompt", other)),)))
        assert one.source == ("prompt", other)
    assert [each.part for each in parse("a=from prompt: \"x; y\"; b=0; c=from prompt: 'z'")] == ["a", "b", "c"]
    found = parse("""a.b['the']*2; tokens["a", ';'][17]@-1=mean; tokens["\\"","\\n]"]=0; t=from prompt: don't; t["x"]=from prompt: it's""")
    assert [each.words for each in found] == [("the",), ("a", ";"), ('"', "\n]"), (), ("x",)]
    assert (found[1].units, found[1].positions) == (((17, None),), ((-1, None),))
    assert [each.source[1] for each in found[3:]] == ["don't", "it's"]
    assert written(found[1:3]) == r"""tokens["a",";"][17]@-1=mean; tokens["\"","\n]"]=0"""


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    refused = None
    try:
        parse(text)
    except SettingsError as error:
        refused = error
    assert refused is None or (str(refused).startswith("--do") and refused.field == "do")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("blocks", "is no intervention"),
        ("blocks=much", "is no number"),
        ("blocks=inf", "is no number"),
        ("blocks[a]=0", "is no number and no range"),
        ("blocks[]=0", "is no number and no range"),
        ("blocks[1]=skip", "a whole module is skipped"),
        ('blocks["a"]=skip', "a whole module is skipped"),
        ("blocks[the]=0", "nor words in quotes"),
        ('blocks["the]=0', "nor words in quotes"),
        ("blocks~-1", "not negative"),
        ("blocks=from nowhere", "another input is named like"),
        ("a=0;" * 65, "use 64 at most"),
        ("a" * 2001, "use 2,000 at most"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse(text)


def test_training_runs_with_numbers_alone() -> None:
    assert [each.kind for each in parse_lasting("a=0; b*2; c+1; d=skip")] == ["set", "scale", "add", "skip"]
    for text in ("a=mean", "a~1", "a=from prompt: x"):
        with pytest.raises(SettingsError, match="--train-with") as refused:
            parse_lasting(text)
        assert refused.value.field == "train_with"


# --- oracles: the same edit of the weights ----------------------------------------------------------------------------------------


def test_no_intervention_changes_no_bit(gpt: GPT) -> None:
    assert torch.equal(under(gpt, "", TOKENS), plain(gpt, TOKENS))


@pytest.mark.parametrize("head", [0, 1])
def test_a_head_set_to_0_is_its_slice_of_the_projection_zeroed(gpt: GPT, head: int) -> None:
    edited = copy.deepcopy(gpt)
    with torch.no_grad():
        edited.blocks[1].attention.projection.weight[:, 4 * head : 4 * head + 4] = 0  # type: ignore[union-attr, index, operator]
    for address in (f"blocks.1.head.{head}", f"blocks.1.attention.head.{head}"):
        torch.testing.assert_close(under(gpt, f"{address}=0", TOKENS), plain(edited, TOKENS))


def test_a_unit_that_is_scaled_is_its_row_of_the_weights_scaled(gpt: GPT) -> None:
    edited = copy.deepcopy(gpt)
    with torch.no_grad():
        expansion = edited.blocks[0].feed_forward.expansion  # type: ignore[union-attr]
        expansion.weight[5] *= 3  # type: ignore[union-attr, index, operator]
        expansion.bias[5] *= 3  # type: ignore[union-attr, index, operator]
    torch.testing.assert_close(under(gpt, "blocks.0.feed_forward.expansion[5]*3", TOKENS), plain(edited, TOKENS))


def test_a_number_that_is_added_is_added_to_the_bias(gpt: GPT) -> None:
    edited = copy.deepcopy(gpt)
    with torch.no_grad():
        edited.blocks[1].feed_forward.projection.bias += 0.7  # type: ignore[union-attr, operator]
    torch.testing.assert_close(under(gpt, "blocks.1.feed_forward+0.7", TOKENS), plain(edited, TOKENS))


def test_a_channel_set_to_0_is_one_without_weights() -> None:
    torch.manual_seed(0)
    net = ConvNet((1, 8, 8), 3, (4, 6), norm="none").eval()
    images = torch.rand(5, 1, 8, 8)
    edited = copy.deepcopy(net)
    with torch.no_grad():
        edited.blocks[0].convolution.weight[2] = 0  # type: ignore[union-attr, index, operator]
        edited.blocks[0].convolution.bias[2] = 0  # type: ignore[union-attr, index, operator]
    torch.testing.assert_close(under(net, "blocks.0.convolution[2]=0", images), plain(edited, images))
    assert not torch.equal(plain(edited, images), plain(net, images))


def test_a_block_that_is_skipped_is_one_that_is_not_there(gpt: GPT) -> None:
    shorter = copy.deepcopy(gpt)
    shorter.blocks = nn.ModuleList([shorter.blocks[1]])
    torch.testing.assert_close(under(gpt, "blocks.0=skip", TOKENS), plain(shorter, TOKENS))


def test_a_position_alone_is_changed(gpt: GPT) -> None:
    before, after = plain(gpt, TOKENS), under(gpt, "blocks.1@2=0", TOKENS)
    changed = (before != after).any(dim=2).any(dim=0).tolist()
    assert changed == [False, False, True, False, False, False]  # the last block: nothing reads it any more


def test_heads_count_from_the_end_as_blocks_do(gpt: GPT) -> None:
    assert torch.equal(under(gpt, "blocks.-1.head.-1=0", TOKENS), under(gpt, "blocks.1.head.1=0", TOKENS))
    assert find({"net": gpt}, "blocks.-1.head.-2").address == "blocks.1.head.0"


def test_the_mean_is_that_of_the_data(gpt: GPT) -> None:
    seen: list[Tensor] = []
    handle = gpt.blocks[0].feed_forward.register_forward_hook(lambda module, inputs, output: seen.append(output))  # type: ignore[union-attr]
    plain(gpt, TOKENS)
    handle.remove()
    mean = seen[0].mean(dim=(0, 1))
    means = MeanActivations({"net": gpt}, [lambda: plain(gpt, TOKENS)], lambda: 0)
    torch.testing.assert_close(means([find({"net": gpt}, "blocks.0.feed_forward")])[0], mean)
    by_hand = gpt.blocks[0].feed_forward.register_forward_hook(lambda module, inputs, output: mean.expand_as(output))  # type: ignore[union-attr]
    wanted = plain(gpt, TOKENS)
    by_hand.remove()
    torch.testing.assert_close(under(gpt, "blocks.0.feed_forward=mean", TOKENS, means=means), wanted)


def test_a_mean_is_taken_anew_once_a_weight_has_changed(gpt: GPT) -> None:
    runs: list[int] = []
    version = [0]
    means = MeanActivations({"net": gpt}, [lambda: (runs.append(1), plain(gpt, TOKENS))], lambda: version[0])
    site = find({"net": gpt}, "blocks.0")
    means([site])
    means([site])
    assert len(runs) == 1
    version[0] += 1
    means([site])
    assert len(runs) == 2


def test_patching_everything_gives_the_other_answer_exactly(gpt: GPT) -> None:
    other = TOKENS.flip(1)

    def recordings(intervention: Intervention, site: hooks.Site) -> list[Tensor]:
        with hooks.recorded([site]) as [found]:
            plain(gpt, other)
        return found

    assert torch.equal(under(gpt, "blocks.0=from prompt: other", TOKENS, recordings=recordings), plain(gpt, other))
    with pytest.raises(SettingsError, match="the same length"):
        under(gpt, "blocks.0=from prompt: other", TOKENS[:, :4], recordings=recordings)
    one = under(gpt, "blocks.1@-1=from prompt: other", TOKENS[:, :4], recordings=recordings)
    assert not torch.equal(one[:, -1], plain(gpt, TOKENS[:, :4])[:, -1])


def test_noise_is_the_same_for_the_same_question(gpt: GPT) -> None:
    noisy = under(gpt, "blocks.0~0.5", TOKENS)
    assert torch.equal(noisy, under(gpt, "blocks.0~0.5", TOKENS))
    assert not torch.equal(noisy, plain(gpt, TOKENS))


def test_several_are_done_one_after_the_other(gpt: GPT) -> None:
    assert torch.equal(under(gpt, "blocks.0*2; blocks.0*0.5", TOKENS), plain(gpt, TOKENS))
    assert torch.equal(under(gpt, "blocks.0*2; blocks.0=0", TOKENS), under(gpt, "blocks.0=0", TOKENS))


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("blocs.0=0", "the nearest is blocks.0;"),
        ("nonsense=0", "parts are net, tokens"),
        ("blocks.0.head.2=0", "its heads are 0 to 1"),
        ("blocks.head.0=0", "has several attentions"),
        ("blocks.0[8]=0", "there is no unit 8 of blocks.0; there are 8, from 0 to 7"),
        ("blocks.0[3:3]=0", "is empty"),
        ("blocks.0@9=0", "positions of this input are 0 to 5, or -1 to -6 from its end, so it changed nothing"),
        ("blocks.0.head.1@9:12=0", "positions of this input are 0 to 5"),
        ("blocks.7.head.0=0", "there is no part 'blocks.7.head.0'; there are blocks.0 to blocks.1;"),
        ("blocks.2=0", "there are blocks.0 to blocks.1;"),
        ("blocks.-3=0", "there is no part 'blocks.-3'; there are blocks.0 to blocks.1;"),
        ("blocks.0.head.-3=0", "there is no head -3 in blocks.0; its heads are 0 to 1"),
        ("blocks.0.head.0=skip", "a head is not skipped"),
        ("blocks.0.attention.qkv=skip", "cannot hand on its input"),
        ("blocks.0=from prompt: x", "no other input"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words_and_leaves_no_hook(gpt: GPT, do: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        under(gpt, do, TOKENS)
    assert refused.value.field == "do"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in gpt.modules())


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    from scipy import stats

    differences = torch.tensor([0.1, 0.4, -0.2, 0.3, 0.25]).double()
    expected = stats.ttest_1samp(differences.numpy(), 0.0).confidence_interval(0.95)
    assert interval(differences) == pytest.approx((expected.low, expected.high))
    assert interval(differences[:1]) is None


def test_an_intervention_that_is_refused_leaves_no_hook_of_those_before_it(gpt: GPT) -> None:
    with pytest.raises(SettingsError, match="a head is not skipped"):
        attach({"net": gpt}, parse("blocks.0.feed_forward=0; blocks.0.head.0=skip"), [lambda: plain(gpt, TOKENS)])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in gpt.modules())
    with pytest.raises(SettingsError, match="--train-with"):
        parse_lasting("blocks.0.head.0=skip")


def test_a_range_of_a_billion_positions_takes_no_time(gpt: GPT) -> None:
    assert torch.equal(under(gpt, "blocks.0@0:999999999*2", TOKENS), under(gpt, "blocks.0*2", TOKENS))


def test_a_token_that_is_read_with_a_cache_is_the_last_place_and_no_other(gpt: GPT) -> None:
    def continued(do: str) -> Tensor:
        cache: list[Any] = []
        with torch.no_grad(), applied({"net": gpt}, parse(do), no_means):
            gpt(TOKENS[:, :4], cache)
            rest: Tensor = gpt(TOKENS[:, 4:5], cache)
        return rest

    whole = under(gpt, "blocks.1@0=0", TOKENS[:, :5])[:, -1:]
    torch.testing.assert_close(continued("blocks.1@0=0"), whole)
    assert not torch.allclose(continued("blocks.1@-1=0"), whole)
