"""The card of the blobs room: what the command line and the screen know of it. Imports no torch."""

from dlplay.engine.card import Card, ChartCard, PanelCard

from .presets import PRESETS
from .settings import BlobsSettings

card = Card(
    name="blobs",
    title="Blobs",
    summary="Tell two clouds of points apart with a linear classifier.",
    settings=BlobsSettings,
    task=f"{__package__}.task:BlobsTask",
    metric="test_accuracy",
    better="higher",
    charts=(ChartCard("Loss", train=("train_loss",)), ChartCard("Accuracy", held_out=("test_accuracy",), percent=True)),
    panels=(
        PanelCard(
            "plane",
            title="Plane",
            hint="Held-out points by class, over the probability of the second class.",
            help="The border is a straight line, since the logits are linear in the point.",
        ),
    ),
    presets=PRESETS,
)
