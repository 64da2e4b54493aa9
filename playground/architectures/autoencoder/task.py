"""Training an autoencoder on images, and measuring how well it reconstructs held-out ones."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlplay.architectures.autoencoder.activations.panels import ActivationPanels
from dlplay.architectures.autoencoder.model import (
    Autoencoder,
    Code,
    Decoder,
    Encoder,
    corrupt,
    draw_noise,
    kl_sparsity,
    l1_sparsity,
    reconstruction_loss,
    with_noise,
)
from dlplay.architectures.autoencoder.panels import AutoencoderPanels
from dlplay.architectures.autoencoder.settings import ACTIVATIONS, SPARSE, AutoencoderSettings
from dlplay.data.batches import Batches
from dlplay.data.images import ImageData, evenly_spaced, load_images
from dlplay.data.patches import load_patches
from dlplay.engine.dataset import Dataset
from dlplay.engine.graph import Graph
from dlplay.engine.panels import Array
from dlplay.engine.task import Probe, Task
from dlplay.parts.image_baselines import PrincipalComponents, Rows, denoising_errors, subset
from dlplay.parts.ink import ink_frame
from dlplay.parts.optimizers import make_optimizer, update_rates
from dlplay.parts.pictures import pictures

if TYPE_CHECKING:
    from dlplay.architectures.autoencoder.activations.source import Activations

EVAL_BATCH = 1000
PROBED = 360
"""Held-out images that `probe` reads."""
NOISE_SEED, SAMPLE_SEED = 20, 30
"""Seeds of the noise on held-out images and of the codes sampled for `test_bound`: the same in every run, so that runs can be compared."""
NEIGHBOURS, CLASSIFIED = 5000, 1000
"""Training images among which nearest neighbours are searched, and held-out images that are classified, at most."""
FITTED = 16_000_000
"""Pixels of all training images together that baselines are fitted on, at most."""
COPIES, FEW = 5, 3000
"""Noisy copies of each training image that denoising baselines are fitted on, when there are only few images."""
PCA_PIXELS, PCA_IMAGES = 1024, 4000
"""The largest image whose principal components a panel computes, and the training images that it takes them from."""


class AutoencoderTask(Task[AutoencoderSettings]):
    """Reconstruction loss, with penalties on the code. The images stay on the device as bytes."""

    baselines_version = 2

    @classmethod
    def read_ahead(cls, settings: AutoencoderSettings) -> Dataset | None:
        return None if settings.data == ACTIVATIONS else _images(settings)

    def __init__(self, settings: AutoencoderSettings, device: torch.device, assets: dict[str, Any] | None = None) -> None:
        super().__init__(settings, device, assets)
        self.activations = _activations(settings) if settings.data == ACTIVATIONS else None
        self.images = _images(settings) if self.activations is None else self.activations
        self.dataset = self.images
        if assets is not None:
            self.images.check(assets)
        self.frame = ink_frame(self.images.train_images)
        self.train_images = torch.from_numpy(self.images.train_images).to(device)  # (N, C, H, W)
        self.test_images = torch.from_numpy(self.images.test_images).to(device)
        self.model = Autoencoder(
            mean_image(self.images),
            settings.latent,
            encoder=settings.encoder,
            hidden=settings.hidden,
            activation=settings.activation,
            code=settings.code,
            active=settings.active,
            output=settings.output,
            variational=settings.variational,
        ).to(device)
        self.models["net"] = self.model
        self.optimizers["net"] = self.optimizer = make_optimizer(self.model, settings)
        self.generators["order"] = torch.Generator().manual_seed(settings.seed)
        self.generators["noise"] = torch.Generator().manual_seed(settings.seed + 1)
        self.batches = Batches(len(self.train_images), settings.batch, self.generators["order"])
        self.positions = [self.batches]
        self.test_inputs = self._corrupted(self.scaled(self.test_images), NOISE_SEED)

    def scaled(self, images: Tensor) -> Tensor:
        """Stored images as floats with pixels from 0 to 1; vectors of activations as they are."""
        return images.float().div_(self.images.full) if self.activations is None else images

    def panels(self) -> AutoencoderPanels:
        return AutoencoderPanels(self) if self.activations is None else ActivationPanels(self, self.activations)

    @functools.cached_property
    def pca(self) -> PrincipalComponents | None:
        """Principal components of the first training images; None when the images are too large for a panel to compute them."""
        if self.train_images[0].numel() > PCA_PIXELS:
            return None
        return PrincipalComponents(rows(self.scaled(self.train_images[:PCA_IMAGES])))

    # --- training -----------------------------------------------------------------------------------------------------------------

    def draw_batch(self) -> tuple[Tensor, ...]:
        """Indices of the images (B,); with noise that of every pixel (B, C, H, W); for a VAE that of the codes (B, latent)."""
        settings, generator = self.settings, self.generators["noise"]
        drawn = [self.batches.next()]
        count = len(drawn[0])
        if settings.noise != "none":
            drawn.append(draw_noise((count, *self.train_images.shape[1:]), settings.noise, generator))
        if settings.variational:
            drawn.append(torch.randn(count, settings.latent, generator=generator))
        return tuple(drawn)

    def update_rates(self) -> None:
        update_rates(self.optimizer, self.settings, self.step)

    def train_step(self) -> dict[str, Tensor]:
        """One batch, with fresh noise on the inputs and the clean images as targets."""
        settings = self.settings
        batch, *drawn = map(self.share, self.drawn())
        images = self.scaled(self.train_images[batch])  # (B, C, H, W)
        inputs = images if settings.noise == "none" else with_noise(images, settings.noise, settings.noise_level, drawn[0])
        epsilon = drawn[-1] if settings.variational else None
        with self.autocast():
            code = self.model.encode(inputs)
            logits = self.model.logits(code.sample(epsilon))
            output = self.model.output_function(logits)
            reconstruction = reconstruction_loss(logits, output, images, settings.loss)
            penalty = self._penalty(code)
            loss = reconstruction if penalty is None else reconstruction + penalty
        self.update_rates()
        self.minimise(loss, self.optimizer)
        detached = reconstruction.detach()
        mse = detached * (2 / images[0].numel()) if settings.loss == "squared" else (output.detach() - images).square().mean()
        metrics = {"train_mse": mse, "train_loss": loss.detach()}
        if penalty is not None:
            metrics |= {"train_reconstruction": detached, "train_penalty": penalty.detach()}
        return metrics

    def compiled_modules(self) -> list[nn.Module]:
        """Its two halves, which a step calls one after the other."""
        return [self.model.encoder, self.model.decoder]

    def _penalty(self, code: Code) -> Tensor | None:
        settings = self.settings
        if settings.variational:
            return settings.beta * code.kl().sum() / len(code.mean)
        if settings.sparsity == "kl":
            return settings.sparsity_weight * kl_sparsity(code.mean, settings.rho)
        if settings.sparsity == "l1":
            return settings.sparsity_weight * l1_sparsity(code.mean)
        return None

    # --- evaluation ---------------------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Mean squared error per pixel against the clean held-out images; the mean absolute activation of the code; the accuracy of a
        nearest neighbour among codes. For a VAE also the two terms of its loss per image, from one sample per code, and their sum,
        `test_bound`.

        With the squared loss that sum is the negative ELBO in nats, without the normal's constant. With cross-entropy on grey pixels it
        bounds no likelihood; it is the training objective with a beta of 1.
        """
        generator = torch.Generator().manual_seed(SAMPLE_SEED)
        sums: dict[str, list[Tensor]] = {"squares": [], "activation": [], "reconstruction": [], "kl": [], "active": []}
        used = torch.zeros(self.settings.latent, dtype=torch.bool, device=self.device)
        for stored, inputs in zip(torch.split(self.test_images, EVAL_BATCH), torch.split(self.test_inputs, EVAL_BATCH), strict=True):
            images = self.scaled(stored)
            code = self.model.encode(inputs)
            sums["squares"].append((self.model.decode(code.mean) - images).square().sum())
            sums["activation"].append(code.mean.abs().mean(1).sum())
            sums["active"].append((code.mean != 0).sum())
            used |= (code.mean != 0).any(0)
            if self.settings.variational:
                logits = self.model.logits(code.sample(torch.randn(code.mean.shape, generator=generator).to(self.device)))
                loss = reconstruction_loss(logits, self.model.output_function(logits), images, self.settings.loss)
                sums["reconstruction"].append(loss * len(images))
                sums["kl"].append(code.kl().sum())
        mean = {name: math.fsum(torch.stack(parts).tolist()) / len(self.test_images) for name, parts in sums.items() if parts}
        metrics = {"test_mse": mean["squares"] / self.test_images[0].numel(), "mean_activation": mean["activation"]}
        if self.settings.variational:
            metrics |= {"test_reconstruction": mean["reconstruction"], "test_kl": mean["kl"]}
            metrics["test_bound"] = mean["reconstruction"] + mean["kl"]
        if self.settings.code in SPARSE:
            metrics |= {"active_units": mean["active"], "dead_share": 1 - float(used.float().mean())}
        if self.activations is not None:
            metrics |= self._of_activations(self.activations, self.model, metrics["test_mse"])
        train, test = self._classified()
        known, asked = self._codes(self.scaled(self.train_images[train])), self._codes(self.test_inputs[test])
        return metrics | {"code_accuracy": self._nearest_neighbour(known, asked)}

    def _of_activations(self, data: Activations, reconstruct: Callable[[Tensor], Tensor], mse: float) -> dict[str, float]:
        """The share of the held-out variance that reconstructions (B, 1, 1, C) explain, and by how much the language model's loss rises
        when it goes on with them, in nats per token."""

        def spliced(vectors: Tensor) -> Tensor:
            return reconstruct(vectors.reshape(-1, 1, 1, vectors.shape[-1]).to(self.device)).reshape(vectors.shape).to(vectors.device)

        variance = float(self.test_images.square().mean(dtype=torch.float64))
        added = data.losses(spliced).double().mean() - data.losses().double().mean()
        return {"explained_variance": 1 - mse / variance, "added_loss": float(added)}

    def probe(self) -> Probe:
        """The squared error per pixel of each of the first held-out images, or per number of a vector, as in `test_mse`."""
        images = self.scaled(self.test_images[:PROBED])
        errors = (self.model(self.test_inputs[:PROBED]) - images).square().flatten(1).mean(dim=1)
        return Probe(errors, "squared error per pixel" if self.activations is None else "squared error per number")

    def probed(self, numbers: Sequence[int]) -> Array | list[list[str]]:
        if self.activations is not None:
            return [[self.activations.in_context(number)] for number in numbers]
        return pictures(self.test_inputs[list(numbers)], 1.0)

    def _codes(self, images: Tensor) -> Rows:
        return rows(torch.cat([self.model.encode(part).mean for part in torch.split(images, EVAL_BATCH)]))

    def _classified(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the training and of the held-out images that a nearest neighbour compares."""
        return evenly_spaced(len(self.train_images), NEIGHBOURS), evenly_spaced(len(self.test_images), CLASSIFIED)

    def _nearest_neighbour(self, known: Rows, asked: Rows) -> float:
        """Accuracy of a nearest neighbour, for vectors of the images that `_classified` names."""
        train, test = self._classified()
        return nearest_neighbour_accuracy(known, self.images.train_labels[train], asked, self.images.test_labels[test])

    def _corrupted(self, images: Tensor, seed: int) -> Tensor:
        """Images with the noise that held-out ones have."""
        return corrupt(images, self.settings.noise, self.settings.test_noise, torch.Generator().manual_seed(seed))

    # --- baselines ----------------------------------------------------------------------------------------------------------------

    def baselines(self) -> dict[str, dict[str, float]]:
        """PCA with as many components as the code has units, or as topk keeps of them; with noise the noisy images themselves, PCA and
        ridge regression. A nearest neighbour among the images themselves, and the mean activation that a sparse code is trained for. Of
        activations also the mean vector in place of every one."""
        settings = self.settings
        count, suffix = subset(len(self.train_images), self.train_images[0].numel(), FITTED)
        images, test = rows(self.scaled(self.train_images[:count])), rows(self.scaled(self.test_images))
        test_inputs = rows(self.test_inputs)
        errors: dict[str, float] = {}
        ways: dict[str, Callable[[Rows], Any]] = {}
        if settings.noise != "none":
            clean = np.concatenate([images] * (COPIES if count <= FEW else 1))
            noisy = rows(self._corrupted(torch.from_numpy(clean), NOISE_SEED + 1))
            errors = denoising_errors(clean, noisy, test, test_inputs)
        elif (numbers := settings.active if settings.code == "topk" else settings.latent) < images.shape[1]:
            name, pca = "PCA, the linear optimum" if is_linear(settings) else "PCA", PrincipalComponents(images)
            errors[name] = pca.error(numbers, test, test)
            ways[name] = functools.partial(pca.projected, numbers)
        train, asked = self._classified()
        found = {
            "test_mse": {name + ("" if name == "identity" else suffix): error for name, error in errors.items()},
            "code_accuracy": {
                "pixels" if self.activations is None else "vectors": self._nearest_neighbour(
                    rows(self.scaled(self.train_images[train])), test_inputs[asked]
                )
            },
        }
        if self.activations is not None:
            found |= self._baselines_of_activations(self.activations, ways)
        return found | ({"mean_activation": {"rho": settings.rho}} if settings.sparsity == "kl" else {})

    def _baselines_of_activations(self, data: Activations, ways: dict[str, Callable[[Rows], Any]]) -> dict[str, dict[str, float]]:
        """What other reconstructions of the vectors (n, C) reach; `mean` puts the mean vector in place of every one."""
        held_out = rows(self.test_images)
        found = {}
        every: dict[str, Callable[[Rows], Any]] = {"mean": np.zeros_like, **ways}
        for name, way in every.items():

            def reconstruct(vectors: Tensor, way: Callable[[Rows], Any] = way) -> Tensor:
                return torch.from_numpy(way(rows(vectors))).to(vectors).view_as(vectors)

            found[name] = self._of_activations(data, reconstruct, float(np.square(way(held_out) - held_out).mean()))
        return {metric: {name: values[metric] for name, values in found.items()} for metric in ("explained_variance", "added_loss")}

    def baselines_depend_on(self) -> str:
        settings = self.settings
        numbers = f"top {settings.active}" if settings.code == "topk" else f"{settings.latent}"
        noise = f"{settings.noise} {settings.test_noise}" if settings.noise != "none" else f"{numbers} {is_linear(settings)}"
        return f"{noise} {settings.rho if settings.sparsity == 'kl' else ''}"

    # --- graphs and state ---------------------------------------------------------------------------------------------------------

    def graphs(self) -> dict[str, Graph]:
        """Images with pixels from 0 to 1 to their reconstructions; the encoder and the decoder alone."""
        images = self.scaled(self.test_images[:2])
        code = self.model.encode(images).mean
        return {
            "autoencoder": Graph(self.model, {"images": images}, ("reconstructions",), {"images": {0: "batch"}}),
            "encoder": Graph(Encoder(self.model), {"images": images}, ("code",), {"images": {0: "batch"}}),
            "decoder": Graph(Decoder(self.model), {"code": code.detach()}, ("images",), {"code": {0: "batch"}}),
        }

    def extra_state(self) -> dict[str, Any]:
        """The position in the data."""
        return {"batches": self.batches.state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        self.batches.load_state(extra["batches"])


def _images(settings: AutoencoderSettings) -> ImageData:
    return load_patches(settings.whiten) if settings.data == "patches" else load_images(settings.data, settings.image_size)


def _activations(settings: AutoencoderSettings) -> Activations:
    """Imported by its name: a script made of this file (`dlplay export --to torch`) takes along what it imports, and images need no
    language model."""
    found: Activations = importlib.import_module("dlplay.architectures.autoencoder.activations.source").load_activations(settings.site)
    return found


def is_linear(settings: AutoencoderSettings) -> bool:
    """Whether a network with these settings is linear, so that it cannot do better than PCA."""
    return settings.encoder == settings.code == settings.output == "linear"


def mean_image(images: ImageData) -> Tensor:
    """The mean training image (C, H, W), with pixels from 0 to 1."""
    return torch.from_numpy(images.train_images.mean(0, dtype=np.float64) / images.full).float()


def rows(images: Tensor) -> Rows:
    """Images or codes (n, …) as vectors (n, D) on the CPU."""
    return images.flatten(1).cpu().numpy()


def nearest_neighbour_accuracy(known: Rows, labels: NDArray[np.int64], asked: Rows, asked_labels: NDArray[np.int64]) -> float:
    """Share of vectors `asked` (m, k) whose nearest one of `known` (n, k) has the same label."""
    squares = np.square(known).sum(1)  # (n,)
    nearest = (squares - 2 * asked @ known.T).argmin(1)  # without |asked|², which is the same for every candidate
    return float((labels[nearest] == asked_labels).mean())
