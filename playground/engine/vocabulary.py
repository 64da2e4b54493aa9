"""The token embedding of a model, and its rows by their words."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from dlplay.engine.interventions import quoted
from dlplay.engine.settings import SettingsError


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What a model reads instead of numbers."""

    embedding: nn.Embedding
    names: Callable[[], Mapping[str, int]]
    """The row of each word; one may have several names, such as that of a line end and the sign it is shown as."""
    padding: int | None = None
    """The row with which shorter examples of a batch are filled up; None where none are."""

    def rows(self, words: Sequence[str], address: str) -> list[int]:
        """The rows of `words` of the embedding at that address. Raises `SettingsError` for a word that has none."""
        known = self.names()
        for word in words:
            if word not in known:
                near = difflib.get_close_matches(word, known, n=1)
                some = f"did you mean {quoted(near[0])}?" if near else f"words are {', '.join(map(quoted, list(known)[:8]))}, …"
                count = self.embedding.num_embeddings
                raise SettingsError(f"--do: no row of {address} is that of {quoted(word[:40])}; there are {count:,}; {some}", "do")
        return [known[word] for word in words]
