"""What `dlplay export --to hf` wrote of words and characters, opened again: the same model, the same ids, the same files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from dlplay import architectures
from dlplay.checkpoints.store import Store
from dlplay.cli import run
from dlplay.engine.settings import make, to_dict
from dlplay.runs import origin
from tests.test_hf import TEXTS, opened, transformers

CPU = torch.device("cpu")
KINDS = [("bert", "word"), ("bert", "char"), ("gpt", "word"), ("gpt", "char")]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder that was exported, and the model that it was exported of."""
    name, tokens = request.param
    folder = tmp_path_factory.mktemp(name + tokens)
    card = architectures.card(name)
    values = {"tokens": tokens, "layers": 1, "heads": 2, "width": 16, "block_size": 16, "min_count": 20, "device": "cpu"}
    task = card.load_task()(make(card.settings, values), CPU)
    meta = {"architecture": name, "settings": to_dict(task.settings), "assets": task.assets()}
    weights = {key: value.numpy().copy() for key, value in task.weights().items()}
    step = Store(folder).save(0, weights, {}, meta)
    assert run(["export", str(folder / step.name), str(folder / "hf"), "--to", "hf"]) == 0
    return folder / "hf", task


def test_it_opens_as_the_model_that_it_was(written: tuple[Path, Any]) -> None:
    folder, task = written
    again: Any = opened(folder)
    assert again.tokenizer.kind == task.tokenizer.kind == again.settings.tokens
    assert again.tokenizer.vocabulary == task.tokenizer.vocabulary
    assert again.tokenizer.start == task.tokenizer.start
    assert again.weights().keys() == task.weights().keys()
    assert all(torch.equal(value, again.weights()[name]) for name, value in task.weights().items())
    assert not any(transformers.AutoModel.from_pretrained(folder, output_loading_info=True)[1]["mismatched_keys"])


@settings(max_examples=50, deadline=None)
@given(TEXTS)
def test_a_text_has_the_same_ids(written: tuple[Path, Any], text: str) -> None:
    folder, task = written
    reopened = origin.find(f"hf:{folder}", folder, weights=False).meta["assets"]
    assert type(task.tokenizer).from_assets(reopened).encode(text) == task.tokenizer.encode(text)


def test_it_is_written_as_it_was(written: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = written
    checkpoint = origin.find(f"hf:{folder}", tmp_path)
    step = Store(tmp_path).save(0, {name: np.ascontiguousarray(array) for name, array in checkpoint.weights.items()}, {}, checkpoint.meta)
    assert run(["export", str(tmp_path / step.name), str(tmp_path / "back"), "--to", "hf"]) == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in (tmp_path / "back").iterdir()}
    assert all((tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes() for name in names)


def vocabulary(change: Callable[[dict[str, int]], object]) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda config, described: change(described["model"]["vocab"])


def renamed(described: dict[str, Any], old: int, new: str) -> None:
    described["model"]["vocab"] = {new if index == old else word: index for word, index in described["model"]["vocab"].items()}


HOSTILE: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = {
    "another kind": (lambda config, described: config.update(dlplay_tokens="bpe"), "dlplay_tokens 'bpe'"),
    "no kind": (lambda config, described: config.update(dlplay_tokens=[None]), r"dlplay_tokens \[None\]"),
    "the other kind": (lambda config, described: config.update(dlplay_tokens="char"), "not what dlplay export writes for tokens char"),
    "another model": (lambda config, described: described["model"].update(type="WordPiece"), "not what dlplay export writes"),
    "other steps": (lambda config, described: described.update(normalizer=None), "not what dlplay export writes for tokens word"),
    "a gap": (vocabulary(lambda words: words.update(the=9_999)), "does not number its words from 0 without gaps"),
    "twice": (vocabulary(lambda words: words.update(the=5)), "does not number its words from 0 without gaps"),
    "a fraction": (vocabulary(lambda words: words.update(the=1.5)), "no vocabulary of pieces and whole numbers"),
    "negative": (vocabulary(lambda words: words.update(the=-1)), "no vocabulary of pieces and whole numbers"),
    "no words": (vocabulary(lambda words: words.clear()), "does not begin with the unknown token"),
    "one more": (vocabulary(lambda words: words.update(zzz=len(words))), "special tokens|do not belong together"),
    "huge": (vocabulary(lambda words: words.update({f"w{n}": len(words) + n for n in range(70_000)})), "special tokens|do not belong"),
    "no word": (lambda config, described: renamed(described, 3, "two words"), "'two words', which is not a token of kind 'word'"),
    "no letter": (lambda config, described: renamed(described, 3, "\ud800"), "cannot be written as UTF-8"),
    "unknown": (lambda config, described: renamed(described, 0, "zzzz"), "does not begin with the unknown token"),
    "added": (lambda config, described: described["added_tokens"][0].update(content="[OTHER]"), "has other special tokens after"),
    "added nothing": (lambda config, described: described.update(added_tokens={}), "has added tokens that are not a list"),
}


@pytest.mark.parametrize("written", [("bert", "word"), ("gpt", "word")], ids="-".join, indirect=True)
@pytest.mark.parametrize("name", HOSTILE)
def test_what_was_changed_is_refused_in_one_line(
    name: str, written: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(written[0], tmp_path / "m")
    config, described = (json.loads((folder / file).read_text()) for file in ("config.json", "tokenizer.json"))
    change, words = HOSTILE[name]
    change(config, described)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(described))
    architecture = "bert" if config["model_type"] == "bert" else "gpt"
    assert run([architecture, "--headless", "--from", f"hf:{folder}", "--panel", "neighbours", "--runs-dir", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert re.fullmatch(rf"dlplay: --from hf:[^\n]*({words})[^\n]*\n", said.err), said.err
