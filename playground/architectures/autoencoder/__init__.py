"""The autoencoder's card: what can be set, drawn, asked and shown. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.autoencoder.options import (
    FeatureOptions,
    GridOptions,
    InputOptions,
    PageOptions,
    PairOptions,
    PlaceOptions,
    ScatterOptions,
)
from dlplay.architectures.autoencoder.settings import AutoencoderSettings
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard, Preset

card = Card(
    name="autoencoder",
    title="Autoencoder",
    summary="Write images down as a few numbers and read them out again; walk through what lies between.",
    settings=AutoencoderSettings,
    task="dlplay.architectures.autoencoder.task:AutoencoderTask",
    metric="test_mse",
    better="lower",
    order=30,
    bounds=("PCA, the linear optimum", "rho"),
    charts=(
        ChartCard("Squared error of a cell", train=("train_mse",), held_out=("test_mse",), log=True),
        ChartCard("Class by the nearest code", held_out=("code_accuracy",), percent=True),
        ChartCard("Objective and its parts, summed over cells", train=("train_loss", "train_reconstruction", "train_penalty")),
        ChartCard("Mean size of the code's numbers", held_out=("mean_activation",)),
    ),
    panels=(
        PanelCard(
            "reconstructions",
            "Reconstructions",
            "Images the net never trains on, above what it makes of their codes; pick one to look at it everywhere.",
            "Each column is one held-out image: the image, the noisy input where there is noise, and the reconstruction. What is the same "
            "above and below fits through the bottleneck; what is lost is what the net has learnt to do without. Choose a noise to see "
            "how a net that never met it takes it, and silence a unit of the code to see what it is for.",
            PageOptions,
            selects="image",
            rows=14,
        ),
        PanelCard(
            "reconstruction",
            "One image through the net",
            "The image or drawing, the reconstruction, and where the two differ.",
            "The input goes through the code and back. A drawing is first brought to the size and place of the training images. A thing "
            "that is no digit comes back as the digit it is nearest to: the decoder knows nothing else.",
            InputOptions,
            rows=9,
        ),
        PanelCard(
            "code",
            "The code",
            "Each point is a held-out image, coloured by its class, which the net was never told; pick one to look at it.",
            "Codes in the plane where they differ most (pca), or in that of two units. Images that are alike get codes that are near each "
            "other, so classes form clouds without any label. One letter marks the middle of each class.",
            ScatterOptions,
            selects="image",
            rows=14,
        ),
        PanelCard(
            "decoded",
            "A place in the code",
            "What the decoder draws at the cursor, and the held-out image whose code is the nearest.",
            "Two units of the code are set to the cursor's place, in standard deviations from their means; the others are those of the "
            "image that is looked at. Between the clouds of two classes lie images that are neither.",
            PlaceOptions,
            rows=9,
        ),
        PanelCard(
            "latent_grid",
            "The plane of two units",
            "What the decoder draws at places of the plane, three standard deviations to each side.",
            "One large picture made of many: to the right one unit of the code grows, to the top another; the others are those "
            "of the image that is looked at. With a code of two numbers this is all that the decoder can say.",
            GridOptions,
            rows=14,
        ),
        PanelCard(
            "interpolation",
            "From one image to another",
            "Above through the code, below by mixing cells.",
            "On the straight line between two codes strokes bend and move; mixed cells only fade. That is the sense in which a code knows "
            "what images are made of.",
            PairOptions,
            rows=9,
        ),
        PanelCard(
            "features",
            "Features",
            "What each unit stands for: light where it adds ink, dark where it takes some away.",
            "Decoder: what changes in the image when a unit of the code goes up. Encoder: the weights of the first layer; scaled to length "
            "one they are also the input that excites a unit most. Gradient: what, added to the image, would push each unit up.",
            FeatureOptions,
        ),
        PanelCard(
            "activity",
            "Activity of the code",
            "How much each unit varies over the held-out images; pick one to silence it.",
            "A unit that never varies carries nothing. For a variational autoencoder the bar is the divergence from the standard normal in "
            "nats: near 0 the decoder cannot learn anything from that unit. For a sparse one the mean size should come near ρ.",
            selects="silence",
            rows=10,
        ),
        PanelCard(
            "components",
            "Against principal components",
            "The error left with so many principal components, and the net's own beside it.",
            "PCA is the best that any linear code can do. A net whose point lies below the curve has found curved directions; the figure "
            "says how many components its code is worth. Without noise, over held-out images.",
            rows=10,
        ),
        PanelCard(
            "norms",
            "Weights and gradients",
            "Size of the weights and of their gradient in each layer, on a log scale.",
            "Norms over 64 fixed training images, without noise and penalties. The layers next to the code get the gradient last.",
            rows=6,
        ),
    ),
    stage=stages.Plane(panel="decoded", option="place", bounds=(-3.0, 3.0, -3.0, 3.0)),
    presets={
        "deep": Preset({}, "5,000 steps on the embedded digits: 8 numbers that are worth 18 principal components, in seconds."),
        "plane": Preset(
            {"latent": 2, "hidden": [256, 128]}, "A code of two numbers: every image is a place in one plane that the cursor walks over."
        ),
        "linear": Preset(
            {
                "encoder": "linear",
                "output": "linear",
                "weight_decay": 0.0,
                "lr": 0.01,
                "batch": 256,
                "steps": 3000,
            },
            "One matrix each way: gradient descent finds the same plane as principal component analysis.",
        ),
        "denoising": Preset(
            {"noise": "gaussian", "latent": 32},
            "Fresh noise on every input and the clean image as the goal: the net learns where images are.",
        ),
        "masking": Preset(
            {"noise": "masking", "latent": 32},
            "A quarter of the cells is emptied: the net fills in what strokes must have been there.",
        ),
        "sparse": Preset(
            {
                "data": "patches",
                "encoder": "linear",
                "code": "sigmoid",
                "latent": 25,
                "sparsity": "kl",
                "optimizer": "adam",
                "lr": 0.03,
                "weight_decay": 1e-4,
                "batch": 1000,
            },
            "The UFLDL exercise, 64-25-64 on whitened patches of photographs: units that rarely fire become edges.",
        ),
        "convolutional": Preset(
            {"encoder": "conv", "hidden": [32, 64]},
            "Strided convolutions to the code, transposed ones back: the same pen at every place.",
        ),
        "variational": Preset(
            {"variational": True, "loss": "cross-entropy", "hidden": [256, 128]},
            "Codes are drawn from normals near the standard one, so that a random code decodes to an image.",
        ),
        "mnist": Preset(
            {"data": "mnist", "encoder": "conv", "hidden": [32, 64], "latent": 16, "batch": 128, "threads": 2, "eval_every": 500},
            "60,000 digits of 28x28; convolutions have few weights for so many cells.",
        ),
        "fashion-mnist": Preset(
            {"data": "fashion-mnist", "encoder": "conv", "hidden": [32, 64], "latent": 16, "batch": 128, "threads": 2, "eval_every": 500},
            "Clothes: the outline fits through 16 numbers, patterns and prints do not.",
        ),
    },
)

__all__ = ["AutoencoderSettings", "card"]
