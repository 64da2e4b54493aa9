"""Models of transformers opened here, and models of ours opened there: the same logits, the same ids; what is hostile gets one line."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import tokenizers
import torch
from hypothesis import given, settings
from tokenizers import decoders, models, pre_tokenizers, trainers

from dlplay import architectures
from dlplay.checkpoints import CheckpointError
from dlplay.checkpoints.store import Store
from dlplay.cli import run
from dlplay.data.model_folder import ModelFolder
from dlplay.data.text import Text, encode_corpus, reference
from dlplay.data.tokens import Characters, Words
from dlplay.engine.errors import DataError
from dlplay.engine.interventions import parse
from dlplay.engine.settings import make
from dlplay.engine.task import Task, looking
from dlplay.exports import hf_tokenizer
from dlplay.exports.source import Source
from dlplay.parts.prompt_options import NextWord, Passage, Prompt
from dlplay.parts.prompts import read_prompt
from dlplay.runs import origin, process
from dlplay.runs.directory import RunDirectory
from tests.conftest import Dlplay, wait_until
from tests.screen_pilot import opened as on_screen
from tests.screen_pilot import screen_text, until

pytestmark = pytest.mark.usefixtures("one_thread")

os.environ["HF_HUB_OFFLINE"] = "1"
with warnings.catch_warnings():  # it warns while it is imported
    warnings.simplefilter("ignore")
    import transformers
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SAMPLE = 'The “value” of f(x) isn’t 3.14:\n\n  a = [x for x in y]\tNaïve Ωmega — <|endoftext|> 日本 🎉 "quotes" & <b>markup</b>'
TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(
            [
                "the",
                " value",
                "of",
                "’",
                "“",
                "'",
                "<unk>",
                "<UNK>",
                "[UNK]",
                "Σ",
                "ΑΣ",
                "İ",
                "ﬁ",
                "e\u0301",
                "\n",
                "\n\n  ",
                "\0",
                "a" * 43,
            ]
        ),
        st.sampled_from(["1" * 50, "don't'x'y'z'w", "<b>", "_", "²", "ª", "Ⅷ", "ǅ", "<|endoftext|>", "##ing", "日本", "🎉", "don't"]),
        st.sampled_from(["किताब", "தமிழ்", "ශ්\u200dරී", "می\u200cخواهم", "\u202bשָׁלוֹם\u202c", "q\u0323\u0301"]),
    ),
    max_size=8,
).map("".join)


def byte_pairs() -> tokenizers.Tokenizer:
    """GPT-2's kind of tokenizer, trained on a part of the reference."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([reference().content[:100_000]], trainer)
    return made


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with random weights, biases and norms among them, as transformers saves it. Its embedding has more rows than pieces."""
    folder = tmp_path_factory.mktemp("hf") / "gpt2"
    config = transformers.GPT2Config(vocab_size=510, n_layer=2, n_head=2, n_embd=16, n_positions=24, bos_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    byte_pairs().save(str(folder / "tokenizer.json"))
    return folder


def opened(folder: Path, runs_dir: Path = Path("/nowhere")) -> Task[Any]:
    checkpoint = origin.find(f"hf:{folder}", runs_dir)
    card = architectures.card(checkpoint.meta["architecture"])
    values = checkpoint.meta["settings"] | {"device": "cpu"}
    task = process.load(card, checkpoint, make(card.settings, values))
    for model in task.models.values():
        model.eval()
    return task


def theirs(folder: Path) -> Any:
    return transformers.GPT2LMHeadModel.from_pretrained(folder).eval()


def logits(model: Any, idx: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(idx).logits
    return found


@pytest.fixture(scope="module")
def gpt(gpt2: Path) -> Task[Any]:
    return opened(gpt2)


# --- opening a model of transformers ------------------------------------------------------------------------------------------------------


def test_an_opened_gpt2_gives_the_logits_that_transformers_gives(gpt2: Path, gpt: Task[Any]) -> None:
    idx = torch.randint(510, (3, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = gpt.models["gpt"](idx)
    assert ours.abs().max() > 1
    torch.testing.assert_close(ours, logits(theirs(gpt2), idx), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("layer", "head"), [(0, 1), (1, 0)])
def test_a_head_set_to_0_is_that_head_zeroed_in_transformers(gpt2: Path, gpt: Task[Any], layer: int, head: int) -> None:
    idx = torch.randint(510, (3, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), gpt.touched(parse(f"blocks.{layer}.head.{head}=0")):
        ours = gpt.models["gpt"](idx)
    edited = theirs(gpt2)
    edited.transformer.h[layer].attn.c_proj.weight.data[8 * head : 8 * head + 8] = 0  # (inputs, outputs)
    torch.testing.assert_close(ours, logits(edited, idx), atol=1e-4, rtol=1e-5)
    assert (ours - logits(theirs(gpt2), idx)).abs().max() > 0.1


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_a_prompt_has_the_ids_that_transformers_gives_it(gpt2: Path, gpt: Task[Any], text: str) -> None:
    tokenizer = their_tokenizer(gpt2)
    wanted = tokenizer(text)["input_ids"]
    assert gpt.tokenizer.read(text)[0] == gpt.tokenizer.encode(text) == wanted  # type: ignore[attr-defined]
    assert gpt.tokenizer.encode_long(text).tolist() == wanted  # type: ignore[attr-defined]


_made: dict[Path, Any] = {}


def their_tokenizer(folder: Path) -> Any:
    if folder not in _made:
        _made[folder] = transformers.AutoTokenizer.from_pretrained(folder)
    return _made[folder]


def test_a_long_text_is_cut_where_no_piece_reaches_over(gpt: Task[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlplay.data.subwords.CHUNK", 50)
    text = reference().content[:20_000]
    assert gpt.tokenizer.encode_long(text).tolist() == gpt.tokenizer.encode(text)  # type: ignore[attr-defined]


def test_candidates_append_readable_text_with_its_leading_space(gpt: Task[Any]) -> None:
    with looking(gpt):
        bars = gpt.panel("next_word", NextWord(prompt="The value", top_k=500))
    assert " the" in bars.appends
    assert "␣the" in bars.labels
    assert all(label and label.isprintable() for label in bars.labels)
    prompt = "The value"
    for text in bars.appends:
        if "\ufffd" not in text:
            assert gpt.tokenizer.decode(gpt.tokenizer.encode(prompt + text)) == prompt + text


def test_pieces_of_a_character_show_their_bytes(gpt: Task[Any]) -> None:
    ids, words = gpt.tokenizer.read("日")
    assert len(ids) > 1
    assert set(words) == {"日"}
    assert "".join(gpt.tokenizer.label(token) for token in ids) == "<E6><97><A5>"
    assert gpt.tokenizer.decode(ids) == "日"
    assert gpt.tokenizer.decode(ids[:1]) == "\ufffd"


def test_an_empty_prompt_is_read_as_the_token_between_texts(gpt: Task[Any]) -> None:
    read = read_prompt(gpt.tokenizer, Prompt(prompt=""))
    assert [gpt.tokenizer.vocabulary[token] for token in read.ids] == ["<|endoftext|>"]
    assert read.typed == []


def test_nothing_a_prompt_holds_is_unknown(gpt: Task[Any]) -> None:
    assert not read_prompt(gpt.tokenizer, Prompt(prompt="<|endoftext|>日\udc80")).notes
    with looking(gpt):
        passage = gpt.panel("passage", Passage(prompt="", words=30, temperature=5.0))
    assert len(passage.words) == 30


def test_the_circuits_of_an_opened_gpt2_are_looked_into(gpt: Task[Any]) -> None:
    card = architectures.card("gpt")

    def ask(panel: str, **options: Any) -> Any:
        with looking(gpt):
            return gpt.panel(panel, make(card.panel(panel).options, options))

    heads = ask("heads")
    assert {row[0] for row in heads.rows[:4]} == {f"blocks.{layer}.head.{head}" for layer in range(2) for head in range(2)}
    assert heads.columns == ["head", "mean-ablated", "induction", "previous", "first", "same token"]
    answer = ask("attribution", prompt="The value of", answer="the")
    assert answer.figure.split()[0] == "␣the" if answer.figure.startswith("␣") else answer.figure.split()[0] == "the"
    assert sum(float(row[1]) for row in answer.rows) == pytest.approx(float(answer.figure.split()[-1]), abs=0.01)
    shown = ask("patching", prompt="The value of", corrupt="The name of")
    assert shown.values.numpy()[:, 0].tolist() == pytest.approx([1, 1], abs=1e-3)


def test_half_precision_old_names_and_buffers_are_read(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "old")
    tensors = safetensors.torch.load_file(gpt2 / "model.safetensors")
    old = {name.removeprefix("transformer."): value.to(torch.bfloat16) for name, value in tensors.items()}
    old |= {"h.0.attn.bias": torch.ones(1, 1, 24, 24), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    old["lm_head.weight"] = old["wte.weight"].clone()
    safetensors.torch.save_file(old, folder / "model.safetensors")
    found = opened(folder).weights()
    for name, value in opened(gpt2).weights().items():
        assert torch.equal(found[name], value.to(torch.bfloat16).float()), name


def test_shards_are_read(gpt2: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    theirs(gpt2).save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    shutil.copy(gpt2 / "tokenizer.json", folder)
    found = opened(folder).weights()
    assert all(torch.equal(found[name], value) for name, value in opened(gpt2).weights().items())


def test_vocab_and_merges_are_enough(gpt2: Path, tmp_path: Path, gpt: Task[Any]) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "older")
    tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).model.save(str(folder))
    (folder / "tokenizer.json").unlink()
    tokenizer = opened(folder).tokenizer  # type: ignore[attr-defined]
    assert tokenizer.encode(SAMPLE) == gpt.tokenizer.encode(SAMPLE)


def test_links_into_the_cache_of_the_hub_are_followed_and_no_others(gpt2: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for place, name in enumerate(("config.json", "model.safetensors", "tokenizer.json")):
        shutil.copy(gpt2 / name, blobs / str(place))
        (snapshot / name).symlink_to(f"../../blobs/{place}")
    assert opened(snapshot).parameters == opened(gpt2).parameters
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(gpt2 / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is a symbolic link to outside"):
        origin.find(f"hf:{snapshot}", tmp_path)


# --- what nobody vouches for ------------------------------------------------------------------------------------------------------------


def config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | changes))

    return change


def tensors(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        found = safetensors.numpy.load_file(folder / "model.safetensors")
        change(found)
        safetensors.numpy.save_file(found, folder / "model.safetensors")

    return write


def tokenizer(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        found = json.loads((folder / "tokenizer.json").read_text())
        change(found)
        (folder / "tokenizer.json").write_text(json.dumps(found))

    return write


def fifo(name: str) -> Callable[[Path], None]:
    def make_one(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return make_one


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def index(**places: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    return write


EVIL = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
NORM = "transformer.ln_f.weight"
HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "there is no config.json"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json is not JSON"),
    "config is deep": (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json is not JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[1]"), "not a JSON object"),
    "config is binary": (lambda f: (f / "config.json").write_bytes(b"\xff"), "not UTF-8"),
    "config is huge": (lambda f: (f / "config.json").write_text(" " * (2 << 20)), "larger than 1 MiB"),
    "config is a FIFO": (fifo("config.json"), "not a regular file"),
    "other model": (config(model_type="llama"), r"model_type 'llama'; supported are .*gpt2"),
    "model type is a list": (config(model_type=["gpt2"]), "model_type"),
    "too many layers": (config(n_layer=10**9), r"n_layer 1000000000; it must be a whole number from 1 to 48"),
    "layers as text": (config(n_layer="2"), "n_layer '2'"),
    "layers as a truth": (config(n_layer=True), "n_layer True"),
    "one layer more": (config(n_layer=3), r"tensor h\.2\..* is missing"),
    "one layer fewer": (config(n_layer=1), r"tensor transformer\.h\.1\..* no part of this model"),
    "odd heads": (config(n_head=3), "does not divide"),
    "long positions": (config(n_positions=4096), "from 2 to 1,024"),
    "wrong positions": (config(n_positions=48), r"wpe.weight has the shape \(24, 16\) where config.json needs \(48, 16\)"),
    "relu": (config(activation_function="relu"), "activation_function 'relu'.*gelu_new"),
    "other epsilon": (config(layer_norm_epsilon=1e-6), "layer_norm_epsilon 1e-06"),
    "scaled by layer": (config(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx True"),
    "upcast": (config(reorder_and_upcast_attn=True), "reorder_and_upcast_attn"),
    "cross attention": (config(add_cross_attention=True), "add_cross_attention"),
    "unscaled": (config(scale_attn_weights=False), "scale_attn_weights"),
    "own head": (config(tie_word_embeddings=False), "tie_word_embeddings"),
    "other width inside": (config(n_inner=24), "n_inner 24"),
    "quantised": (config(quantization_config={"bits": 4}), "quantization_config"),
    "vocabulary too small": (config(vocab_size=100), "has a token 499, and the model has only 100"),
    "dropout": (config(resid_pdrop=7), "resid_pdrop 7"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "there is no model.safetensors"),
    "pickles alone": (pickled, r"only in pytorch_model\.bin.*safe_serialization=True"),
    "weights are a FIFO": (fifo("model.safetensors"), "not a regular file"),
    "huge header": (lambda f: (f / "model.safetensors").write_bytes((2**40).to_bytes(8, "little")), "header of 1,099,511,627,776"),
    "cut off": (lambda f: os.truncate(f / "model.safetensors", 30_000), "holds"),
    "wrong shape": (tensors(lambda t: t.update({NORM: np.ones(17, np.float32)})), r"ln_f.weight has the shape \(17,\)"),
    "missing": (tensors(lambda t: t.pop(NORM)), "ln_f.weight is missing"),
    "unknown": (tensors(lambda t: t.update(score=np.ones(2, np.float32))), "tensor score is no part"),
    "whole numbers": (tensors(lambda t: t.update({NORM: np.ones(16, np.int32)})), "int32"),
    "not finite": (tensors(lambda t: t.update({NORM: np.full(16, np.inf, np.float32)})), "not finite"),
    "other head": (tensors(lambda t: t.update({"lm_head.weight": np.ones((510, 16), np.float32)})), "not the same as wte.weight"),
    "twice": (tensors(lambda t: t.update({"ln_f.weight": np.ones(16, np.float32)})), "no part of this model"),
    "index names a path": (index(x="../../etc/passwd"), "does not list files of tensors"),
    "index names what is not there": (index(x="a.safetensors"), "a.safetensors, which .* is missing"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "there is no tokenizer.json in it, nor vocab.json"),
    "tokenizer is a FIFO": (fifo("tokenizer.json"), "not a regular file"),
    "tokenizer is no JSON": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json"),
    "tokenizer of words": (
        tokenizer(lambda t: t.update(model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"})),
        "uses BPE",
    ),
    "expression that never ends": (tokenizer(lambda t: t.update(normalizer=EVIL)), "step 'Split'"),
    "no bytes": (tokenizer(lambda t: t.update(pre_tokenizer={"type": "WhitespaceSplit"})), "ByteLevel"),
    "merges of nothing": (tokenizer(lambda t: t["model"].update(merges=[["zz", "yy"]])), "merges of pieces that are not in its vocabulary"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_gets_one_line(name: str, gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "m")
    change, words = HOSTILE[name]
    change(folder)
    status = run(["gpt", "--headless", "--from", f"hf:{folder}", "--prompt", "x", "--runs-dir", str(tmp_path), "--threads", "1"])
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert re.fullmatch(rf"dlplay: --from hf:[^\n]*{words}[^\n]*\n", said.err), said.err


def test_a_missing_folder_and_another_architecture_are_refused_in_words(
    gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for start, words in ((f"hf:{tmp_path / 'no'}", "there is no folder"), ("hf:~nobody-here/x", "home folder")):
        assert run(["gpt", "--headless", "--from", start, "--prompt", "x"]) == 2
        assert words in capsys.readouterr().err
    assert run(["recurrent", "--headless", "--from", f"hf:{gpt2}", "--prompt", "x"]) == 2
    assert "is of gpt, not recurrent; use dlplay gpt" in capsys.readouterr().err


def test_word_pieces_come_with_a_model_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["bert", "--headless", "--tokens", "wordpiece", "--steps", "1", "--runs-dir", str(tmp_path)]) == 2
    assert "--tokens wordpiece needs a pretrained model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_the_library_the_way_out_is_named(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(CheckpointError, match=r"pip install 'dlplay\[hf\]'"):
        origin.find(f"hf:{gpt2}", Path())
    with pytest.raises(DataError, match=r"pip install 'dlplay\[hf\]'"):
        hf_tokenizer.build(Words(["<unk>", "a"]), "gpt2", 8)


# --- training on ------------------------------------------------------------------------------------------------------------------------


def test_a_run_from_an_opened_model_resumes_exactly_without_the_folder(gpt2: Path, own_words: Path, dlplay: Dlplay, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "model")
    typed = ["--from", f"hf:{folder}", "--text", str(own_words), "--steps", "150", "--save-every", "20", "--eval-every", "150"]
    runs = [RunDirectory(tmp_path / "runs" / name) for name in ("calm", "killed")]
    calm, killed = (
        dlplay.start("gpt", "--headless", "--runs-dir", str(item.path.parent), "--name", item.name, *typed, "--device", "cpu")
        for item in runs
    )
    wait_until(lambda: len(runs[1].store.names()) > 1 or not killed.running, "a checkpoint")
    killed.kill()
    assert calm.wait().status == 0
    shutil.rmtree(folder)
    newest, _ = runs[1].store.newest()
    assert newest is not None
    assert 0 < newest.step < 150
    assert dlplay("resume", "killed", "--headless", "--runs-dir", str(tmp_path / "runs")).status == 0
    ends = [item.store.newest()[0] for item in runs]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].step == ends[1].step == 150
    assert all(np.array_equal(ends[0].weights[name], ends[1].weights[name]) for name in ends[0].weights)
    start = origin.find(f"hf:{gpt2}", tmp_path).weights
    assert not any(np.array_equal(start[name], ends[0].weights[name]) for name in start if name.endswith("qkv.weight"))
    exported = tmp_path / "out"
    assert run(["export", "calm", str(exported), "--to", "hf", "--runs-dir", str(tmp_path / "runs")]) == 0
    idx = torch.arange(24)[None]
    _, task = Source("calm", tmp_path / "runs").task()
    with torch.no_grad():
        torch.testing.assert_close(logits(theirs(exported), idx), task.models["gpt"](idx), atol=1e-4, rtol=1e-5)


def test_an_opened_model_trains_on_a_text_of_its_own_pieces(gpt: Task[Any], own_words: Path) -> None:
    text = Text("own", own_words.read_text(), "0" * 64)
    corpus = encode_corpus(text, gpt.tokenizer, minimum=10)  # type: ignore[attr-defined]
    assert gpt.tokenizer.decode(corpus.train.tolist() + corpus.held_out.tolist()) == text.content  # type: ignore[attr-defined]
    assert "<unk>" not in corpus.words


# --- models of ours in transformers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped GPT."""
    folder = tmp_path_factory.mktemp("out") / "gpt"
    assert run(["export", "gpt-reference", str(folder), "--to", "hf"]) == 0
    return folder


@pytest.fixture(scope="module")
def shipped() -> Task[Any]:
    return Source("gpt-reference", Path("/nowhere")).task()[1]


def test_the_shipped_gpt_gives_its_logits_in_transformers(written: Path, shipped: Task[Any]) -> None:
    model, loading = transformers.GPT2LMHeadModel.from_pretrained(written, output_loading_info=True)
    assert not any(loading.values())
    idx = torch.randint(len(shipped.tokenizer.vocabulary), (3, 64))  # type: ignore[attr-defined]
    with torch.no_grad():
        torch.testing.assert_close(logits(model.eval(), idx), shipped.models["gpt"](idx), atol=1e-4, rtol=1e-5)


@settings(max_examples=250, deadline=None)
@given(TEXTS)
def test_words_have_the_same_ids_in_transformers(written: Path, shipped: Task[Any], text: str) -> None:
    assert their_tokenizer(written)(text)["input_ids"] == shipped.tokenizer.encode(text)  # type: ignore[attr-defined]


def test_every_character_of_unicode_is_a_word_or_none_in_both(written: Path) -> None:
    made = their_tokenizer(written).backend_tokenizer
    characters = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn")]
    text = "\n".join(characters)
    found = [piece for piece, _ in made.pre_tokenizer.pre_tokenize_str(made.normalizer.normalize_str(text))]
    assert found == list(Words.split(text))
    text = "\n".join("क" + char + "b" for char in characters)
    found = [piece for piece, _ in made.pre_tokenizer.pre_tokenize_str(made.normalizer.normalize_str(text))]
    assert found == list(Words.split(text))


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_characters_have_the_same_ids_in_transformers(characters: tuple[Path, Characters], text: str) -> None:
    folder, tokenizer = characters
    assert their_tokenizer(folder)(text)["input_ids"] == tokenizer.encode(text)
    if 0 not in tokenizer.encode(text):
        assert their_tokenizer(folder).decode(tokenizer.encode(text)) == text


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Characters]:
    """A tokenizer of characters, written out beside a config."""
    tokenizer = Characters(["<unk>", *sorted(set("the value of <unk>\n'Naïve 日e\u0301&b/.")), "\r"])
    folder = tmp_path_factory.mktemp("characters")
    found = hf_tokenizer.build(tokenizer, "gpt2", 8)
    (folder / "tokenizer.json").write_text(found.tokenizer)
    (folder / "tokenizer_config.json").write_text(json.dumps(found.config))
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    return folder, tokenizer


def test_transformers_writes_what_we_write_and_never_unk(written: Path, shipped: Task[Any]) -> None:
    with looking(shipped):
        passage = shipped.panel("passage", Passage(prompt="the value of", temperature=0, words=40))
    tokenizer = their_tokenizer(written)
    read = tokenizer("the value of", return_tensors="pt")
    found = theirs(written).generate(**read, max_new_tokens=40, do_sample=False, pad_token_id=0)[0, 3:]
    assert tokenizer.convert_ids_to_tokens(found.tolist()) == passage.words


def test_weights_that_do_not_fit_their_settings_are_not_written(
    gpt: Task[Any], gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = origin.find(f"hf:{gpt2}", tmp_path)
    few = dict(checkpoint.weights) | {"gpt/tokens.weight": checkpoint.weights["gpt/tokens.weight"][:100]}
    none = {name: array for name, array in checkpoint.weights.items() if "tokens" not in name}
    for step, weights in enumerate((few, none)):
        step = Store(tmp_path).save(step, weights, {}, checkpoint.meta)
        assert run(["export", str(tmp_path / step.name), str(tmp_path / "back"), "--to", "hf"]) == 2
        refused = capsys.readouterr().err
        assert "its weights do not match its settings" in refused
        assert len(refused.splitlines()) == 1
    assert not (tmp_path / "back").exists()


def test_huge_tensors_are_refused_before_they_are_read(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "huge")
    numbers = 1 << 30
    header = json.dumps(
        {"transformer.wte.weight": {"dtype": "F32", "shape": [numbers // 16, 16], "data_offsets": [0, 4 * numbers]}}
    ).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * numbers)  # takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="has the shape"):
        origin.find(f"hf:{folder}", tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


def test_buffers_that_nobody_needs_are_never_read(gpt2: Path, gpt: Task[Any], tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "buffers")
    data = (folder / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    table, end, huge = json.loads(data[8:begin]), len(data) - begin, 1 << 31
    table["transformer.h.0.attn.bias"] = {"dtype": "U8", "shape": [huge], "data_offsets": [end, end + huge]}
    header = json.dumps(table).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header + data[begin:])
        file.truncate(8 + len(header) + end + huge)  # takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = origin.find(f"hf:{folder}", tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB
    assert all(np.array_equal(array, gpt.weights()[name].numpy()) for name, array in found.weights.items())


def test_a_head_of_another_shape_is_refused_before_it_is_read(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "head")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors") | {"lm_head.weight": np.zeros((511, 16), np.float32)}
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"tensor lm_head.weight has the shape \(511, 16\) where config.json needs \(510, 16\)"):
        origin.find(f"hf:{folder}", tmp_path)


def test_an_opened_model_is_written_as_it_was(gpt2: Path, gpt: Task[Any], tmp_path: Path) -> None:
    checkpoint = origin.find(f"hf:{gpt2}", tmp_path)
    step = Store(tmp_path).save(0, checkpoint.weights, {}, checkpoint.meta)
    assert run(["export", str(tmp_path / step.name), str(tmp_path / "back"), "--to", "hf"]) == 0
    before, after = (safetensors.numpy.load_file(folder / "model.safetensors") for folder in (gpt2, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "back" / "tokenizer.json").read_text()) == json.loads((gpt2 / "tokenizer.json").read_text())
    assert their_tokenizer(tmp_path / "back")(SAMPLE)["input_ids"] == gpt.tokenizer.encode(SAMPLE)  # type: ignore[attr-defined]
    assert opened(tmp_path / "back").weights().keys() == gpt.weights().keys()


def test_an_architecture_that_transformers_lacks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "gan-gaussians", str(tmp_path / "x"), "--to", "hf"]) == 2
    assert re.search(r"transformers has no model like gan; --to hf is for .*gpt", capsys.readouterr().err)
    assert not (tmp_path / "x").exists()


def test_no_script_is_made_of_what_came_with_its_weights(gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = origin.find(f"hf:{gpt2}", tmp_path)
    step = Store(tmp_path).save(0, checkpoint.weights, {}, checkpoint.meta)
    assert run(["export", str(tmp_path / step.name), str(tmp_path / "script.py"), "--to", "torch"]) == 2
    assert re.search(r"tokenizer \(bpe\) that came with its weights.*--to hf", capsys.readouterr().err)
    assert not (tmp_path / "script.py").exists()


async def test_the_screen_asks_an_opened_model(gpt2: Path, tmp_path: Path) -> None:
    wishes = {"settings": origin.find(f"hf:{gpt2}", tmp_path, weights=False).meta["settings"] | {"threads": 1}, "origin": f"hf:{gpt2}"}
    async with on_screen(tmp_path, tab="gpt", explore=True, **wishes) as (app, _):
        await until(lambda: re.search(r"entropy \d", screen_text(app)))
        assert app.tab.form.values["tokens"] == "bpe"
        assert app.tab.form.values["block_size"] == 24
        app.tab.link.close()


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_added_tokens_keep_their_ids(tmp_path: Path, kind: str) -> None:
    folder = older_files(tmp_path, kind)
    size = len(ModelFolder(folder).json("vocab.json")) if kind == "bpe" else len((folder / "vocab.txt").read_text().splitlines())
    (folder / "added_tokens.json").write_text(json.dumps({"<user>": size + 1, "<pad>": size}))
    made = tokenizers.Tokenizer.from_str(ModelFolder(folder).tokenizer(kind))
    assert [made.token_to_id(token) for token in ("<pad>", "<user>")] == [size, size + 1]
    assert size + 1 in made.encode("the <user> is").ids
    for ids, words in (({"<user>": size + 5}, "the id"), ({"<user>": "1"}, "no whole number")):
        (folder / "added_tokens.json").write_text(json.dumps(ids))
        with pytest.raises(DataError, match=words):
            ModelFolder(folder).tokenizer(kind)


def older_files(folder: Path, kind: str) -> Path:
    """The files of a tokenizer before there was tokenizer.json."""
    if kind == "bpe":
        byte_pairs().model.save(str(folder))
    else:
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "is")))
    return folder
