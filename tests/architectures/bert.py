"""The BERT against transformers, its masks by their frequencies, its baselines by hand, and its sentences."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from dlplay.architectures.bert import card
from dlplay.architectures.bert.model import BERT
from dlplay.architectures.bert.pretraining.baselines import TwoSidedNGrams, masked_words
from dlplay.architectures.bert.pretraining.masking import choose_targets, gather_targets, lay_out, mask_targets, max_targets
from dlplay.architectures.bert.pretraining.objective import Pretraining
from dlplay.architectures.bert.sentences.predictions import MAX_PASSES
from dlplay.architectures.bert.sentences.sentence import read_sentence
from dlplay.architectures.bert.settings import BERTSettings, Contexts, Sentence
from dlplay.architectures.bert.task import BERTTask, learning_rate
from dlplay.data.special_tokens import SpecialIds
from dlplay.data.text import read_corpus, read_text
from dlplay.data.tokens import UNKNOWN, Characters, Tokenizer, Words
from dlplay.engine.panels import Tokens
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from dlplay.exports.source import Source
from tests.rooms import Gate, RoomFacts
from tests.samples import ATTENTION, FILLS

facts = RoomFacts(
    small={"text": "{text}", "layers": 2, "heads": 2, "width": 16, "block_size": 12, "batch": 8, "min_count": 1},
    cases=[{"data": "{pairs}"}],
    easy={"dropout": 0.0, "warmup": 0, "weight_decay": 0.0, "lr": 0.01},
    idle={"min_count": "each of its words is frequent"},
    gates=[Gate(0.31)],
    pictured={
        "fill": Tokens(
            words=["the", "[MASK]", "of"], values=[None, 0.61, None], place=1, alternatives=FILLS, filled="the value of",
            figure="61.0 %", caption="one word is masked",
        ),
        "attention": ATTENTION,
    },
    waits_for="one word is masked",
    pictured_small=True,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
WORDS = 40
SPECIAL = SpecialIds(WORDS)


@pytest.fixture(scope="module")
def own_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small language whose middle word follows from both neighbours, and from neither alone."""
    rng = np.random.default_rng(0)
    left, right, middle = ["ant", "bee"], ["yarn", "zinc"], [["red", "green"], ["blue", "grey"]]
    lines = []
    for _ in range(700):
        a, b = rng.integers(2, size=2)
        lines.append(f"{left[a]} {middle[a][b]} {right[b]}.")
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def build(text: str, assets: dict[str, Any] | None = None, **changes: Any) -> BERTTask:
    small = {"text": text, "layers": 2, "heads": 2, "width": 24, "block_size": 14, "batch": 16, "warmup": 20, "steps": 400, "lr": 4e-3}
    settings = make(BERTSettings, small | {"weight_decay": 0.01, "dropout": 0.0} | changes)
    torch.manual_seed(settings.seed)
    return BERTTask(settings, CPU, assets)


def train(task: BERTTask, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(float(task.train_step()["train_loss"]))
        task.step += 1
    return losses


def tiny(**changes: Any) -> BERT:
    torch.manual_seed(1)
    model = BERT(SPECIAL.size, **{"layers": 3, "heads": 2, "width": 16, "block_size": 12, "next_sentence": True} | changes)
    for parameter in model.parameters():  # biases and norms at other values than their first ones
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def some_rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    idx = torch.randint(SPECIAL.size, (5, 12), generator=generator)
    valid = torch.arange(12) < torch.tensor([[12], [9], [12], [3], [7]])
    return idx, torch.randint(2, (5, 12), generator=generator), valid


# --- the model ----------------------------------------------------------------------------------------------------------------------


def names_of_transformers(ours: BERT) -> dict[str, torch.Tensor]:
    """Our weights by the names of `BertForPreTraining`."""
    weights: dict[str, torch.Tensor] = {}
    parts = {
        "embeddings.tokens": "bert.embeddings.word_embeddings", "embeddings.positions": "bert.embeddings.position_embeddings",
        "embeddings.segments": "bert.embeddings.token_type_embeddings", "embeddings.norm": "bert.embeddings.LayerNorm",
        "attention.projection": "attention.output.dense", "norm_1": "attention.output.LayerNorm",
        "feed_forward.expansion": "intermediate.dense", "feed_forward.projection": "output.dense", "norm_2": "output.LayerNorm",
        "head.dense": "cls.predictions.transform.dense", "head.norm": "cls.predictions.transform.LayerNorm",
        "head.bias": "cls.predictions.bias", "pooler": "bert.pooler.dense", "next_sentence": "cls.seq_relationship",
        "blocks": "bert.encoder.layer",
    }  # fmt: skip
    for name, value in ours.state_dict().items():
        if ".qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                weights[name.replace("blocks", "bert.encoder.layer").replace("qkv", f"self.{part}")] = piece
            continue
        for old, new in parts.items():
            name = name.replace(old, new) if name.startswith(old) or f".{old}" in name else name
        weights[name] = value
    weights["cls.predictions.decoder.weight"] = ours.embeddings.tokens.weight.detach()
    weights["cls.predictions.decoder.bias"] = ours.head.bias.detach()
    return weights


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_logits_equal_those_of_bert_in_transformers() -> None:
    from transformers import BertConfig, BertForMaskedLM, BertForPreTraining

    config = BertConfig(
        vocab_size=SPECIAL.size, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=12, pad_token_id=SPECIAL.pad,
    )  # fmt: skip
    ours = tiny()
    idx, segments, valid = some_rows()
    weights = names_of_transformers(ours)
    both = BertForPreTraining(config).eval()
    missing = both.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all("position_ids" in name or "token_type_ids" in name for name in missing.missing_keys)
    masked = BertForMaskedLM(config).eval()
    masked.load_state_dict({k: v for k, v in weights.items() if "pooler" not in k and "seq_relationship" not in k}, strict=False)
    with torch.no_grad():
        asked = {"input_ids": idx, "token_type_ids": segments, "attention_mask": valid.long()}
        hidden = ours(idx, segments, valid)
        logits = ours.logits(hidden)[valid]
        torch.testing.assert_close(logits, masked(**asked).logits[valid], rtol=1e-4, atol=1e-5)
        expected = both(**asked)
        torch.testing.assert_close(logits, expected.prediction_logits[valid], rtol=1e-4, atol=1e-5)
        assert ours.next_sentence is not None
        torch.testing.assert_close(ours.next_sentence(ours.pool(hidden)), expected.seq_relationship_logits, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing() -> None:
    model = tiny()
    idx, segments, valid = some_rows()
    with torch.no_grad():
        before = model(idx, segments, valid)[valid]
        assert torch.equal(model(torch.where(valid, idx, (idx + 1) % SPECIAL.size), segments, valid)[valid], before)
        alone = model(idx[3:4, :3], segments[3:4, :3])
        torch.testing.assert_close(model(idx, segments, valid)[3:4, :3], alone, rtol=1e-5, atol=1e-5)


def test_every_token_attends_to_both_sides() -> None:
    model = tiny()
    idx = some_rows()[0][:1]
    with torch.no_grad():
        before = model(idx)
        for place in range(12):
            changed = idx.clone()
            changed[0, place] = (changed[0, place] + 1) % SPECIAL.size
            assert ((model(changed) - before).abs().amax(dim=2) > 1e-6).all()


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    model = tiny()
    idx, segments, valid = some_rows()
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(
            model(idx[order], segments[order], valid[order]), model(idx, segments, valid)[order], rtol=1e-5, atol=1e-5
        )


def test_attention_weights_are_those_of_the_forward_pass() -> None:
    block: Any = tiny().blocks[1]
    x = torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weights = block.attention.weights(x)  # (1, 2, 7, 7)
        _, _, v = block.attention.split(x)
        by_hand = block.attention.projection((weights @ v).transpose(1, 2).reshape(1, 7, 16))
        torch.testing.assert_close(by_hand, block.attention(x), rtol=1e-5, atol=1e-5)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 2, 7))


def test_a_new_model_attends_to_its_neighbourhood() -> None:
    torch.manual_seed(0)
    model = BERT(SPECIAL.size, layers=1, heads=4, width=96, block_size=32)
    with torch.no_grad():
        block: Any = model.blocks[0]
        weights = block.attention.weights(model.eval().hidden_states(torch.full((1, 32), 3))[0])[0].mean(dim=0)  # (T, T)
    distance = (torch.arange(32)[:, None] - torch.arange(32)).abs()
    assert weights[distance == 1].mean() > 2 * weights[distance > 6].mean()


def test_a_new_model_starts_as_its_notes_say() -> None:
    """Queries equal to keys, and both 1.5 times as large as values."""
    torch.manual_seed(0)
    model = BERT(SPECIAL.size, layers=2, heads=4, width=96, block_size=32)
    for block in model.blocks:
        queries, keys, values = block.attention.qkv.weight.detach().chunk(3)  # type: ignore[operator,union-attr]
        assert torch.equal(queries, keys)
        assert float(keys.norm() / values.norm()) == pytest.approx(1.5, rel=0.05)


# --- masks --------------------------------------------------------------------------------------------------------------------------


def test_masks_come_as_often_as_they_should_and_as_transformers_sets_them() -> None:
    from tokenizers import Tokenizer, models
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(WORDS, (2000, 60), generator=generator)
    chosen = choose_targets(rows, 0.15, rows.numel(), SPECIAL, generator)
    ours = counts(rows, mask_targets(rows, chosen, 0.1, 0.1, SPECIAL, generator), chosen)
    same = 1 / WORDS  # a word that is replaced by any word is now and then replaced by itself
    share = np.array([0.85, 0.15 * 0.8, 0.15 * 0.1 * (1 - same), 0.15 * (0.1 + 0.1 * same)])
    assert scipy.stats.chisquare(ours, share * rows.numel()).pvalue > 0.001
    assert scipy.stats.chisquare(ours, (share + np.array([0.004, -0.004, 0, 0])) * rows.numel()).pvalue < 0.001  # it would notice

    names = {f"w{number}": number for number in range(WORDS)} | {"[PAD]": WORDS, "[MASK]": WORDS + 1}
    plain = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(names, unk_token="w0")), mask_token="[MASK]", pad_token="[PAD]"
    )
    torch.manual_seed(0)
    collated = DataCollatorForLanguageModeling(plain, mlm_probability=0.15)([{"input_ids": row} for row in rows.tolist()])
    theirs = counts(rows, collated["input_ids"], collated["labels"] != -100)
    assert scipy.stats.chi2_contingency(np.stack([ours, theirs])).pvalue > 0.001


def counts(rows: torch.Tensor, hidden: torch.Tensor, chosen: torch.Tensor) -> np.ndarray:
    """Places that are not chosen, masked, replaced by another word, left as they were."""
    assert torch.equal(hidden[~chosen], rows[~chosen])
    masked, kept = hidden == SPECIAL.mask, hidden == rows
    return np.array([int(part.sum()) for part in (~chosen, chosen & masked, chosen & ~masked & ~kept, chosen & kept)])


def test_special_tokens_are_never_targets() -> None:
    text = torch.arange(1, WORDS)
    first, second = torch.tensor([[0, 4], [3, 2], [9, 3]]), torch.tensor([[8, 4], [5, 3], [20, 5]])
    rows = lay_out(text, first, second, 11, SPECIAL)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        assert not (choose_targets(rows.idx, 0.9, 1000, SPECIAL, generator) & (rows.idx >= WORDS)).any()
    hidden = mask_targets(rows.idx, choose_targets(rows.idx, 0.99, 1000, SPECIAL, generator), 0, 1, SPECIAL, generator)
    assert torch.equal(hidden[rows.idx >= WORDS], rows.idx[rows.idx >= WORDS])
    assert int(hidden[rows.idx < WORDS].max()) < WORDS


def test_pairs_are_laid_out_between_special_tokens() -> None:
    text = torch.arange(1, WORDS)
    rows = lay_out(text, torch.tensor([[0, 3], [10, 1]]), torch.tensor([[3, 4], [30, 2]]), 10, SPECIAL)
    pad, cls, sep = SPECIAL.pad, SPECIAL.cls, SPECIAL.sep
    assert rows.idx.tolist() == [[cls, 1, 2, 3, sep, 4, 5, 6, 7, sep], [cls, 11, sep, 31, 32, sep, pad, pad, pad, pad]]
    assert rows.segments.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]]
    assert rows.valid.sum(dim=1).tolist() == [10, 6]
    alone = lay_out(text, torch.tensor([[5, 3]]), None, 6, SPECIAL)
    assert alone.idx.tolist() == [[cls, 6, 7, 8, sep, pad]]


def test_the_loss_counts_every_target_kept_and_random_ones_too(own_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build(own_text, mask_share=0.3, mask_kept=0.4, mask_random=0.4)
    seen: dict[str, torch.Tensor] = {}
    module = "dlplay.architectures.bert.pretraining.objective"
    monkeypatch.setattr(f"{module}.mask_targets", lambda idx, chosen, *rest: seen.update(idx=idx, chosen=chosen) or idx)
    task.model.eval()
    assert isinstance(task.pretraining, Pretraining)
    loss, _, _ = task.pretraining.loss(task.model, task.drawn())
    idx, chosen = seen["idx"], seen["chosen"]
    logits = task.model.logits(task.model(idx, None, idx != SpecialIds(len(task.tokenizer.vocabulary)).pad))
    expected = torch.nn.functional.cross_entropy(logits[chosen], idx[chosen])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert 0.2 < chosen.float().mean() < 0.4


def test_no_target_is_lost_when_more_are_chosen_than_the_limit() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(WORDS, (8, 20), generator=generator)
    chosen = choose_targets(rows, 0.5, 30, SPECIAL, generator)
    places, asked = gather_targets(chosen, 30)
    assert chosen.sum() == asked.sum() == 30
    assert sorted(places.tolist()) == torch.nonzero(chosen.flatten())[:, 0].tolist()
    few = choose_targets(rows, 0.05, 30, SPECIAL, generator)
    places, asked = gather_targets(few, 30)
    assert sorted(places[asked].tolist()) == torch.nonzero(few.flatten())[:, 0].tolist()
    assert max_targets(1024, 0.15) == math.ceil(1024 * 0.15 + 6 * math.sqrt(1024 * 0.15 * 0.85))
    assert max_targets(10, 0.9) == 10


def test_masks_are_fresh_at_every_step_and_the_same_in_every_evaluation(own_text: str) -> None:
    one, other = build(own_text, seed=1), build(own_text, seed=2)
    assert isinstance(one.pretraining, Pretraining)
    assert isinstance(other.pretraining, Pretraining)
    assert torch.equal(one.pretraining.chosen, other.pretraining.chosen)
    before = one.pretraining.chosen.clone()
    train(one, 3)
    with looking(one):
        assert one.evaluate() == one.evaluate()
    assert torch.equal(one.pretraining.chosen, before)
    rows = one.pretraining.held_out.idx
    words = len(one.tokenizer.vocabulary)
    assert rows[rows < words].tolist() == one.pretraining.corpus.held_out.tolist()  # every held-out word once, in order
    share = before.sum() / (4 * (rows < words).sum())
    assert float(share) == pytest.approx(0.15, abs=0.02)
    states = [hash(tuple(one.pretraining._batch()[0].idx.flatten().tolist())) for _ in range(5)]
    assert len(set(states)) == 5


# --- training -----------------------------------------------------------------------------------------------------------------------


def test_it_learns_what_only_both_sides_tell(own_text: str) -> None:
    task = build(own_text, lr=0.01)
    losses = train(task, 400)
    with looking(task):
        metrics = task.evaluate()
        answer = task.panel("fill", make(card.panel("fill").options, {"sentence": "bee [MASK] yarn."}))
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 1.2
    found = task.baselines()["masked_accuracy"]
    assert metrics["masked_accuracy"] > found["left neighbour"] + 0.1
    assert found["both neighbours"] > found["left neighbour"] > found["unigram"]
    assert answer.alternatives.labels[0] == "blue"
    assert answer.filled == "bee blue yarn."


def test_pairs_of_text_are_half_of_them_from_elsewhere(own_text: str) -> None:
    task = build(own_text, next_sentence=True, block_size=20, batch=64)
    assert isinstance(task.pretraining, Pretraining)
    apart = []
    stream = " ".join(map(str, task.pretraining.corpus.train.tolist())) + " "
    for _ in range(8):
        rows, follows = task.pretraining._batch()
        apart += follows.tolist()
        for row, segments, other in zip(rows.idx.tolist(), rows.segments.tolist(), follows.tolist(), strict=True):
            words = [word for word in row if word < len(task.tokenizer.vocabulary)]
            joined = " ".join(map(str, words)) + " "
            assert (other == 1) or f" {joined}" in f" {stream}"
            middle, end = (place for place, token in enumerate(row) if token == task.pretraining.special.sep)
            assert segments == [0] * (middle + 1) + [1] * (end - middle) + [0] * (len(row) - end - 1)
    assert scipy.stats.binomtest(sum(apart), len(apart), 0.5).pvalue > 0.001
    metrics = task.train_step()
    assert metrics["train_loss"] == pytest.approx(float(metrics["masked_train_loss"] + metrics["next_sentence_loss"]))
    with looking(task):
        assert 0 <= task.evaluate()["next_sentence_accuracy"] <= 1
        assert task.panel("follows", make(card.panel("follows").options, {})).labels == ["follows", "is from elsewhere"]


def test_the_learning_rate_rises_and_falls_linearly() -> None:
    given = make(BERTSettings, {"lr": 1.0, "warmup": 10, "steps": 110})
    rates = [learning_rate(given, step) for step in range(112)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert rates[110] == rates[111] == 0


# --- baselines ----------------------------------------------------------------------------------------------------------------------


def test_counting_from_both_sides_by_hand() -> None:
    train_ids = np.array([1, 2, 3, 1, 2, 3, 1, 4, 3, 2, 1, 0])
    counted = TwoSidedNGrams(train_ids, 5)
    unigram = (np.array([1, 4, 3, 3, 1]) + 5 / 5) / (12 + 5)
    assert counted.unigram == pytest.approx(unigram)
    after_one = (np.array([1, 0, 2, 0, 1]) + 3 * unigram) / (4 + 3)  # after 1 came 2, 2, 4 and 0
    assert counted.left([1]) == pytest.approx(after_one)
    before_three = (np.array([0, 0, 2, 0, 1]) + 2 * unigram) / (3 + 2)
    assert counted.right([3]) == pytest.approx(before_three)
    joined = after_one * before_three / unigram
    between = (np.array([0, 0, 2, 0, 1]) + 2 * joined / joined.sum()) / (3 + 2)
    assert counted.both([1], [3]) == pytest.approx(between)
    after_three_one = (np.array([0, 0, 1, 0, 1]) + 2 * after_one) / (2 + 2)
    assert counted.left([3, 1]) == pytest.approx(after_three_one)
    for before, after in (([], []), ([1], []), ([2, 3], [1, 2]), ([0, 0], [4])):
        assert counted.both(before, after).sum() == pytest.approx(1)


def test_a_masked_neighbour_is_not_seen_by_the_baselines() -> None:
    train_ids = np.tile(np.array([1, 2, 3, 4]), 50)
    mask, cls = 6, 7  # of a vocabulary of 5
    rows = np.array([[cls, 1, mask, mask, 4, 1]])
    found = masked_words(train_ids, 5, rows, rows == mask, np.array([2, 3]))
    assert found["masked_accuracy"]["both neighbours"] == 1.0
    counted = TwoSidedNGrams(train_ids, 5)
    expected = -np.log([counted.both([1], [])[2], counted.both([], [4])[3]]).mean()
    assert found["masked_loss"]["both neighbours"] == pytest.approx(expected)


# --- sentences ----------------------------------------------------------------------------------------------------------------------

VOCABULARY = Words([UNKNOWN, ".", "the", "cat", "sees", "dog", "'", ","])


def test_a_sentence_is_read_with_its_masks() -> None:
    read = read_sentence(VOCABULARY, "The [MASK] sees [mask], the zebra.", 20)
    mask = SpecialIds(8).mask
    assert read.ids == [2, mask, 4, mask, 7, 2, 0, 1]
    assert read.masks == [1, 3]
    assert read.words[:2] == ["the", "[MASK]"]
    assert "zebra" in read.caption()
    assert read.row(0) == [SpecialIds(8).cls, mask, mask, 4, mask, 7, 2, 0, 1, SpecialIds(8).sep]
    assert read.position(-1) == 1
    assert read.position(900) == 7


def test_a_word_is_replaced_where_it_stands() -> None:
    read = read_sentence(VOCABULARY, "The  [MASK] -- “sees” the\tDog.", 20)
    cat, dog = (VOCABULARY.id(word) for word in ("cat", "dog"))
    assert read.replaced({1: cat}) == "The  cat -- “sees” the\tDog."
    place = read.words.index("dog")
    assert read.replaced({place: cat, 1: dog}) == "The  dog -- “sees” the\tCat."
    assert read.replaced({0: cat}).startswith("Cat  [MASK]")
    assert read.replaced({0: read.special.mask}).startswith("[MASK]  [MASK]")


@pytest.mark.parametrize(
    ("tokenizer", "sentence"),
    [
        (VOCABULARY, "The cat,dog[MASK]sees.The"),
        (VOCABULARY, "cat[MASK][MASK]dog"),
        (Characters([UNKNOWN, *"Theb .["]), "The be[MASK] hT."),
    ],
)
def test_a_token_that_replaces_another_is_read_again_as_itself(tokenizer: Tokenizer, sentence: str) -> None:
    read = read_sentence(tokenizer, sentence, 20)
    for place in range(len(read.ids)):
        for token in [*range(1, len(tokenizer.vocabulary)), read.special.mask]:
            if tokenizer.vocabulary[min(token, len(tokenizer.vocabulary) - 1)] == "'":
                continue  # an apostrophe between two words makes one of them
            again = read_sentence(tokenizer, read.replaced({place: token}), 20)
            assert again.ids == [*read.ids[:place], token, *read.ids[place + 1 :]]


def test_all_masks_are_filled_the_most_confident_first_in_a_bounded_number_of_passes(own_text: str) -> None:
    task = build(own_text, block_size=40)
    train(task, 60)
    passes: list[Any] = []
    hook = task.model.register_forward_hook(lambda *_: passes.append(1))
    words = len(task.tokenizer.vocabulary)
    for masks in (1, 3, 8, 30):
        sentence = read_sentence(task.tokenizer, "ant [MASK] yarn. " * (masks // 2) + "[MASK]" * (masks % 2), 38)
        passes.clear()
        with looking(task):
            answer = task.panel("fill", make(card.panel("fill").options, {"sentence": sentence.text}))
            asked = len(passes)
            ids = list(sentence.ids)
            while masks <= MAX_PASSES and sentence.special.mask in ids:  # one at a time, as the panel does
                row = torch.tensor([sentence.row(ids=ids)])
                best = task.model.logits(task.model(row))[0, 1:-1].double().softmax(-1)[:, :words].clone()
                best[:, 0] = 0
                place = max(
                    (place for place in sentence.masks if ids[place] == sentence.special.mask), key=lambda place: float(best[place].max())
                )
                ids[place] = int(best[place].argmax())
        again = read_sentence(task.tokenizer, answer.filled, 38)
        assert again.masks == []
        assert asked <= MAX_PASSES
        assert masks > MAX_PASSES or again.ids == ids
    hook.remove()


@pytest.mark.parametrize("text", ["", " \n", "?!" * 3 + "#", "\x1b[31m\udc80", "İstanbul ΣΑΣ [MASK", "[MASK]" * 40, "a " * 300])
def test_whatever_is_typed_is_read(text: str) -> None:
    for tokenizer in (VOCABULARY, Characters([UNKNOWN, "a", " "])):
        read = read_sentence(tokenizer, text, 10)
        assert 1 <= len(read.ids) == len(read.words) == len(read.spans) <= 10
        assert read.replaced({}) == read.text


def test_spans_are_the_tokens_of_split() -> None:
    for text in ("The dog's “Zebra”, 12 x ΣΑΣ!", "plain words. and [brackets]", "ﬁne É é"):
        assert [word for word, _, _ in Words.spans(text)] == list(Words.split(text))


def test_a_pasted_megabyte_is_refused_in_words() -> None:
    with pytest.raises(SettingsError, match="the sentence has 1,000,000 characters; at most 100,000"):
        make(Sentence, {"sentence": "a" * 1_000_000})


def test_settings_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(SettingsError, match="--width 30 does not divide by --heads 4; use 3 heads"):
        make(BERTSettings, {"width": 30, "heads": 4})
    with pytest.raises(SettingsError, match=r"add up to more than 1; use --mask-kept 0\.3"):
        make(BERTSettings, {"mask_random": 0.7, "mask_kept": 0.5})


def test_what_the_card_says_of_one_word_in_two_contexts_holds_for_the_shipped_model() -> None:
    """Over pairs of held-out sentences: less alike after the first layer; after the second more so again, and more like the neighbour."""
    _, task = Source("bert-reference", Path("/nowhere")).task()
    assert isinstance(task, BERTTask)
    held_out = read_corpus(read_text("reference"), "word", vocab_size=8000, min_count=3, minimum=650).held_out
    pieces = [task.tokenizer.decode(held_out[start : start + 20].tolist()) for start in range(0, 4000, 20)]
    alike, near = [], []
    with looking(task):
        for one, other in itertools.pairwise(pieces):
            panel = task.panel("contexts", Contexts(sentence=one, other_sentence=other))
            if len(panel.series) == 2:
                same, neighbour = panel.series.values()
                alike.append(same)
                near.append(neighbour)
    first, second, third = np.mean(alike, axis=0)
    assert len(alike) > 100
    assert second < first - 0.02
    assert third > second + 0.02
    assert np.mean(near, axis=0)[2] > np.mean(near, axis=0)[1] + 0.05
