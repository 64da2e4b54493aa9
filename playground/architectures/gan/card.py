"""The GAN's card: what the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.gan.presets import PRESETS
from dlplay.architectures.gan.settings import IMAGES, AttentionHead, GANSettings, LatentPath, LatentPlace, LatentPlane, Place
from dlplay.data.catalogue import GAUSSIANS
from dlplay.engine import stages
from dlplay.engine.card import ActionCard, Card, ChartCard, PanelCard

card = Card(
    name="gan",
    title="GAN",
    summary="Train a generator and a discriminator against each other, on points or images.",
    settings=GANSettings,
    task="dlplay.architectures.gan.task:GANTask",
    metric="wasserstein_distance",
    better="lower",
    doctor="dlplay.architectures.gan.doctor",
    no_range_test="two networks play against each other, and neither one's loss falls as the samples get better",
    order=40,
    charts=(
        ChartCard("Losses", train=("discriminator_loss", "generator_loss")),
        ChartCard("Modes covered", held_out=("modes_covered",), better="higher", when=lambda it: it["data"] in (*GAUSSIANS, *IMAGES)),
        ChartCard("Wasserstein distance to held-out data", held_out=("wasserstein_distance",), log=True),
        ChartCard("Fréchet distance (pixels)", held_out=("frechet_distance",), log=True, when=lambda it: it["data"] in IMAGES),
        ChartCard("High-quality samples", held_out=("high_quality_share",), percent=True, when=lambda it: it["data"] in GAUSSIANS),
        ChartCard(
            "Distance to the nearest training image", held_out=("nearest_distance",), better="neither", when=lambda it: it["data"] in IMAGES
        ),
        ChartCard("Discriminator output (real, fake)", train=("real_output", "fake_output")),
        ChartCard("Discriminator loss (real, fake)", train=("real_loss", "fake_loss")),
        ChartCard(
            "Discriminator accuracy",
            train=("discriminator_accuracy",),
            percent=True,
            when=lambda it: not it["loss"].startswith("wasserstein"),
        ),
        ChartCard(
            "Gradient penalty",
            train=("penalty",),
            log=True,
            when=lambda it: it["loss"] == "wasserstein-gp" or (it["r1"] > 0 and it["loss"] != "wasserstein"),
        ),
    ),
    panels=(
        PanelCard(
            "forward",
            "Forward pass",
            "From the latent under the cursor through the generator to a sample, and through the discriminator to its output.",
            "Both networks at once: the generator sees only the latent, the discriminator only the sample.",
            LatentPlace,
            rows=8,
        ),
        PanelCard(
            "sample",
            "Sample at the cursor",
            "What the generator makes of the latent under the cursor, among other samples and real examples.",
            "Move the cursor through latent space and watch its sample, which is marked. It jumps where the generator maps neighbouring "
            "latents to different modes. Points: the background is the discriminator's output, and an arrow is the direction in which the "
            "generator's next update pushes a sample; choose a place to add real points there or to remove the nearest mode. Images: the "
            "cursor's sample comes first, then those of fixed latents.",
            LatentPlace,
            selects="point",
            rows=10,
        ),
        PanelCard(
            "map",
            "Generator map",
            "A square grid of latents, from -2 to 2, after the generator.",
            "Every latent on the lines of a grid goes through the generator. A good generator folds nearly all of the square onto the "
            "modes. The few lines between modes cannot be avoided, because the map is continuous. For images, the sample at each latent.",
            LatentPlane,
            rows=12,
        ),
        PanelCard(
            "latent_plane",
            "Latent plane",
            "Each latent's sample: the discriminator's output for it, or the image.",
            "Where the output is low, the generator turns latents into samples that the discriminator knows to be generated.",
            LatentPlane,
            rows=10,
        ),
        PanelCard(
            "history",
            "Samples over time",
            "Samples from the same latents at several steps of the training.",
            "The latents never change; only the generator does. If samples move from mode to mode and never settle, the two networks "
            "chase each other; if they become all alike, that is mode collapse.",
            rows=12,
        ),
        PanelCard(
            "samples",
            "Samples",
            "Background: the discriminator's output. Arrows: where it pushes the samples.",
            "Points: the background is the discriminator's output over the plane. The arrow at a sample is the negative gradient of the "
            "generator's loss, the direction in which the generator's next update pushes it. Choose a place with the cursor to add real "
            "points there or to remove the nearest mode. Images: samples from 64 fixed latents, each with the class of the nearest "
            "training image.",
            Place,
            selects="point",
            rows=14,
        ),
        PanelCard(
            "interpolation",
            "Latent interpolation",
            "Samples along a path from one latent to another.",
            "Images that change smoothly along the path are a sign that the generator has not just memorised training images. Between "
            "two separate modes the path jumps.",
            LatentPath,
            rows=8,
        ),
        PanelCard(
            "balance",
            "Discriminator outputs",
            "Histograms of the discriminator's output for real examples and for samples.",
            "Two separate histograms: the discriminator tells them apart, and a saturating loss gives the generator no gradient. Two that "
            "overlap: it cannot tell them apart. A critic's score has no absolute meaning: only the gap between the two counts.",
            rows=12,
        ),
        PanelCard(
            "coverage",
            "Mode coverage",
            "Share of the samples in each mode or class, beside the share of the real examples.",
            "A sample belongs to a mode within four standard deviations of its centre; an image has the class of the nearest training "
            "image. A mode without samples has been dropped.",
            rows=10,
        ),
        PanelCard(
            "attention",
            "Attention",
            "Transformers: which patches each patch reads from, while the chosen sample is made or judged.",
            "A row is the patch that reads, by its row and column in the image; its weights over the patches that it reads from sum to 1. "
            "The discriminator's first row is the class token, from which its output is read. Choose another sample in the panel Samples.",
            AttentionHead,
            rows=8,
            when=lambda it: "transformer" in (it.get("generator"), it.get("discriminator")),
        ),
    ),
    stage=stages.Plane(panel="sample", option="latent_place", bounds=(-2.0, 2.0, -2.0, 2.0), shows="latent_plane", below=("forward",)),
    actions=(
        ActionCard(
            "discriminator_step",
            "Step the discriminator",
            "One update of the discriminator alone; the background changes, the samples stay.",
            key="d",
        ),
        ActionCard(
            "generator_step",
            "Step the generator",
            "One update of the generator alone; the samples follow their arrows, the background stays.",
            key="g",
        ),
        ActionCard("both_step", "Step both", "One update of each, the discriminator first; not counted as a training step.", key="b"),
        ActionCard(
            "place",
            "Place real points",
            "Adds a small cluster of real points at the chosen place; watch the generator find it. Baselines stay as they are.",
            Place,
            key="p",
        ),
        ActionCard(
            "remove_mode",
            "Remove a mode",
            "Removes the mode nearest to the chosen place, or the class of the chosen image, from the data; watch the samples leave it.",
            Place,
            key="x",
        ),
        ActionCard("restore", "Restore the data", "Undoes everything that was added to the data or removed from them.", key="u"),
    ),
    bounds=("real vs real",),
    presets=PRESETS,
    search=("lr=1e-4..1e-2:log", "critic_lr=1e-4..1e-2:log"),
)
