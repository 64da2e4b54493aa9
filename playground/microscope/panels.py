"""The answers of the panels that every architecture has."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dlplay.engine import hooks, progress
from dlplay.engine.interventions import Intervention, parse
from dlplay.engine.panels import AnyPanel, Array, Bars, HeatMap, Table
from dlplay.engine.settings import SettingsError
from dlplay.engine.task import Probe, Task
from dlplay.microscope import layer
from dlplay.microscope.options import Ablations, Anatomy, Effect, Layer
from dlplay.microscope.tables import build_table, health_table

MOST_ABLATED = 256
"""Parts that are ablated one after the other, at most."""
SECONDS = 15.0
"""Seconds that measuring them may take, about; a few are measured in any case."""
FEW = 8


class Microscope:
    """A method is a panel, named as on the card."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self._of_group: list[int] = []
        """Positions of the examples that ablations are measured on."""

    def anatomy(self, options: Anatomy) -> Table:
        """The tree of modules."""
        return build_table(self.task) if options.columns == "build" else health_table(self.task)

    def layer(self, options: Layer) -> AnyPanel:
        """One of them."""
        return layer.shown(self.task, options)

    def effect(self, options: Effect) -> Table:
        """The held-out measure without and with each intervention, and with all of them."""
        interventions = parse(options.do)
        without = self.task.measure()
        chosen = _of_group(without, options.group)
        rows = [["none", f"{_mean(without, chosen):.4g}", "", ""]]
        for each in progress.each(interventions, "intervention"):
            rows.append([str(each), *_compared(without, self._with(each), chosen)])
        if len(interventions) > 1:
            rows.append(["all of them", *_compared(without, self._with(*interventions), chosen)])
        examples = f"{len(chosen)} held-out examples" + (f" of {options.group}" if options.group else "")
        if len(without.values) == 1:
            examples = "all held-out data as one number, so there is no interval"
        columns = ["intervention", "held-out", "difference", "95 % interval"]
        return Table(columns=columns, rows=rows, right=[1, 2, 3], figure=rows[-1][2], caption=f"{without.name} · {examples}")

    def ablations(self, options: Ablations) -> AnyPanel:
        """The mean change of the held-out measure with each part ablated."""
        kind: Any = "mean" if options.by == "mean" else "set"
        began = time.perf_counter()
        without = self.task.measure()
        fits = max(FEW, int(SECONDS / (time.perf_counter() - began)))
        self._of_group = _of_group(without, options.group)
        if not options.module and (heads := self._passed(hooks.heads(self.task.models).values())):
            return self._heads([site.address for site, _ in heads][:fits], len(heads), kind, without, options)
        named = [hooks.find(self.task.models, options.module, "module")] if options.module else layer.weighted(self.task)
        passed = self._passed(named)
        if not passed:
            words = f"--module {options.module}: the held-out data do not pass it" if options.module else "the held-out data pass no layer"
            raise SettingsError(f"{words}; the panel anatomy lists what they pass", "module")
        site, passes = passed[0]
        part = site.address
        units = passes[0].shape[hooks.unit_axis(passes[0])]
        shown = min(units, MOST_ABLATED, fits)
        costs = [self._cost(Intervention(part, kind, units=((unit, None),)), without) for unit in progress.each(range(shown), "unit")]
        worst = max(range(shown), key=lambda unit: abs(costs[unit]))
        return Bars(
            labels=[str(unit) for unit in range(shown)],
            values=costs,
            chosen=worst,
            parts=[f"{part}[{unit}]" for unit in range(shown)],
            figure=f"{part}[{worst}] {costs[worst]:+.3g}",
            caption=self._measured(without, options) + _cut(shown, units),
        )

    def _passed(self, sites: Iterable[hooks.Site]) -> list[tuple[hooks.Site, list[Tensor]]]:
        """Those of the sites that the held-out data pass, with what stands there in each pass."""
        sites = list(sites)
        with hooks.recorded(sites) as passes:
            self.task.measure()
        return [(site, found) for site, found in zip(sites, passes, strict=True) if found]

    def _heads(self, addresses: list[str], of: int, kind: Any, without: Probe, options: Ablations) -> AnyPanel:
        costs = {address: self._cost(Intervention(address, kind), without) for address in progress.each(addresses, "head")}
        owners = list(dict.fromkeys(_owner(address) for address in addresses))
        most = max(_number(address) for address in addresses) + 1
        grid = torch.full((len(owners), most), math.nan)  # a layer may have fewer heads than another
        for address, cost in costs.items():
            grid[owners.index(_owner(address)), _number(address)] = cost
        worst = max(addresses, key=lambda address: abs(costs[address]))
        return HeatMap(
            values=Array.of(grid),
            rows=owners,
            columns=[f"head {head}" for head in range(most)],
            parts=owners,
            column_parts=[f".head.{head}" for head in range(most)],
            signed=True,
            figure=f"{worst} {costs[worst]:+.3g}",
            caption=self._measured(without, options) + _cut(len(addresses), of),
        )

    def _measured(self, without: Probe, options: Ablations) -> str:
        of = f" on {len(self._of_group)} examples of {options.group}" if options.group else ""
        done = "mean-ablated" if options.by == "mean" else "set to 0"
        return f"{done}: change in the held-out {without.name}{of}, {float(without.values[self._of_group].mean()):.4g}"

    def _with(self, *interventions: Intervention) -> Probe | None:
        """The measure with them; None where all are about words that the held-out examples do not have."""
        measured = None
        try:
            with self.task.touched(interventions):
                measured = self.task.measure()
        except hooks.NotReached as error:
            if not error.words:
                raise
            return None if error.all else measured
        return measured

    def _cost(self, intervention: Intervention, without: Probe) -> float:
        with self.task.touched((intervention,)):
            return float((self.task.measure().values - without.values)[self._of_group].mean())


def interval(differences: Tensor) -> tuple[float, float] | None:
    """95 % interval of the mean of differences (n,), by its standard error and Student's t; None of a single one."""
    count = len(differences)
    if count < 2:
        return None
    from scipy import stats

    mean, error = float(differences.mean()), float(differences.std()) / math.sqrt(count)
    reach = float(stats.t.ppf(0.975, count - 1)) * error
    return mean - reach, mean + reach


def _of_group(probe: Probe, group: str) -> list[int]:
    """Positions of the examples of a group; of all without one. Raises `SettingsError` with the groups there are."""
    if not group:
        return list(range(len(probe.values)))
    found = [at for at, name in enumerate(probe.groups) if name == group]
    if not found:
        known = ", ".join(sorted(set(probe.groups))[:12]) or "none"
        raise SettingsError(f"--group {group[:40]!r} is no class of the held-out examples; their classes are {known}", "group")
    return found


def _compared(without: Probe, with_it: Probe | None, chosen: list[int]) -> list[str]:
    if with_it is None:
        return ["", "", "not in these examples"]
    differences = (with_it.values - without.values)[chosen].cpu().double()
    found = interval(differences)
    words = "" if found is None else f"{found[0]:+.3g} to {found[1]:+.3g}"
    return [f"{_mean(with_it, chosen):.4g}", f"{float(differences.mean()):+.3g}", words]


def _mean(probe: Probe, chosen: list[int]) -> float:
    return float(probe.values[chosen].mean())


def _cut(shown: int, of: int) -> str:
    return f" · the first {shown} of {of}" if shown < of else ""


def _owner(head: str) -> str:
    return head.rpartition(".head.")[0]


def _number(head: str) -> int:
    return int(head.rpartition(".")[2])
