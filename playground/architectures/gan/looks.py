"""What the tab shows and offers: charts, panels, the stage, actions and presets. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.gan.options import LatentOptions, MapOptions, PathOptions, PointOptions
from dlplay.architectures.gan.settings import IMAGE_SIDES
from dlplay.engine import stages
from dlplay.engine.card import ActionCard, ChartCard, PanelCard, Preset

MODES = ("8-gaussians", "25-gaussians")
"""The points that lie in separate modes."""

CHARTS = (
    ChartCard("Losses", train=("discriminator_loss", "generator_loss")),
    ChartCard("Modes covered", held_out=("modes_covered",), better="higher", when=lambda it: it["data"] in (*MODES, *IMAGE_SIDES)),
    ChartCard("Earth mover's distance to held-out data", held_out=("wasserstein_distance",), log=True),
    ChartCard("Fréchet distance in the cells", held_out=("frechet_distance",), log=True, when=lambda it: it["data"] in IMAGE_SIDES),
    ChartCard("Samples within a mode", held_out=("high_quality_share",), percent=True, when=lambda it: it["data"] in MODES),
    ChartCard("Distance to the nearest training image", held_out=("nearest_distance",), when=lambda it: it["data"] in IMAGE_SIDES),
    ChartCard("Discriminator's output on real and made", train=("real_output", "fake_output")),
    ChartCard("Discriminator's loss by its parts", train=("real_loss", "fake_loss")),
    ChartCard(
        "Right answers of the discriminator",
        train=("discriminator_accuracy",),
        percent=True,
        when=lambda it: not it["loss"].startswith("wasserstein"),
    ),
    ChartCard("Gradient penalty", train=("penalty",), log=True, when=lambda it: it["loss"] == "wasserstein-gp"),
)

PANELS = (
    PanelCard(
        "samples",
        "Samples",
        "Made and real examples. Ground: how real a place looks to the discriminator (scale below); arrows push the samples.",
        "Points: the ground is the discriminator's output, and each arrow the way down the generator's loss at a sample, which is the way "
        "its next step pushes it. Choose a place with the cursor, then place real points there or remove the mode beside it. Images: "
        "samples from 64 latents that stay the same, each with the class of the training image nearest to it.",
        PointOptions,
        selects="point",
        rows=14,
    ),
    PanelCard(
        "sample",
        "Sample at the cursor",
        "What the generator makes of the latent under the cursor.",
        "Walk through latent space and see the sample follow. Where it jumps, the generator has torn its map between two modes.",
        LatentOptions,
        rows=10,
    ),
    PanelCard(
        "map",
        "The generator's map",
        "A square grid of latents, from -2 to 2, as the generator lays it out.",
        "Each point of a grid of latents goes through the generator. A good map folds nearly all of the square onto the modes, and the few "
        "lines between them show where it is stretched: a continuous map cannot leave them out. For images each place shows its sample.",
        MapOptions,
        rows=12,
    ),
    PanelCard(
        "history",
        "Samples over time",
        "The same latents at several moments of the training.",
        "Samples from latents that never change, as they were then and as they are now. Samples that wander from mode to mode and never "
        "settle are two players chasing each other; samples that become all alike are mode collapse.",
        rows=12,
    ),
    PanelCard(
        "interpolation",
        "Between two latents",
        "Samples along the way from one latent to another.",
        "Images that change smoothly along the way say that the generator has learnt more than its training examples by heart. Between two "
        "separate modes the path jumps.",
        PathOptions,
        rows=8,
    ),
    PanelCard(
        "balance",
        "What the discriminator says",
        "How often it gives each output to real examples and to made ones.",
        "Two heaps apart: the discriminator tells them easily, and with a saturating loss the generator learns nothing. One heap: it "
        "cannot tell them any more. A critic's score has no zero: only the gap between the heaps means something.",
        rows=12,
    ),
    PanelCard(
        "coverage",
        "Modes",
        "Share of the samples in each mode or class, beside the real share.",
        "A sample lies in a mode within four standard deviations of its centre; an image has the class of the training image nearest to "
        "it. A mode without samples has been dropped.",
        rows=10,
    ),
)

STAGE = stages.Plane(panel="sample", option="latent_place", bounds=(-2.0, 2.0, -2.0, 2.0))

ACTIONS = (
    ActionCard(
        "discriminator_step",
        "Step the discriminator",
        "One update of the discriminator alone; see the ground change under samples that stay.",
        key="d",
    ),
    ActionCard(
        "generator_step",
        "Step the generator",
        "One update of the generator alone; see the samples follow the arrows over the ground.",
        key="g",
    ),
    ActionCard("both_step", "Step both", "One update of each, discriminator first; the step count stays.", key="b"),
    ActionCard(
        "place",
        "Place real points",
        "Adds a small cluster of real points at the chosen place; watch the generator find it. Baselines stay those of the first data.",
        PointOptions,
        key="p",
    ),
    ActionCard(
        "remove_mode",
        "Remove a mode",
        "Takes the mode nearest to the chosen place, or the class of the chosen image, out of the data; watch the samples leave it.",
        PointOptions,
        key="x",
    ),
    ActionCard("restore", "Restore the data", "The real examples as they were before anything was placed or removed.", key="u"),
)

DIGITS = {
    "data": "digits",
    "latent": 32,
    "penalty": 1.0,
    "critic_steps": 1,
    "beta1": 0.0,
    "batch": 64,
    "average": 0.99,
    "steps": 2500,
    "eval_every": 250,
}

PRESETS = {
    "8-gaussians-gp": Preset(
        {}, "The default: a penalty keeps the critic's slope near 1, so every mode pulls from wherever the samples are."
    ),
    "weight-clipping": Preset(
        {"loss": "wasserstein", "critic_steps": 5, "lr": 5e-5, "critic_lr": 5e-5, "schedule": "constant"},
        "The first Wasserstein GAN, as in its paper: clipped weights leave the critic nearly flat, so it is slow on the same seed.",
    ),
    "minimax": Preset(
        {"loss": "minimax", "critic_steps": 1},
        "The first GAN: the discriminator becomes sure, its log saturates, and on the same seed the samples stay far outside the data.",
    ),
    "25-gaussians": Preset(
        {"data": "25-gaussians", "steps": 4000, "width": 256}, "Five times five modes: more to find, and more width to find them with."
    ),
    "drawn": Preset(
        {"data": "drawn", "critic_steps": 5},
        "What you draw on the pad of the setting drawing; a shape with an inside wants a better critic.",
    ),
    "digits": Preset(
        DIGITS | {"width": 256, "lr": 1e-3, "critic_lr": 1e-3}, "Two perceptrons that make digits of 8x8 cells: the quickest."
    ),
    "digits-transformers": Preset(
        DIGITS
        | {
            "generator": "transformer",
            "discriminator": "transformer",
            "layers": 2,
            "width": 64,
            "patch": 4,
            "schedule": "constant",  # while the weights still move, their average is better than any of them
            "average": 0.998,
        },
        "A small TransGAN: patches of 4x4 cells as tokens, no convolution in either net, samples from a moving average of the generator.",
    ),
    "mnist": Preset(
        DIGITS
        | {"data": "mnist", "generator": "conv", "discriminator": "conv", "width": 64, "lr": 1e-3, "critic_lr": 1e-3, "steps": 10_000},
        "60,000 digits of 28x28 by two convolutional nets; wants a GPU or patience.",
    ),
}
