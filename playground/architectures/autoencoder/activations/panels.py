"""What can be seen of an autoencoder of activations: each feature by the words that excite it, and what it does to the next word."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import msgspec
import torch
from torch import Tensor

from dlplay.architectures.autoencoder.panels import AutoencoderPanels, grid, nothing
from dlplay.architectures.autoencoder.settings import (
    CodeScatter,
    FeatureEffect,
    Features,
    ImagePair,
    LatentGrid,
    LatentPoint,
    OneFeature,
    OneReconstruction,
    ReconstructionPage,
    parse_point,
)
from dlplay.engine.beside import beside
from dlplay.engine.panels import Array, Bars, HeatMap, Table
from dlplay.engine.settings import SettingsError
from dlplay.parts.prompt_options import NextWord

if TYPE_CHECKING:
    from dlplay.architectures.autoencoder.activations.source import Activations, Change
    from dlplay.architectures.autoencoder.task import AutoencoderTask

LISTED = 60
"""Features that are listed, at most."""
EXCITING = 12
"""Words that excite a feature most, at most."""
NAMED = 5
"""Different ones of them in the list of features."""
KNOWN = 1000
"""Words whose probability before is known, the most likely ones."""
AT_ONCE = 16
"""Places of the plane that the language model answers at once."""
READ = 48
"""Words of the held-out text that the language model reads before the one that the plane is about."""


class ActivationPanels(AutoencoderPanels):
    """The panels where the images are vectors that a language model computes, one for each word."""

    def __init__(self, task: AutoencoderTask, activations: Activations) -> None:
        super().__init__(task)
        self.activations = activations

    # --- features -------------------------------------------------------------------------------------------------------------------

    def feature_words(self, options: OneFeature) -> Table | Bars:
        """The features that are largest on average, each with the held-out words that excite it most."""
        code = self._held_out_code()  # (n, k)
        means, active = code.mean(0), (code > 0).float().mean(0)
        largest = means.argsort(descending=True)[:LISTED]
        order: list[int] = largest[means[largest] > 0].tolist()
        rows = []
        for feature in order:
            values, places = code[:, feature].topk(min(EXCITING, len(code)))
            found = [number for value, number in zip(values.tolist(), places.tolist(), strict=True) if value > 0]
            words = list(dict.fromkeys(self.activations.classes[int(self.data.test_labels[number])] for number in found))
            share = f"{100 * active[feature].item():.1f} %"
            rows.append([str(feature), "  ".join(words[:NAMED]), share, f"{values[0].item():.1f}"])
        unused, mean = int((active == 0).sum()), float(active.sum())
        return Table(
            columns=["feature", "words", "active", "largest"],
            rows=rows,
            right=[0, 2, 3],
            ids=order,
            parts=[self._unit(feature) for feature in order],
            figure=f"{unused} never active",
            caption=f"{code.shape[1]} features, {mean:.1f} of them active on one of {len(code):,} held-out words",
        )

    def feature_contexts(self, options: OneFeature) -> Table | Bars:
        """The held-out words that excite one feature most, with what stands around them."""
        feature, code = self._feature(options.feature), self._held_out_code()
        own = code[:, feature]
        values, places = own.topk(min(EXCITING, len(own)))
        found = [(value, place) for value, place in zip(values.tolist(), places.tolist(), strict=True) if value > 0]
        return Table(
            columns=["activation", "word", "in [ ] with what stands around it"],
            rows=[
                [f"{value:.2f}", self.activations.classes[int(self.data.test_labels[place])], self.activations.in_context(place)]
                for value, place in found
            ],
            right=[0],
            shades=Array.of([[value / found[0][0], math.nan, math.nan] for value, _ in found]) if found else None,
            parts=[self._unit(feature)],
            figure=f"feature {feature}",
            caption=f"active on {100 * (own > 0).float().mean().item():.1f} % of {len(own):,} held-out words, "
            f"mean {own.sum().item() / max(1, int((own > 0).sum())):.2f} there",
        )

    def feature_effect(self, options: FeatureEffect) -> Bars:
        """The language model's next word with a feature clamped at every word of the prompt, beside its own."""
        feature = self._feature(options.feature)

        def clamped(code: Tensor) -> Tensor:
            return code.index_fill(-1, torch.tensor([feature], device=code.device), options.value)

        shown = self._beside(options.prompt, clamped)
        words = f"feature {feature} = {options.value:g} at every word"
        parts = [self._unit(feature)]
        return msgspec.structs.replace(shown, parts=parts, caption=" · ".join(filter(None, [words, shown.caption])))

    def decoded(self, options: LatentPoint) -> Bars:
        """The next word where the cursor sets two features of the last word of a held-out text."""
        self._held_out(options.image)
        plane, point = self._plane(options), torch.tensor([parse_point(options.place)])
        text = self.activations.before(options.image, READ)
        shown = self._beside(text, lambda code: plane.with_last(code, point))
        return msgspec.structs.replace(shown, caption=f"{plane.words()}; next word after: … {self.activations.before(options.image)}")

    def latent_grid(self, options: LatentGrid) -> HeatMap:
        """How far the next word's distribution is from the language model's own where two features of the last word are on a regular
        grid: the Kullback-Leibler divergence, in nats."""
        self._held_out(options.image)
        plane, text = self._plane(options), self.activations.before(options.image, READ)
        places = grid(options.images)
        own = self.activations.next_words(text)
        divergences = []
        for points in torch.split(places, AT_ONCE):
            moved = functools.partial(plane.with_last, points=points)
            there = self.activations.next_words(text, self._changing(moved), len(points))
            divergences.append((own.exp() * (own - there)).sum(1))
        values = torch.cat(divergences).clamp(min=0).view(options.images, -1)
        names = [f"{x:+.1f}" for x in places[: options.images, 0].tolist()]
        return HeatMap(
            values=Array.of(values),
            rows=names[::-1],
            columns=names,
            row_title=f"unit {plane.axes[1]}",
            column_title=f"unit {plane.axes[0]}",
            low=0.0,
            figure=f"KL up to {values.max().item():.2f} nats",
            caption=f"divergence from its own next word; {plane.words()}",
        )

    def _beside(self, prompt: str, change: Change) -> Bars:
        """The next word after a prompt with a `change` of the codes (1, T, k), beside the one without. Interventions on the code's
        activation function are changes as well."""
        before = self.activations.answer(NextWord(prompt=prompt, top_k=KNOWN))
        after = self.activations.answer(NextWord(prompt=prompt), self._changing(change))
        shown = beside(before, after, 1)
        assert isinstance(shown, Bars)
        return msgspec.structs.replace(shown, caption=after.caption)

    def _changing(self, change: Change) -> Change:
        """The change of the vectors (B, T, C) that one of their codes (B, T, k) makes; what the code leaves out stays as it is."""

        def changed(vectors: Tensor) -> Tensor:
            flat = vectors.reshape(-1, 1, 1, vectors.shape[-1]).to(self.task.device)
            encoded = self.model.encoder(flat - self.model.mean)[:, : self.settings.latent]  # of a VAE the means
            own = self.model.code_function.forward(encoded)  # not called, so that no intervention reaches it
            code = change(self.model.code_function(encoded).view(*vectors.shape[:-1], -1)).view_as(own)
            difference = self.model.decode(code) - self.model.decode(own)
            return vectors + difference.view(vectors.shape).to(vectors.device)

        return changed

    def _default_axes(self) -> tuple[int, int]:
        order: list[int] = self._held_out_code().mean(0).argsort(descending=True)[:2].tolist()
        return order[0], order[-1]

    def _feature(self, number: int) -> int:
        if number >= (count := self.settings.latent):
            raise SettingsError(f"--feature {number} is out of range; this model has features 0 to {count - 1}", "feature")
        return number

    def _held_out_code(self) -> Tensor:
        """(n, k): the codes of all held-out vectors."""
        return self.model.encode(self.task.test_images).mean

    # --- panels of images -------------------------------------------------------------------------------------------------------------

    def reconstructions(self, options: ReconstructionPage) -> Bars:
        return self._no_images()

    def reconstruction(self, options: OneReconstruction) -> Bars:
        return self._no_images()

    def forward(self, options: OneReconstruction) -> Bars:
        return self._no_images()

    def code(self, options: CodeScatter) -> Bars:
        return self._no_images()

    def interpolation(self, options: ImagePair) -> Bars:
        return self._no_images()

    def features(self, options: Features) -> Bars:
        return self._no_images()

    def _no_images(self) -> Bars:
        return nothing(f"{self.activations.name} are no images; see Features by their words")
