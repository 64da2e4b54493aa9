"""How good reconstructions and codes are, over all held-out images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlplay.architectures.autoencoder.model import Autoencoder
from dlplay.architectures.autoencoder.objective import draw, kl_normal, reconstruction_loss

DRAW_SEED = 30
"""Start of the codes that are drawn for the bound: the same for every evaluation, so that it is deterministic."""


class Judge:
    """Sums over the held-out images, part by part."""

    def __init__(self, model: Autoencoder, kind: str) -> None:
        self.model, self.kind = model, kind
        self.generator = torch.Generator().manual_seed(DRAW_SEED)
        self.count = self.cells = 0
        self.sums: dict[str, list[Tensor]] = {name: [] for name in ("squares", "activation", "reconstruction", "kl")}

    def look(self, inputs: Tensor, images: Tensor) -> None:
        """Take in some inputs (B, C, H, W), and the clean images that are to come out."""
        code = self.model.encode(inputs)
        self.count, self.cells = self.count + len(images), images[0].numel()
        self.sums["squares"].append((self.model.decode(code.mean) - images).square().sum())
        self.sums["activation"].append(code.mean.abs().mean(1).sum())
        if code.log_variance is not None:
            logits = self.model.logits(draw(code, self.generator))
            output = self.model.output_function(logits)
            self.sums["reconstruction"].append(reconstruction_loss(logits, output, images, self.kind) * len(images))
            self.sums["kl"].append(kl_normal(code).sum())

    def metrics(self) -> dict[str, float]:
        """By the cell: `test_mse`; by the unit: `mean_activation`; by the image, summed over cells and units: the variational bound (the
        negative log-likelihood is below it) and its two parts."""
        mean = {name: math.fsum(torch.stack(parts).tolist()) / self.count for name, parts in self.sums.items() if parts}
        found = {"test_mse": mean["squares"] / self.cells, "mean_activation": mean["activation"]}
        if "kl" in mean:
            found |= {"test_reconstruction": mean["reconstruction"], "test_kl": mean["kl"]}
            found["test_bound"] = mean["reconstruction"] + mean["kl"]
        return found
