"""The autoencoder's card: what the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlplay.architectures.autoencoder.presets import PRESETS
from dlplay.architectures.autoencoder.settings import (
    ACTIVATIONS,
    SPARSE,
    AutoencoderSettings,
    CodeScatter,
    FeatureEffect,
    Features,
    ImagePair,
    LatentGrid,
    LatentPoint,
    OneFeature,
    OneReconstruction,
    ReconstructionPage,
)
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard


def of_images(it: Mapping[str, Any]) -> bool:
    return it.get("data") != ACTIVATIONS


def of_activations(it: Mapping[str, Any]) -> bool:
    return it.get("data") == ACTIVATIONS


card = Card(
    name="autoencoder",
    title="Autoencoder",
    summary="Compress images to a few numbers, reconstruct them, and walk through the latent space.",
    settings=AutoencoderSettings,
    task="dlplay.architectures.autoencoder.task:AutoencoderTask",
    metric="test_mse",
    better="lower",
    order=30,
    bounds=("PCA, the linear optimum", "rho"),
    charts=(
        ChartCard("Mean squared error", train=("train_mse",), held_out=("test_mse",), log=True),
        ChartCard("Nearest-neighbour accuracy of the codes", held_out=("code_accuracy",), percent=True),
        ChartCard("Explained variance (held-out)", held_out=("explained_variance",), percent=True, when=of_activations),
        ChartCard("What the reconstruction costs GPT (nats per token)", held_out=("added_loss",), when=of_activations),
        ChartCard("Loss per example, and its terms", train=("train_loss", "train_reconstruction", "train_penalty")),
        ChartCard("Active units of a code", held_out=("active_units",), better="neither", when=lambda it: it["code"] in SPARSE),
        ChartCard(
            "Dead units, never active on held-out data",
            held_out=("dead_share",),
            percent=True,
            better="lower",
            when=lambda it: it["code"] in SPARSE,
        ),
        ChartCard("Mean absolute activation of the code", held_out=("mean_activation",), better="neither"),
    ),
    panels=(
        PanelCard(
            "reconstructions",
            "Reconstructions",
            "Held-out images above their reconstructions; select one to inspect it.",
            "Each column is one held-out image: the image, the noisy input where there is noise, and the reconstruction. What differs did "
            "not fit through the bottleneck. Choose a noise to see how a network that was not trained with it copes, and ablate a unit of "
            "the code to see what it encodes.",
            ReconstructionPage,
            selects="image",
            rows=14,
            when=of_images,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From the image through the code to the reconstruction.",
            "The code is the narrowest place: what does not fit into it is lost.",
            OneReconstruction,
            rows=8,
            when=of_images,
        ),
        PanelCard(
            "reconstruction",
            "One reconstruction",
            "The selected image or drawing, its reconstruction, and the absolute difference.",
            "A drawing is first scaled and centred like the training images. One that is no digit comes back as a similar digit: the "
            "decoder has learnt nothing else.",
            OneReconstruction,
            rows=9,
            when=of_images,
        ),
        PanelCard(
            "code",
            "Codes",
            "Each point is the code of a held-out image, coloured by its class; select one to inspect it.",
            "The codes, projected onto their first two principal components (pca) or onto two units. Similar images have similar codes, so "
            "classes form clusters though training uses no labels. One label marks the centre of each class.",
            CodeScatter,
            selects="image",
            rows=14,
            when=of_images,
        ),
        PanelCard(
            "decoded",
            "Latent space",
            "The decoder's output at the cursor, the held-out image with the nearest code, the training image most like it.",
            "The cursor sets two units of the code, in standard deviations from their means; the other units are those of the selected "
            "image. Between the clusters of two classes lie images that are neither: the nearest training image shows whether an output is "
            "a mere copy.",
            LatentPoint,
            rows=9,
        ),
        PanelCard(
            "latent_grid",
            "Latent grid",
            "The decoder's output over a plane of two units, three standard deviations to each side.",
            "One unit of the code grows to the right, another one upwards; the others are those of the selected image. With a code of two "
            "units this is all that the decoder can produce. With data activations: how far the language model's next word is from its own "
            "there, as the Kullback-Leibler divergence of the two distributions.",
            LatentGrid,
            rows=14,
        ),
        PanelCard(
            "interpolation",
            "Interpolation",
            "From one image to another: through latent space above, by mixing pixels below.",
            "On the straight line between two codes strokes bend and move, while mixed pixels only fade: the code describes how images "
            "vary, pixels do not.",
            ImagePair,
            rows=9,
            when=of_images,
        ),
        PanelCard(
            "features",
            "Features",
            "What each unit represents: light where it adds ink, dark where it removes some.",
            "Decoder: how the output changes when a unit of the code grows. Encoder: the weights of the first layer; scaled to length one "
            "they are also the input that activates a unit most. Gradient: that of each unit with respect to the selected image.",
            Features,
            when=of_images,
        ),
        PanelCard(
            "feature_words",
            "Features by their words",
            "Each feature with the held-out words that excite it most; select one.",
            "With data activations the units of the code are features of what the language model computes at a word. Listed are those that "
            "are largest on average, with how often they are active, and the words where they are largest. A feature whose words have "
            "something in common may stand for it: clamp it, and see whether the answers change accordingly.",
            OneFeature,
            selects="feature",
            rows=14,
            when=of_activations,
        ),
        PanelCard(
            "feature_contexts",
            "What excites the feature",
            "The held-out words that the selected feature is largest at, with what stands around them.",
            "The word in [ ] is the one whose activation excites the feature. What the language model has read stands before it.",
            OneFeature,
            rows=12,
            when=of_activations,
        ),
        PanelCard(
            "feature_effect",
            "Clamp the feature",
            "The language model's next word with the feature set to a value, beside its own.",
            "At every word of the prompt the feature is set to the value, and the difference that this makes to the decoder's output is "
            "added to the language model's activation; what the code left out stays as it was. An intervention on code_function does the "
            "same to several features.",
            FeatureEffect,
            rows=11,
            when=of_activations,
        ),
        PanelCard(
            "activity",
            "Activity of the units",
            "How much each unit of the code varies; select one to ablate it.",
            "A unit that never varies encodes nothing. For a VAE the bar is the KL divergence from the standard normal in nats: near 0 the "
            "unit has collapsed and tells the decoder nothing. With kl sparsity the mean activation should approach ρ.",
            selects="ablate",
            rows=10,
        ),
        PanelCard(
            "components",
            "Comparison with PCA",
            "The error of PCA by the number of its components, and the network's own.",
            "PCA is the best linear autoencoder. A network whose point lies below the curve has learnt something that is not linear; the "
            "figure says how many components its code is worth. Measured on held-out images without noise.",
            rows=10,
        ),
        PanelCard(
            "norms",
            "Weight and gradient norms",
            "For each layer: the norms of its weights and of their gradient, on a log scale.",
            "The gradient of the reconstruction loss on 64 fixed training images, without noise and penalties.",
            rows=6,
        ),
    ),
    stage=stages.Plane(
        panel="decoded",
        option="place",
        bounds=(-3.0, 3.0, -3.0, 3.0),
        shows="latent_grid",
        below=("forward", "reconstructions", "feature_effect"),
    ),
    presets=PRESETS,
    no_script=lambda it: "its data are activations of a model that comes with dlplay; use --to onnx" if of_activations(it) else "",
    search=("lr=1e-4..1e-1:log", "latent=2..16"),
)
