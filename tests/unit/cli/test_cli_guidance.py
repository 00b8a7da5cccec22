"""Conditions and guidance on the command line."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from caminito import load, plot
from caminito.cli.app import app
from caminito.data import open_source
from caminito.estimators.picture import picture
from caminito.estimators.run import Run

CAPTIONS = ["a dark square", "a bright square", "a dark stripe", "a bright stripe"]
TINY = ["--set", "network.kind=unet", "--set", "network.width=32", "--set", "network.multipliers=[1, 1]"]
TINY += ["--set", "network.blocks=1", "--set", "n_steps=3", "--set", "training.snapshots=4"]


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on images with captions."""
    root = tmp_path_factory.mktemp("captioned")
    rng, lines = np.random.default_rng(0), ["file_name,text"]
    (root / "data").mkdir()
    for i in range(24):
        which = i % 4
        image = rng.integers(0, 30, (8, 8), dtype=np.uint8)
        image[2:6, 2:6] += 60 if which % 2 == 0 else 200
        if which > 1:
            image[:, 3:5] += 20
        Image.fromarray(image).save(root / "data" / f"{i:02}.png")
        lines.append(f"{i:02}.png,{CAPTIONS[which]}")
    (root / "data" / "metadata.csv").write_text("\n".join(lines))
    result = run("train", root / "data", "--out", root / "run", "--steps", 8, *TINY)
    assert result.exit_code == 0, result.output
    assert "sampled by what they say: --text" in result.output
    return root / "run"


def test_text_and_guidance_reach_the_samples_and_the_recipe_says_so(trained, tmp_path):
    target = tmp_path / "drawn.png"
    result = run(
        "sample", trained, "-n", 2, "--text", CAPTIONS[0], "--guidance", 3, "--guidance-interval", ".1..5", "-o", target
    )
    assert result.exit_code == 0, result.output
    with Image.open(target) as image:
        facts = image.info
    assert facts["text"] == CAPTIONS[0]
    assert facts["guidance"] == "{'scale': 3.0, 'interval': (0.1, 5.0)}"
    plain = tmp_path / "plain.npz"
    other = tmp_path / "other.npz"
    assert run("sample", trained, "-n", 2, "--text", CAPTIONS[0], "-o", plain).exit_code == 0
    assert run("sample", trained, "-n", 2, "--text", CAPTIONS[1], "-o", other).exit_code == 0
    assert not np.array_equal(np.load(plain)["samples"], np.load(other)["samples"])


@pytest.mark.parametrize("interval", ["0.2..", "0.2..inf", "0.2,", "0.2,inf", " .2 , inf "])
def test_the_guidance_interval_may_be_open_above(trained, tmp_path, interval):
    target = tmp_path / "drawn.npz"
    words = ("sample", trained, "-n", 2, "--text", CAPTIONS[0], "--guidance", 3, "--guidance-interval", interval)
    result = run(*words, "-o", target)
    assert result.exit_code == 0, result.output
    found = np.load(target)
    assert str(found["recipe_guidance"]) == "{'scale': 3.0, 'interval': (0.2, None)}"
    how = {"scale": 3.0, "interval": (0.2, 1e9)}
    expected = load(trained).sample(2, condition={"text": CAPTIONS[0]}, random_state=0, guidance=how)
    assert np.array_equal(found["samples"], expected)
    assert run(*words).exit_code == 0
    assert len(list((trained / "samples").glob("*interval0-2-inf.png"))) == 1


def test_a_table_of_conditions_draws_a_sample_per_row(trained, tmp_path):
    table = tmp_path / "asked.csv"
    table.write_text("text\n" + "\n".join([CAPTIONS[0], CAPTIONS[3], '""']))
    result = run("sample", trained, "--condition", table, "-o", tmp_path / "drawn.npz")
    assert result.exit_code == 0, result.output
    assert len(np.load(tmp_path / "drawn.npz")["samples"]) == 3
    result = run("sample", trained, "--condition", table, "-n", 5)
    assert result.exit_code == 2 and "a sample for each of the 3 rows" in result.output.replace("\n", " ")


def test_an_earlier_version_of_the_run_may_lead(trained, tmp_path):
    result = run("sample", trained, "-n", 2, "--guidance", 2, "--guide", "step:4", "-o", tmp_path / "drawn.npz")
    assert result.exit_code == 0, result.output
    result = run("sample", trained, "-n", 2, "--guidance", 2, "--guide", "step:x")
    assert result.exit_code == 2 and "expected step:N" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--guidance-interval", ".1..1"], "give --guidance W"),
        (["--guidance", 2, "--guidance-interval", "1"], "expected LOW..HIGH"),
        (["--guidance", 2, "--guidance-interval", ".."], "expected LOW..HIGH"),
        (["--guidance", 2, "--guidance-interval", ",2"], "expected LOW..HIGH"),
        (["--guidance", 2, "--guidance-interval", "inf,2"], "expected LOW..HIGH"),
        (["--guidance", 2, "--guidance-interval", ".2..1..2"], "expected LOW..HIGH"),
        (["--guidance", 2, "--guidance-by", "classifier"], "Train one: caminito train-classifier"),
        (["--guidance", 2, "--guide", "nowhere"], "there is none at nowhere"),
        (["--guidance", 2, "--guidance-by", "magic"], "guidance.by"),
        (["--class", 3], "condition 'y' is unknown to this model. Known: text"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_reason(trained, words, message):
    result = run("sample", trained, "-n", 2, *words)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_what_a_table_of_conditions_says_is_not_said_twice(trained, tmp_path):
    table = tmp_path / "asked.csv"
    table.write_text(f"text\n{CAPTIONS[0]}\n")
    result = run("sample", trained, "--condition", table, "--text", CAPTIONS[1])
    assert result.exit_code == 2 and "has a column 'text' already" in " ".join(result.output.split())


def test_the_run_of_a_table_is_no_guide(trained, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n" + "".join(f"{i % 5},{i % 3}\n" for i in range(30)))
    assert run("train", table, "--out", tmp_path / "rows", "--mode", "reveal").exit_code == 0
    result = run("sample", trained, "-n", 2, "--guidance", 2, "--guide", tmp_path / "rows")
    assert result.exit_code == 2 and "is one of a table" in " ".join(result.output.split())


def test_text_is_refused_where_none_was_trained_on(tmp_path):
    assert run("train", "digits", "--out", tmp_path / "run", "--steps", 2, *TINY).exit_code == 0
    result = run("sample", tmp_path / "run", "--text", "seven")
    assert result.exit_code == 2 and "this one knows none" in " ".join(result.output.split())
    result = run("sample", tmp_path / "run", "-n", 2, "--class", 7, "--guidance", 2, "-o", tmp_path / "drawn.npz")
    assert result.exit_code == 0 and np.load(tmp_path / "drawn.npz")["labels"].tolist() == [7, 7]


def test_evaluation_asks_for_what_held_out_items_are(trained, tmp_path):
    found = Run.open(trained)
    source = open_source(str(trained.parent / "data"))
    rows = np.array([0, 5, 10])
    assert found.asked_of(source, rows) == {"text": [source.captions[row] for row in rows]}
    result = run("train", "digits", "--out", tmp_path / "run", "--steps", 2, "--set", "upscale=2", *TINY)
    assert result.exit_code == 0, result.output
    digits = open_source("digits")
    asked = Run.open(tmp_path / "run").asked_of(digits, rows)
    assert asked["low"].shape == (3, 4, 4)
    assert asked["y"].tolist() == [int(digits.classes[digits.labels[row]]) for row in rows]
    result = run("evaluate", tmp_path / "run", "-n", 20, "--steps", 2)
    assert result.exit_code == 0, result.output


def test_pictures_of_training_show_samples_of_held_out_captions(trained, tmp_path):
    found, source = Run.open(trained), open_source(str(trained.parent / "data"))
    _, held = found.rows(source)
    assert 0 < len(held) < 24
    rows = np.concatenate([held, np.setdiff1d(np.arange(24), held)])
    drawn = load(trained).sample(24, condition=found.asked_of(source, rows), random_state=0)
    with Image.open(trained / "samples" / "final.png") as image:
        assert np.array_equal(np.asarray(image), plot.tile(drawn, columns=8))
        assert image.info["samples"] == "24" and "held out" in image.info["condition"]
    assert not np.array_equal(drawn, load(trained).sample(24, random_state=0))
    result = run("train", "digits", "--out", tmp_path / "run", "--steps", 2, "--set", "upscale=2", *TINY)
    assert result.exit_code == 0, result.output
    stage, digits = Run.open(tmp_path / "run"), open_source("digits")
    asked = stage.asked_of(digits, stage.rows(digits)[1][:64])
    drawn = load(tmp_path / "run").sample(64, condition=asked, random_state=0)
    with Image.open(tmp_path / "run" / "samples" / "final.png") as image:
        assert np.array_equal(np.asarray(image), picture(load(tmp_path / "run"), drawn, 8))


def test_captions_may_be_left_out(trained, tmp_path):
    result = run("train", trained.parent / "data", "--out", tmp_path / "run", "--steps", 2, "--no-texts", *TINY)
    assert result.exit_code == 0, result.output
    result = run("sample", tmp_path / "run", "-n", 2, "--text", "a dark square")
    assert result.exit_code == 2 and "Train it on data with captions" in " ".join(result.output.split())
