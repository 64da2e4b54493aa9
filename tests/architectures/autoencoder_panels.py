"""What an autoencoder shows of itself: reconstructions, the plane of the code and its orientation, features, and questions it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from dlplay.architectures.autoencoder import card
from dlplay.architectures.autoencoder import task as task_module
from dlplay.architectures.autoencoder.task import AutoencoderTask
from dlplay.engine.panels import ImageGrid
from dlplay.engine.settings import SettingsError, make
from dlplay.engine.task import looking
from tests.architectures.autoencoder import build, other_images, rows, train

INK = ";".join(",".join("16" if column in (3, 4) else "0" for column in range(8)) for _ in range(8))


def ask(task: AutoencoderTask, name: str, **options: Any) -> Any:
    with looking(task):
        return task.panel(name, make(card.panel(name).options, options))


def pictures(panel: ImageGrid) -> Any:
    """Pixels from 0 to 1."""
    return panel.images.numpy() / 255


@pytest.fixture(scope="module")
def net() -> AutoencoderTask:
    """Trained for a moment: good enough that codes differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    task = build(steps=600, hidden="64", latent=4)
    train(task, 600)
    torch.set_num_threads(threads)
    return task


def shown(task: AutoencoderTask, code: torch.Tensor) -> Any:
    with looking(task):
        return task.model.decode(code)[0, 0].numpy()


def code_of(task: AutoencoderTask, image: int) -> torch.Tensor:
    with looking(task):
        return task.model.encode(task.scaled(task.test_images[image : image + 1])).mean


# --- reconstructions --------------------------------------------------------------------------------------------------------------


def test_a_page_shows_each_image_above_its_reconstruction(net: AutoencoderTask) -> None:
    page = ask(net, "reconstructions", image=25)
    assert page.ids == list(range(20, 40))
    assert page.ids[page.selected] == 25
    column = pictures(page)[5]  # (17, 8)
    assert np.allclose(column[:8], net.images.test_images[25, 0] / 16, atol=0.003)
    assert np.allclose(column[9:], shown(net, code_of(net, 25)), atol=0.003)
    assert page.labels[5] == str(net.images.test_labels[25])


def test_noise_stands_between_image_and_reconstruction(net: AutoencoderTask) -> None:
    column = pictures(ask(net, "reconstructions", image=3, input_noise="masking", input_noise_level=0.5))[3]
    assert column.shape == (26, 8)
    image, noisy = column[:8], column[9:17]
    assert set(noisy[noisy != image].tolist()) == {0.0}
    assert (noisy[image > 0] == 0).mean() == pytest.approx(0.5, abs=0.25)
    denoising = build("denoising", steps=1)
    assert ask(denoising, "reconstruction").labels == ["image", "noisy", "reconstruction", "difference"]
    assert ask(denoising, "reconstruction", input_noise="none").labels == ["image", "reconstruction", "difference"]


def test_a_drawing_goes_through_the_net(net: AutoencoderTask) -> None:
    panel = ask(net, "reconstruction", drawing=INK)
    assert panel.caption == "your drawing"
    drawn, output, difference = pictures(panel)
    assert drawn[:, 3:5].min() > 0.9
    assert drawn[:, 0].max() == 0
    with looking(net):
        code = net.model.encode(torch.from_numpy(drawn)[None, None].float()).mean
    assert np.allclose(output, shown(net, code), atol=0.03)
    assert np.allclose(difference, np.abs(drawn - output), atol=0.01)
    assert ask(net, "reconstruction", drawing="0,0;0,0", image=7) == ask(net, "reconstruction", image=7)


def test_an_ablated_unit_is_zero_for_the_decoder(net: AutoencoderTask) -> None:
    code = code_of(net, 2)
    code[0, 3] = 0
    panel = ask(net, "reconstruction", image=2, ablate=3)
    assert np.allclose(pictures(panel)[1], shown(net, code), atol=0.003)
    assert "unit 3 ablated" in panel.caption
    assert ask(net, "reconstruction", image=2) != panel


# --- the plane of the code --------------------------------------------------------------------------------------------------------


def test_the_cursor_at_an_images_own_place_decodes_its_reconstruction(net: AutoencoderTask) -> None:
    caption = ask(net, "decoded", image=11).caption
    place = ",".join(caption.split(" at ")[1].partition(";")[0].split(", "))
    panel = ask(net, "decoded", image=11, place=place)
    assert np.allclose(pictures(panel)[0], shown(net, code_of(net, 11)), atol=0.02)
    assert panel.ids == [11, 11, 11]
    assert np.allclose(pictures(panel)[1], net.images.test_images[11, 0] / 16, atol=0.003)


def test_right_is_more_of_the_x_unit_and_up_more_of_the_y_unit(net: AutoencoderTask) -> None:
    codes = torch.cat([code_of(net, image) for image in range(360)])
    mean, spread = codes.mean(0), codes.std(0, correction=0)
    code = codes[5].clone()
    code[2], code[0] = mean[2] + 2 * spread[2], mean[0] - 2 * spread[0]  # right of the middle, below it
    expected = shown(net, code[None])
    assert np.allclose(pictures(ask(net, "decoded", image=5, x_axis=2, y_axis=0, place="2,-2"))[0], expected, atol=0.003)
    grid = pictures(ask(net, "latent_grid", image=5, x_axis=2, y_axis=0, images=3))[0]
    assert grid.shape == (24, 24), "three images each way, each decoded at its middle: -2, 0 and 2 of a plane from -3 to 3"
    assert np.allclose(grid[16:, 16:], expected, atol=0.003)
    top_left = pictures(ask(net, "decoded", image=5, x_axis=2, y_axis=0, place="-2,2"))[0]
    assert np.allclose(grid[:8, :8], top_left, atol=0.003)


def test_the_code_is_seen_where_it_differs_most(net: AutoencoderTask) -> None:
    codes = torch.cat([code_of(net, image) for image in range(360)]).numpy()
    panel = ask(net, "code", image=4)
    expected = PCA(2).fit_transform(codes)
    points = panel.points.numpy()
    for axis in (0, 1):
        assert abs(np.corrcoef(points[:, axis], expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-4)
    assert panel.groups == net.images.test_labels.tolist()
    assert panel.labels[4].startswith("image 4")
    assert sorted(label for label in panel.labels if len(label) == 1) == list("0123456789")
    units = ask(net, "code", view="units", x_axis=3, y_axis=1)
    assert np.allclose(units.points.numpy(), codes[:, [3, 1]], atol=1e-5)
    assert (units.x_title, units.y_title) == ("unit 3", "unit 1")


def test_a_code_of_one_number_has_a_plane_too() -> None:
    task = build(latent=1, hidden="8")
    train(task, 2)
    for panel in card.panels:
        ask(task, panel.name)
    assert ask(task, "decoded").caption.startswith("→ unit 0;")
    here, right, up = (pictures(ask(task, "decoded", place=place))[0] for place in ("0,0", "2,0", "0,2"))
    assert np.array_equal(here, up)
    assert not np.array_equal(here, right)


def test_an_interpolation_ends_at_both_reconstructions(net: AutoencoderTask) -> None:
    panel = pictures(ask(net, "interpolation", image=8, other=30))
    for strip, image in ((panel[0], 8), (panel[-1], 30)):
        assert np.allclose(strip[:8], shown(net, code_of(net, image)), atol=0.003)
        assert np.allclose(strip[9:], net.images.test_images[image, 0] / 16, atol=0.003)
    middle = (code_of(net, 8) + code_of(net, 30)) / 2
    assert np.allclose(panel[4][:8], shown(net, middle), atol=0.003)


# --- units ------------------------------------------------------------------------------------------------------------------------


def test_features_of_a_linear_net_are_its_rows_and_columns() -> None:
    task = build("linear", latent=5, steps=50)
    train(task, 50)
    encoder, decoder = task.model.encoder[1].weight.detach(), task.model.decoder[0].weight.detach()
    assert np.allclose(ask(task, "features", of="encoder").images.numpy().reshape(5, 64), encoder, atol=1e-6)
    assert np.allclose(ask(task, "features", of="gradient").images.numpy().reshape(5, 64), encoder, atol=1e-6)
    codes = torch.cat([code_of(task, image) for image in range(360)])
    expected = (decoder * codes.std(0, correction=0)).T
    assert np.allclose(ask(task, "features", of="decoder").images.numpy().reshape(5, 64), expected, atol=1e-4)


def test_a_gradient_is_the_slope_of_the_unit(net: AutoencoderTask) -> None:
    slope = ask(net, "features", of="gradient", image=9).images.numpy()[2]
    image = net.scaled(net.test_images[9:10]).double()
    model = build(hidden="64", latent=4).model
    model.load_state_dict(net.model.state_dict())
    model = model.double()
    nudge = torch.zeros_like(image)
    nudge[0, 0, 4, 3] = 1e-5
    with torch.no_grad():
        by_hand = (model.encode(image + nudge).mean - model.encode(image - nudge).mean)[0, 2].item() / 2e-5
    assert slope[4, 3] == pytest.approx(by_hand, rel=1e-3)


def test_activity_tells_what_each_unit_carries(net: AutoencoderTask) -> None:
    codes = torch.cat([code_of(net, image) for image in range(360)]).numpy()
    bars = ask(net, "activity")
    assert bars.values == pytest.approx(codes.std(0).tolist(), rel=1e-3)
    assert bars.second == pytest.approx(np.abs(codes).mean(0).tolist(), rel=1e-3)
    variational = build("variational", hidden="8")
    assert ask(variational, "activity").names[0] == "KL in nats"
    with looking(variational):
        total = variational.evaluate()["test_kl"]
    assert sum(ask(variational, "activity").values) == pytest.approx(total, rel=1e-3)


def test_the_nets_error_stands_among_those_of_principal_components(net: AutoencoderTask) -> None:
    x, y = rows(net)
    panel = ask(net, "components")
    for count in (1, 4, 16):
        pca = PCA(count).fit(x)
        expected = np.square(pca.inverse_transform(pca.transform(y)) - y).mean()
        assert panel.series["PCA"][count] == pytest.approx(expected, rel=1e-3)
    with looking(net):
        assert panel.series["this network"][4] == pytest.approx(net.evaluate()["test_mse"], rel=1e-4)
    assert sum(value is not None for value in panel.series["this network"]) == 1


def test_every_panel_answers_for_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "load_images", lambda *_: other_images())
    for preset in ("deep", "linear", "denoising", "convolutional", "variational", "sparse"):
        task = build(preset, batch=16)
        train(task, 2)
        for panel in card.panels:
            assert ask(task, panel.name) == ask(task, panel.name), (preset, panel.name)
        for of in ("encoder", "decoder", "gradient"):
            ask(task, "features", of=of)


@pytest.mark.parametrize(
    ("panel", "options", "words"),
    [
        ("reconstruction", {"image": 360}, "--image 360 is out of range; the held-out images are 0 to 359"),
        ("reconstructions", {"image": 360}, "held-out images are 0 to 359"),
        ("code", {"image": 360}, "held-out images are 0 to 359"),
        ("interpolation", {"other": 360}, "--other 360 is out of range; the held-out images are 0 to 359"),
        ("reconstruction", {"ablate": 4}, "--ablate 4 is out of range; the code has units 0 to 3, or none"),
        ("decoded", {"place": "1"}, "--place '1' is not two numbers from -100 to 100 with a comma; write it like 0.5,-1"),
        ("decoded", {"place": "1,2,3"}, "two numbers"),
        ("decoded", {"place": "nan,0"}, "two numbers"),
        ("decoded", {"place": "1e9,0"}, "two numbers"),
        ("reconstruction", {"drawing": "1,x"}, "no number"),
        ("latent_grid", {"images": 2}, "use 3 to 15"),
        ("features", {"of": "coder"}, "did you mean"),
    ],
)
def test_a_question_out_of_bounds_is_answered_with_the_bound(net: AutoencoderTask, panel: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ask(net, panel, **options)
