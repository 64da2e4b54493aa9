"""Fine-tuning a BERT on texts with classes: how they are read, where the weights come from, that it learns and can be resumed."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from dlplay.architectures.bert import card
from dlplay.architectures.bert.classification.objective import Classification
from dlplay.architectures.bert.settings import BERTSettings
from dlplay.architectures.bert.task import BERTTask
from dlplay.checkpoints import shipped
from dlplay.cli import run
from dlplay.data.digits import stratified_split
from dlplay.data.labelled import read_labelled
from dlplay.engine import state
from dlplay.engine.errors import DataError
from dlplay.engine.settings import make
from dlplay.engine.task import looking
from dlplay.runs import origin
from tests.conftest import Dlplay, Ended
from tests.screen_pilot import opened, part_text, screen_text, until

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences that say that something raises, returns or defines, in the words of the language reference."""
    pen = random.Random(0)
    things = ["function", "method", "class", "module", "object", "iterator", "generator", "statement"]
    ends = ["when it is called", "in this case", "by default", "if it is not found", "at the end", "for the first time"]
    saying = {
        "error": ["raises an exception", "raises a TypeError", "fails with an error", "is an error"],
        "value": ["returns a new object", "returns the value", "yields a list", "gives the result"],
        "name": ["defines a name", "binds a variable", "assigns the attribute", "imports the module"],
    }
    lines = [f"The {pen.choice(things)} {pen.choice(said)} {pen.choice(ends)}.\t{name}" for name, said in saying.items() for _ in range(60)]
    path = tmp_path_factory.mktemp("classes") / "texts.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def build(values: dict[str, Any], assets: dict[str, Any] | None) -> BERTTask:
    settings = make(BERTSettings, values)
    torch.manual_seed(settings.seed)
    return BERTTask(settings, CPU, assets)


def tuned(texts: Path, own_words: Path, *, start: BERTTask | None = None, **changes: Any) -> BERTTask:
    """A small one that begins from the weights of a `start`."""
    small = {"text": str(own_words), "layers": 2, "heads": 2, "width": 16, "block_size": 16, "batch": 8, "min_count": 1}
    start = start or build(small, None)
    task = build(small | {"data": str(texts), "warmup": 0, "steps": 50} | changes, json.loads(json.dumps(start.assets())))
    task.load_weights({name: value.clone() for name, value in start.weights().items()})
    return task


def train(task: BERTTask, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(float(task.train_step()["train_loss"]))
        task.step += 1
    return losses


# --- the file -----------------------------------------------------------------------------------------------------------------------


def test_texts_are_read_with_their_classes_and_split_in_each(texts: Path) -> None:
    found = read_labelled(texts)
    assert found.classes == ["error", "name", "value"]
    assert len(found.texts) == 180
    assert np.bincount(found.labels[found.held_out]).tolist() == [10, 10, 10]
    assert not {found.texts[n] for n in found.train.tolist()} & {found.texts[n] for n in found.held_out.tolist()}, (
        "no text is tested on twice"
    )
    assert found.texts[0].endswith(".")
    assert re.search(r"1[34]\d texts to train on, 30 held out; error 60", found.words)


def test_texts_that_repeat_are_split_by_the_different_ones(tmp_path: Path) -> None:
    path = tmp_path / "repeats.tsv"
    path.write_text("".join(f"{'good' if n % 2 else 'bad'} thing {n % 24}\t{['no', 'yes'][n % 2]}\n" for n in range(600)))
    found = read_labelled(path)
    held_out = {found.texts[n] for n in found.held_out.tolist()}
    assert len(held_out) == len(found.held_out) == 5
    assert set(found.labels[found.held_out].tolist()) == {0, 1}
    assert sorted(found.train.tolist()) == [n for n in range(600) if found.texts[n] not in held_out]


def test_texts_that_do_not_repeat_are_split_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "different.tsv"
    path.write_text("".join(f"thing {n}\t{n % 3}\n" for n in range(50)))
    found, (train, held_out) = read_labelled(path), stratified_split(np.arange(50) % 3, 0.2)
    assert found.train.tolist() == train.tolist()
    assert found.held_out.tolist() == held_out.tolist()
    assert found.key == hashlib.sha256(hashlib.sha256(path.read_bytes()).hexdigest().encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"holds 0 classes in 0 texts; give a file with 2 to 100"),
        (b"a text without a class\n", r"line 1: 'a text without a class' is not a text, a tab and a class"),
        (b"fine\tone\n\n\tno text\n", r"line 3: .* is not a text, a tab and a class"),
        (b"fine\tone\nno class\t\n", r"line 2"),
        (b"all\tone\nof\tone\none\tone\n", r"holds 1 class in 3 texts"),
        (
            b"a\tone\nb\tone\nc\ttwo\n",
            r"holds 3 different texts of 2 classes \(two 1, one 2\); give 2 or more of each class and 10",
        ),
        (b"a\tx\nb\tx\nc\ty\n" * 50 + b"a\tz\n", r"holds 3 different texts of 3 classes \(z 0, y 1, x 2\); give 2 or more"),
        (b"\n".join(b"text\tclass%d" % (number // 2) for number in range(202)), r"holds 101 classes"),
        (b"a\tone\n\nb\t" + b"x" * 61, r"line 3: class 'x{30}'… has more than 60 characters; use a shorter name"),
        (b"\x80\x04\x95pickled\t1\n", r"is not UTF-8: byte 0"),
        (b"a\0b\tone\n", r"NUL"),
        (b"\x1b[2J\x1b]0;title\x07\n" * 2, r"is not a text, a tab and a class"),
        (b"a\tx\nb\tx\nc\ty\nd\ty\n", r"holds 4 different texts of 2 classes \(x 2, y 2\); .* 10 or more in all"),
    ],
)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "hostile.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as refused:
        read_labelled(path)
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.tsv"):
        with pytest.raises(DataError):
            read_labelled(path)


# --- weights ------------------------------------------------------------------------------------------------------------------------


def test_the_encoder_begins_from_the_checkpoint_and_the_head_anew(texts: Path, own_words: Path) -> None:
    start = build({"text": str(own_words), "layers": 2, "heads": 2, "width": 16, "block_size": 16, "min_count": 1, "seed": 5}, None)
    task = tuned(texts, own_words, start=start)
    own, before = task.weights(), start.weights()
    assert all(torch.equal(own[name], value) for name, value in before.items())
    assert {name.partition(".")[0] for name in own.keys() - before.keys()} == {"bert/classifier", "bert/pooler"}
    assert task.assets()["classes"] == ["error", "name", "value"]


def test_a_pooler_that_pairs_have_trained_is_taken_over(texts: Path, own_words: Path) -> None:
    pairs = {"text": str(own_words), "layers": 2, "heads": 2, "width": 16, "block_size": 16, "min_count": 1, "next_sentence": True}
    start = build(pairs, None)
    task = tuned(texts, own_words, start=start, next_sentence=True, seed=3)
    assert torch.equal(task.weights()["bert/pooler.weight"], start.weights()["bert/pooler.weight"])


def test_other_classes_get_another_head_and_the_same_ones_keep_it(texts: Path, own_words: Path, tmp_path: Path) -> None:
    first = tuned(texts, own_words)
    train(first, 3)
    same = tuned(texts, own_words, start=first, seed=9)
    assert all(torch.equal(value, same.weights()[name]) for name, value in first.weights().items())
    other_file = tmp_path / "two.tsv"
    other_file.write_text("".join(f"text number {number}\t{'ab'[number % 2]}\n" for number in range(20)))
    other = tuned(other_file, own_words, start=first, seed=9)
    assert other.classes == ["a", "b"]
    assert torch.equal(other.weights()["bert/blocks.0.norm_1.weight"], first.weights()["bert/blocks.0.norm_1.weight"])
    assert not torch.equal(other.weights()["bert/pooler.weight"], first.weights()["bert/pooler.weight"])


def test_a_fine_tuned_one_goes_back_to_masked_words(texts: Path, own_words: Path) -> None:
    first = tuned(texts, own_words)
    back = tuned(texts, own_words, start=first, data="")
    with looking(back):
        assert "masked_accuracy" in back.evaluate()
    assert not any("classifier" in name for name in back.weights())


def test_one_long_text_does_not_widen_what_is_kept_of_the_others(texts: Path, own_words: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.tsv"
    path.write_text(texts.read_text() + "the method returns " * 500 + "\tvalue\n")
    small = {"text": str(own_words), "layers": 1, "heads": 2, "width": 16, "block_size": 64, "min_count": 1}
    task = tuned(path, own_words, start=build(small, None), **small)
    source = task.classification
    assert isinstance(source, Classification)
    data, special = source.data, source.special
    for ragged, which in ((source.train, data.train), (source.test, data.held_out)):
        rows = ragged.padded(torch.arange(len(ragged)), special.pad)
        for row, number in zip(rows.tolist(), which.tolist(), strict=True):
            kept = [special.cls, *task.tokenizer.encode(data.texts[number])[:62], special.sep]
            assert row == kept + [special.pad] * (rows.shape[1] - len(kept))
    assert max(source.train.longest, source.test.longest) == 64
    assert len(source.train.flat) + len(source.test.flat) < 64 + 20 * len(data.texts)
    train(task, 1)


def test_baselines_of_another_vocabulary_of_pieces_are_not_taken(texts: Path, own_words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tuned(texts, own_words)
    key = task.baselines_key()
    monkeypatch.setattr(task.classification, "tokenizer", type(task.tokenizer)([*task.tokenizer.vocabulary, "anotherword"]))
    assert task.baselines_key() != key


# --- training -----------------------------------------------------------------------------------------------------------------------


def test_a_fine_tuning_run_that_is_resumed_goes_on_to_the_bit(texts: Path, own_words: Path) -> None:
    whole = tuned(texts, own_words, dropout=0.2)
    train(whole, 4)
    expected = train(whole, 4)
    task = tuned(texts, own_words, dropout=0.2)
    train(task, 4)
    tensors, plain = state.flatten(task.state_dict())
    plain = msgspec.json.decode(msgspec.json.encode(plain))
    tensors = {name: value.clone() for name, value in tensors.items()}
    resumed = build(
        {item: getattr(task.settings, item) for item in ("text", "layers", "heads", "width", "block_size", "batch", "min_count", "data")}
        | {"warmup": 0, "steps": 50, "dropout": 0.2},
        json.loads(json.dumps(task.assets())),
    )
    resumed.load_weights({name: value.clone() for name, value in task.weights().items()})
    resumed.load_state_dict(state.unflatten(tensors, plain))
    assert train(resumed, 4) == expected
    assert all(torch.equal(value, resumed.weights()[name]) for name, value in whole.weights().items())


def test_a_run_does_not_go_on_with_other_texts(texts: Path, own_words: Path, tmp_path: Path) -> None:
    saved = tuned(texts, own_words).state_dict()
    changed = tmp_path / "changed.tsv"
    changed.write_text(texts.read_text() + "One more returns.\tvalue\n")
    with pytest.raises(DataError, match=r"no longer those that this run began with: they are now changed\.tsv"):
        tuned(changed, own_words).load_state_dict(saved)


def test_it_can_be_asked_when_the_texts_are_gone(texts: Path, own_words: Path) -> None:
    first = tuned(texts, own_words)
    settings = {"text": str(own_words), "layers": 2, "heads": 2, "width": 16, "block_size": 16, "data": "/no/such.tsv"}
    task = build(settings, first.assets())
    task.load_weights(first.weights())
    with looking(task):
        assert task.panel("classes", make(card.panel("classes").options, {})).labels == ["error", "name", "value"]
    with pytest.raises(DataError, match=r"cannot read /no/such\.tsv"):
        task.train_step()
    with pytest.raises(DataError, match="cannot read"):
        build(settings, build(settings | {"data": ""}, None).assets())


def test_without_classes_the_panel_says_what_to_do(own_words: Path) -> None:
    task = build({"text": str(own_words), "width": 16, "min_count": 1}, None)
    with looking(task):
        assert "a TSV file as the setting data" in task.panel("classes", make(card.panel("classes").options, {})).caption


def test_fine_tuning_from_the_shipped_checkpoint_learns_and_beats_a_fresh_net(texts: Path) -> None:
    checkpoint = shipped.find("bert-reference").open()
    values = (
        origin.settings_of(card, checkpoint) | dict(card.presets["classify"].values) | {"data": str(texts), "steps": 60, "device": "cpu"}
    )
    weights = {name: torch.from_numpy(value.copy()) for name, value in checkpoint.weights.items()}
    task = build(values, checkpoint.meta["assets"])
    task.load_weights(weights)
    assert all(torch.equal(task.weights()[name], value) for name, value in weights.items())
    fresh = build(values, checkpoint.meta["assets"])
    for net in (task, fresh):
        train(net, 60)
    with looking(task), looking(fresh):
        learnt, from_nothing = task.evaluate(), fresh.evaluate()
        shown = task.panel("classes", make(card.panel("classes").options, {"sentence": "The method raises an exception by default."}))
    assert learnt["test_accuracy"] > 0.9
    assert learnt["test_loss"] < from_nothing["test_loss"]
    assert shown.figure.startswith("error")
    baselines = task.baselines()["test_accuracy"]
    assert set(baselines) == {"the most frequent class", "naive Bayes on words", "logistic regression on words"}
    assert baselines["the most frequent class"] == pytest.approx(1 / 3, abs=0.02)


TOPICS = {
    "strings": ["formatstrings", "strings", "string-methods"],
    "classes": ["specialnames", "class", "types"],
    "statements": ["compound", "assignment", "import", "raise", "return", "del", "assert", "global", "yield", "execmodel"],
}
"""Topics of the language reference, by what they are about."""


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 900 sentences of those topics; pretraining read most of them, but not their classes."""
    lines = {}
    for name, members in TOPICS.items():
        for paragraph in "\n\n".join(topics[member] for member in members).split("\n\n"):
            if re.match(r"( {3})?[A-Z]", paragraph):  # prose, not an example
                for sentence in re.split(r"(?<=[a-z)])\. (?=[A-Z])", " ".join(paragraph.split())):
                    if 8 <= len(sentence.split()) <= 28:
                        lines[sentence] = f"{sentence.rstrip('.')}.\t{name}"
    path = tmp_path_factory.mktemp("sentences") / "sentences.tsv"
    path.write_text("\n".join(lines.values()) + "\n", encoding="utf-8")
    return path


@pytest.mark.long
def test_pretraining_helps_with_real_sentences(sentences: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = shipped.find("bert-reference").open()
    values = origin.settings_of(card, checkpoint) | dict(card.presets["classify"].values) | {"data": str(sentences), "device": "cpu"}
    weights = {name: torch.from_numpy(value.copy()) for name, value in checkpoint.weights.items()}
    reached: dict[str, list[float]] = {"pretrained": [], "random weights": []}
    for seed in (0, 1):
        for start, found in reached.items():
            task = build(values | {"seed": seed}, checkpoint.meta["assets"])
            if start == "pretrained":
                task.load_weights(weights)
            train(task, task.settings.steps)
            with looking(task):
                found.append(task.evaluate()["test_accuracy"])
    with capsys.disabled():
        print(reached, task.baselines()["test_accuracy"])
    assert min(reached["pretrained"]) > max(reached["random weights"])
    assert min(reached["pretrained"]) > task.baselines()["test_accuracy"]["the most frequent class"] + 0.2


@pytest.fixture(scope="module")
def runs(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was fine-tuned for a moment."""
    folder = tmp_path_factory.mktemp("runs")
    command = ["bert", "--headless", "--from", "bert-reference", "--data", str(texts), "--preset", "classify", "--steps", "6"]
    assert run([*command, "--eval-every", "6", "--runs-dir", str(folder), "--name", "tuned", "--device", "cpu"]) == 0
    return folder


def ask(dlplay: Dlplay, runs: Path, *flags: str) -> Ended:
    return dlplay("bert", "--headless", "--from", "tuned", "--runs-dir", str(runs), "--device", "cpu", *flags)


def test_a_classifier_answers_with_its_class(runs: Path, dlplay: Dlplay) -> None:
    said = ask(dlplay, runs, "--sentence", "The method fails with an error.", "--json").out
    assert {row["label"] for row in json.loads(said)["rows"]} == {"error", "name", "value"}
    verdict = json.loads(said)["figure"]
    assert re.fullmatch(r"(error|name|value) \d+\.\d %", verdict)
    filled = json.loads(ask(dlplay, runs, "--sentence", "The method fails with an error.", "--panel", "fill", "--json").out)
    assert filled["figure"].startswith(f"class {verdict} · the: ")
    refused = ask(dlplay, runs, "--place", "1")
    assert refused.status == 2
    assert "the panel classes knows no --place; add --panel fill" in refused.err
    assert "default fill, with --data classes" in " ".join(dlplay("bert", "--help").out.replace("│", " ").split())


def test_a_run_ends_at_a_metric_that_it_has(texts: Path, tmp_path: Path, dlplay: Dlplay) -> None:
    flags = ("bert", "--headless", "--from", "bert-reference", "--runs-dir", str(tmp_path))
    assert "did you mean test_accuracy?" in dlplay(*flags, "--data", str(texts), "--until", "masked_accuracy>=0.5").err


async def test_a_classifier_shows_itself(runs: Path) -> None:
    async with opened(runs, (170, 50), tab="bert", attach="tuned", explore=True) as (app, pilot):
        await until(lambda: re.search(r"class (error|name|value) \d+\.\d % · 1 masked", part_text(app, "ActionStage")))
        charts = part_text(app, "ChartColumn")
        assert charts.index("Accuracy (held-out)") < charts.index("Loss (nats)")
        assert "Masked" not in charts
        assert "test accuracy" in part_text(app, "RunBar")
        assert part_text(app, "#right Inspector").startswith("‹ Class")
        await until(lambda: re.search(r"Class (error|name|value) \d+\.\d %", part_text(app, "#right PanelView")))
        await pilot.press("escape", "o")
        await until(lambda: re.search(r"tuned +finished +test accuracy \d", screen_text(app)))
        assert "masked accuracy" in screen_text(app)  # of the shipped model
        app.tab.link.close()


async def test_the_charts_are_those_of_the_data_that_were_given(tmp_path: Path) -> None:
    async with opened(tmp_path, (170, 50), tab="bert") as (app, _):
        await until(lambda: "Masked-word accuracy (held-out)" in part_text(app, "ChartColumn"))
        assert not part_text(app, "#right Inspector").startswith("‹ Class")
        assert app.tab.form.put("data", "texts.tsv")
        await until(lambda: "Accuracy (held-out)" in part_text(app, "ChartColumn"))
        await until(lambda: "Masked" not in part_text(app, "ChartColumn"))
        await until(lambda: part_text(app, "#right Inspector").startswith("‹ Class"))
        assert app.tab.form.put("data", "")
        await until(lambda: "Masked-word accuracy (held-out)" in part_text(app, "ChartColumn"))
        assert "Accuracy (held-out)" not in part_text(app, "ChartColumn")


def test_the_command_fine_tunes_the_shipped_model(texts: Path, tmp_path: Path, dlplay: Dlplay) -> None:
    done = dlplay(
        "bert", "--headless", "--from", "bert-reference", "--data", str(texts), "--preset", "classify", "--steps", "6", "--eval-every", "6",
        "--runs-dir", str(tmp_path), "--name", "tuned", "--device", "cpu",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "test_accuracy" in done.out
    assert "naive Bayes on words" in done.out
    again = dlplay("bert", "--headless", "--from", "tuned", "--runs-dir", str(tmp_path), "--panel", "classes", "--device", "cpu")
    assert again.status == 0, again.err
    assert "error" in again.out
