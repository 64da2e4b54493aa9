"""Patches of photographs: where they come from, how they are scaled, and that what is held out was never seen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from dlplay.data import patches
from dlplay.data.patches import BAND, load_patches, whitened
from dlplay.engine.errors import DataError


def test_there_are_as_many_patches_of_each_photograph() -> None:
    data = load_patches()
    assert data.shape == (1, 8, 8)
    assert data.classes == ("china", "flower")
    assert np.bincount(data.train_labels).tolist() == [5000, 5000]
    assert np.bincount(data.test_labels).tolist() == [1000, 1000]
    assert data.key == load_patches().key != load_patches(whiten=False).key


@pytest.mark.parametrize("whiten", [True, False])
def test_pixels_lie_from_a_tenth_to_nine_tenths_about_the_middle(whiten: bool) -> None:
    data = load_patches(whiten)
    pixels = data.train_images / 255
    assert (round(pixels.min(), 2), round(pixels.max(), 2)) == (0.1, 0.9)
    off = np.abs(pixels.mean((1, 2, 3)) - 0.5)  # each patch's own mean is taken away, before what is far is cut off
    assert (off < 0.02).mean() > 0.9
    inside = (pixels > 0.101) & (pixels < 0.899)
    assert inside.mean() > 0.96


def test_no_pixel_of_a_held_out_patch_is_in_a_training_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.tile(np.arange(320.0), (40, 1))
    monkeypatch.setattr(patches, "_photograph", lambda name: columns)
    seen: list[set[float]] = []
    cut = patches._cut

    def watched(bands: list[NDArray[np.float64]], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        pixels = cut(bands, count, rng)
        seen.append({float(column) for band in bands for column in np.unique(band)})
        return pixels

    monkeypatch.setattr(patches, "_cut", watched)
    load_patches(whiten=False)
    for training, held_out in (seen[:2], seen[2:]):
        assert training.isdisjoint(held_out)
        assert training | held_out == set(range(320))
        assert len(held_out) == 2 * BAND


def test_whitening_evens_out_the_frequencies() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None]
    frequency = np.hypot(rows, columns)
    scene = np.fft.ifft2(np.fft.fft2(rng.normal(size=(128, 128))) / np.maximum(frequency, 1 / 128)).real  # amplitudes fall as 1/f
    spectrum = np.abs(np.fft.fft2(whitened(scene)))
    low, high = ((frequency > a) & (frequency < b) for a, b in ((0.02, 0.08), (0.13, 0.19)))
    assert spectrum[low].mean() == pytest.approx(spectrum[high].mean(), rel=0.1)
    assert spectrum[frequency > 0.6].mean() < 0.02 * spectrum[low].mean()


def test_a_damaged_photograph_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "datasets" / "images"
    folder.mkdir(parents=True)
    (folder / "china.jpg").write_bytes(b"no photograph")
    monkeypatch.setattr(patches, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    with pytest.raises(DataError, match=r"cannot read the photograph .*china\.jpg.*pip install --force-reinstall scikit-learn"):
        load_patches()
    monkeypatch.setattr(patches, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load_patches()
