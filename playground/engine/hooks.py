"""Interventions at work: hooks on named modules, for as long as somebody looks. Any model has them, and none knows of them.

The output of a module is the tensor it returns, or the first of several. Its units are the channels of feature maps (B, C, H, W) and the
last dimension of anything else; its positions the second dimension of (B, T, C). A head is a slice of what an attention module hands to
its last linear map: (B, T, H * D), of which head h has D columns from h * D on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlplay.engine.interventions import Intervention, indices
from dlplay.engine.settings import SettingsError


class NotReached(SettingsError):
    """Nothing passed through some parts while interventions were at work; `all` says that none of them changed anything."""

    def __init__(self, message: str, *, all: bool) -> None:
        super().__init__(message, "do")
        self.all = all


NOISE_SEED = 20_261_128
"""Of the noise: the same question has the same answer."""


@dataclasses.dataclass(frozen=True)
class Site:
    """A place in a model where something can be read or replaced."""

    address: str
    """As a person writes it."""
    module: nn.Module
    """The output of this one; for heads the input of this one."""
    columns: tuple[int, int] | None = None
    """Of the input, from and to: a head's."""

    @property
    def is_head(self) -> bool:
        return self.columns is not None


def attention_of(module: nn.Module) -> tuple[int, nn.Linear] | None:
    """Heads and last linear map of an attention module: one with `heads` and a linear `projection` or `out`. None for any other."""
    heads = getattr(module, "heads", None)
    last = getattr(module, "projection", None) or getattr(module, "out", None)
    return (heads, last) if isinstance(heads, int) and isinstance(last, nn.Linear) and last.in_features % heads == 0 else None


def modules(models: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Every module by its address: its path, behind the model's name where there are several models. A model itself has its name."""
    found: dict[str, nn.Module] = {}
    for name, model in models.items():
        prefix = f"{name}." if len(models) > 1 else ""
        found[name] = model
        found |= {prefix + path: module for path, module in model.named_modules() if path}
    return found


def heads(models: Mapping[str, nn.Module]) -> dict[str, Site]:
    """Every attention head by its address: `PATH.head.N`, where PATH is the attention module's or, where that is the only one in its
    parent, the parent's."""
    named = modules(models)
    attentions = {path: found for path, module in named.items() if (found := attention_of(module)) is not None}
    parents = [path.rpartition(".")[0] for path in attentions]
    sites = {}
    for path, (count, last) in attentions.items():
        parent = path.rpartition(".")[0]
        owner = parent if parent and parents.count(parent) == 1 else path
        width = last.in_features // count
        for head in range(count):
            address = f"{owner}.head.{head}"
            sites[address] = Site(address, last, (head * width, (head + 1) * width))
    return sites


def find(models: Mapping[str, nn.Module], part: str, flag: str = "do") -> Site:
    """The place that an address names, as `flag` had it. Raises `SettingsError` with the nearest ones."""
    named = modules(models)
    part = _counted(named, part)
    if part in named:
        return Site(part, named[part])
    if ".head." in part:
        owner, _, number = part.rpartition(".head.")
        known = heads(models)
        if part in known:
            return known[part]
        inside = [path for path in named if (path == owner or path.startswith(owner + ".")) and attention_of(named[path])]
        if len(inside) == 1 and (found := attention_of(named[inside[0]])) is not None and number.isdecimal() and int(number) < found[0]:
            width = found[1].in_features // found[0]
            return Site(part, found[1], (int(number) * width, (int(number) + 1) * width))
        if len(inside) > 1:
            names = ", ".join(inside)
            raise SettingsError(f"--{flag}: {owner} has several attentions: {names}; name one of them: {inside[0]}.head.{number}", flag)
        if len(inside) == 1:
            count = attention_of(named[inside[0]])[0]  # type: ignore[index]
            raise SettingsError(f"--{flag}: there is no head {number[:20]} in {owner}; its heads are 0 to {count - 1}", flag)
    raise SettingsError(f"--{flag}: there is no part {part[:80]!r}; {_suggestion(named, part)}; the panel anatomy lists all", flag)


def _counted(named: Mapping[str, nn.Module], part: str) -> str:
    """The address with numbers from 0 in place of those from the end: `blocks.2` for `blocks.-1` of three."""
    path = ""
    for name in part.split("."):
        parent = named.get(path)
        if name[:1] == "-" and name[1:].isdecimal() and isinstance(parent, (nn.ModuleList, nn.Sequential)):
            name = str(len(parent) + int(name))  # below 0 it is not there, as the message will say
        path = f"{path}.{name}" if path else name
    return path


def _suggestion(named: Mapping[str, nn.Module], part: str) -> str:
    if near := difflib.get_close_matches(part, named, n=1):
        return f"did you mean {near[0]}?"
    return f"parts are {', '.join(list(named)[:8])}{', …' if len(named) > 8 else ''}"


def output_of(result: Any) -> Tensor | None:
    """The tensor that a module returned, or the first one."""
    if isinstance(result, Tensor):
        return result
    if isinstance(result, (tuple, list)) and result and isinstance(result[0], Tensor):
        return result[0]
    return None


def with_output(result: Any, changed: Tensor) -> Any:
    """What a module returned, with another first tensor."""
    if isinstance(result, Tensor):
        return changed
    if hasattr(result, "_replace"):
        return result._replace(**{result._fields[0]: changed})
    return type(result)([changed, *result[1:]])


def unit_axis(values: Tensor) -> int:
    """1 for feature maps (B, C, H, W), otherwise the last."""
    return 1 if values.ndim == 4 else values.ndim - 1


Means = Callable[[list[Site]], list[Tensor]]
"""The mean of each site's units over held-out data, (C,) each."""
Recordings = Callable[[Intervention, Site], list[Tensor]]
"""For a patch: what stands at the site in each of its passes over the other input."""


@contextlib.contextmanager
def applied(
    models: Mapping[str, nn.Module], interventions: Sequence[Intervention], means: Means, recordings: Recordings | None = None
) -> Iterator[None]:
    """Within it every forward pass of the models is one with these interventions. Raises `SettingsError` where one cannot be done, and at
    the end where one never was."""
    done = [_Done(intervention, find(models, intervention.part)) for intervention in interventions]
    of_mean = [each for each in done if each.intervention.kind == "mean"]
    for each, mean in zip(of_mean, means([each.site for each in of_mean]) if of_mean else [], strict=True):
        each.mean = mean
    for each in done:
        if each.intervention.kind == "patch":
            if recordings is None:
                raise SettingsError(f"--do {each.intervention}: there is no other input here; patch in a panel that answers an input", "do")
            each.recorded = recordings(each.intervention, each.site)
    with contextlib.ExitStack() as stack:
        for each in done:
            stack.callback(each.register().remove)
        yield
    _check_reached(done)


def attach(
    models: Mapping[str, nn.Module], interventions: Sequence[Intervention], runs: Sequence[Callable[[], object]]
) -> list[torch.utils.hooks.RemovableHandle]:
    """Interventions that stay until the handles are removed, and need no data. `runs` pass data through the models, one after the
    other until each has acted; none where there are no data. Raises `SettingsError`."""
    done = [_Done(intervention, find(models, intervention.part)) for intervention in interventions]
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for each in done:
            handles.append(each.register())
        for run in runs:
            if not all(each.reached for each in done):
                run()
        if runs:
            _check_reached(done)
    except BaseException:
        for handle in handles:
            handle.remove()
        raise
    return handles


def _check_reached(done: Sequence[_Done]) -> None:
    idle = [each for each in done if not each.reached]
    if idle:
        words = "; ".join(str(each.intervention) for each in idle)
        where = ", ".join(dict.fromkeys(each.site.address for each in idle))
        raise NotReached(f"--do {words}: nothing passed through {where} here, so it changed nothing", all=len(idle) == len(done))


class _Done:
    """One intervention at its site."""

    def __init__(self, intervention: Intervention, site: Site) -> None:
        self.intervention, self.site = intervention, site
        self.mean: Tensor | None = None
        self.recorded: list[Tensor] = []
        self.passes = 0
        self.reached = False
        self._noise: torch.Generator | None = None

    def register(self) -> torch.utils.hooks.RemovableHandle:
        if self.intervention.kind == "skip":
            if self.site.is_head:
                raise SettingsError(f"--do {self.intervention}: a head is not skipped; set it to 0", "do")
            return self.site.module.register_forward_hook(self._skip)
        if self.site.is_head:
            return self.site.module.register_forward_pre_hook(self._change_input)
        return self.site.module.register_forward_hook(self._change_output)

    def _skip(self, module: nn.Module, inputs: tuple[Any, ...], result: Any) -> Any:
        output = output_of(result)
        given = next((each for each in inputs if isinstance(each, Tensor)), None)
        if output is None or given is None or given.shape != output.shape or given.dtype != output.dtype:
            shapes = f"{_shape(given)} goes in and {_shape(output)} comes out"
            raise SettingsError(f"--do {self.intervention}: {shapes}, so it cannot hand on its input; set it to 0 or mean", "do")
        self.reached = True
        return with_output(result, given)

    def _change_input(self, module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        assert self.site.columns is not None
        first, end = self.site.columns
        whole = inputs[0].clone()
        whole[..., first:end] = self._changed(whole[..., first:end])
        return (whole, *inputs[1:])

    def _change_output(self, module: nn.Module, inputs: tuple[Any, ...], result: Any) -> Any:
        output = output_of(result)
        if output is None or not output.is_floating_point():
            raise SettingsError(f"--do {self.intervention}: {self.site.address} returns no numbers that could be changed", "do")
        return with_output(result, self._changed(output))

    def _changed(self, values: Tensor) -> Tensor:
        """Values (B, …, C) or (B, C, H, W) after the intervention; a copy."""
        it, axis = self.intervention, unit_axis(values)
        units = torch.tensor(indices(it.units, values.shape[axis], self.site.address), device=values.device)
        mask = torch.zeros(values.shape[axis], dtype=torch.bool, device=values.device).index_fill_(0, units, True)
        mask = mask.view([-1 if dimension == axis else 1 for dimension in range(values.ndim)])
        if it.positions:
            if values.ndim != 3:
                raise SettingsError(f"--do {it}: {self.site.address} is {_shape(values)} and has no positions; leave out @", "do")
            at = self._positions(values.shape[1])
            places = torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
            places[at] = True
            mask = mask & places.view(1, -1, 1)
            self.reached |= bool(at)
        else:
            self.reached = True
        changed = torch.where(mask, self._new(values, axis), values)
        self.passes += 1
        return changed

    def _positions(self, count: int) -> list[int]:
        """Those that a pass of `count` positions has: one token read with a cache has only the last."""
        if count == 1 and self.passes:  # one more token, read with a cache: it has no place but the last
            return [0] if any(first == -1 for first, _ in self.intervention.positions) else []
        ranges = [(first, first + 1 if end is None else end) for first, end in self.intervention.positions]
        return [place for first, end in ranges for place in range(max(first, -count), min(end, count))]

    def _new(self, values: Tensor, axis: int) -> Tensor:
        it = self.intervention
        if it.kind == "set":
            return torch.full_like(values, it.value)
        if it.kind == "scale":
            return values * it.value
        if it.kind == "add":
            return values + it.value
        if it.kind == "noise":
            self._noise = self._noise or torch.Generator().manual_seed(NOISE_SEED)
            return values + it.value * torch.randn(values.shape, generator=self._noise).to(values)
        if it.kind == "mean":
            assert self.mean is not None
            return self.mean.to(values).view([-1 if dimension == axis else 1 for dimension in range(values.ndim)]).expand_as(values)
        if self.passes >= len(self.recorded):
            raise SettingsError(f"--do {it}: the other input takes fewer passes through {self.site.address} than this one", "do")
        return self._fitting(self.recorded[self.passes], values)

    def _fitting(self, recorded: Tensor, values: Tensor) -> Tensor:
        """Another input's activation in the shape of this one's: where only some positions are patched, the same ones of the other."""
        if recorded.shape == values.shape:
            return recorded
        it = self.intervention
        if it.positions and values.ndim == recorded.ndim == 3 and recorded.shape[2] == values.shape[2] and len(recorded) == len(values):
            placed = values.clone()
            for place in self._positions(values.shape[1]):
                if not -recorded.shape[1] <= place < recorded.shape[1]:
                    raise SettingsError(f"--do {it}: the other input has {recorded.shape[1]} positions, and none is {place}", "do")
                placed[:, place] = recorded[:, place]
            return placed
        raise SettingsError(
            f"--do {it}: {self.site.address} is {_shape(values)} here and {_shape(recorded)} for the other input; "
            "give one of the same length, or a position, such as @-1",
            "do",
        )


@contextlib.contextmanager
def recorded(sites: Sequence[Site]) -> Iterator[list[list[Tensor]]]:
    """What stands at these sites in every pass within it, in their order: detached, one list for each site."""
    found: list[list[Tensor]] = [[] for _ in sites]

    def of_output(values: list[Tensor]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
            if (output := output_of(result)) is not None:
                values.append(output.detach())

        return hook

    def of_input(values: list[Tensor], first: int, end: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            values.append(inputs[0].detach()[..., first:end])

        return hook

    with contextlib.ExitStack() as stack:
        for site, values in zip(sites, found, strict=True):
            if site.columns is not None:
                stack.callback(site.module.register_forward_pre_hook(of_input(values, *site.columns)).remove)
            else:
                stack.callback(site.module.register_forward_hook(of_output(values)).remove)
        yield found


@contextlib.contextmanager
def replaced(site: Site, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it `change` of what stands at the site takes its place in every pass."""

    def of_output(module: nn.Module, inputs: tuple[Any, ...], result: Any) -> Any:
        output = output_of(result)
        return result if output is None else with_output(result, change(output))

    def of_input(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        assert site.columns is not None
        first, end = site.columns
        whole = inputs[0].clone()
        whole[..., first:end] = change(whole[..., first:end])
        return (whole, *inputs[1:])

    register = site.module.register_forward_pre_hook if site.is_head else site.module.register_forward_hook
    handle = register(of_input if site.is_head else of_output)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()


class MeanActivations:
    """Means over held-out data of the units at sites, kept until a weight changes."""

    def __init__(self, models: Mapping[str, nn.Module], runs: Sequence[Callable[[], object]], version: Callable[[], object]) -> None:
        """`runs` pass data through the models, the second for what the first does not reach; `version` is another one whenever the
        weights are."""
        self._models, self._runs, self._version_now = models, runs, version
        self._version: object = None
        self._known: dict[tuple[nn.Module, tuple[int, int] | None], Tensor] = {}

    def __call__(self, sites: list[Site]) -> list[Tensor]:
        """(C,) each. Raises `SettingsError` for a site that the held-out data do not pass."""
        version = self._version_now()
        if version != self._version:
            self._known, self._version = {}, version
        for run in self._runs:
            missing = [site for site in sites if (site.module, site.columns) not in self._known]
            if missing:
                with recorded(missing) as found:
                    run()
                for site, passes in zip(missing, found, strict=True):
                    if passes and passes[0].is_floating_point():
                        self._known[site.module, site.columns] = _mean(passes)
        for site in sites:
            if (site.module, site.columns) not in self._known:
                raise SettingsError(f"--do: the held-out data do not pass {site.address}, so it has no mean; set it to a number", "do")
        return [self._known[site.module, site.columns] for site in sites]


def _mean(passes: list[Tensor]) -> Tensor:
    axis = unit_axis(passes[0])
    flat = [values.movedim(axis, -1).reshape(-1, values.shape[axis]).double() for values in passes]
    return (torch.stack([each.sum(0) for each in flat]).sum(0) / sum(len(each) for each in flat)).float()


def weights_version(models: Mapping[str, nn.Module]) -> int:
    """Another number after any weight was written in place, as loading does. A fused optimiser does so without a trace."""
    return sum(tensor._version for model in models.values() for tensor in (*model.parameters(), *model.buffers()))


def _shape(values: Tensor | None) -> str:
    return "nothing" if values is None else "x".join(map(str, values.shape))
