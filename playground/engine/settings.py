"""One typed `Settings` dataclass is the source of the flags, the form, the JSON in a checkpoint and the checks of all three.

A settings type is a dataclass, made by `frozen`. Bounds stand in `Annotated[..., msgspec.Meta(ge=…, le=…)]`; `Meta(extra=…)` may add

    unit     what one unit of the value is ("steps", "minutes")
    live     True when a change takes effect at the next step of a running run; otherwise it waits for a reset
    choices  the values offered for a text field; with `path` a file or folder is taken as well
    path     True when the text may name a file or folder
    pad      [rows, columns] of a drawing that a text field holds: rows of hex digits parted by `/`
    least    what the lowest value means where it is none of its kind, shown for it and read as it: "last" for layer -1
    label    the name on the screen, where the flag's is no word a person would use
    code     True when the value names code that is imported: a person gives it, by flag or form, and no file does
    module   True when the part of the value before a colon, if there is one, names such code
    was      names that it had in earlier versions, which are still read, and what became of their values: {"hold": {"silent": "ablate"}}

and nothing else. The docstring under a field says in plain words what it does; a field that a subclass gives another default keeps the
docstring of the base. `fields` reads all of that into `Field`s. Types with a name are in `quantities`.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import math
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from dlplay.engine.errors import DataError
from dlplay.engine.errors import SettingsError as SettingsError
from dlplay.engine.field_docs import field_docs
from dlplay.engine.interventions import parse_lasting
from dlplay.engine.paths import expanded
from dlplay.engine.quantities import Minutes, Seed, Steps

Kind = TypeVar("Kind", bound="type[Options]")


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def frozen(kind: Kind) -> Kind:
    """Make a subclass of `Options` a frozen dataclass that keeps the base's methods, also those that refuse to change a field: `dataclass`
    would compile its own for each of the hundred classes of all rooms, for a fourth of the time that a command needs to start. It compiles
    none for a class that is not frozen; that these are is told afterwards, so that a plain frozen dataclass may inherit from them."""
    made: list[Any] = [base for base in kind.__mro__ if dataclasses.is_dataclass(base)]
    for each in made:
        each.__dataclass_params__.frozen = False
    try:
        dataclasses.dataclass(kw_only=True, init=False, repr=False, eq=False)(kind)
        made.append(kind)
    finally:
        for each in made:
            each.__dataclass_params__.frozen = True
    return kind


@frozen
class Options:
    """Base of every settings type and of every panel's options."""

    def __init__(self, **values: Any) -> None:
        """Raises `TypeError` for a name that is no field, and for a field that has neither a value nor a default."""
        given = {item.name: item.default for item in dataclasses.fields(self)}
        if unknown := sorted(values.keys() - given.keys()):
            raise TypeError(f"{type(self).__name__} has no field {unknown[0]!r}")
        for name, value in (given | values).items():
            if value is dataclasses.MISSING:
                raise TypeError(f"{type(self).__name__} needs a value for {name!r}")
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"

    def _values(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def check(self) -> None:
        """Check what no single field can know of another. Raises `SettingsError`."""


@frozen
class Settings(Options):
    """What every architecture can be told. An architecture adds its own fields and may give these other defaults."""

    steps: Steps = 2000
    """Training ends after this many steps."""

    minutes: Minutes = 0.0
    """Training ends after this much time; 0 sets no limit."""

    until: Annotated[str, Meta(max_length=200, extra={"live": True})] = ""
    """Training ends at the first evaluation where this holds: a held-out metric, a comparison and a number, such as METRIC<=0.5."""

    seed: Seed = 0
    """Start of every random number: the same seed gives the same initial weights and the same run."""

    seeds: Annotated[str, Meta(max_length=200)] = ""
    """Train once with each of these seeds, such as 0..7 or 1,2,5: as many runs, which are compared as one group. Empty: with one seed."""

    jobs: Annotated[int, Meta(ge=0, le=1024, extra={"least": "one per core"})] = 0
    """Runs of a group that train at the same time; 0: as many as per GPU says or, without one, as there are cores."""

    per_gpu: Annotated[int, Meta(ge=0, le=64, extra={"least": "one", "label": "per GPU"})] = 0
    """Runs of a group that train on each GPU at the same time; 0: one, or as many as jobs takes."""

    device: Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$", extra={"choices": ["auto", "cpu", "cuda", "mps"]})] = "auto"
    """Where the numbers are computed: auto (the freest card if there is one, but the CPU for a small DQN), cpu, cuda, cuda:N or mps."""

    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    """Rounding of matrix products and convolutions in training: float32, TF32 or, in forward pass and loss alone, bfloat16. TF32 and bf16
    are fast on NVIDIA GPUs from Ampere on; auto: TF32 there, float32 elsewhere."""

    accumulate: Annotated[int, Meta(ge=1, le=1024, extra={"unit": "batches"})] = 1
    """Batches whose gradients make one update: the same as one batch that many times as large, in the memory of one."""

    compile: bool = False
    """Compile the passes of training steps (torch.compile): fewer and larger kernels, after a warm-up of seconds to a minute. Needs a
    C++ compiler and, on a GPU, Triton."""

    graph: bool = False
    """Capture the kernels of a training step as a CUDA graph, and replay them by one call: for small models on NVIDIA GPUs. Nobody has run
    it on one yet."""

    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    """CPU threads of the tensor library; tiny models are quickest with one or two."""

    eval_every: Steps = 100
    """Steps between two evaluations on held-out data."""

    save_every: Steps = 500
    """Steps between two checkpoints."""

    history: Annotated[int, Meta(ge=0, le=256, extra={"live": True, "least": "none"})] = 32
    """Checkpoints kept along the way, about even in log(step) and within 200 MB, to look back at and to branch from; 0 keeps none."""

    train_with: Annotated[str, Meta(max_length=2000, extra={"live": True})] = ""
    """Interventions that the training itself runs with, such as blocks.1.head.3=0; numbers alone: =0, *2, +0.5 or =skip. Empty: none."""

    def check(self) -> None:
        """Raises `SettingsError`."""
        parse_until(self.until)
        parse_seeds(self.seeds)
        parse_lasting(self.train_with)
        if self.precision == "tf32" and self.device in ("cpu", "mps"):
            words = f"--precision tf32 is for NVIDIA GPUs, and --device {self.device} is none; use --precision auto or float32"
            raise SettingsError(words, "precision")
        if self.accumulate > 1 and (why := self.no_accumulation()):
            larger = "; use --accumulate 1, and a larger --batch"
            raise SettingsError(f"--accumulate {self.accumulate} is for another loss: {why}{larger}", "accumulate")
        if self.compile and (why := self.no_compilation()):
            raise SettingsError(f"--compile: {why}; leave it out", "compile")
        if self.graph:
            self._check_graph()

    def _check_graph(self) -> None:
        if self.device in ("cpu", "mps"):
            raise SettingsError(f"--graph is for NVIDIA GPUs, and --device {self.device} is none; leave it out", "graph")
        if self.compile:
            raise SettingsError("--graph captures steps that are not compiled; use --compile or --graph", "graph")
        if why := self.no_graph():
            raise SettingsError(f"--graph: {why}; leave it out", "graph")

    def no_accumulation(self) -> str:
        """Why the gradients of several batches do not make that of one large batch; empty where they do: with one loss a step, which is a
        mean over terms that know nothing of each other."""
        return ""

    def no_compilation(self) -> str:
        """Why training steps cannot be compiled; empty where they can."""
        return ""

    def no_graph(self) -> str:
        """Why training steps cannot be captured as a CUDA graph; empty where they can."""
        if getattr(self, "schedule", "") == "one-cycle":
            return "the one-cycle schedule, unlike the others, moves the momentum, which PyTorch's fused optimisers take from the host"
        return ""

    def multiply_adds(self) -> int | None:
        """Those of a batch in the matrices between hidden layers, of a net that may be so small that a CPU trains it faster; None where
        `--device auto` takes a GPU in any case."""
        return None

    def cpu_is_faster(self) -> str:
        """Why a CPU trains faster than a GPU with these settings, so that `--device auto` takes it; empty where that is not known."""
        from dlplay.engine import crossover  # not before: a screen's first paint does without

        amount = self.multiply_adds()
        if amount is None or amount > (bound := crossover.bound()).up_to:
            return ""
        who = f"the CPU was measured to be faster than {bound.card}" if bound.card else "a CPU is taken to be faster"
        measure = "" if bound.card else ", which dlplay check --device cuda measures"
        return f"its net's {amount:,} multiply-adds a batch are within the {bound.up_to:,} up to which {who}{measure}"

    @property
    def placed(self) -> str:
        """`device`, and for `auto` the CPU where that is known to be faster."""
        return "cpu" if self.device == "auto" and self.cpu_is_faster() else self.device

    def unused(self) -> dict[str, str]:
        """The settings that change nothing in training and evaluation, as the others are, each with what it is for: {"beta":
        "--variational"}. The form hides them, the command says so of one that was typed."""
        return (
            unless(bool(self.seeds.strip()), "--seeds", "jobs", "per_gpu")
            | unless(not self.seeds.strip(), "one run", "seed")
            | unless(not self.no_accumulation(), "a loss that is a mean over examples", "accumulate")
            | unless(not self.no_compilation(), "steps that can be compiled", "compile")
            | unless(not self.no_graph(), "steps that can be captured", "graph")
        )


def unless(used: bool, use: str, *names: str) -> dict[str, str]:
    """For `Settings.unused`: these settings, with what they are for, unless they are used."""
    return {} if used else dict.fromkeys(names, use)


COMMON = tuple(field.name for field in dataclasses.fields(Settings))

S = TypeVar("S", bound=Options)


@dataclasses.dataclass(frozen=True)
class Field:
    """One setting as the flags, the form and the help see it."""

    name: str
    kind: Literal["int", "float", "bool", "text", "ints"]
    default: Any
    low: float | None
    high: float | None
    open_low: bool
    """True when `low` itself is excluded."""
    open_high: bool
    choices: tuple[str, ...]
    path: bool
    pad: tuple[int, int] | None
    """Rows and columns of the drawing that the text is."""
    unit: str
    live: bool
    least: str
    """What the lowest value means, where it is none of its kind: "last" for layer -1."""
    code: bool
    """The value names code that is imported."""
    module: bool
    """A value `MODULE:NAME` names a module that is imported."""
    label: str
    """Its name on the screen."""
    was: Mapping[str, Mapping[str, str]]
    """Names that it had in earlier versions, each with what became of its values."""
    doc: str
    annotation: Any

    @property
    def flag(self) -> str:
        """As typed on the command line, such as `--eval-every`."""
        return "--" + self.name.replace("_", "-")

    def shown(self, value: Any) -> str:
        """A value as the screen shows it: in words where it is none of its kind."""
        return self.least if self.least and value == self.low else show(value)

    @property
    def bounds(self) -> str:
        """The bound in words, such as `1e-06 to 10` or `none, batch or group`; empty when anything goes."""
        if self.choices:
            words = list(self.choices) + (["a file or folder"] if self.path else [])
            return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
        if self.kind == "bool":
            return "true or false"
        if self.low is None and self.high is None:
            return "a file or folder" if self.path else ""
        low = "" if self.low is None else ("above " if self.open_low else "") + show(self.low)
        high = "" if self.high is None else ("below " if self.open_high else "") + show(self.high)
        if low and high:
            if not (self.open_low or self.open_high):
                return f"{low} to {high}"
            return f"{low if self.open_low else 'at least ' + low}, {high if self.open_high else 'at most ' + high}"
        return f"at least {low}" if low and not self.open_low else low or (high if self.open_high else f"at most {high}")

    @property
    def expected(self) -> str:
        """What a value must look like, in words for an error."""
        noun = {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "text": "text",
            "ints": "whole numbers with commas, such as 16,32",
        }
        if self.choices or self.kind == "bool":
            return self.bounds
        return noun[self.kind] + (f", {self.bounds}" if self.bounds else "") + (f" ({self.unit})" if self.unit else "")


def show(value: Any) -> str:
    """A value as a person would type it: 0.001 as 0.001, 3e-05 as 3e-05, (16, 32) as 16,32."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, (tuple, list)):
        return ",".join(str(item) for item in value)
    return str(value)


def fields(settings_type: type[Options]) -> tuple[Field, ...]:
    """The fields of a settings type: those that it writes itself first, in their order, then its bases', then the common ones. Those of
    options are in the order of a dataclass, the bases' first."""
    known = _FIELDS.get(settings_type)
    if known is None:
        known = _FIELDS[settings_type] = _find_fields(settings_type)
    return known


_FIELDS: dict[type[Options], tuple[Field, ...]] = {}


def _find_fields(settings_type: type[Options]) -> tuple[Field, ...]:
    docs = field_docs(settings_type, Options)
    hints = typing.get_type_hints(settings_type, include_extras=True)
    by_name = {item.name: item for item in dataclasses.fields(settings_type)}
    if not issubclass(settings_type, Settings):
        return tuple(_field(settings_type, item, hints[name], docs.get(name, "")) for name, item in by_name.items())
    written = dict.fromkeys(name for kind in settings_type.__mro__ for name in inspect.get_annotations(kind) if name in by_name)
    found = [_field(settings_type, by_name[name], hints[name], docs.get(name, "")) for name in written]
    return tuple(sorted(found, key=lambda field: COMMON.index(field.name) if field.name in COMMON else -1))


TEXTS, SWITCHES = ("unit", "least", "label"), ("live", "path", "code", "module")
EXTRAS: dict[str, type] = dict.fromkeys(TEXTS, str) | dict.fromkeys(SWITCHES, bool) | {"choices": list, "pad": list, "was": dict}
"""Keys of `Meta(extra=…)`, and what their values are."""


def _extras(name: str, metadata: Iterable[Any]) -> dict[str, Any]:
    """All extras of an annotation's metadata. Raises `TypeError` for a key or a value that means nothing."""
    found: dict[str, Any] = {}
    for meta in metadata:
        found |= (meta.extra or {}) if isinstance(meta, Meta) else {}
    for key, value in found.items():
        if key not in EXTRAS:
            raise TypeError(f"{name}: Meta(extra={{{key!r}: …}}) means nothing; known are {', '.join(EXTRAS)}")
        if not isinstance(value, EXTRAS[key]):
            raise TypeError(f"{name}: Meta(extra={{{key!r}: {value!r}}}) must be a {EXTRAS[key].__name__}")
    return found


def field(settings_type: type[Options], name: str) -> Field:
    """The field called `name` (underscores or hyphens), now or in an earlier version. Raises `SettingsError` with the nearest names."""
    wanted = _canonical(name)
    by_name = {item.name: item for item in fields(settings_type)}
    former = {old: item for item in by_name.values() for old in item.was}
    if wanted in by_name or wanted in former:
        return by_name.get(wanted) or former[wanted]
    near = difflib.get_close_matches(wanted, by_name, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(by_name)}"
    raise SettingsError(f"there is no setting {name!r}{hint}")


def _canonical(name: str) -> str:
    return name.strip().lstrip("-").replace("-", "_")


def current(item: Field, name: str, value: Any) -> Any:
    """The value that was given under this name, in today's words."""
    became = item.was.get(_canonical(name), {})
    return became.get(value, value) if isinstance(value, str) else value


def parse(item: Field, value: Any) -> Any:
    """`value` (typed text, or a value from JSON) as the field's own type, within its bounds. Raises `SettingsError`."""
    try:
        parsed = _read(item, value)
    except (ValueError, TypeError, OverflowError):
        raise SettingsError(f"{item.flag} {_quote(value)} is not {item.expected}", item.name) from None
    if item.path and parsed and parsed not in item.choices:
        parsed = _absolute(item, parsed)
    if item.kind == "float" and not math.isfinite(parsed):
        raise SettingsError(f"{item.flag} {_quote(value)} is not {item.expected}", item.name)
    if item.choices and not item.path and parsed not in item.choices and not _matches_pattern(item, parsed):
        near = difflib.get_close_matches(str(parsed), item.choices, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(f"{item.flag} {_quote(parsed)} is not {item.bounds}{hint}", item.name)
    try:
        return msgspec.convert(parsed, item.annotation)
    except msgspec.ValidationError as error:
        if item.bounds:
            hint = f"use {item.bounds}" + (f" {item.unit}" if item.unit else "")
            raise SettingsError(f"{item.flag} {_quote(parsed)} is out of bounds; {hint}", item.name) from None
        longest = next((meta.max_length for meta in typing.get_args(item.annotation)[1:] if isinstance(meta, Meta)), None)
        if longest and len(parsed) > longest:
            words = f"{item.flag} {_quote(parsed)} has {len(parsed):,} characters; use {longest:,} at most"
            raise SettingsError(words, item.name) from None
        raise SettingsError(f"{item.flag} {_quote(parsed)} cannot be used: {error}", item.name) from None


def missing(item: Field, value: Any) -> str:
    """That nothing is where a path leads, in words; empty where something is, and for what is no path. It may still be put there."""
    if not item.path or not value or value in item.choices or Path(value).exists():
        return ""
    return f"there is no {_quote(value)} yet"


def make(settings_type: type[S], values: Mapping[str, Any], *, lenient: bool = False) -> S:
    """Settings from names and values of any origin, every one checked. Raises `SettingsError`.

    `lenient` drops names that are not known (a checkpoint of a newer version) instead of refusing them.
    """
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        try:
            item = field(settings_type, name)
        except SettingsError:
            if lenient:
                continue
            raise
        parsed[item.name] = parse(item, current(item, name, value))
    settings = settings_type(**parsed)
    settings.check()
    return settings


def change(settings: S, name: str, value: Any) -> S:
    """A copy of `settings` with one field changed and everything checked again. Raises `SettingsError`."""
    item = field(type(settings), name)
    changed = dataclasses.replace(settings, **{item.name: parse(item, value)})
    changed.check()
    return changed


def to_dict(settings: Options) -> dict[str, Any]:
    """The settings as plain JSON values, in field order."""
    return {item.name: msgspec.to_builtins(getattr(settings, item.name)) for item in fields(type(settings))}


def code(settings_type: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that name code to import, empty ones left out."""
    given = [(item, value) for item in fields(settings_type) if (value := values.get(item.name))]
    return {item.name: value for item, value in given if item.code or (item.module and ":" in str(value))}


def without_code(settings_type: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a file that anybody may have written: none of them imports code."""
    named = {item.name for item in fields(settings_type) if item.code}
    modules = {item.name for item in fields(settings_type) if item.module}
    return {
        name: value.rpartition(":")[2] if _canonical(name) in modules and isinstance(value, str) else value
        for name, value in values.items()
        if _canonical(name) not in named
    }


def read_file(path: Path) -> dict[str, Any]:
    """Names and values from a JSON file of at most 64 KiB. Raises `SettingsError`."""
    try:
        with path.open("rb") as file:
            data = file.read(65_537)
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror or error}") from None
    if len(data) > 65_536:
        raise SettingsError(f"the settings file {path} is larger than 64 KiB")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"the settings file {path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f'the settings file {path} must hold one object, such as {{"lr": 0.001}}')
    return values


MAX_SEEDS = 256
"""Most runs in one group of seeds."""
_SEEDS = re.compile(r"([0-9]{1,10})(?:\.\.([0-9]{1,10}))?")
_UNTIL = re.compile(r"^\s*([a-z][a-z0-9_]*)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*$")


def parse_until(text: str) -> tuple[str, str, float] | None:
    """`"test_accuracy>=0.99"` as (metric, comparison, bound); None for empty text. Raises `SettingsError`."""
    if not text.strip():
        return None
    match = _UNTIL.match(text)
    try:
        if match is None:
            raise ValueError
        bound = float(match[3])
    except ValueError:
        raise SettingsError(
            f"--until {text!r} is not a metric, a comparison and a number; write it like test_accuracy>=0.99", "until"
        ) from None
    return match[1], match[2], bound


def parse_seeds(text: str) -> tuple[int, ...]:
    """`"0..3,7"` as the seeds (0, 1, 2, 3, 7); empty for empty text. Raises `SettingsError`."""
    seeds: list[int] = []
    for part in text.replace(" ", "").split(",") if text.strip() else ():
        match = _SEEDS.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match is not None else (1, 0)
        if first <= last < 2**32 and last - first >= MAX_SEEDS:
            raise SettingsError(f"--seeds {_quote(text)} are {last - first + 1:,} seeds; give at most {MAX_SEEDS}", "seeds")
        if not first <= last < 2**32:
            raise SettingsError(
                f"--seeds {_quote(text)}: {_quote(part)} is no seed and no range of them; write them like 0..7 or 1,2,5", "seeds"
            )
        seeds += range(first, last + 1)
    if len(seeds) > MAX_SEEDS:
        raise SettingsError(f"--seeds {_quote(text)} are {len(seeds):,} seeds; give at most {MAX_SEEDS}", "seeds")
    if len(set(seeds)) < len(seeds):
        raise SettingsError(f"--seeds {_quote(text)}: a seed is named twice; each makes one run", "seeds")
    return tuple(seeds)


def _quote(value: Any) -> str:
    """A refused value as it stands in an error: on one line, and not all of a megabyte."""
    words = " ".join(show(value).split())
    return words if len(words) <= 60 else words[:59] + "…"


def _read(item: Field, value: Any) -> Any:
    if item.least and value == item.least:
        value = item.low
    if item.kind == "ints":
        parts = value if isinstance(value, (list, tuple)) else str(value).replace(" ", "").split(",")
        return tuple(_whole(part) for part in parts)
    if item.kind == "text":
        if not isinstance(value, str):
            raise TypeError
        return value
    if item.kind == "bool":
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
        return words[str(value).strip().lower()] if str(value).strip().lower() in words else _refuse()
    if isinstance(value, bool):
        raise TypeError
    return _whole(value) if item.kind == "int" else float(value)


def _absolute(item: Field, text: str) -> str:
    """A path that means the same to a process in another folder, tomorrow."""
    try:
        return str(expanded(text).absolute())
    except DataError as error:
        raise SettingsError(f"{item.flag} {error}", item.name) from None


def _whole(value: Any) -> int:
    if isinstance(value, str):
        return int(value.strip().replace("_", ""))
    if isinstance(value, bool) or int(value) != value:
        raise ValueError
    return int(value)


def _refuse() -> Any:
    raise ValueError


def _matches_pattern(item: Field, value: Any) -> bool:
    metas = [meta for meta in getattr(item.annotation, "__metadata__", ()) if isinstance(meta, Meta)]
    return any(meta.pattern is not None and re.search(meta.pattern, str(value)) for meta in metas)


def _field(owner: type[Options], item: dataclasses.Field[Any], hint: Any, doc: str) -> Field:
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
    base = hint.__origin__ if metas else hint
    element_metas: list[Meta] = []
    choices: tuple[str, ...] = ()
    if typing.get_origin(base) is Literal:
        kind: Any = "text"
        choices = tuple(str(choice) for choice in typing.get_args(base))
    elif typing.get_origin(base) is tuple:
        kind = "ints"
        element_metas = [meta for meta in getattr(typing.get_args(base)[0], "__metadata__", ()) if isinstance(meta, Meta)]
    else:
        kinds = {int: "int", float: "float", bool: "bool", str: "text"}
        if base not in kinds:
            raise TypeError(f"the setting {item.name} is of the type {base}; it must be int, float, bool, str, Literal[…] or tuple[int, …]")
        kind = kinds[base]
    extra = _extras(f"{owner.__name__}.{item.name}", metas)
    _extras(f"{owner.__name__}.{item.name}", element_metas)
    bound = next(
        (meta for meta in [*metas, *element_metas] if any(edge is not None for edge in (meta.ge, meta.gt, meta.le, meta.lt))), Meta()
    )
    return Field(
        name=item.name,
        kind=kind,
        default=item.default,
        low=bound.ge if bound.ge is not None else bound.gt,
        high=bound.le if bound.le is not None else bound.lt,
        open_low=bound.gt is not None,
        open_high=bound.lt is not None,
        choices=choices or tuple(extra.get("choices", ())),
        path=bool(extra.get("path")),
        pad=(int(pad[0]), int(pad[1])) if (pad := extra.get("pad")) else None,
        unit=str(extra.get("unit", "")),
        live=bool(extra.get("live")),
        least=str(extra.get("least", "")),
        code=bool(extra.get("code")),
        module=bool(extra.get("module")),
        label=str(extra.get("label", item.name.replace("_", " "))),
        was=extra.get("was", {}),
        doc=doc,
        annotation=hint,
    )
