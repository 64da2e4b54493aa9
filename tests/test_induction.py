"""Induction heads: a text in which they form, the shipped model that has them, and training that brings them forth on every seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlplay import architectures, cli
from dlplay.architectures.gpt.model import GPT
from dlplay.architectures.gpt.presets import PRESETS
from dlplay.architectures.gpt.settings import GPTSettings
from dlplay.architectures.gpt.task import GPTTask
from dlplay.checkpoints import shipped
from dlplay.data import text
from dlplay.engine.panels import HeatMap, Table
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from dlplay.exports import hf
from dlplay.exports.source import Source
from dlplay.parts import heads
from dlplay.runs import curve

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = architectures.cards()["gpt"]
NAME = "gpt-induction"


@pytest.fixture(scope="module")
def task() -> GPTTask:
    found = Source(NAME, Path("/nowhere")).task()[1]
    assert isinstance(found, GPTTask)
    return found


def read_twice(task: GPTTask, period: int, rows: int = 128) -> Tensor:
    """Rows (B, 2 * period) of syllables drawn at random, each row read twice."""
    dot = task.tokenizer.id(".")
    syllables = torch.tensor([token for token in range(1, len(task.tokenizer.vocabulary)) if token != dot])
    generator = torch.Generator().manual_seed(0)
    once = torch.stack([syllables[torch.randperm(len(syllables), generator=generator)[:period]] for _ in range(rows)])
    return torch.cat([once, once], dim=1)


def induction_score(model: GPT, ids: Tensor) -> float:
    """That of the best head: its mean attention to what followed the earlier copy of a token."""
    return max(float(heads.score(weights, heads.after_a_copy(ids)).max()) for weights in model.weights(ids))


def token_losses(model: GPT, ids: Tensor) -> Tensor:
    """The mean loss of the 1st, 2nd, … token that is predicted, (T - 1,)."""
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none").mean(dim=0)


def check_claims(task: GPTTask) -> None:
    """A head for every period, a head of the first layer for the token before, and what comes of it: a loss that falls within a row."""
    with looking(task):
        for period in (6, 12, 20, 32):
            assert induction_score(task.model, read_twice(task, period)) >= 0.6, period
        ids = read_twice(task, 32)
        before = heads.from_the_third(heads.neighbour(ids, 1))
        first, second = task.model.weights(ids)
        losses = token_losses(task.model, ids)
        held_out = task.held_out[: len(task.held_out) // 64 * 64].view(-1, 64)
        in_text = token_losses(task.model, held_out)
    assert float(heads.score(first, before).max()) > 0.6 > 2 * float(heads.score(second, before).max())
    assert float(heads.score(first, heads.after_a_copy(ids)).max()) < 0.1, "one layer alone cannot do it"
    assert losses[5 - 2] - losses[50 - 2] >= 0.4  # the second token is the first that is predicted
    assert losses[40:].mean() < 1.5 < losses[:31].mean() - 2
    assert in_text[2:6].mean() - in_text[45:].mean() >= 0.4


def test_no_held_out_sentence_is_read_in_training() -> None:
    content = text.repeats().content
    corpus = text.read_corpus(text.repeats(), "word", vocab_size=8000, min_count=3, minimum=100)
    paragraphs = [set(line.split(" .")) - {""} for line in content.split("\n")]
    sentences = [{sentence.strip() for sentence in paragraph} - {""} for paragraph in paragraphs]
    ends, tokens = [], 0
    for line in content.split("\n"):
        tokens += len(line.split())
        ends.append(tokens)
    assert tokens == len(corpus.train) + len(corpus.held_out)
    training = [number for number, end in enumerate(ends) if end <= len(corpus.train)]
    after = range(training[-1] + 2, len(sentences))  # the cut goes through the one between
    read = set().union(*(sentences[number] for number in training))
    assert len(after) > 600
    assert not read & set().union(*(sentences[number] for number in after))


def test_the_shipped_model_has_induction_heads(task: GPTTask) -> None:
    check_claims(task)
    assert not any("feed_forward" in name for name, _ in task.model.named_modules()), "attention is all there is"


def test_its_curves_show_the_scores_rise_where_the_loss_falls() -> None:
    item = shipped.find(NAME)
    found = curve.read(item, "val_loss", "lower").held_out
    steps = found["val_loss"].x.tolist()
    losses, induction, previous = (found[name].y for name in ("val_loss", "induction_score", "previous_token_score"))
    steepest = max(range(len(steps) - 2), key=lambda place: losses[place] - losses[place + 2])  # two evaluations: 100 steps
    assert losses[steepest] - losses[steepest + 2] > (losses[0] - losses[-1]) / 3, "evenly it would be a fifteenth"
    assert induction[steepest] < 0.2 < 0.4 < induction[steepest + 2]
    assert previous[0] < 0.15 < previous[steepest] < previous[-1]
    in_context = found["in_context_score"].y
    assert max(abs(in_context[0]), abs(in_context[1])) < 0.5, "nothing is gained from context at first"
    assert in_context[steepest] - in_context[steepest + 2] > 1, "and much with the heads"
    assert in_context[-1] < -3


def test_panels_find_its_heads(task: GPTTask) -> None:
    with looking(task):
        table = task.panel("heads", make(CARD.panel("heads").options, {}))
        prompt = "ba ke di . to fu la mi . ba ke"
        attributed = task.panel("attribution", make(CARD.panel("attribution").options, {"prompt": prompt}))
        options = {"prompt": prompt, "corrupt": "ba ke so . to fu la mi . ba ke", "answer": "di"}
        patched = task.panel("patching", make(CARD.panel("patching").options, options))
        for name in ("heads", "attribution", "patching", "next_word", "attention", "forward", "layer_lens"):
            task.panel(name, make(CARD.panel(name).options, {}))  # with the prompt of its own
    assert isinstance(table, Table)
    assert isinstance(attributed, Table)
    assert isinstance(patched, HeatMap)
    induction, previous = (table.columns.index(name) for name in ("induction", "previous"))
    best = {column: max(table.rows[:-1], key=lambda row: int(row[column].split()[0])) for column in (induction, previous)}
    assert best[induction][0].startswith("blocks.1.")
    assert int(best[induction][induction].split()[0]) >= 60
    assert best[previous][0].startswith("blocks.0.")
    assert int(best[previous][previous].split()[0]) >= 60
    assert table.rows[0][0] == best[previous][0], "without the head for the token before, no other finds anything"
    assert attributed.figure.split()[0] == "di"
    assert attributed.rows[0][0].startswith("blocks.1.head.")
    values = patched.values.numpy()
    changed = patched.columns.index("di→so")
    assert values[0, changed] > 0.8, "the word stands there"
    assert values[-1, -1] == pytest.approx(1, abs=0.01), "and was carried to the end"
    with looking(task), pytest.raises(SettingsError, match="there is no part 'blocks.0.feed_forward'"):
        task.panel("patching", make(CARD.panel("patching").options, options | {"site": "feed_forward"}))


def test_its_checkpoints_show_the_heads_form(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [354, 431, 501, 1500]
    asked = ["gpt", "--headless", "--from", NAME, "--panel", "heads", "--device", "cpu", "--json", "--at", ",".join(map(str, steps))]
    assert cli.run(asked) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["step"] for line in found] == steps
    scores = []
    for line in found:
        column = line["columns"].index("induction")
        scores.append(max(int(row[column].split()[0]) for row in line["rows"][:-1]))
    assert scores[0] < 15 < scores[1] < 40 < scores[2] < scores[3]
    assert scores[-1] > 80


def test_no_head_of_the_shipped_reference_does_it() -> None:
    """As the notes say: a small model of a text that is read once has none."""
    found = Source("gpt-reference", Path("/nowhere")).task()[1]
    with looking(found):
        table = found.panel("heads", make(CARD.panel("heads").options, {}))
    assert isinstance(table, Table)
    column = table.columns.index("induction")
    *scores, even = (int(row[column].split()[0]) for row in table.rows)
    assert (max(scores), even) == (8, 5)


def test_a_model_without_feed_forward_is_no_gpt2_of_transformers(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GPT-2 has feed-forward layers and this model has none; use --to torch or --to onnx"):
        hf.write(Source(NAME, Path("/nowhere")), tmp_path / "model")


def test_the_weights_start_as_far_apart_as_the_setting_says() -> None:
    torch.manual_seed(0)
    model = GPT(61, layers=2, heads=4, width=64, block_size=64, init_std=0.1)
    spread = {name: float(weight.detach().std()) for name, weight in model.named_parameters() if weight.ndim == 2}
    expected = {name: 0.05 if name.endswith("projection.weight") else 0.1 for name in spread}  # 2 L of these add to the residual stream
    assert spread == pytest.approx(expected, rel=0.05)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.long if seed else pytest.mark.slow) for seed in range(3)])
def test_induction_heads_form_and_the_loss_drops(seed: int) -> None:
    torch.manual_seed(seed)
    task = GPTTask(make(GPTSettings, PRESETS["induction"].values | {"seed": seed}), torch.device("cpu"))
    losses, scores = [], []
    ids = read_twice(task, 20, rows=32)
    for step in range(task.settings.steps):
        losses.append(float(task.train_step()["train_loss"]))
        task.step += 1
        if step % 50 == 49:
            with looking(task):
                scores.append(induction_score(task.model, ids))
    means = torch.tensor(losses).view(-1, 50).mean(dim=1).tolist()
    steepest = max(range(len(means) - 3), key=lambda place: means[place] - means[place + 3])
    assert means[steepest] - means[steepest + 3] > (means[0] - means[-1]) / 3, "evenly it would be a tenth"
    assert scores[steepest] < 0.3 < 0.5 < scores[-1]
    check_claims(task)
    with looking(task):
        found = task.evaluate()
    assert found["val_loss"] < min(task.baselines()["val_loss"].values()) - 0.5
    assert found["in_context_score"] < -2
