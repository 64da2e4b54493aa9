"""The filters that a sparse autoencoder has learnt, drawn in text: `python docs/filters.py CHECKPOINT_FOLDER [COUNT]`.

dlplay autoencoder --headless --preset sparse --name sparse
python docs/filters.py RUNS_DIR/sparse/checkpoints/step-5000
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlplay.checkpoints import store

SHADES = " ░▒▓█"
ACROSS = 5
WEIGHTS = "net/encoder.1.weight"


def main() -> int:
    """Print the filters with the longest weights first."""
    weights = store.load(Path(sys.argv[1])).weights[WEIGHTS]  # (units, pixels)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else len(weights)
    side = round(weights.shape[1] ** 0.5)
    strongest = np.argsort(-np.linalg.norm(weights, axis=1))[:count]
    filters = weights[strongest].reshape(-1, side, side)
    for first in range(0, len(filters), ACROSS):
        columns = [_drawn(picture) for picture in filters[first : first + ACROSS]]
        print("\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True)), end="\n\n")
    return 0


def _drawn(picture: NDArray[np.float32]) -> list[str]:
    """Rows of text, two characters a pixel; the middle shade is zero."""
    share = picture / np.abs(picture).max()  # -1 to 1
    levels = np.clip(np.rint((share + 1) / 2 * (len(SHADES) - 1)), 0, len(SHADES) - 1).astype(int)
    return ["".join(SHADES[level] * 2 for level in row) for row in levels]


if __name__ == "__main__":
    sys.exit(main())
