"""Means over held-out data of what stands at places in a model, and what of a pass counts in them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlplay.engine.hooks import Site, observed, unit_axis
from dlplay.engine.settings import SettingsError
from dlplay.engine.vocabulary import Vocabulary

_beforehand: ContextVar[bool] = ContextVar("beforehand", default=False)


_half: ContextVar[bool] = ContextVar("half", default=False)


@contextlib.contextmanager
def half_of_the_work() -> Iterator[None]:
    """Within it `Task.probe` may do half the work on half the examples, where all of them take a CPU long: for what takes a backward pass
    as well."""
    token = _half.set(True)
    try:
        yield
    finally:
        _half.reset(token)


def work(computation: int) -> int:
    """So much, or within `half_of_the_work` half as much."""
    return computation // 2 if _half.get() else computation


@contextlib.contextmanager
def beforehand() -> Iterator[None]:
    """Within it a model reads what is no part of the held-out examples, such as the text that fills its memory: it counts in no mean,
    and has no gradient."""
    token = _beforehand.set(True)
    try:
        with torch.no_grad():
            yield
    finally:
        _beforehand.reset(token)


def rows_of_units(values: Tensor) -> Tensor:
    """(…, C), the units last; of one number for each example (B, 1)."""
    return values.movedim(unit_axis(values), -1) if values.ndim > 1 else values[..., None]


@contextlib.contextmanager
def counting(vocabulary: Vocabulary | None, *, memory: bool = True) -> Iterator[Callable[[Tensor], Tensor | None]]:
    """Within it the function yielded says which places of what a module has just returned count: a mask of its shape without the units,
    None where all do. Padding does not, nor what is read `beforehand`; nor, without `memory`, what stands before the tokens that are read.

    Padding is where the tokens that were read last have it, as in everything that is computed from them.
    """
    read: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        read[:] = [inputs[0]]

    def places(values: Tensor) -> Tensor | None:
        if _beforehand.get():
            return torch.zeros(rows_of_units(values).shape[:-1], dtype=torch.bool, device=values.device)
        if vocabulary is None or not read or values.ndim != 3 or len(values) != len(read[0]):
            return None
        before = values.shape[1] - read[0].shape[1]
        padding = vocabulary.padding
        if before < 0 or (before > 0 and memory) or (before == 0 and padding is None):
            return None
        return F.pad(torch.ones_like(read[0], dtype=torch.bool) if padding is None else read[0] != padding, (before, 0))  # (B, T)

    if vocabulary is None:
        yield places
        return
    handle = vocabulary.embedding.register_forward_pre_hook(note)
    try:
        yield places
    finally:
        handle.remove()


class MeanActivations:
    """Means over held-out data of the units at sites, kept until a weight changes. Padding is left out."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        runs: Sequence[Callable[[], object]],
        version: Callable[[], object],
        vocabulary: Callable[[], Vocabulary | None] = lambda: None,
        keeps: Callable[[], bool] = lambda: True,
    ) -> None:
        """`runs` pass data through the models, the second for what the first does not reach; `version` is another one whenever the
        weights are; `keeps` says whether these are the models as they are, whose means may be kept."""
        self._models, self._runs, self._version_now, self._vocabulary = models, runs, version, vocabulary
        self._version: object = None
        self._known: dict[tuple[object, ...], Tensor] = {}
        self._keeps = keeps

    def __call__(self, sites: list[Site]) -> list[Tensor]:
        """(C,) each. Raises `SettingsError` for a site that the held-out data do not pass."""
        version = self._version_now()
        if version != self._version:
            self._known, self._version = {}, version
        known = self._known if self._keeps() else dict(self._known)
        for run in self._runs:
            missing = [site for site in sites if site.place not in known]
            if missing:
                with counting(self._vocabulary()) as places, observed(missing, lambda values: _sum(values, places(values))) as found:
                    run()
                for site, passes in zip(missing, found, strict=True):
                    if sum(count for _, count in passes):
                        total = torch.stack([part for part, _ in passes]).sum(0)
                        known[site.place] = (total / sum(count for _, count in passes)).float()
        for site in sites:
            if site.place not in known:
                raise SettingsError(f"--do: the held-out data do not pass {site.address}, so it has no mean; set it to a number", "do")
        return [known[site.place] for site in sites]


def _sum(values: Tensor, places: Tensor | None) -> tuple[Tensor, int]:
    """Over the places that count, (C,), and how many they are; none of values that are no numbers with a fraction."""
    units = rows_of_units(values)
    rows = units.reshape(-1, units.shape[-1]) if places is None else units[places]  # (N, C)
    return rows.double().sum(0), len(rows) if values.is_floating_point() else 0
