"""The table of attention heads: scores against heads made by hand and double loops, costs against hand edits of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dlplay import architectures
from dlplay.engine import hooks
from dlplay.engine.device import prepare
from dlplay.engine.panel_server import panel_of
from dlplay.engine.panels import Table
from dlplay.engine.settings import make
from dlplay.engine.task import Task, looking
from dlplay.parts import head_table, heads
from tests.conftest import Small

pytestmark = pytest.mark.usefixtures("as_before", "one_thread")

CARDS = architectures.cards()
ROOMS = ["gpt", "bert", "seq2seq", "transformer-xl"]
IDS = torch.tensor([[5, 6, 7, 5, 6, 7], [1, 2, 1, 3, 1, 2]])


def build(name: str, small: Small, **changes: Any) -> Task[Any]:
    settings = make(CARDS[name].settings, small(name) | {"device": "cpu"} | changes)
    task: Task[Any] = CARDS[name].load_task()(settings, prepare(settings), None)
    for _ in range(3):
        task.train_step()
        task.step += 1
    return task


def by_hand(weights: torch.Tensor, wanted: Any) -> list[float]:
    """The mean over all queries that have a wanted key, by loops."""
    rows, count, length, _ = weights.shape
    found = []
    for head in range(count):
        sums = []
        for row in range(rows):
            for query in range(length):
                keys = [key for key in range(length) if wanted(IDS[row].tolist(), query, key)]
                if keys:
                    sums.append(sum(float(weights[row, head, query, key]) for key in keys))
        found.append(float(np.mean(sums)))
    return found


def test_scores_are_those_of_double_loops() -> None:
    weights = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)).softmax(-1)
    causal = head_table.of_decoder({"blocks.0": weights}, IDS).scores() | {}
    repeats = head_table.of_repeats({"blocks.0": weights}, IDS).scores()
    both = head_table.of_encoder({"blocks.0": weights}, IDS, torch.ones_like(IDS, dtype=torch.bool)).scores()
    wanted = {
        ("causal", "previous"): lambda ids, q, k: q >= 2 and k == q - 1,
        ("causal", "first"): lambda ids, q, k: q >= 2 and k == 0,
        ("causal", "same token"): lambda ids, q, k: k < q and ids[k] == ids[q],
        ("repeats", "induction"): lambda ids, q, k: 0 < k < q and ids[k - 1] == ids[q],
        ("both", "previous"): lambda ids, q, k: k == q - 1,
        ("both", "next"): lambda ids, q, k: k == q + 1,
        ("both", "first"): lambda ids, q, k: k == 0 and q > 0,
        ("both", "same token"): lambda ids, q, k: k != q and ids[k] == ids[q],
    }
    found = {"causal": causal, "repeats": repeats, "both": both}
    for (kind, name), holds in wanted.items():
        expected = by_hand(weights, holds)
        assert [found[kind][f"blocks.0.head.{head}"][name] for head in range(3)] == pytest.approx(expected, abs=1e-6), (kind, name)


def test_heads_that_do_one_thing_alone_have_a_score_of_one() -> None:
    ids = heads.repeated_tokens(8, 40, 60)
    assert torch.equal(ids, heads.repeated_tokens(8, 40, 60))
    previous = torch.eye(40).roll(1, 0).expand(8, 1, 40, 40)
    induction = torch.zeros(8, 1, 40, 40)
    for number, row in enumerate(ids.tolist()):
        assert 0 not in row
        assert max(row.count(token) for token in row) == 2, "no token comes again by chance"
        for query, token in enumerate(row):
            if token in row[:query]:
                induction[number, 0, query, row.index(token) + 1] = 1
    assert head_table.of_decoder({"a": previous}, ids).scores()["a.head.0"]["previous"] == 1
    assert head_table.of_repeats({"a": induction}, ids).scores()["a.head.0"]["induction"] == 1
    assert head_table.of_repeats({"a": previous}, ids).scores()["a.head.0"]["induction"] == 0
    for back in range(2, 10):
        counting = torch.eye(40).roll(back, 0).expand(8, 1, 40, 40)
        assert head_table.of_repeats({"a": counting}, ids).scores()["a.head.0"]["induction"] < 0.5, "counting back finds none"


def test_padding_is_not_scored() -> None:
    ids, padded = IDS[:1, :4], torch.tensor([[5, 6, 7, 5, 0, 0]])
    weights = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    wide = torch.rand(1, 2, 6, 6)
    wide[:, :, :4, :4] = weights
    valid = padded != 0
    short = head_table.of_encoder({"a": weights}, ids, torch.ones_like(ids, dtype=torch.bool))
    long = head_table.of_encoder({"a": wide}, padded, valid)
    for head in ("a.head.0", "a.head.1"):
        assert short.scores()[head] == pytest.approx(long.scores()[head])
    assert short.chance() == pytest.approx(long.chance())


def test_the_scores_of_even_attention() -> None:
    chance = head_table.of_encoder({}, torch.arange(1, 6)[None], torch.ones(1, 5, dtype=torch.bool)).chance()
    assert chance["previous"] == pytest.approx(0.2)
    causal = head_table.of_decoder({}, torch.arange(1, 6)[None]).chance()
    assert causal["previous"] == causal["first"] == pytest.approx(np.mean([1 / 3, 1 / 4, 1 / 5]))


@pytest.mark.parametrize("name", ROOMS)
def test_the_table_lists_every_head_by_an_address_and_by_its_cost(name: str, small: Small) -> None:
    task = build(name, small)
    panel = CARDS[name].panel("heads")
    with looking(task):
        shown = task.panel("heads", panel.options())
        costs = head_table.ablation_costs(task)
    assert isinstance(shown, Table)
    listed = [row[0] for row in shown.rows if not row[0].startswith(head_table.CHANCE)]
    assert set(listed) == set(hooks.heads(task.models))
    assert [float(row[1]) for row in shown.rows[: len(listed)]] == sorted((float(f"{c:.4f}") for c in costs.heads.values()), reverse=True)
    assert all(hooks.find(task.models, address).is_head for address in listed)
    assert shown.columns[:2] == ["head", "mean-ablated"]
    assert f"change in {costs.measure}" in shown.caption
    assert "all heads mean-ablated" in shown.caption
    assert ("induction" in shown.columns[:3]) == (name in ("gpt", "transformer-xl"))
    assert ("next" in shown.columns) == (name in ("bert", "seq2seq"))
    measured = task.measure() if task.models else None
    assert measured is not None
    assert f"on {len(measured.values)} held-out examples" in shown.caption
    effect = panel_of(task, CARDS[name].panel("effect"), {"do": f"{listed[0]}=mean"})
    assert isinstance(effect, Table)
    assert float(effect.rows[1][2]) == pytest.approx(costs.heads[listed[0]], rel=0.01, abs=1e-6)


def test_a_head_costs_what_its_absence_in_the_weights_costs(small: Small) -> None:
    """The mean of a head, put in by hand: its part of the projection is zeroed, and what it adds on average goes to the bias."""
    task = build("gpt", small, lr=0.02)
    site = hooks.find(task.models, "blocks.1.head.1")
    with looking(task):
        costs = head_table.ablation_costs(task)
        before = task.measure().values.mean()
        with hooks.recorded([site]) as [passes]:
            task.measure()
        mean = passes[0].flatten(0, -2).mean(0)
        assert site.columns is not None
        part: Any = site.module
        columns = slice(*site.columns)
        part.bias += part.weight[:, columns] @ mean
        part.weight[:, columns] = 0
        after = task.measure().values.mean()
    assert costs.heads["blocks.1.head.1"] == pytest.approx(float(after - before), rel=1e-3, abs=1e-7)


def test_costs_of_a_large_model_are_estimated_to_first_order(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a small step on the way to the mean, by interventions: the change of a head by a hundredth costs a hundredth of it."""
    task = build("gpt", small, lr=0.02)
    with looking(task):
        means = {address: hooks.find(task.models, address) for address in hooks.heads(task.models)}
        with hooks.recorded(list(means.values())) as passes:
            before = float(task.measure().values.double().mean())
        estimated = head_table.first_order_costs(task)
        for (address, site), found in zip(means.items(), passes, strict=True):
            mean = found[0].flatten(0, -2).mean(dim=0)
            with hooks.replaced(site, lambda values, mean=mean: values + 0.01 * (mean - values)):
                after = float(task.measure().values.double().mean())
            assert estimated[address] == pytest.approx(100 * (after - before), rel=0.05, abs=2e-5), address
        assert all(parameter.grad is None or bool(parameter.grad.isfinite().all()) for parameter in task.models["gpt"].parameters())
        monkeypatch.setattr(head_table, "LARGE", 0)
        shown = task.panel("heads", CARDS["gpt"].panel("heads").options())
    assert isinstance(shown, Table)
    assert "to first order" in shown.caption
    assert {row[0]: row[1] for row in shown.rows if row[1]} == {address: f"≈ {cost:+.4f}" for address, cost in estimated.items()}


@pytest.mark.parametrize("name", ROOMS)
def test_every_room_can_be_estimated(name: str, small: Small) -> None:
    task = build(name, small)
    with looking(task):
        assert set(head_table.first_order_costs(task)) == set(hooks.heads(task.models))


def test_interventions_show_in_the_table(small: Small) -> None:
    task = build("gpt", small)
    panel = CARDS["gpt"].panel("heads")
    before = panel_of(task, panel, {})
    after = panel_of(task, panel, {"do": "blocks.0.head.0=mean"})
    assert isinstance(before, Table)
    assert isinstance(after, Table)
    assert before.rows != after.rows
    assert next(row for row in after.rows if row[0] == "blocks.0.head.0")[1] == "+0.0000"
