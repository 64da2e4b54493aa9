"""What a room says of its like in `transformers`: which settings and weights are which. Works on arrays; imports no torch."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlplay.checkpoints.format import Signature
from dlplay.data.tokens import Tokenizer
from dlplay.engine.errors import DataError
from dlplay.engine.settings import Settings

Arrays = dict[str, NDArray[Any]]

OWN_TOKENS = "dlplay_tokens"
"""In `config.json`: the kind of a tokenizer of our own (`word`, `char`), by which it is known again. `transformers` passes it over."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A `config.json` that nobody vouches for: every value is asked for by name and checked."""

    values: Mapping[str, Any]

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in bounds. Raises `DataError`."""
        value = self.values.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise DataError(f"config.json gives {name} {_shown(value)}; it must be a whole number from {low:,} to {high:,} here")
        return value

    def only(self, name: str, default: Any, known: Sequence[Any]) -> None:
        """The model can be read with these values alone. Raises `DataError` for another one."""
        value = self.values.get(name, default)
        if not any(value == item and isinstance(value, bool) == isinstance(item, bool) for item in known):
            words = " or ".join(_shown(item) for item in known)
            raise DataError(f"config.json gives {name} {_shown(value)}; this model is read with {words} alone, so choose another model")

    def share(self, name: str, default: float) -> float:
        """A probability below 1. Raises `DataError`."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise DataError(f"config.json gives {name} {_shown(value)}; it must be from 0 to less than 1")
        return float(value)


class Bridge(ABC):
    """One model class of `transformers`, and a room that has the same model."""

    model_type: ClassVar[str]
    """As `config.json` says it."""
    network: ClassVar[str]
    """The model's name in the room's checkpoints: weights are called `NETWORK/…`."""
    tokens: ClassVar[str]
    """The kind of tokenizer that such a folder brings."""
    usual: ClassVar[int]
    """Tokens in the vocabulary when `config.json` does not say."""
    ignored: ClassVar[tuple[str, ...]] = ()
    """Ends of names of what the room has no use for: buffers of older versions, half of a head."""
    tied: ClassVar[Mapping[str, str]] = {}
    """Tensors that may stand in a file although they are another one."""

    @abstractmethod
    def config(self, settings: Settings, tokenizer: Tokenizer, assets: Mapping[str, Any]) -> dict[str, Any]:
        """`config.json` of a model with these settings; `assets` are its checkpoint's."""

    @abstractmethod
    def outward(self, weights: Arrays, tokenizer: Tokenizer) -> Arrays:
        """A checkpoint's weights under the names, in the forms and in the order of rows of `transformers`."""

    @abstractmethod
    def settings(self, config: Config, tensors: Collection[str]) -> dict[str, Any]:
        """The room's settings for a model with this config and tensors of these names. Raises `DataError` for one that it does not have."""

    def assets(self, config: Config, tensors: Collection[str]) -> dict[str, Any]:
        """What the room's checkpoint says of a model with this config and these tensors, besides its tokenizer. Raises `DataError`."""
        return {}

    @abstractmethod
    def names(self, settings: Mapping[str, Any], assets: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Every tensor that a model with these settings and assets has in `transformers`, with its shape but for the vocabulary, which is
        -1."""

    @abstractmethod
    def inward(self, tensors: Arrays, settings: Mapping[str, Any], tokenizer: Tokenizer) -> Arrays:
        """The tensors of `names` as the room's weights."""

    def plain(self, name: str) -> str:
        """The tensor's name as `names` has it."""
        return name

    def check_signature(self, signature: Signature, names: Mapping[str, tuple[int, ...]], vocabulary: int) -> set[str]:
        """Before anything is read: exactly the tensors of `names`, in their shapes; others may only be known ones. Those to read: all but
        the ignored ones, whose size nobody bounds. Raises `DataError`."""
        wanted = {name: tuple(vocabulary if n < 0 else n for n in shape) for name, shape in names.items()}
        missing = dict(wanted)
        needed = set()
        for foreign, (shape, dtype) in signature.items():
            name = self.plain(foreign)
            if name in missing or self.tied.get(name) in wanted:
                if shape != (right := wanted[self.tied.get(name, name)]):
                    raise DataError(f"tensor {foreign} has the shape {shape} where config.json needs {right}")
                if dtype.kind != "f":
                    raise DataError(f"tensor {foreign} is {dtype}; weights are floating-point numbers")
                missing.pop(name, None)
                needed.add(foreign)
            elif not name.endswith(self.ignored):
                raise DataError(f"tensor {foreign} is no part of this model ({self.model_type}); it is of another kind, so choose another")
        if missing:
            raise DataError(
                f"tensor {next(iter(missing))} is missing, and {len(missing) - 1:,} more; save the model again with save_pretrained"
            )
        return needed

    def check(self, tensors: Arrays, names: Collection[str]) -> Arrays:
        """The tensors of `names`, out of those whose signature was checked, as float32 and finite. Raises `DataError`."""
        found: Arrays = {}
        for foreign, array in tensors.items():
            if (name := self.plain(foreign)) in names:
                found[name] = array.astype(np.float32, copy=False)
                if not bool(np.isfinite(found[name]).all()):
                    raise DataError(f"tensor {foreign} holds values that are not finite; the file is damaged")
        for foreign, array in tensors.items():
            twin = self.tied.get(self.plain(foreign))
            if twin is not None and not np.array_equal(array.astype(np.float32), found[twin]):
                raise DataError(f"tensor {foreign} is not the same as {twin}; only models that share them are read")
        return found


def _shown(value: Any) -> str:
    """A value of a config as it may stand in a message."""
    return ascii(value)[:60]
