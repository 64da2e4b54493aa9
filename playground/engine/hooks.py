"""Interventions at work: hooks on named modules, for as long as somebody looks. Any model has them, and none knows of them.

The output of a module is the tensor it returns, or the first of several. Its units are the channels of feature maps (B, C, H, W) and the
last dimension of anything else; its positions the second dimension of (B, T, C). A head is a slice of what an attention module hands to
its last linear map: (B, T, H * D), of which head h has D columns from h * D on. A layer of a recurrent module that computes all layers in
one call is what this layer hands to the next, and each of its steps to the next step: (B, T, D * H), one direction after the other; its
gates and an LSTM's cell have the same form.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from dlplay.engine import fused
from dlplay.engine.interventions import Intervention, indices, quoted
from dlplay.engine.settings import SettingsError
from dlplay.engine.vocabulary import Vocabulary

T = TypeVar("T")


class Handle(Protocol):
    """What a hook hands back."""

    def remove(self) -> None:
        """Take the hook off."""


class NotReached(SettingsError):
    """Nothing passed through some parts while interventions were at work; `all` says that none of them changed anything, `words` that
    they are on words, which only this input does not have, `positions` which positions it has, where they are on others."""

    def __init__(self, message: str, *, all: bool, words: bool, positions: str) -> None:
        super().__init__(message, "do")
        self.all, self.words, self.positions = all, words, positions


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
    layer: int | None = None
    """Of a recurrent module: the hidden states of this layer, or"""
    gate: str = ""
    """what it computes besides them, one of `fused.GATES`."""

    @property
    def is_head(self) -> bool:
        return self.columns is not None

    @property
    def place(self) -> tuple[object, ...]:
        """The same for all addresses of it."""
        return self.module, self.columns, self.layer, self.gate


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


def recurrent_layers(models: Mapping[str, nn.Module]) -> dict[str, Site]:
    """Every layer of PyTorch's recurrent modules by its address: `PATH.layers.N`, and its gates: `PATH.layers.N.forget_gate`."""
    found = {}
    recurrent = {path: module for path, module in modules(models).items() if isinstance(module, nn.RNNBase)}
    for path, module in recurrent.items():
        for layer in range(module.num_layers):
            for gate in ("", *fused.GATES[module.mode]):
                address = f"{path}.layers.{layer}" + (f".{gate}" if gate else "")
                found[address] = Site(address, module, layer=layer, gate=gate)
    return found


def sites(models: Mapping[str, nn.Module]) -> dict[str, Site]:
    """Every place by its address: modules, attention heads and recurrent layers."""
    return {path: Site(path, module) for path, module in modules(models).items()} | heads(models) | recurrent_layers(models)


def find_all(models: Mapping[str, nn.Module], part: str) -> list[Site]:
    """The places that an address names, of which a `*` is any name between two dots. Raises `SettingsError`."""
    if "*" not in (names := part.split(".")):
        return [find(models, part)]
    found = [
        site
        for address, site in sites(models).items()
        if len(own := address.split(".")) == len(names) and all(name in ("*", other) for name, other in zip(names, own, strict=True))
    ]
    if not found:
        raise SettingsError(f"--do: there is no part {part[:80]!r}, whatever stands for *; the panel anatomy lists all", "do")
    return found


def find(models: Mapping[str, nn.Module], part: str, flag: str = "do") -> Site:
    """The place that an address names, as `flag` had it. Raises `SettingsError` with the nearest ones."""
    named = modules(models)
    part = _counted(named, part)
    if part in named:
        return Site(part, named[part])
    owner, _, number = part.rpartition(".layers.")
    if isinstance(recurrent := named.get(owner), nn.RNNBase):
        return _recurrent_layer(owner, recurrent, number, flag)
    if ".head." in part:
        owner, _, number = part.rpartition(".head.")
        known = heads(models)
        if part in known:
            return known[part]
        inside = [path for path in named if (path == owner or path.startswith(owner + ".")) and attention_of(named[path])]
        if len(inside) == 1 and number[:1] == "-" and number[1:].isdecimal():
            count = attention_of(named[inside[0]])[0]  # type: ignore[index]
            number = str(count + int(number)) if int(number) >= -count else number
            part = f"{owner}.head.{number}"
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


def _recurrent_layer(owner: str, module: nn.RNNBase, part: str, flag: str) -> Site:
    """The site of `N`, or of `N.forget_gate`. Raises `SettingsError`."""
    number, _, gate = part.partition(".")
    try:
        layer = range(module.num_layers)[int(number)]
    except (IndexError, ValueError):
        last = module.num_layers - 1
        raise SettingsError(f"--{flag}: there is no layer {number[:20]} in {owner}; its layers are 0 to {last}", flag) from None
    address, gate = f"{owner}.layers.{layer}", "" if gate == fused.HIDDEN else gate
    if gate and gate not in (known := fused.GATES[module.mode]):
        has = f"has {', '.join(known)}" if known else "has no gates"
        raise SettingsError(f"--{flag}: there is no {gate[:40]!r} in {address}, whose module is {module.mode} and {has}", flag)
    return Site(f"{address}.{gate}" if gate else address, module, layer=layer, gate=gate)


def _counted(named: Mapping[str, nn.Module], part: str) -> str:
    """The address with numbers from 0 in place of those from the end: `blocks.2` for `blocks.-1` of three."""
    path = ""
    for name in part.split("."):
        parent = named.get(path)
        if name[:1] == "-" and name[1:].isdecimal() and isinstance(parent, (nn.ModuleList, nn.Sequential)):
            name = str(len(parent) + int(name)) if -len(parent) <= int(name) else name
        path = f"{path}.{name}" if path else name
    return path


def _suggestion(named: Mapping[str, nn.Module], part: str) -> str:
    path = ""
    for name in part.split("."):
        owner, path = path, f"{path}.{name}" if path else name
        if path in named:
            continue
        count = len(parent) if isinstance(parent := named.get(owner), (nn.ModuleList, nn.Sequential)) else 0
        if name.removeprefix("-").isdecimal() and f"{owner}.{count - 1}" in named:
            return f"there are {owner}.0 to {owner}.{count - 1}" if count > 1 else f"there is only {owner}.0"
        break
    if near := difflib.get_close_matches(part, named, n=1):
        return f"the nearest is {near[0]}"
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
    models: Mapping[str, nn.Module],
    interventions: Sequence[Intervention],
    means: Means,
    recordings: Recordings | None = None,
    vocabulary: Vocabulary | None = None,
) -> Iterator[None]:
    """Within it every forward pass of the models is one with these interventions. Raises `SettingsError` where one cannot be done, and at
    the end where one never was."""
    done = _done(models, interventions, vocabulary)
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
    _check_reached(done, models)


def attach(
    models: Mapping[str, nn.Module],
    interventions: Sequence[Intervention],
    runs: Sequence[Callable[[], object]],
    vocabulary: Vocabulary | None = None,
) -> list[Handle]:
    """Interventions that stay until the handles are removed, and need no data. `runs` pass data through the models, one after the
    other until each has acted; none where there are no data. Raises `SettingsError`."""
    done = _done(models, interventions, vocabulary)
    for each in done:
        each.lasting = True
    handles: list[Handle] = []
    try:
        for each in done:
            handles.append(each.register())
        for run in runs:
            if not all(each.reached for each in done):
                run()
        if runs:
            _check_reached(done, models)
    except BaseException:
        for handle in handles:
            handle.remove()
        raise
    return handles


def _done(models: Mapping[str, nn.Module], interventions: Sequence[Intervention], vocabulary: Vocabulary | None) -> list[_Done]:
    """Each at its places. Raises `SettingsError`."""
    found = []
    for each in interventions:
        for site in find_all(models, each.part):
            here = dataclasses.replace(each, part=site.address) if "*" in each.part else each
            found.append(_Done(here, site, _rows(models, here, site, vocabulary)))
    return found


def _rows(models: Mapping[str, nn.Module], it: Intervention, site: Site, vocabulary: Vocabulary | None) -> Tensor | None:
    """The rows (n,) of an intervention's words; None where it names none. Raises `SettingsError`."""
    if not it.words:
        return None
    if vocabulary is None:
        raise SettingsError(f"--do {it}: this model has no embedding of words; leave out the words in [ ]", "do")
    if site.place != Site("", vocabulary.embedding).place:
        address = next(path for path, module in modules(models).items() if module is vocabulary.embedding)
        raise SettingsError(f"--do {it}: only the embedding has rows of words; write {address}[{quoted(it.words[0])}]", "do")
    return torch.tensor(vocabulary.rows(it.words, site.address), device=vocabulary.embedding.weight.device)


def _check_reached(done: Sequence[_Done], models: Mapping[str, nn.Module]) -> None:
    idle = [each for each in done if not each.reached]
    if idle:
        words = "; ".join(str(each.intervention) for each in idle)
        where = ", ".join(dict.fromkeys(each.site.address for each in idle))
        of_words = all(each.rows is not None for each in idle)
        positions = ""
        if all(each.intervention.positions and each.longest for each in idle):
            count = max(each.longest for each in idle)
            positions = f"positions of this input are 0 to {count - 1}, or -1 to {-count} from its end"
        why = positions or ("it is not read here" if of_words else f"nothing passed through {where} here{_elsewhere(idle[0], models)}")
        raise NotReached(f"--do {words}: {why}, so it changed nothing", all=len(idle) == len(done), words=of_words, positions=positions)


def _elsewhere(idle: _Done, models: Mapping[str, nn.Module]) -> str:
    """That another model has the same part, where it has: samples are drawn from a generator or from the average of its weights."""
    model, _, path = idle.site.address.partition(".")
    alike = [name for name, other in models.items() if name != model and type(other) is type(models.get(model))]
    return f"; there is {' and '.join(f'{name}.{path}' for name in alike)} as well" if alike and path else ""


class _Done:
    """One intervention at its site."""

    def __init__(self, intervention: Intervention, site: Site, rows: Tensor | None = None) -> None:
        """`rows` of an embedding: only where one of these is read."""
        self.intervention, self.site, self.rows = intervention, site, rows
        self.mean: Tensor | None = None
        self.recorded: list[Tensor] = []
        self.passes = 0
        self.longest = 0
        """Positions of its longest pass."""
        self.reached = False
        self.lasting = False
        """It stays for data that are not here yet, where a word may come that is not read now."""
        self._noise: torch.Generator | None = None

    def __deepcopy__(self, memo: object) -> _Done:
        """Itself: a copy of a model that is made meanwhile has the same interventions, and what it reaches is reached."""
        return self

    def register(self) -> Handle:
        if self.intervention.kind == "skip":
            if self.site.is_head or self.site.layer is not None:
                kind = "head" if self.site.is_head else "recurrent layer"
                raise SettingsError(f"--do {self.intervention}: a {kind} is not skipped; set it to 0", "do")
            return self.site.module.register_forward_hook(self._skip)
        if self.site.layer is not None:
            assert isinstance(self.site.module, nn.RNNBase)
            return fused.attach(self.site.module, self.site.layer, self.site.gate or fused.HIDDEN, begin=self._change_steps)
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
        return with_output(result, self._changed(output, inputs[0] if self.rows is not None else None))

    def _change_steps(self, values: Tensor) -> fused.Change:
        """What is done at each step to a layer's hidden states, gate or cell, which are like `values` (B, T, C)."""
        mask, given = self._mask(values).expand_as(values), self._given(values)
        self.passes += 1

        def change(hidden: Tensor, step: int, columns: slice) -> Tensor:
            new = self._new(hidden, None if given is None else given[:, step, columns])
            return torch.where(mask[:, step, columns], new, hidden)

        return change

    def _changed(self, values: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Values (B, …, C) or (B, C, H, W) after the intervention; a copy. `tokens` (B, …) are those whose embeddings they are."""
        changed = torch.where(self._mask(values, tokens), self._new(values, self._given(values, tokens)), values)
        self.passes += 1
        return changed

    def _mask(self, values: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Where it acts, broadcast to the shape of the values."""
        it, axis = self.intervention, unit_axis(values)
        units = torch.tensor(indices(it.units, values.shape[axis], self.site.address), device=values.device)
        mask = torch.zeros(values.shape[axis], dtype=torch.bool, device=values.device).index_fill_(0, units, True)
        mask = mask.view([-1 if dimension == axis else 1 for dimension in range(values.ndim)])
        acts = values.numel() > 0
        if it.positions:
            if values.ndim != 3:
                raise SettingsError(f"--do {it}: {self.site.address} is {_shape(values)} and has no positions; leave out @", "do")
            at = self._positions(values.shape[1])
            self.longest = max(self.longest, values.shape[1])
            places = torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
            places[at] = True
            mask = mask & places.view(1, -1, 1)
            acts = bool(at)
        if tokens is not None and self.rows is not None:
            mask = mask & torch.isin(tokens, self.rows)[..., None]
            acts = acts and (self.lasting or self.reached or bool(mask.any()))
        self.reached |= acts
        return mask

    def _positions(self, count: int) -> list[int]:
        """Those that a pass of `count` positions has: one token read with a cache has only the last."""
        if count == 1 and self.passes:  # one more token, read with a cache: it has no place but the last
            return [0] if any(first == -1 for first, _ in self.intervention.positions) else []
        ranges = [(first, first + 1 if end is None else end) for first, end in self.intervention.positions]
        return [place for first, end in ranges for place in range(max(first, -count), min(end, count))]

    def _given(self, values: Tensor, tokens: Tensor | None = None) -> Tensor | None:
        """The mean, the noise or what is patched in, in the shape of the values; None where it takes no more than a number."""
        it, axis = self.intervention, unit_axis(values)
        if it.kind == "noise":
            return self._noise_like(values, tokens)
        if it.kind == "mean":
            assert self.mean is not None
            return self.mean.to(values).view([-1 if dimension == axis else 1 for dimension in range(values.ndim)]).expand_as(values)
        if it.kind == "patch":
            if self.passes >= len(self.recorded):
                raise SettingsError(f"--do {it}: the other input takes fewer passes through {self.site.address} than this one", "do")
            return self._fitting(self.recorded[self.passes], values)
        return None

    def _noise_like(self, values: Tensor, tokens: Tensor | None) -> Tensor:
        """Other noise in each pass, but the same for a word wherever it is read: that of its row of the embedding."""
        if tokens is None or self.rows is None:
            self._noise = self._noise or torch.Generator().manual_seed(NOISE_SEED)
            return torch.randn(values.shape, generator=self._noise).to(values)
        of_rows = torch.randn(len(self.rows), values.shape[-1], generator=torch.Generator().manual_seed(NOISE_SEED)).to(values)
        return of_rows[(tokens[..., None] == self.rows).int().argmax(dim=-1)]

    def _new(self, values: Tensor, given: Tensor | None) -> Tensor:
        it = self.intervention
        if it.kind == "set":
            return torch.full_like(values, it.value)
        if it.kind == "scale":
            return values * it.value
        if it.kind == "add":
            return values + it.value
        assert given is not None
        return values + it.value * given if it.kind == "noise" else given.to(values.dtype)

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
def observed(sites: Sequence[Site], keep: Callable[[Tensor], T]) -> Iterator[list[list[T]]]:
    """What `keep` makes of what stands at these sites in every pass within it, in their order: one list for each site."""
    found: list[list[T]] = [[] for _ in sites]

    def of_output(kept: list[T]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
            if (output := output_of(result)) is not None:
                kept.append(keep(output.detach()))

        return hook

    def of_input(kept: list[T], first: int, end: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            kept.append(keep(inputs[0].detach()[..., first:end]))

        return hook

    def of_layer(kept: list[T]) -> Callable[[Tensor], None]:
        return lambda hidden: kept.append(keep(hidden.detach()))

    with contextlib.ExitStack() as stack:
        for site, kept in zip(sites, found, strict=True):
            if site.layer is not None:
                assert isinstance(site.module, nn.RNNBase)
                stack.callback(fused.attach(site.module, site.layer, site.gate or fused.HIDDEN, seen=of_layer(kept)).remove)
            elif site.columns is not None:
                stack.callback(site.module.register_forward_pre_hook(of_input(kept, *site.columns)).remove)
            else:
                stack.callback(site.module.register_forward_hook(of_output(kept)).remove)
        yield found


@contextlib.contextmanager
def recorded(sites: Sequence[Site]) -> Iterator[list[list[Tensor]]]:
    """What stands at these sites in every pass within it."""
    with observed(sites, lambda values: values) as found:
        yield found


@contextlib.contextmanager
def replaced(site: Site, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it `change` of what stands at the site takes its place in every pass. Not for the layers of recurrent modules."""

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


def weights_version(models: Mapping[str, nn.Module]) -> int:
    """Another number after any weight was written in place, as loading does. A fused optimiser does so without a trace."""
    return sum(tensor._version for model in models.values() for tensor in (*model.parameters(), *model.buffers()))


def _shape(values: Tensor | None) -> str:
    return "nothing" if values is None else "x".join(map(str, values.shape))
