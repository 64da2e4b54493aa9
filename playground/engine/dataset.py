"""What a task learns from, as far as the engine asks: a name with sizes, a digest, and what the weights are useless without."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from dlplay.engine.errors import DataError

D = TypeVar("D", bound="Dataset")


class Dataset(Protocol):
    """Data of any kind. `Task` takes its `data`, `data_key`, `assets` and `baselines_key` from here."""

    @property
    def words(self) -> str:
        """The data in words, with sizes."""

    @property
    def key(self) -> str:
        """A digest of the data and of how they are split; empty for data that are made on the fly. A run resumes only with an equal key.

        Raises `DataError` when the data are missing.
        """

    @property
    def assets(self) -> Mapping[str, Any]:
        """JSON values that the weights are useless without: a vocabulary, class names, a shape. They go into every checkpoint."""


@dataclasses.dataclass(frozen=True)
class Generated:
    """Data that are made on the fly: an environment's, or sequences drawn afresh at every step."""

    words: str
    key: str = ""
    assets: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Missing:
    """Data that could not be read, while a checkpoint's model can still be asked."""

    what: str
    """What is missing: "text"."""
    why: str
    assets: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def words(self) -> str:
        """That nothing can be trained, and why."""
        return f"no {self.what}, so that it can be asked and not trained: {self.why}"

    @property
    def key(self) -> str:
        """Raises `DataError`."""
        raise DataError(self.why)


def present(dataset: D | Missing) -> D:
    """The dataset itself. Raises `DataError` when it is missing."""
    if isinstance(dataset, Missing):
        raise DataError(dataset.why)
    return dataset
