"""Training and judging an autoencoder on images."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dlplay.architectures.autoencoder.baselines import (
    JUDGED,
    NEIGHBOURS,
    Numbers,
    copies,
    denoising_errors,
    evenly,
    fitting,
    nearest_accuracy,
    reconstruction_errors,
)
from dlplay.architectures.autoencoder.judge import Judge
from dlplay.architectures.autoencoder.model import Autoencoder, Code, Decoder, Encoder
from dlplay.architectures.autoencoder.noise import corrupt
from dlplay.architectures.autoencoder.objective import draw, kl_normal, kl_sparsity, l1_sparsity, reconstruction_loss
from dlplay.architectures.autoencoder.panels import AutoencoderPanels
from dlplay.architectures.autoencoder.settings import AutoencoderSettings
from dlplay.data.batches import Batches
from dlplay.data.images import ImageData, load_images
from dlplay.data.patches import load_patches
from dlplay.engine.errors import DataError
from dlplay.engine.graph import Graph
from dlplay.engine.task import Task
from dlplay.parts.ink import usual_frame
from dlplay.parts.optimizers import decay_groups, schedule, set_rates

EVALUATED_AT_ONCE = 1000
TEST_SEED = 20
"""Start of the noise on held-out images: the same for every run, so that runs compare."""


class AutoencoderTask(AutoencoderPanels, Task[AutoencoderSettings]):
    """The error of reconstructions, with penalties on the code, on images that lie on the device as whole numbers."""

    questions: ClassVar[dict[str, str]] = AutoencoderPanels.questions

    def __init__(self, settings: AutoencoderSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.images = load_data(settings)
        if assets is not None:
            self._check_assets(assets)
        self.data = self.images.words
        self.digest = self.images.digest()
        self.frame = usual_frame(self.images.train_images)
        self.train_images, self.test_images = (
            torch.from_numpy(array).to(device) for array in (self.images.train_images, self.images.test_images)
        )
        self.model = Autoencoder(
            mean_image(self.images),
            settings.latent,
            settings.encoder,
            settings.hidden,
            settings.activation,
            settings.code,
            settings.output,
            settings.variational,
        ).to(device)
        self.models = {"net": self.model}
        self.optimizer = make_optimizer(self.model, settings)
        self.optimizers = {"net": self.optimizer}
        self.generators = {
            "order": torch.Generator().manual_seed(settings.seed),
            "noise": torch.Generator().manual_seed(settings.seed + 1),
        }
        self.batches = Batches(len(self.train_images), settings.batch, self.generators["order"], device)
        self.test_inputs = self._test_inputs()

    def cells(self, images: Tensor) -> Tensor:
        """Images as they are kept, with cells from 0 to 1."""
        return images.float().div_(self.images.full)

    # --- training -----------------------------------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, Tensor]:
        """One batch: fresh noise on the inputs, and the clean images as the goal."""
        settings = self.settings
        images = self.cells(self.train_images[self.batches.next()])  # (B, C, H, W)
        inputs = corrupt(images, settings.noise, settings.noise_level, self.generators["noise"])
        code = self.model.encode(inputs)  # (B, k)
        logits = self.model.logits(draw(code, self.generators["noise"]))
        output = self.model.output_function(logits)
        reconstruction = reconstruction_loss(logits, output, images, settings.loss)
        penalty = self._penalty(code)
        loss = reconstruction if penalty is None else reconstruction + penalty
        self._set_rates()
        self.minimise(loss, self.optimizer)
        found = reconstruction.detach()
        squares = found * (2 / images[0].numel()) if settings.loss == "squared" else (output.detach() - images).square().mean()
        metrics = {"train_mse": squares, "train_loss": loss.detach()}
        if penalty is not None:
            metrics |= {"train_reconstruction": found, "train_penalty": penalty.detach()}
        return metrics

    def _penalty(self, code: Code) -> Tensor | None:
        settings = self.settings
        if settings.variational:
            return settings.beta * kl_normal(code).sum() / len(code.mean)
        if settings.sparsity == "kl":
            return settings.sparsity_weight * kl_sparsity(code.mean, settings.rho)
        if settings.sparsity == "l1":
            return settings.sparsity_weight * l1_sparsity(code.mean)
        return None

    def _set_rates(self) -> None:
        settings = self.settings
        lr = settings.lr * schedule(settings.schedule, self.step / settings.steps)
        others = {"momentum": settings.momentum} if settings.optimizer == "sgd" else {"betas": (settings.momentum, 0.999)}
        set_rates(self.optimizer, lr=lr, weight_decay=settings.weight_decay, **others)

    # --- judging ------------------------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Mean squared error of a cell against the clean held-out images, and what the code is like. A variational code is judged by the
        bound as well, in which each code is drawn once."""
        judge = Judge(self.model, self.settings.loss)
        for first in range(0, len(self.test_images), EVALUATED_AT_ONCE):
            part = slice(first, first + EVALUATED_AT_ONCE)
            judge.look(self.test_inputs[part], self.cells(self.test_images[part]))
        train, test = self._compared()
        known, asked = self._codes(self.cells(self.train_images[train])), self._codes(self.test_inputs[test])
        return judge.metrics() | {"code_accuracy": self._nearest(known, asked)}

    def _compared(self) -> tuple[Tensor, Tensor]:
        """Which training and held-out images the nearest neighbour is looked for among."""
        return evenly(len(self.train_images), NEIGHBOURS), evenly(len(self.test_images), JUDGED)

    def _nearest(self, known: Numbers, asked: Numbers) -> float:
        """Share of the asked held-out images whose nearest training image is of their class."""
        train, test = self._compared()
        return nearest_accuracy(known, self.images.train_labels[train], asked, self.images.test_labels[test])

    def _codes(self, images: Tensor) -> Numbers:
        return torch.cat([self.model.encode(part).mean for part in torch.split(images, EVALUATED_AT_ONCE)]).cpu().numpy()

    def _test_inputs(self) -> Tensor:
        settings, generator = self.settings, torch.Generator().manual_seed(TEST_SEED)
        return corrupt(self.cells(self.test_images), settings.noise, settings.test_noise, generator)

    def baselines(self) -> dict[str, dict[str, float]]:
        """PCA with as many components; against noise the inputs themselves, PCA with the best number of components, and ridge
        regression; the nearest neighbour among the images themselves; and the mean activation that is wanted."""
        settings = self.settings
        most, suffix = fitting(len(self.train_images), self.train_images[0].numel())
        images, test, inputs = flat(self.cells(self.train_images[:most])), flat(self.cells(self.test_images)), flat(self.test_inputs)
        if settings.noise != "none":
            clean = np.concatenate([images] * copies(most))
            draws = torch.Generator().manual_seed(TEST_SEED + 1)
            noisy = flat(corrupt(torch.from_numpy(clean), settings.noise, settings.test_noise, draws))
            errors = denoising_errors(clean, noisy, test, inputs)
        else:
            errors = reconstruction_errors(images, test, settings.latent, linear=is_linear(settings))
        compared = self._compared()
        pixels = self._nearest(flat(self.cells(self.train_images[compared[0]])), inputs[compared[1]])
        found = {
            "test_mse": {name + ("" if name == "identity" else suffix): error for name, error in errors.items()},
            "code_accuracy": {"pixels": pixels},
        }
        return found | ({"mean_activation": {"rho": settings.rho}} if settings.sparsity == "kl" else {})

    def baselines_key(self) -> str:
        """The data, and the settings that the baselines depend on."""
        s = self.settings
        noise = f"{s.noise} {s.test_noise}" if s.noise != "none" else f"{s.latent} {is_linear(s)}"
        return f"autoencoder-1-{self.digest} {noise} {s.rho if s.sparsity == 'kl' else ''}"

    # --- state --------------------------------------------------------------------------------------------------------------------

    def assets(self) -> dict[str, Any]:
        """What the data decided about the net."""
        return {"data": self.images.name, "shape": list(self.images.shape), "full": self.images.full}

    def _check_assets(self, assets: dict[str, Any]) -> None:
        """Raises `DataError` unless a checkpoint's net fits the data."""
        if self.images.shape != tuple(assets["shape"]):
            raise DataError(
                f"the checkpoint's net takes images of shape {tuple(assets['shape'])}, and {self.images.name} has {self.images.shape}; "
                f"use --data {assets['data']}"
            )

    def graphs(self) -> dict[str, Graph]:
        """Images with cells from 0 to 1 to their reconstructions, and its two halves."""
        images = self.cells(self.test_images[:2])
        code = self.model.encode(images).mean
        return {
            "autoencoder": Graph(self.model, {"images": images}, ("reconstructions",), {"images": {0: "batch"}}),
            "encoder": Graph(Encoder(self.model), {"images": images}, ("code",), {"images": {0: "batch"}}),
            "decoder": Graph(Decoder(self.model), {"code": code.detach()}, ("images",), {"code": {0: "batch"}}),
        }

    def data_key(self) -> str:
        """A digest of the images."""
        return self.digest

    def extra_state(self) -> dict[str, Any]:
        """The position in the data."""
        return {"batches": self.batches.state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Inverse of `extra_state`. Raises `DataError`."""
        try:
            self.batches.load_state(extra["batches"])
        except ValueError as error:
            raise DataError(str(error)) from None


def load_data(settings: AutoencoderSettings) -> ImageData:
    """Images or patches. Raises `DataError`."""
    return load_patches(settings.whiten) if settings.data == "patches" else load_images(settings.data, settings.image_size)


def is_linear(settings: AutoencoderSettings) -> bool:
    """Whether no net with these settings can do better than principal components do."""
    return settings.encoder == settings.code == settings.output == "linear"


def flat(images: Tensor) -> Numbers:
    """Images (n, …) as rows (n, D) on the CPU."""
    return images.flatten(1).cpu().numpy()


def mean_image(images: ImageData) -> Tensor:
    """The mean training image (C, H, W), with cells from 0 to 1."""
    return torch.from_numpy(images.train_images.mean(0, dtype=np.float64) / images.full).float()


def make_optimizer(model: nn.Module, settings: AutoencoderSettings) -> torch.optim.Optimizer:
    """The chosen optimiser, fused; weight decay on kernels and matrices alone."""
    groups = decay_groups(model)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, fused=True)
