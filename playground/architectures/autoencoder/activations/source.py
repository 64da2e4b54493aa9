"""A shipped language model that is read and never trained: a vector for each word, and its answers with something added to them.

The model is opened as what it is, a checkpoint of another room, by that room's name and through the contract of every `Task`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlplay import architectures
from dlplay.checkpoints import CheckpointError, shipped
from dlplay.data.images import ImageData
from dlplay.data.text import Corpus
from dlplay.data.tokens import Tokenizer
from dlplay.engine import hooks, progress
from dlplay.engine.dataset import Dataset, Missing, present
from dlplay.engine.errors import DataError
from dlplay.engine.panels import AnyPanel, Bars
from dlplay.engine.settings import SettingsError, make, without_code
from dlplay.engine.task import Probe, looking
from dlplay.parts.prompt_options import NextWord

MODEL = "gpt-reference"
"""The shipped model whose activations are the data."""
AT_ONCE = 64
"""Windows of text that it reads at once."""
WORDS = 12
"""Words of context before one."""

Change = Callable[[Tensor], Tensor]
"""From vectors (B, T, C), scaled as the data are, to what takes their place."""


class LanguageModel(Protocol):
    """What is used of the task of a language model."""

    models: dict[str, nn.Module]
    tokenizer: Tokenizer
    dataset: Dataset | Missing
    settings: Any

    def panel(self, name: str, options: Any) -> AnyPanel: ...

    def probe(self) -> Probe: ...


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Activations(ImageData):
    """One vector for each word of the text that the model was trained on, and of the text held out then, as images (count, 1, 1, C).

    They are centred and scaled by the training part alone: the mean vector is subtracted, and all is divided by one number, after which
    the mean variance of the C numbers is 1. The label of each is its word.
    """

    model: LanguageModel
    site: hooks.Site
    mean: Tensor  # (C,)
    deviation: float
    corpus: Corpus
    first: int
    """Place in the held-out text of the first held-out vector's word."""

    @property
    def words(self) -> str:
        count, held_out = len(self.train_images), len(self.test_images)
        width = self.train_images.shape[-1]
        return f"{self.name}: {count:,} vectors of {width} numbers to train on, {held_out:,} held out; text: {self.corpus.words}"

    @functools.cached_property
    def key(self) -> str:
        """A digest of the model, the place in it and the text, which the numbers follow from: their last bits depend on the machine."""
        parts = (MODEL, shipped.find(MODEL).sha256, self.site.address, self.corpus.key)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    @property
    def assets(self) -> dict[str, Any]:
        return {"data": "activations", "shape": list(self.shape), "full": self.full, "model": MODEL, "site": self.site.address}

    def check(self, assets: Mapping[str, Any], *, classes: bool = False) -> None:
        if (found := assets.get("site")) != self.site.address:
            words = f"activations of {found}" if found else f"images of shape {tuple(assets['shape'])}"
            use = f"--site {found}" if found else f"--data {assets['data']}"
            raise DataError(f"the checkpoint's network takes {words}, and these are activations of {self.site.address}; use {use}")

    # --- words ---------------------------------------------------------------------------------------------------------------------

    def before(self, number: int, count: int = WORDS) -> str:
        """The held-out text up to and with the word of a held-out vector."""
        place = self.first + number
        return self._text(max(0, place - count), place + 1)

    def in_context(self, number: int) -> str:
        """That word in [ ], with what stands before and after it."""
        place = self.first + number
        word = self.classes[int(self.test_labels[number])]
        parts = [self._text(max(0, place - WORDS), place), f"[{word}]", self._text(place + 1, place + 1 + WORDS // 3)]
        return " ".join(filter(None, parts))

    def _text(self, start: int, end: int) -> str:
        return self.corpus.tokenizer.decode(self.corpus.held_out[start:end].tolist())

    # --- the model with something done to these activations --------------------------------------------------------------------------

    def losses(self, change: Change | None = None) -> Tensor:
        """The mean loss of the model on each of its fixed held-out windows, in nats per token; with `change` of the vectors there."""
        with self._changed(change):
            return self.model.probe().values

    def answer(self, question: NextWord, change: Change | None = None) -> Bars:
        """The model's next word, as its own panel answers; with `change` of the vectors."""
        with self._changed(change):
            found = self.model.panel("next_word", question)
        assert isinstance(found, Bars)
        return found

    def next_words(self, prompt: str, change: Change | None = None, count: int = 1) -> Tensor:
        """Log-probabilities (count, V) of the word after a prompt, which is read `count` times at once; with `change` of the vectors."""
        ids, _ = self.model.tokenizer.read(prompt)
        with self._changed(change), torch.no_grad():
            logits: Tensor = next(iter(self.model.models.values()))(torch.tensor([ids]).expand(count, -1))
        return logits[:, -1].log_softmax(-1)

    @contextlib.contextmanager
    def _changed(self, change: Change | None) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(looking(cast(Any, self.model)))
            if change is not None:
                stack.enter_context(hooks.replaced(self.site, lambda vectors: self._replaced(vectors, change)))
            yield

    def _replaced(self, vectors: Tensor, change: Change) -> Tensor:
        """Only the difference is added, so that where nothing is changed no bit is."""
        scaled = (vectors - self.mean) / self.deviation
        return vectors + self.deviation * (change(scaled) - scaled)


@functools.lru_cache(maxsize=1)
def load_activations(address: str) -> Activations:
    """The output of the module (or the head) of that address, for each word that has half a block or more before it.

    Raises `SettingsError` for another address, and `DataError` when the model or its text cannot be read.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the last bits of a sum depend on how many add it, and a run is resumed with the same data
    try:
        return _load(address)
    finally:
        torch.set_num_threads(threads)


def _load(address: str) -> Activations:
    model = _language_model()
    corpus = present(cast(Any, model.dataset))
    site = hooks.find(model.models, address, flag="site")
    block = int(model.settings.block_size)
    before = block // 2
    train, train_ids = _read(model, site, corpus.train, block, before)
    test, test_ids = _read(model, site, corpus.held_out, block, before)
    mean = train.mean(0, dtype=torch.float64).float()
    train, test = train - mean, test - mean
    deviation = float(train.square().mean(dtype=torch.float64).sqrt())
    if not 0 < deviation < float("inf"):
        raise SettingsError(f"--site {address}: its output is the same for every word; choose another, such as blocks.1", "site")
    vocabulary = tuple(model.tokenizer.label(token) for token in range(len(model.tokenizer.vocabulary)))
    return Activations(
        name=f"activations of {address} in {MODEL}",
        classes=vocabulary,
        full=1,
        train_images=_as_images(train / deviation),
        train_labels=train_ids,
        test_images=_as_images(test / deviation),
        test_labels=test_ids,
        model=model,
        site=site,
        mean=mean,
        deviation=deviation,
        corpus=corpus,
        first=before,
    )


def _language_model() -> LanguageModel:
    """The shipped model, on the CPU. Torch's random state stays as it is: the weights that are drawn first are replaced."""
    try:
        checkpoint = shipped.find(MODEL).open()
    except CheckpointError as error:
        raise DataError(str(error)) from error
    card = architectures.card(str(checkpoint.meta["architecture"]))
    saved = without_code(card.settings, checkpoint.meta["settings"])
    with torch.random.fork_rng(devices=[]):
        task = card.load_task()(
            make(card.settings, saved | {"device": "cpu"}, lenient=True), torch.device("cpu"), checkpoint.meta["assets"]
        )
    task.load_weights({name: torch.from_numpy(values.copy()) for name, values in checkpoint.weights.items()})
    for model in task.models.values():
        model.requires_grad_(False).eval()
    return cast(LanguageModel, task)


def _read(model: LanguageModel, site: hooks.Site, ids: NDArray[np.int64], block: int, before: int) -> tuple[Tensor, NDArray[np.int64]]:
    """Vectors (count, C) of the tokens from place `before` on, in windows of a block, and these tokens. Raises `SettingsError`."""
    windows = torch.from_numpy(ids).unfold(0, block, block - before)  # (windows, T)
    found: list[Tensor] = []
    for part in progress.each(torch.split(windows, AT_ONCE), f"activations of {site.address}, part"):
        with torch.no_grad(), hooks.recorded([site]) as [passes], _stopped_behind(site) if found else contextlib.nullcontext():
            next(iter(model.models.values()))(part)
        if len(passes) != 1 or passes[0].shape[:2] != part.shape or passes[0].ndim != 3:
            shape = "x".join(map(str, passes[0].shape)) if passes else "nothing"
            raise SettingsError(
                f"--site {site.address} gives {shape} for {len(part)} windows of {block} words, not a vector for each word; "
                "choose a block, such as blocks.1",
                "site",
            )
        found.append(passes[0][:, before:].flatten(0, 1))
    return torch.cat(found), windows[:, before:].flatten().numpy()


class _Reached(Exception):
    """What is to be read has been."""


@contextlib.contextmanager
def _stopped_behind(site: hooks.Site) -> Iterator[None]:
    """The forward pass within it ends when the site has been passed: most of GPT's work is its output head."""

    def stop(*_: object) -> None:
        raise _Reached

    register = site.module.register_forward_pre_hook if site.is_head else site.module.register_forward_hook
    handle = register(stop)
    try:
        yield
    except _Reached:
        pass
    finally:
        handle.remove()


def _as_images(vectors: Tensor) -> Any:
    return vectors.view(len(vectors), 1, 1, -1).numpy()
