"""All attention heads of a model in one table: what ablating each costs on held-out data, and what it attends to."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlplay.engine import hooks, progress
from dlplay.engine.interventions import Intervention
from dlplay.engine.panels import Array, Table
from dlplay.engine.task import Task
from dlplay.parts.heads import after_a_copy, first_token, from_the_third, neighbour, same_token, score

CHANCE = "even attention"
"""The row of a head that attends to all that it sees alike."""

SCORES = ("induction", "previous", "next", "first", "same token")
"""Their names, in the order of the columns, of which a narrow panel shows the first."""

REPEATED_ROWS, LONGEST_REPEATED = 8, 100
"""Rows of random tokens that are read twice, and tokens of such a row, at most."""

LARGE = 1e9
"""Parameters times heads from which on the costs are estimated: that many runs take minutes."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """The attention of some heads while they read."""

    weights: Mapping[str, Tensor]
    """(B, H, T, S) by the address of the layer: its head 2 is ADDRESS.head.2."""
    keys: Mapping[str, Tensor]
    """By the name of a score the keys that it is about, (B, T, S)."""
    seen: Tensor
    """Which keys each query sees, (B, T, S)."""
    name: str = ""
    """Which heads these are, where there are several kinds."""

    def scores(self) -> dict[str, dict[str, float]]:
        """By a head's address, by the name of a score."""
        found: dict[str, dict[str, float]] = {}
        for layer, weights in self.weights.items():
            for name, keys in self.keys.items():
                for head, value in enumerate(score(weights, keys).tolist()):
                    found.setdefault(f"{layer}.head.{head}", {})[name] = value
        return found

    def chance(self) -> dict[str, float]:
        """The scores of even attention."""
        even = (self.seen / self.seen.sum(dim=-1, keepdim=True).clamp(min=1))[:, None]
        return {name: float(score(even, keys)) for name, keys in self.keys.items()}


def of_decoder(weights: Mapping[str, Tensor], ids: Tensor, valid: Tensor | None = None, name: str = "") -> Reading:
    """Causal self-attention over `ids` (B, T), of which only the `valid` (B, T) are tokens; they come first."""
    real = torch.ones_like(ids, dtype=torch.bool) if valid is None else valid
    keys = {
        "previous": from_the_third(neighbour(ids, 1)),
        "first": from_the_third(first_token(ids)),
        "same token": same_token(ids, causal=True),
    }
    seen = torch.ones(ids.shape[1], ids.shape[1], device=ids.device).tril().expand(len(ids), -1, -1)
    return Reading(weights, {name: marked & real[:, :, None] for name, marked in keys.items()}, seen, name)


def of_repeats(weights: Mapping[str, Tensor], ids: Tensor) -> Reading:
    """Causal self-attention over random tokens that are read twice (B, 2 L)."""
    return Reading(weights, {"induction": after_a_copy(ids)}, of_decoder({}, ids).seen)


def of_encoder(weights: Mapping[str, Tensor], ids: Tensor, valid: Tensor, name: str = "") -> Reading:
    """Self-attention to both sides over `ids` (B, T), of which only the `valid` (B, T) are tokens."""
    real = valid[:, :, None] & valid[:, None, :]
    keys = {"previous": neighbour(ids, 1), "next": neighbour(ids, -1), "first": first_token(ids), "same token": same_token(ids, False)}
    return Reading(weights, {name: marked & real for name, marked in keys.items()}, real.float(), name)


def of_cross(weights: Mapping[str, Tensor], ids: Tensor, keys: Tensor, valid: Tensor, valid_keys: Tensor, name: str = "") -> Reading:
    """Attention from the places where `ids` (B, T) are written to the tokens `keys` (B, S)."""
    real = valid[:, :, None] & valid_keys[:, None, :]
    return Reading(weights, {"same token": (ids[:, :, None] == keys[:, None, :]) & real}, real.float(), name)


@dataclasses.dataclass(frozen=True)
class Costs:
    """By how much the mean held-out measure changes when heads are replaced by their means."""

    measure: str
    without: float
    """The measure with all heads."""
    examples: int
    heads: Mapping[str, float]
    """By address, one at a time."""
    together: float
    """All of them at once."""
    estimated: bool = False
    """To first order: those of single heads were not measured."""


def ablation_costs(task: Task[Any]) -> Costs:
    """Every head of the task's models, ablated one after the other; of a large model an estimate."""
    ablations = {address: Intervention(address, "mean") for address in hooks.heads(task.models)}
    without = task.measure()
    estimated = task.parameters * len(ablations) > LARGE

    def cost(*interventions: Intervention) -> float:
        with task.touched(interventions):
            return float((task.measure().values - without.values).mean())

    progress.say("all heads at once")
    together = cost(*ablations.values())  # first, since it takes the means of all of them in one pass
    if estimated:
        progress.say("gradients of all heads")
        costs = first_order_costs(task)
    else:
        costs = {address: cost(ablations[address]) for address in progress.each(ablations, "head")}
    return Costs(without.name, float(without.values.mean()), len(without.values), costs, together, estimated)


def first_order_costs(task: Task[Any]) -> dict[str, float]:
    """What ablating each head would cost if the measure were linear in what the heads hand on: its gradient times the change to the mean,
    for all of them from one backward pass (Nanda, Attribution Patching, 2023)."""
    sites = hooks.heads(task.models)
    passes: dict[nn.Module, list[Tensor]] = {site.module: [] for site in sites.values()}

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        passes[module].append(inputs[0])

    with contextlib.ExitStack() as stack, torch.enable_grad():
        for module in passes:
            stack.callback(module.register_forward_pre_hook(keep).remove)
        measured = task.measure().values.mean()
        followed = [activation for found in passes.values() for activation in found if activation.requires_grad]
        gradients = dict(zip(followed, torch.autograd.grad(measured, followed, allow_unused=True), strict=True))
    costs = {}
    for (address, site), mean in zip(sites.items(), task.means(list(sites.values())), strict=True):  # (D,) each
        assert site.columns is not None
        found, part = passes[site.module], slice(*site.columns)
        changes = [
            ((mean - activation.detach()[..., part]) * gradient[..., part]).sum()
            for activation in found
            if (gradient := gradients.get(activation)) is not None
        ]
        costs[address] = float(torch.stack(changes).sum())
    return costs


def table(costs: Costs, readings: Sequence[Reading], caption: str = "") -> Table:
    """Every head, the one whose ablation costs most first, with its scores; last even attention."""
    scores: dict[str, dict[str, float]] = {address: {} for address in costs.heads}
    chance: dict[str, dict[str, float]] = {}
    for reading in readings:
        for address, found in reading.scores().items():
            scores[address] |= found
        chance.setdefault(f"{CHANCE}, {reading.name}" if reading.name else CHANCE, {}).update(reading.chance())
    names = [name for name in SCORES if any(name in reading.keys for reading in readings)]
    order = sorted(costs.heads, key=lambda address: -costs.heads[address])
    about = "≈ " if costs.estimated else ""
    values = [(address, f"{about}{costs.heads[address]:+.4f}", scores[address]) for address in order]
    values += [(name, "", found) for name, found in chance.items()]
    shown = [[found.get(name, math.nan) for name in names] for *_, found in values]
    tints = [[math.nan, math.nan, *(0.0 if math.isnan(value) else min(1.0, value) for value in row)] for row in shown]
    return Table(
        columns=["head", "mean-ablated", *names],
        rows=[[name, cost, *(_percent(value) for value in row)] for (name, cost, _), row in zip(values, shown, strict=True)],
        right=list(range(1, len(names) + 2)),
        parts=[*order, *("" for _ in chance)],
        shades=Array.of(torch.tensor(tints).numpy()),
        figure=f"{order[0]} {costs.heads[order[0]]:+.3g}",
        caption=" · ".join(
            [
                f"change in {costs.measure}, {costs.without:.4g} on {costs.examples} held-out examples",
                f"all heads mean-ablated {costs.together:+.3g}",
                *(["≈: to first order, from one backward pass; the model is too large to ablate each head"] if costs.estimated else []),
                *([caption] if caption else []),
            ]
        ),
    )


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.0f} %"
