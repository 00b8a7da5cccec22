"""`inpaint`, `upscale` and `impute` of arrays: files hold what the model draws, and mistakes are told."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import netcdf_file
from typer.testing import CliRunner

from caminito import DiffusionModel, ImageDiffusion, load, plot
from caminito.cli.app import app
from caminito.data import shrink
from caminito.errors import DegenerateWeights

TINY = {"kind": "unet", "width": 16, "multipliers": [1], "blocks": 1, "attention": []}
QUICK = {"network": TINY, "max_steps": 1, "random_state": 0}
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (16, 8, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
HOLES = np.zeros((8, 8), dtype=bool)
HOLES[2:5, 3:] = True
FEW = ("--method", "diffpir", "--steps", 3)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})


def done(*words):
    result = run(*words)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(*words):
    result = run(*words)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("given")
    grey = ImageDiffusion(**QUICK).fit(IMAGES, np.arange(16) % 2)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in grey.denoiser_.network.parameters():  # classes make no difference to a network that is new
            weights.add_(0.1 * torch.randn(weights.shape, generator=chance))
    grey.save(root / "grey")
    ImageDiffusion(**QUICK).fit(COLOUR).save(root / "colour")
    rows = RNG.normal(size=(32, 3))
    DiffusionModel(network={"kind": "mlp", "width": 16, "depth": 1}, max_steps=1).fit(rows).save(root / "rows")
    Image.fromarray(IMAGES[0]).save(root / "image.png")
    Image.fromarray(COLOUR[0]).save(root / "colour.png")
    Image.fromarray(np.where(HOLES, 250, 7).astype(np.uint8)).save(root / "mask.png")
    Image.fromarray(shrink(IMAGES[:1], 2)[0]).save(root / "small.png")
    Image.fromarray(IMAGES[0, :6]).save(root / "cut.png")
    np.save(root / "mask.npy", HOLES)
    np.save(root / "image.npy", IMAGES[0])
    broken = rows[:4].copy()
    broken[0, 1], broken[2, :2] = np.nan, np.nan
    np.save(root / "holes.npy", broken)
    return root


def test_a_folder_holds_each_draw_their_mean_their_spread_and_the_arrays(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    said = done(
        *("inpaint", "grey", "image.png", "--mask", "mask.png", "-n", 3, *FEW, "--seed", 4), "-o", tmp_path / "o"
    )
    assert "3 draws by diffpir in" in said and said.endswith(f"{tmp_path / 'o'}/")
    how = {"n_draws": 3, "method": "diffpir", "n_steps": 3, "random_state": 4}
    expected = load(folder / "grey").inpaint(IMAGES[0], HOLES, **how)
    found = np.load(tmp_path / "o" / "result.npz")
    assert (found["draws"] == expected.draws).all() and (found["mean"] == expected.mean).all()
    assert (found["std"] == expected.std).all() and str(found["recipe_method"]) == "diffpir"
    for i in range(3):
        drawn = np.asarray(Image.open(tmp_path / "o" / f"draw_0{i + 1}.png"))
        assert (drawn == expected.draws[i]).all() and (drawn[~HOLES] == IMAGES[0][~HOLES]).all()
    mean = np.asarray(Image.open(tmp_path / "o" / "mean.png"))
    assert (mean == np.rint(expected.mean)).all()
    recipe = plot.read_recipe(tmp_path / "o" / "spread.png")
    assert recipe["run"] == "grey" and recipe["seed"] == "4" and recipe["draws"] == "3"
    assert sorted(each.name for each in (tmp_path / "o").iterdir()) == [
        *(f"draw_0{i}.png" for i in (1, 2, 3)),
        *("mean.png", "result.npz", "spread.png"),
    ]


def test_a_class_and_noise_are_told_and_without_a_place_the_run_takes_the_files(folder, monkeypatch):
    monkeypatch.chdir(folder)
    words = ("inpaint", "grey", "image.npy", "--mask", "mask.npy", "-n", 2, *FEW)
    assert "grey/samples/image_inpainted_n2_seed0/" in done(*words, "--class", "1", "--noise", 3)
    how = {"n_draws": 2, "method": "diffpir", "n_steps": 3, "random_state": 0}
    expected = load("grey").inpaint(IMAGES[0], HOLES, condition=[1], noise=3.0, **how)
    assert (np.load("grey/samples/image_inpainted_n2_seed0/result.npz")["draws"] == expected.draws).all()
    assert (expected.draws != load("grey").inpaint(IMAGES[0], HOLES, **how).draws).any()


def test_particles_tell_the_evidence(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    nearly = np.ones((8, 8), dtype=np.uint8)
    nearly[0, :2] = 0
    np.save("nearly.npy", nearly)
    words = ("inpaint", "grey", "image.npy", "--mask", "nearly.npy", "-n", 2, "--steps", 3, "--noise", 40)
    said = done(*words, "-o", tmp_path / "o.npz")
    assert "2 draws by tds" in said and "log p(seen) -" in said
    assert np.load(tmp_path / "o.npz")["log_evidence"].shape == ()


def test_an_enlarged_image_is_that_of_the_model_in_one_picture_or_in_arrays(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    small = np.asarray(Image.open("small.png"))
    how = {"n_draws": 2, "method": "diffpir", "n_steps": 3, "random_state": 0}
    expected = load("grey").enlarge(small, 2, **how)
    done("upscale", "grey", "small.png", "--factor", 2, "-n", 2, *FEW, "-o", tmp_path / "o.npz")
    assert (np.load(tmp_path / "o.npz")["draws"] == expected.draws).all()
    done("upscale", "grey", "small.png", "-n", 2, *FEW, "-o", tmp_path / "o.png")
    picture = np.asarray(Image.open(tmp_path / "o.png").convert("L"))
    tiles = plot.tile(expected.draws, columns=2, gap=3)
    windows = np.lib.stride_tricks.sliding_window_view(picture, tiles.shape)
    assert (windows == tiles).all((2, 3)).sum() == 1


def test_colours_are_kept(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    done("inpaint", "colour", "colour.png", "--mask", "mask.png", "-n", 2, *FEW, "-o", tmp_path / "o")
    drawn = np.asarray(Image.open(tmp_path / "o" / "draw_02.png"))
    assert drawn.shape == (8, 8, 3) and (drawn[~HOLES] == COLOUR[0][~HOLES]).all()
    done("inpaint", "colour", "colour.png", "--mask", "mask.png", "-n", 2, *FEW, "-o", tmp_path / "o.png")


def test_holes_of_an_array_are_filled_as_the_model_fills_them(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("caminito.posterior.sample.LEAST", 8)
    broken = np.load("holes.npy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateWeights)
        expected = load("rows").impute(broken, n_draws=2, random_state=3)
    said = done("impute", "rows", "holes.npy", "--draws", 2, "--seed", 3, "-o", tmp_path / "full.npy")
    assert "3 holes filled in" in said and said.endswith("full_1.npy to full_2.npy")
    for i in (1, 2):
        full = np.load(tmp_path / f"full_{i}.npy")
        assert (full == expected.draw(i - 1)).all() and (full == broken)[~np.isnan(broken)].all()
    done("impute", "rows", "holes.npy", "--draws", 2, "--seed", 3, "-o", tmp_path / "full.npz")
    found = np.load(tmp_path / "full.npz")
    assert (found["draws"] == expected.draws).all() and (found["std"] == expected.std).all()
    np.testing.assert_array_equal(found["log_evidence"], expected.log_evidence)


def test_draws_are_read_back_from_netcdf(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    Path("colour").rename("año")
    asked = ("inpaint", "año", "colour.png", "--mask", "mask.png", "-n", 2, *FEW, "--seed", 4)
    done(*asked, "-o", tmp_path / "o.npz")
    done(*asked, "-o", tmp_path / "o.nc")
    expected = np.load(tmp_path / "o.npz")
    with netcdf_file(tmp_path / "o.nc", mmap=False) as file:
        assert file.variables["draws"].dimensions == ("draw", "axis_0", "axis_1", "axis_2")
        for name in ("draws", "mean", "std"):
            values = np.array(file.variables[name][...])
            assert values.shape == expected[name].shape and (values == expected[name]).all()
        assert (file.seed, file.method, file.run.decode()) == (b"4", b"diffpir", "año")
    Path("año").rename("colour")
    monkeypatch.setattr("caminito.posterior.sample.LEAST", 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateWeights)
        expected = load("rows").impute(np.load("holes.npy"), n_draws=2, random_state=3)
    done("impute", "rows", "holes.npy", "--draws", 2, "--seed", 3, "-o", tmp_path / "full.nc")
    with netcdf_file(tmp_path / "full.nc", mmap=False) as file:
        draws = file.variables["draws"]
        assert draws.dimensions == ("item", "draw", "axis_0") and (draws[...] == expected.draws).all()
        np.testing.assert_array_equal(file.variables["log_evidence"][...], expected.log_evidence)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("inpaint rows image.npy --mask mask.npy", "inpaint: expected the run of images, rows is one of arrays"),
        ("inpaint nowhere image.png --mask mask.png", "there is nothing at this path"),
        ("inpaint grey absent.png --mask mask.png", "there is nothing at this path"),
        ("inpaint grey image.png --mask absent.png", "--mask: absent.png"),
        ("inpaint grey image.png --mask absent.npy", "--mask absent.npy: expected a file written by numpy.save"),
        ("inpaint grey image.png --mask cut.png", "--mask cut.png: expected 8 x 8 (height x width), as the image has"),
        ("inpaint grey cut.png --mask cut.png", "images: expected shape (8, 8)"),
        ("inpaint grey image.png --mask mask.png -n 0", "-n: expected a whole number of at least 1"),
        ("inpaint grey image.png --mask mask.png --noise -1", "--noise: expected a number >= 0, got -1"),
        ("inpaint grey image.png --mask mask.png --method best", "method: expected one of auto, tds"),
        (
            "inpaint grey image.png --mask mask.png --class 7",
            "class '7' of 'y' was not in the training data. Known classes: 0, 1",
        ),
        ("inpaint grey image.png --mask mask.png -o out.gif", "expected a folder or a file .png, .npz or .nc"),
        ("inpaint grey image.png --mask mask.png -o mask.npy/x.gif", "expected a folder or a file .png, .npz or .nc"),
        ("upscale grey image.png", "expected images smaller than those of this model, 8 x 8, got 8 x 8"),
        ("upscale grey small.png --factor 3", "the factor 3 is 8 x 8, that of the images of this model, got 4 x 4"),
        ("upscale grey small.png --factor 1", "--factor: expected a whole number of at least 2, got 1"),
        ("impute rows image.png", "impute: expected the run of a table for image.png; rows is one of images or arrays"),
        ("impute rows holes.npy --centre", "--centre: not for a run of images or arrays"),
        ("impute rows holes.npy -o full.csv", "--out: expected a file .npy, .npz or .nc, got 'full.csv'"),
        ("impute rows image.npy", "X: expected shape (3,), as an item of the training data has"),
    ],
)
def test_mistakes_are_told_in_one_message_and_leave_nothing(folder, words, message, monkeypatch):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert message in refused(*words.split())
    assert sorted(folder.rglob("*")) == before
