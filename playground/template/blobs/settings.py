"""Settings of the blobs room. Imports no torch."""

from dlplay.engine.quantities import LearningRate
from dlplay.engine.settings import Settings, frozen


@frozen
class BlobsSettings(Settings):
    """Settings of the linear classifier."""

    lr: LearningRate = 0.05
    """Learning rate of plain stochastic gradient descent."""
