"""The autoencoder of a language model's activations: its data, what is measured of it, its features in words, and clamping one."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from dlplay.architectures.autoencoder import card
from dlplay.architectures.autoencoder.activations import source
from dlplay.architectures.autoencoder.activations.source import Activations, load_activations
from dlplay.architectures.autoencoder.model import Autoencoder, TopK
from dlplay.architectures.autoencoder.settings import AutoencoderSettings
from dlplay.architectures.autoencoder.task import AutoencoderTask
from dlplay.engine import hooks
from dlplay.engine.errors import DataError
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Bars
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from dlplay.parts.prompt_options import NextWord
from dlplay.runs.panel_text import print_panel
from dlplay.screen.panels.inspector import Inspector
from dlplay.screen.panels.panel_widgets import picked_value
from tests.architectures.autoencoder import build, evaluate, train

PROMPT = "the value of the"


@pytest.fixture(scope="module")
def net() -> AutoencoderTask:
    """Trained for a moment."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    task = build("activations", latent=120, active=8)
    train(task, 200)
    torch.set_num_threads(threads)
    return task


@pytest.fixture(scope="module")
def data(net: AutoencoderTask) -> Activations:
    assert net.activations is not None
    return net.activations


def shown(task: AutoencoderTask, name: str, **options: Any) -> Any:
    return panel_of(task, card.panel(name), options)


def vectors_of(data: Activations, prompt: str) -> torch.Tensor:
    """What the second block hands on for each word of a prompt, (T, C), as the language model's own code computes it."""
    model: Any = data.model
    ids, _ = data.model.tokenizer.read(prompt)
    with torch.no_grad():
        residuals = model.model.residuals(torch.tensor([ids]))
    found: torch.Tensor = residuals[2][0]
    return found


def next_word(data: Activations, prompt: str, added: torch.Tensor) -> dict[str, float]:
    """The next word's probabilities after `added` (T, C) to what the second block hands on, by hand."""
    model: Any = data.model
    ids, _ = data.model.tokenizer.read(prompt)
    with torch.no_grad():
        stream = model.model.residuals(torch.tensor([ids]))[2] + added
        for block in model.model.blocks[2:]:
            stream, _ = block(stream)
        probability = model.model.head(stream)[0, -1].double().softmax(0)
    return {data.model.tokenizer.label(token): value for token, value in enumerate(probability.tolist())}


# --- data -------------------------------------------------------------------------------------------------------------------------


def test_a_vector_is_what_the_module_hands_on_at_its_word(data: Activations) -> None:
    model: Any = data.model
    for stored, labels, ids in (
        (data.train_images, data.train_labels, data.corpus.train),
        (data.test_images, data.test_labels, data.corpus.held_out),
    ):
        vectors = torch.from_numpy(stored).flatten(1) * data.deviation + data.mean
        with torch.no_grad():
            second = model.model.residuals(torch.from_numpy(ids[32:96])[None])[2][0]  # the second window of 64
        assert torch.allclose(vectors[32:64], second[32:], atol=1e-5)
        assert labels[:1000].tolist() == ids[32:1032].tolist()
        assert len(labels) >= len(ids) - 64


def test_they_are_centred_and_scaled_by_the_training_part_alone(data: Activations) -> None:
    vectors = data.train_images.reshape(len(data.train_images), -1).astype(np.float64)
    assert np.abs(vectors.mean(0)).max() < 1e-4
    assert np.square(vectors).mean() == pytest.approx(1, abs=1e-4)
    assert data.train_images.shape[1:] == (1, 1, 96)


def test_the_random_state_stays_as_it_is(data: Activations) -> None:
    """The weights that a run begins with are the same whether or not its process has opened the language model before."""
    torch.manual_seed(7)
    fresh = torch.rand(3)
    torch.manual_seed(7)
    again = source._load("blocks.0.head.1")
    assert torch.equal(torch.rand(3), fresh)
    assert again.train_images.shape[-1] == 24


def test_a_checkpoint_of_another_place_or_of_images_is_refused_in_words(net: AutoencoderTask, data: Activations) -> None:
    assert AutoencoderTask(net.settings, torch.device("cpu"), net.assets()).parameters == net.parameters
    with pytest.raises(DataError, match=r"takes activations of blocks.0, and these are activations of blocks.1; use --site blocks.0"):
        data.check({**data.assets, "site": "blocks.0"})
    with pytest.raises(DataError, match=r"takes images of shape \(1, 8, 8\), and these are activations of blocks.1; use --data digits"):
        data.check(build().assets())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("block.1", "--site: there is no part 'block.1'; the nearest is blocks.1"),
        ("positions", "--site positions gives 64x96 for 64 windows of 64 words, not a vector for each word; choose a block"),
    ],
)
def test_a_place_that_has_no_vector_for_each_word_is_refused(address: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        source._load(address)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"code": "topk"}, "--active 16 is more than the code's 8 units; raise --latent"),
        ({"data": "activations"}, "--data activations have no bounds, and --output sigmoid with --loss squared has; use --output linear"),
        ({"code": "topk", "latent": 32, "sparsity": "kl"}, "--sparsity kl needs activations from 0 to 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make(AutoencoderSettings, values)


# --- the code -------------------------------------------------------------------------------------------------------------------------


def test_topk_keeps_the_largest_and_nothing_below_zero() -> None:
    code = TopK(2)(torch.tensor([[3.0, -5.0, 1.0, 2.0], [-1.0, -2.0, 0.5, -3.0]]))
    assert code.tolist() == [[3.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.5, 0.0]]


def test_the_encoder_begins_as_the_decoder_transposed() -> None:
    net = Autoencoder(torch.zeros(1, 1, 12), 20, encoder="linear", code="topk", active=3, output="linear")
    weights = dict(net.named_parameters())
    assert torch.equal(weights["encoder.1.weight"], weights["decoder.0.weight"].T)
    assert torch.allclose(weights["encoder.1.weight"].norm(dim=1), torch.ones(20))


# --- what is measured -----------------------------------------------------------------------------------------------------------------


def test_what_is_measured_is_worked_out_by_hand(net: AutoencoderTask, data: Activations) -> None:
    found = evaluate(net)
    assert evaluate(net) == found
    held_out = data.test_images.reshape(len(data.test_images), -1).astype(np.float64)
    with looking(net):
        code = net.model.encode(net.test_images).mean
        output = net.model.decode(code).flatten(1).double().numpy()
    error = np.square(output - held_out)
    assert found["test_mse"] == pytest.approx(error.mean(), rel=1e-4)
    assert found["explained_variance"] == pytest.approx(1 - error.sum() / np.square(held_out).sum(), rel=1e-4)
    assert found["active_units"] == pytest.approx((code > 0).sum(1).double().mean().item())
    assert found["active_units"] <= 8
    assert found["dead_share"] == pytest.approx((code.sum(0) == 0).double().mean().item())


def test_the_loss_that_is_added_is_that_of_the_model_with_reconstructions(net: AutoencoderTask, data: Activations) -> None:
    model: Any = data.model

    def spliced(module: Any, inputs: Any, result: Any) -> Any:
        flat = ((result[0] - data.mean) / data.deviation).reshape(-1, 1, 1, 96)
        return net.model(flat).reshape(result[0].shape) * data.deviation + data.mean, result[1]

    without = data.losses()
    handle = model.model.blocks[1].register_forward_hook(spliced)
    try:
        with looking(net):
            spliced_in = data.losses()
    finally:
        handle.remove()
    assert evaluate(net)["added_loss"] == pytest.approx((spliced_in - without).mean().item(), abs=1e-5)
    assert net._of_activations(data, lambda vectors: vectors, 0.0)["added_loss"] == 0


def test_the_baseline_is_pca_with_as_many_components_as_features_are_active(net: AutoencoderTask, data: Activations) -> None:
    found = net.baselines()
    train_, held_out = (images.reshape(len(images), -1).astype(np.float64) for images in (data.train_images, data.test_images))
    pca = PCA(8).fit(train_)
    error = np.square(pca.inverse_transform(pca.transform(held_out)) - held_out).mean()
    assert found["test_mse"] == pytest.approx({"PCA": error}, rel=1e-3)
    assert found["explained_variance"] == pytest.approx({"mean": 0, "PCA": 1 - error / np.square(held_out).mean()}, abs=1e-4)
    assert found["added_loss"]["mean"] > found["added_loss"]["PCA"] > 0
    shown_ = shown(net, "components")
    assert [count for count, error in zip(shown_.x, shown_.series["this network"], strict=True) if error is not None] == [8]


def test_a_moment_of_training_beats_pca(net: AutoencoderTask) -> None:
    found, baselines = evaluate(net), net.baselines()
    assert found["test_mse"] < baselines["test_mse"]["PCA"] / 2
    assert found["added_loss"] < baselines["added_loss"]["PCA"] / 2


# --- features in words ----------------------------------------------------------------------------------------------------------------


def test_a_feature_is_shown_by_the_words_that_excite_it_most(net: AutoencoderTask, data: Activations) -> None:
    with looking(net):
        code = net.model.encode(net.test_images).mean
    listed = shown(net, "feature_words")
    means = [code[:, feature].mean().item() for feature in listed.ids]
    assert means == sorted(means, reverse=True)
    assert min(means) > 0
    words = data.corpus.tokenizer.vocabulary
    for feature, row in list(zip(listed.ids, listed.rows, strict=True))[:5]:
        largest, place = code[:, feature].max(0)
        assert row[0] == str(feature)
        assert float(row[3]) == pytest.approx(largest.item(), abs=0.06)
        word = words[data.corpus.held_out[32 + int(place)]]
        assert row[1].split()[0] == word
        contexts = shown(net, "feature_contexts", feature=feature)
        assert contexts.rows[0][1:] == [word, data.in_context(int(place))]
        assert f"[{word}]" in contexts.rows[0][2]
        values = [float(each[0]) for each in contexts.rows]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(largest.item(), abs=0.006)


def test_the_context_of_a_word_is_the_text_around_it(data: Activations) -> None:
    text = data.corpus.tokenizer.decode(data.corpus.held_out[32 + 100 - 12 : 32 + 100].tolist())
    assert data.in_context(100).startswith(f"{text} [{data.classes[data.test_labels[100]]}]")


def test_a_feature_that_is_not_there_is_refused(net: AutoencoderTask) -> None:
    last = net.settings.latent - 1
    with pytest.raises(SettingsError, match=f"--feature {last + 1} is out of range; this model has features 0 to {last}"):
        shown(net, "feature_contexts", feature=last + 1)


# --- clamping ---------------------------------------------------------------------------------------------------------------------------


def test_clamping_a_feature_adds_its_direction_of_the_decoder(net: AutoencoderTask, data: Activations) -> None:
    decoder: Any = net.model.decoder[0]
    scaled = (vectors_of(data, PROMPT) - data.mean) / data.deviation  # (T, C)
    with looking(net):
        code = net.model.encode(scaled.view(-1, 1, 1, 96)).mean  # (T, k)
    for feature, value in ((3, 7.0), (int(code[-1].argmax()), 0.0)):
        added = data.deviation * (value - code[:, feature, None]) * decoder.weight.detach()[:, feature]
        expected = next_word(data, PROMPT, added)
        found = shown(net, "feature_effect", feature=feature, value=value, prompt=PROMPT)
        assert dict(zip(found.labels, found.values, strict=True)) == pytest.approx(
            {word: expected[word] for word in found.labels}, abs=1e-6
        )
        own = next_word(data, PROMPT, torch.zeros(1))
        for word, before in zip(found.labels, found.second, strict=True):
            assert np.isnan(before) or before == pytest.approx(own[word], abs=1e-6)


def test_a_feature_that_stays_as_it_is_changes_no_bit(net: AutoencoderTask, data: Activations) -> None:
    """Of a single word the activation is set to what it is."""
    scaled = (vectors_of(data, "value") - data.mean) / data.deviation
    with looking(net):
        code = net.model.encode(scaled.view(-1, 1, 1, 96)).mean[0]
    own = data.answer(NextWord(prompt="value"))
    feature = int(code.argmax())
    for number, value in ((feature, code[feature].item()), (int((code == 0).nonzero()[0]), 0.0)):
        found = shown(net, "feature_effect", feature=number, value=value, prompt="value")
        assert (found.labels, found.values, found.second) == (own.labels, own.values, own.values)


def test_an_intervention_on_the_code_is_a_clamp_as_well(net: AutoencoderTask, data: Activations) -> None:
    """Both at once: the decoder is linear, and what they add is added up."""
    decoder: Any = net.model.decoder[0]
    scaled = (vectors_of(data, PROMPT) - data.mean) / data.deviation
    with looking(net):
        code = net.model.encode(scaled.view(-1, 1, 1, 96)).mean
    weight = decoder.weight.detach()
    added = data.deviation * ((7.0 - code[:, 3, None]) * weight[:, 3] + (4.0 - code[:, 5, None]) * weight[:, 5])
    expected = next_word(data, PROMPT, added)
    found = shown(net, "feature_effect", feature=3, value=7.0, prompt=PROMPT, do="code_function[5]=4")
    assert dict(zip(found.labels, found.values, strict=True)) == pytest.approx({word: expected[word] for word in found.labels}, abs=1e-6)


def test_the_cursor_sets_two_features_of_a_held_out_word(net: AutoencoderTask, data: Activations) -> None:
    found = shown(net, "decoded", image=40, place="2,-1", x_axis=3, y_axis=5)
    assert isinstance(found, Bars)
    assert found.names == ["with", "without"]
    assert data.before(40) in found.caption
    own = data.answer(NextWord(prompt=data.before(40, 48), top_k=1000))
    known = dict(zip(own.labels, own.values, strict=True))
    assert found.second == pytest.approx([known.get(word, np.nan) for word in found.labels], nan_ok=True)
    assert shown(net, "decoded", image=40, place="4,-1", x_axis=3, y_axis=5).values != found.values


def test_the_plane_is_painted_with_how_far_the_next_word_moves(net: AutoencoderTask, data: Activations) -> None:
    """Each cell by what the decoder's own directions add to the last word, in nats over the whole vocabulary."""
    found = shown(net, "latent_grid", image=40, x_axis=3, y_axis=5, images=3)
    assert (found.column_title, found.row_title) == ("unit 3", "unit 5")
    assert found.values.shape == (3, 3)
    assert (found.columns, found.rows) == (["-2.0", "+0.0", "+2.0"], ["+2.0", "+0.0", "-2.0"])
    text, decoder = data.before(40, 48), net.model.decoder[0]
    scaled = (vectors_of(data, text) - data.mean) / data.deviation
    with looking(net):
        code = net.model.encode(scaled.view(-1, 1, 1, 96)).mean[-1]
        codes = net.model.encode(torch.from_numpy(data.test_images[:1000])).mean
    own = next_word(data, text, torch.zeros(1))
    for row, column, x, y in ((0, 0, -2, 2), (0, 2, 2, 2), (2, 1, 0, -2)):
        added = torch.zeros_like(scaled)
        for unit, at in ((3, x), (5, y)):
            value = codes[:, unit].mean() + at * codes[:, unit].std(correction=0)
            added[-1] += data.deviation * (value - code[unit]) * decoder.weight.detach()[:, unit]
        there = next_word(data, text, added)
        expected = sum(p * np.log(p / there[word]) for word, p in own.items() if p > 0)
        assert found.values.numpy()[row, column] == pytest.approx(expected, abs=2e-4)


def test_the_axes_are_the_features_that_are_largest_on_average(net: AutoencoderTask) -> None:
    first, second = shown(net, "feature_words").ids[:2]
    found = shown(net, "latent_grid", image=40)
    assert (found.column_title, found.row_title) == (f"unit {first}", f"unit {second}")


def test_the_language_model_is_left_as_it_was(net: AutoencoderTask, data: Activations) -> None:
    own = data.answer(NextWord(prompt=PROMPT))
    shown(net, "feature_effect", value=100.0)
    evaluate(net)
    assert data.answer(NextWord(prompt=PROMPT)) == own
    assert not any(module._forward_hooks for model in data.model.models.values() for module in model.modules())


# --- what is for one kind of data alone -------------------------------------------------------------------------------------------------


def test_panels_of_images_say_so_and_are_left_out_on_the_screen(net: AutoencoderTask) -> None:
    of_images = {panel.name for panel in card.of({"data": "digits"}).panels}
    of_words = {panel.name for panel in card.of({"data": "activations"}).panels}
    assert {"feature_words", "feature_contexts", "feature_effect"} <= of_words - of_images
    for name in of_images - of_words:
        assert "no images; see Features by their words" in shown(net, name).caption
    images = build()
    for name in of_words - of_images:
        assert "choose --preset activations" in shown(images, name).caption


def test_selecting_a_row_chooses_its_feature(net: AutoencoderTask) -> None:
    listed = shown(net, "feature_words")
    assert listed.ids != sorted(listed.ids)
    assert picked_value(listed, 3, as_text=False) == listed.ids[3]


def test_below_the_stage_stands_what_these_data_have() -> None:
    assert card.stage is not None
    below = Inspector(card, card.stage.below)
    for values, names in (({"data": "activations"}, ["feature_effect"]), ({"data": "digits"}, ["forward", "reconstructions"])):
        assert [panel.name for panel in below._ordered(card.of(values))] == names


def test_a_table_of_bars_names_both(net: AutoencoderTask, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(net, "feature_effect", prompt=PROMPT)
    print_panel(found, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert next(line.split() for line in lines if "without" in line) == ["with", "without"]
    rows = {line.split()[0]: line for line in lines}
    word, after, before = next(each for each in zip(found.labels, found.values, found.second, strict=True) if not np.isnan(each[2]))
    assert f"{100 * after:.2f} %" in rows[word]
    assert f"{100 * before:.2f} %" in rows[word]


def test_loading_twice_reads_once() -> None:
    assert load_activations("blocks.1") is load_activations("blocks.1")


@pytest.mark.parametrize("address", ["blocks.0", "blocks.0.head.1"])
def test_no_more_is_computed_than_what_is_read(address: str, data: Activations, monkeypatch: pytest.MonkeyPatch) -> None:
    site = hooks.find(data.model.models, address)
    model: Any = next(iter(data.model.models.values()))
    ids, block = data.corpus.held_out[:20_000], int(data.model.settings.block_size)
    heads: list[int] = []
    handle = model.norm.register_forward_hook(lambda *_: heads.append(1))
    vectors, words = source._read(data.model, site, ids, block, block // 2)
    assert len(heads) == 1  # the first windows, of which one sees whether it gives a vector for each word
    monkeypatch.setattr(source, "_stopped_behind", lambda site: contextlib.nullcontext())
    whole, same = source._read(data.model, site, ids, block, block // 2)
    handle.remove()
    assert len(heads) > 2
    assert torch.equal(vectors, whole)
    assert np.array_equal(words, same)
