"""`sample --condition-image`: the values that a model is told are those that the file holds."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from caminito import DiffusionModel, ImageDiffusion, load
from caminito.cli.app import app
from caminito.cli.condition_image import files_of, read_items

TINY = {"kind": "unet", "width": 16, "multipliers": [1], "blocks": 1, "attention": []}
QUICK = {"network": TINY, "max_steps": 1, "n_steps": 2, "random_state": 0}
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (16, 8, 8), dtype=np.uint8)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models that are told images, and files for them."""
    root = tmp_path_factory.mktemp("told")
    ImageDiffusion(**QUICK, upscale=2).fit(IMAGES, np.arange(16) % 2).save(root / "stage")
    colour = RNG.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    two = {"mask": IMAGES / 255, "coarse": colour[:, ::2, ::2]}
    ImageDiffusion(**QUICK).fit(colour, condition=two).save(root / "two")
    ImageDiffusion(**QUICK).fit(IMAGES).save(root / "plain")
    fields = RNG.normal(size=(16, 8, 8))
    DiffusionModel(**QUICK).fit(fields, condition={"start": fields[::-1]}).save(root / "fields")
    Image.fromarray(IMAGES[0, ::2, ::2]).save(root / "small.png")
    np.save(root / "small.npy", IMAGES[0, ::2, ::2])
    np.save(root / "three.npy", IMAGES[:3, ::2, ::2])
    np.save(root / "field.npy", fields[0])
    (root / "cut.png").write_bytes((root / "small.png").read_bytes()[:60])
    (root / "cut.npy").write_bytes((root / "small.npy").read_bytes()[:130])
    (root / "words.txt").write_text("not an image")
    return root


def drawn(root, model, *words):
    result = run("sample", root / model, *words, "-o", root / "drawn.npz")
    assert result.exit_code == 0, result.output
    return np.load(root / "drawn.npz"), result.output


def test_an_image_is_told_to_every_sample_as_the_array_of_its_pixels_is(folder):
    expected = load(folder / "stage").sample(2, condition={"low": IMAGES[0, ::2, ::2], "y": [1, 1]}, random_state=0)
    for file in ("small.png", "small.npy", "low=" + str(folder / "small.png")):
        text = file if "=" in file else folder / file
        found, said = drawn(folder, "stage", "-n", 2, "--class", 1, "--condition-image", text)
        assert np.array_equal(found["samples"], expected) and found["labels"].tolist() == [1, 1]
        assert "this run enlarges" not in said and str(found["recipe_condition_image"]) == str(text)
    assert not np.array_equal(drawn(folder, "stage", "-n", 2, "--class", 1)[0]["samples"], expected)


def test_an_array_of_several_has_a_sample_for_each(folder):
    found, _ = drawn(folder, "stage", "--condition-image", folder / "three.npy")
    low = {"low": IMAGES[:3, ::2, ::2]}
    assert np.array_equal(found["samples"], load(folder / "stage").sample(3, condition=low, random_state=0))
    result = run("sample", folder / "stage", "-n", 5, "--condition-image", folder / "three.npy")
    assert result.exit_code == 2 and "a sample for each of the 3 rows" in " ".join(result.output.split())
    (folder / "asked.csv").write_text("y\n0\n1\n")
    result = run(
        *("sample", folder / "stage", "--condition", folder / "asked.csv", "--condition-image", folder / "three.npy")
    )
    assert result.exit_code == 2 and "asked.csv: there is a sample for each of the 3" in " ".join(result.output.split())


def test_each_of_several_is_named_and_read_in_the_colours_and_units_of_its_data(folder, tmp_path):
    model = load(folder / "two")
    grey, colour = RNG.integers(0, 256, (8, 8), dtype=np.uint8), RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey / np.float32(255)).save(tmp_path / "real.tiff")
    Image.fromarray(colour).save(tmp_path / "colour.png")
    asked = [f"mask={tmp_path / 'grey.png'}", f"coarse={tmp_path / 'colour.png'}"]
    assert list(files_of(model, asked)) == ["mask", "coarse"]
    assert np.array_equal(read_items(model, "coarse", tmp_path / "colour.png"), colour[None])
    low, high = model.conditions_.columns["mask"].codec.limits
    for name in ("grey.png", "alpha.png", "deep.png"):
        found = read_items(model, "mask", tmp_path / name)
        assert found.dtype == np.float64 and np.allclose(found, low + grey[None] / 255 * (high - low), atol=1e-12)
    assert np.allclose(read_items(model, "mask", tmp_path / "real.tiff"), grey[None] / 255)
    found, _ = drawn(folder, "two", "-n", 2, *(word for each in asked for word in ("--condition-image", each)))
    told = {"mask": low + grey / 255 * (high - low), "coarse": colour}
    assert np.array_equal(found["samples"], model.sample(2, condition=told, random_state=0))


def test_a_model_of_arrays_is_told_arrays(folder):
    found, _ = drawn(folder, "fields", "-n", 2, "--condition-image", folder / "field.npy")
    told = {"start": np.load(folder / "field.npy")}
    assert np.array_equal(found["samples"], load(folder / "fields").sample(2, condition=told, random_state=0))


@pytest.mark.parametrize(
    ("model", "files", "message"),
    [
        ("plain", ["small.png"], "this one knows no conditions. One that enlarges is trained with --set upscale=2"),
        ("stage", ["nowhere.png"], "there is nothing at this path"),
        ("stage", ["cut.png"], "this one cannot be read: damaged or cut"),
        ("stage", ["words.txt"], "this one cannot be read: not an image, whatever its name says"),
        ("stage", ["cut.npy"], "cut.npy: expected a file written by numpy.save"),
        ("stage", ["field.npy"], "expected an array of shape (4, 4) for 'low', or (n, 4, 4) for n samples, got (8, 8)"),
        ("stage", ["large.png"], "expected an image of 4 x 4 (height x width) for 'low', got 6 x 5. Resize it first"),
        ("stage", ["small.png", "small.npy"], "'low' is given twice"),
        ("stage", ["colour=small.png"], "condition 'colour' takes no image in this run. Known: low"),
        ("two", ["small.png"], "expected NAME=FILE, where NAME is one of mask, coarse"),
        ("fields", ["small.png"], "expected a .npy array of shape (8, 8) for 'start', which has no image files"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_reason(folder, model, files, message, monkeypatch):
    monkeypatch.chdir(folder)
    Image.new("L", (5, 6)).save("large.png")
    result = run("sample", model, "-n", 2, *(word for file in files for word in ("--condition-image", file)))
    assert result.exit_code == 2 and message in " ".join(result.output.split()), result.output


def test_a_column_of_the_table_is_not_given_again_and_the_run_of_a_table_takes_none(folder, tmp_path):
    (tmp_path / "asked.csv").write_text("low\n3\n")
    both = ("--condition", tmp_path / "asked.csv", "--condition-image", folder / "small.png")
    result = run("sample", folder / "stage", *both)
    assert result.exit_code == 2 and "has a column 'low' already" in " ".join(result.output.split())
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{i % 5},{i % 3}\n" for i in range(30)))
    assert run("train", tmp_path / "rows.csv", "--out", tmp_path / "rows", "--mode", "reveal").exit_code == 0
    result = run("sample", tmp_path / "rows", "--condition-image", folder / "small.png")
    assert result.exit_code == 2 and "--condition-image: not for the run of a table" in " ".join(result.output.split())
