"""BERT and transformers, both ways: the same logits, the same ids, the special tokens where each has them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
from hypothesis import given, settings
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from dlplay import architectures
from dlplay.architectures.bert.sentences.sentence import read_sentence
from dlplay.architectures.bert.settings import Contexts
from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.store import Store
from dlplay.cli import run
from dlplay.data.special_tokens import MASK
from dlplay.data.subwords import WordPieces
from dlplay.data.text import reference
from dlplay.engine.interventions import parse
from dlplay.engine.panels import Bars
from dlplay.engine.settings import make, to_dict
from dlplay.engine.task import Task, looking
from dlplay.exports import hf_tokenizer
from dlplay.exports.source import Source
from dlplay.runs import origin
from tests.test_hf import SAMPLE, TEXTS, opened, their_tokenizer, transformers

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
HERE = ["[PAD]", "[MASK]", "[CLS]", "[SEP]"]


def word_pieces() -> tokenizers.Tokenizer:
    """BERT's kind of tokenizer, trained on a part of the reference; the special tokens stand first, as in BERT's own."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False
    )
    made.train_from_iterator([reference().content[:100_000]], trainer)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights as transformers saves it; its embedding has more rows than pieces."""
    path = tmp_path_factory.mktemp("hf") / "bert"
    made = word_pieces()
    config = transformers.BertConfig(
        vocab_size=made.get_vocab_size() + 3,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    model = transformers.BertForPreTraining(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(path)
    made.save(str(path / "tokenizer.json"))
    return path


@pytest.fixture(scope="module")
def bert(folder: Path) -> Task[Any]:
    return opened(folder)


def masked_logits(path: Path, idx: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = transformers.BertForMaskedLM.from_pretrained(path).eval()(idx).logits
    return found


def our_logits(task: Task[Any], idx: torch.Tensor) -> torch.Tensor:
    model = task.models["bert"]
    with torch.no_grad():
        found: torch.Tensor = model.logits(model(idx))  # type: ignore[operator]
    return found


# --- opening ------------------------------------------------------------------------------------------------------------------------------


def test_an_opened_bert_gives_the_logits_that_transformers_gives(folder: Path, bert: Task[Any]) -> None:
    made = bert.tokenizer  # type: ignore[attr-defined]
    order = torch.tensor([*made.foreign, *made.outer])
    ours = torch.randint(len(order), (3, 32), generator=torch.Generator().manual_seed(1))
    found = our_logits(bert, ours)
    assert found.abs().max() > 1
    torch.testing.assert_close(found, masked_logits(folder, order[ours])[..., order], atol=1e-4, rtol=1e-5)


def test_a_head_set_to_0_is_that_head_zeroed_in_transformers(folder: Path, bert: Task[Any]) -> None:
    made = bert.tokenizer  # type: ignore[attr-defined]
    order = torch.tensor([*made.foreign, *made.outer])
    ours = torch.randint(len(order), (3, 32), generator=torch.Generator().manual_seed(1))
    with bert.touched(parse("blocks.1.head.0=0")):
        found = our_logits(bert, ours)
    edited = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    edited.bert.encoder.layer[1].attention.output.dense.weight.data[:, :8] = 0
    with torch.no_grad():
        torch.testing.assert_close(found, edited(order[ours]).logits[..., order], atol=1e-4, rtol=1e-5)
    assert (found - our_logits(bert, ours)).abs().max() > 0.1


def test_special_tokens_stand_behind_the_words(folder: Path, bert: Task[Any]) -> None:
    made = bert.tokenizer  # type: ignore[attr-defined]
    known = their_tokenizer(folder)
    assert made.outer == known.convert_tokens_to_ids(HERE) == [0, 5, 3, 4]
    assert made.vocabulary[0] == "[UNK]"
    assert made.foreign[0] == known.unk_token_id == 2
    assert sorted([*made.foreign, *made.outer]) == list(range(len(known) + 3))


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_a_sentence_has_the_ids_that_transformers_gives_it(folder: Path, bert: Task[Any], text: str) -> None:
    made = bert.tokenizer  # type: ignore[attr-defined]
    wanted = their_tokenizer(folder)(text, add_special_tokens=False)["input_ids"]
    assert [made.foreign[token] for token in made.encode(text)] == wanted
    assert made.encode_long(text).tolist() == made.encode(text)
    assert [made.id(word) for word, _, _ in made.spans(text)] == made.encode(text)


def test_a_blank_is_filled_as_transformers_fills_it(folder: Path, bert: Task[Any]) -> None:
    known = their_tokenizer(folder)
    text = "If the [MASK] is not found"
    with looking(bert):
        panel = bert.panel("masked_words", make(architectures.card("bert").panel("masked_words").options, {"sentence": text, "top": 3}))
    idx = known(text, return_tensors="pt")["input_ids"]
    logits = masked_logits(folder, idx)[0, idx[0].tolist().index(known.mask_token_id)]
    logits[[*known.convert_tokens_to_ids(HERE), known.unk_token_id]] = -torch.inf
    best = known.convert_ids_to_tokens([int(index) for index in logits.topk(3).indices if int(index) < len(known)])
    assert [word for _, word in panel.rows][: len(best)] == best


@pytest.mark.parametrize("panel", [item.name for item in architectures.card("bert").panels if not item.source])
def test_every_panel_answers_about_an_opened_model(bert: Task[Any], panel: str) -> None:
    with looking(bert):
        assert bert.panel(panel, architectures.card("bert").panel(panel).options()) is not None


def test_a_piece_that_goes_on_with_a_word_is_put_into_it(bert: Task[Any]) -> None:
    made = bert.tokenizer  # type: ignore[attr-defined]
    read = read_sentence(made, "the object [MASK] is Iterated", 30)
    words = [made.vocabulary[token] if token < len(made.vocabulary) else MASK for token in read.ids]
    blank, last = words.index(MASK), len(words) - 1
    assert words[last].startswith("##")
    s, the = made.vocabulary.index("##s"), made.id("the")
    assert read.replaced({blank: s}) == "the objects is Iterated"
    assert read.replaced({blank: the}) == "the object the is Iterated"
    for place, token in ((blank, the), (last, the), (last, s)):
        again = read_sentence(made, read.replaced({place: token}), 30)
        assert again.ids == [*read.ids[:place], token, *read.ids[place + 1 :]]


def test_the_first_names_of_norms_and_vocab_txt_are_read(folder: Path, tmp_path: Path, bert: Task[Any]) -> None:
    old = shutil.copytree(folder, tmp_path / "old")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in tensors.items()
    }
    renamed["cls.predictions.decoder.weight"] = renamed["bert.embeddings.word_embeddings.weight"].clone()
    renamed["bert.embeddings.position_ids"] = torch.arange(32)[None]
    safetensors.torch.save_file(renamed, old / "model.safetensors")
    vocabulary = json.loads((old / "tokenizer.json").read_text())["model"]["vocab"]
    (old / "vocab.txt").write_text("".join(f"{piece}\n" for piece in sorted(vocabulary, key=vocabulary.__getitem__)))
    (old / "tokenizer.json").unlink()
    found = opened(old)
    assert all(torch.equal(value, bert.weights()[name]) for name, value in found.weights().items())
    assert found.tokenizer.encode(SAMPLE) == bert.tokenizer.encode(SAMPLE)  # type: ignore[attr-defined]
    (old / "tokenizer_config.json").write_text('{"strip_accents": false}')
    assert opened(old).tokenizer.encode("é e") != bert.tokenizer.encode("é e")  # type: ignore[attr-defined]
    (old / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert opened(old).tokenizer.encode("THE the") != bert.tokenizer.encode("THE the")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"is_decoder": True}, "is_decoder True"),
        ({"type_vocab_size": 3}, "type_vocab_size 3"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"intermediate_size": 32}, "intermediate_size 32"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps 1e-05"),
        ({"vocab_size": 100}, "do not belong together"),
    ],
)
def test_a_config_of_another_model_is_refused(folder: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    other = shutil.copytree(folder, tmp_path / "m")
    (other / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | change))
    with pytest.raises(CheckpointError, match=re.escape(words)):
        origin.find(f"hf:{other}", tmp_path)


def test_a_vocabulary_without_a_mask_is_refused(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "m")
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace("[MASK]", "[NASK]"))
    with pytest.raises(CheckpointError, match=r"has no \[MASK\]"):
        origin.find(f"hf:{other}", tmp_path)


def test_an_opened_bert_trains_on_and_comes_back(folder: Path, bert: Task[Any], own_words: Path, tmp_path: Path) -> None:
    typed = ["--from", f"hf:{folder}", "--text", str(own_words), "--steps", "3", "--device", "cpu", "--threads", "1"]
    assert run(["bert", "--headless", "--json", "--runs-dir", str(tmp_path), "--name", "on", *typed]) == 0
    checkpoint = origin.find("on", tmp_path)
    assert checkpoint.meta["assets"]["tokenizer"] == (folder / "tokenizer.json").read_text()
    assert run(["export", "on", str(tmp_path / "out"), "--to", "hf", "--runs-dir", str(tmp_path)]) == 0
    _, task = Source("on", tmp_path).task()
    order = torch.tensor([*task.tokenizer.foreign, *task.tokenizer.outer])  # type: ignore[attr-defined]
    ours = torch.randint(len(order), (2, 32))
    theirs = masked_logits(tmp_path / "out", order[ours])[..., order]
    torch.testing.assert_close(our_logits(task, ours), theirs, atol=1e-4, rtol=1e-5)
    assert their_tokenizer(tmp_path / "out")(SAMPLE) == their_tokenizer(folder)(SAMPLE)


# --- writing ------------------------------------------------------------------------------------------------------------------------------


def small(tmp_path: Path, **changes: Any) -> tuple[Path, Task[Any]]:
    """A BERT of ours with random weights, and the folder of its checkpoint."""
    card = architectures.card("bert")
    values = {"layers": 2, "heads": 2, "width": 16, "block_size": 16, "min_count": 20, "device": "cpu", **changes}
    task = card.load_task()(make(card.settings, values), CPU)
    torch.manual_seed(0)
    for parameter in task.models["bert"].parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    task.models["bert"].eval()
    meta = {"architecture": "bert", "settings": to_dict(task.settings), "assets": task.assets()}
    weights = {name: value.numpy().copy() for name, value in task.weights().items()}
    return tmp_path / Store(tmp_path).save(0, weights, {}, meta).name, task


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Task[Any]]:
    tmp_path = tmp_path_factory.mktemp("out")
    checkpoint, task = small(tmp_path)
    assert run(["export", str(checkpoint), str(tmp_path / "hf"), "--to", "hf"]) == 0
    return tmp_path / "hf", task


def test_a_bert_of_ours_gives_its_logits_in_transformers(written: tuple[Path, Task[Any]]) -> None:
    path, task = written
    _, loading = transformers.BertForMaskedLM.from_pretrained(path, output_loading_info=True)
    assert not any(loading.values())
    idx = torch.randint(len(task.tokenizer.vocabulary) + 4, (3, 16))  # type: ignore[attr-defined]
    torch.testing.assert_close(our_logits(task, idx), masked_logits(path, idx), atol=1e-4, rtol=1e-5)


@settings(max_examples=150, deadline=None)
@given(TEXTS.filter(lambda text: "[UNK]" not in text))
def test_words_stand_between_cls_and_sep(written: tuple[Path, Task[Any]], text: str) -> None:
    path, task = written
    made = task.tokenizer  # type: ignore[attr-defined]
    words = len(made.vocabulary)
    known = their_tokenizer(path)
    assert known.convert_tokens_to_ids(["[UNK]", *HERE]) == [0, words, words + 1, words + 2, words + 3]
    found = known(text)
    assert found["input_ids"] == [words + 2, *made.encode(text), words + 3]
    assert known("the [MASK] is")["input_ids"][2] == words + 1


def test_pairs_keep_their_second_head(tmp_path: Path) -> None:
    checkpoint, task = small(tmp_path, next_sentence=True)
    assert run(["export", str(checkpoint), str(tmp_path / "hf"), "--to", "hf"]) == 0
    model, loading = transformers.BertForPreTraining.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not any(loading.values())
    idx, segments = torch.randint(100, (2, 16)), (torch.arange(16) > 7).long().expand(2, 16)
    ours = task.models["bert"]
    with torch.no_grad():
        found = model.eval()(idx, token_type_ids=segments)
        hidden = ours(idx, segments)
        torch.testing.assert_close(found.seq_relationship_logits, ours.next_sentence(ours.pool(hidden)), atol=1e-4, rtol=1e-5)  # type: ignore[operator]


def test_a_second_head_from_elsewhere_answers_and_trains_on(folder: Path) -> None:
    task = opened(folder)
    model = transformers.BertForPreTraining.from_pretrained(folder).eval()
    first, second = "the value of the", "expression is true"
    read = their_tokenizer(folder)(first, second, return_tensors="pt")
    with torch.no_grad():
        theirs = model(**read).seq_relationship_logits[0].softmax(dim=0)
        ours = task.panel("follows", Contexts(sentence=first, other_sentence=second))
    assert isinstance(ours, Bars)
    assert ours.values == pytest.approx(theirs.tolist(), abs=1e-5)
    task.train_step()
    with torch.no_grad():
        assert task.panel("follows", Contexts(sentence=first, other_sentence=second)) != ours


def test_half_a_second_head_is_left_out(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "half")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file({n: t for n, t in tensors.items() if "seq_relationship" not in n}, tmp_path / "half" / "model.safetensors")
    assert opened(tmp_path / "half").models["bert"].next_sentence is None


def test_classes_become_a_classifier_with_their_names(tmp_path: Path) -> None:
    lines = [f"the {'raise' if n % 2 else 'import'} statement number {n}\t{'error' if n % 2 else 'module'}" for n in range(60)]
    (tmp_path / "data.tsv").write_text("\n".join(lines))
    checkpoint, task = small(tmp_path, data=str(tmp_path / "data.tsv"))
    assert run(["export", str(checkpoint), str(tmp_path / "hf"), "--to", "hf"]) == 0
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf").eval()
    assert type(model) is transformers.BertForSequenceClassification
    from dlplay.exports.graph import write

    assert "classes (tokens, segments, valid to logits)" in write(Source(str(checkpoint), tmp_path), tmp_path / "classes.onnx")
    assert model.config.id2label == dict(enumerate(task.classes))  # type: ignore[attr-defined]
    idx = torch.randint(100, (2, 16))
    ours = task.models["bert"]
    with torch.no_grad():
        torch.testing.assert_close(model(idx).logits, ours.classifier(ours.pool(ours(idx))), atol=1e-4, rtol=1e-5)  # type: ignore[operator]


def test_an_opened_bert_is_written_as_it_was(folder: Path, tmp_path: Path) -> None:
    checkpoint = origin.find(f"hf:{folder}", tmp_path)
    step = Store(tmp_path).save(0, checkpoint.weights, {}, checkpoint.meta)
    assert run(["export", str(tmp_path / step.name), str(tmp_path / "back"), "--to", "hf"]) == 0
    before, after = (safetensors.torch.load_file(path / "model.safetensors") for path in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in after)


@pytest.mark.parametrize("lowercase", [False, True])
def test_letters_are_treated_alike_after_writing(folder: Path, tmp_path: Path, lowercase: bool) -> None:
    text = json.loads((folder / "tokenizer.json").read_text())
    text["normalizer"]["lowercase"] = lowercase
    made = WordPieces(json.dumps(text), 600)
    found = hf_tokenizer.build(made, "bert", 32)
    (tmp_path / "tokenizer.json").write_text(found.tokenizer)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(found.config))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    known = their_tokenizer(tmp_path)
    assert made.encode("THE Raise") != made.encode("the raise") or lowercase
    for line in (SAMPLE, "THE Raise", "naïve 日本"):
        wanted = known(line, add_special_tokens=False)["input_ids"]
        assert [made.foreign[token] for token in made.encode(line)] == wanted


def test_each_word_is_as_likely_as_transformers_finds_it(folder: Path, bert: Task[Any]) -> None:
    known = their_tokenizer(folder)
    text = "the value of the name"
    with looking(bert):
        panel = bert.panel("pseudo_likelihood", architectures.card("bert").panel("pseudo_likelihood").options(sentence=text))
    row = known(text, return_tensors="pt")["input_ids"][0]
    assert panel.words == known.convert_ids_to_tokens(row.tolist())[1:-1]
    for place, value in enumerate(panel.values, start=1):
        hidden = row.clone()
        hidden[place] = known.mask_token_id
        assert value == pytest.approx(float(masked_logits(folder, hidden[None])[0, place].softmax(0)[row[place]]), rel=1e-3, abs=1e-9)


# --- without the masked-word head ---------------------------------------------------------------------------------------------------------

NEEDS_HEAD = ("fill", "forward", "masked_words", "pseudo_likelihood", "neighbours", "held_out", "heads", "patching")


def saved_as(kind: str, folder: Path, target: Path, **config: Any) -> Path:
    """The fixture's encoder saved by another class of transformers, with its tokenizer."""
    torch.manual_seed(1)
    model = getattr(transformers, kind).from_pretrained(folder, **config)
    if hasattr(model, "classifier"):
        torch.nn.init.normal_(model.classifier.weight, std=0.3)
    model.save_pretrained(target)
    shutil.copy(folder / "tokenizer.json", target)
    return target


@pytest.fixture(scope="module")
def encoder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`BertModel`, whose names have no `bert.` before them, as the folders of sentence encoders hold it."""
    path = saved_as("BertModel", folder, tmp_path_factory.mktemp("encoder") / "m")
    assert "embeddings.LayerNorm.bias" in safetensors.torch.load_file(path / "model.safetensors")
    return path


def their_hidden_states(path: Path, sentence: str) -> torch.Tensor:
    read = their_tokenizer(path)(sentence, return_tensors="pt")
    with torch.no_grad():
        found: torch.Tensor = transformers.BertModel.from_pretrained(path).eval()(**read).last_hidden_state
    return found


def labelled(path: Path) -> Path:
    path.write_text("".join(f"the {'raise' if n % 2 else 'import'} statement {n}\t{'error' if n % 2 else 'module'}\n" for n in range(60)))
    return path


def test_an_encoder_alone_gives_the_hidden_states_of_transformers(encoder: Path) -> None:
    task = opened(encoder)
    row = read_sentence(task.tokenizer, "the value of the name", 30).row()  # type: ignore[attr-defined]
    with looking(task):
        ours = task.models["bert"](torch.tensor([row]))
    torch.testing.assert_close(ours, their_hidden_states(encoder, "the value of the name"), atol=1e-4, rtol=1e-5)
    assert "heads" in task.assets()
    assert "no masked-word head" in task.data


@pytest.mark.parametrize("panel", [item.name for item in architectures.card("bert").panels if not item.source])
def test_panels_say_what_an_encoder_alone_cannot_answer(encoder: Path, panel: str) -> None:
    task = opened(encoder)
    with looking(task):
        answer = task.panel(panel, architectures.card("bert").panel(panel).options())
    assert ("no masked-word head" in answer.caption) == (panel in NEEDS_HEAD)


@pytest.mark.parametrize(
    "kind", ["BertForTokenClassification", "BertForQuestionAnswering", "BertForNextSentencePrediction", "BertForMultipleChoice"]
)
def test_the_encoder_of_other_berts_is_opened(folder: Path, tmp_path: Path, kind: str) -> None:
    task = opened(saved_as(kind, folder, tmp_path / "m"))
    assert task.models["bert"].head is None
    assert task.classes == []  # type: ignore[attr-defined]
    assert (task.models["bert"].next_sentence is None) == (kind != "BertForNextSentencePrediction")


def test_an_encoder_alone_is_not_trained_on_a_text(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bert", "--headless", "--runs-dir", str(tmp_path), "--from", f"hf:{encoder}", "--device", "cpu"]) == 1
    assert "no masked-word head" in (words := capsys.readouterr().err)
    assert "--data FILE.tsv" in words


def test_an_encoder_alone_is_fine_tuned_exported_and_opened_again(encoder: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path / "data.tsv")
    typed = ["--from", f"hf:{encoder}", "--data", str(data), "--steps", "3", "--device", "cpu", "--threads", "1"]
    assert run(["bert", "--headless", "--json", "--runs-dir", str(tmp_path / "runs"), "--name", "on", *typed]) == 0
    assert run(["export", "on", str(tmp_path / "out"), "--to", "hf", "--runs-dir", str(tmp_path / "runs")]) == 0
    model, loading = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values())
    known = their_tokenizer(tmp_path / "out")
    with torch.no_grad():
        theirs = model.eval()(**known("the raise statement", return_tensors="pt")).logits[0].softmax(dim=0).tolist()
    task = opened(tmp_path / "out", tmp_path)
    with looking(task):
        answer = task.panel("classes", architectures.card("bert").panel("classes").options(sentence="the raise statement"))
    assert isinstance(answer, Bars)
    assert answer.labels == ["error", "module"]
    assert answer.values == pytest.approx(theirs, abs=1e-5)


def test_fine_tuning_begins_with_the_pooler_that_came_with_an_encoder(encoder: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path / "data.tsv")
    checkpoint = origin.find(f"hf:{encoder}", tmp_path)
    card = architectures.card("bert")
    settings = make(card.settings, checkpoint.meta["settings"] | {"device": "cpu", "data": str(data)})
    task = card.load_task()(settings, CPU, checkpoint.meta["assets"])
    task.load_weights({name: torch.from_numpy(array) for name, array in checkpoint.weights.items()} | fresh_classifier(task))
    there = safetensors.torch.load_file(encoder / "model.safetensors")["pooler.dense.weight"]
    assert torch.equal(task.weights()["bert/pooler.weight"], there)


def fresh_classifier(task: Task[Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in task.weights().items() if "classifier" in name}


def test_a_classifier_from_elsewhere_opens_with_the_names_of_its_classes(folder: Path, tmp_path: Path) -> None:
    labels = {0: "bad", 1: "so so", 2: "good"}
    path = saved_as("BertForSequenceClassification", folder, tmp_path / "m", num_labels=3, id2label=labels)
    task = opened(path)
    text = "the value of the name"
    with torch.no_grad():
        model = transformers.BertForSequenceClassification.from_pretrained(path).eval()
        theirs = model(**their_tokenizer(path)(text, return_tensors="pt")).logits[0].softmax(dim=0).tolist()
    with looking(task):
        answer = task.panel("classes", architectures.card("bert").panel("classes").options(sentence=text))
    assert answer.labels == list(labels.values())  # type: ignore[union-attr]
    assert answer.values == pytest.approx(theirs, abs=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("labels", "words"),
    [({"0": "a", "2": "b"}, "does not number its classes"), ([1], "does not number"), ({str(n): "a" for n in range(101)}, "101 classes")],
)
def test_labels_that_cannot_be_classes_are_refused(folder: Path, tmp_path: Path, labels: Any, words: str) -> None:
    path = saved_as("BertForSequenceClassification", folder, tmp_path / "m")
    (path / "config.json").write_text(json.dumps(json.loads((path / "config.json").read_text()) | {"id2label": labels}))
    with pytest.raises(CheckpointError, match=re.escape(words)):
        origin.find(f"hf:{path}", tmp_path)
