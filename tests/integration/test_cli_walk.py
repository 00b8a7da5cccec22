"""One walk along the main road at the command line: train, sample, evaluate, report, doctor."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import caminito
from caminito.cli.app import app
from caminito.plot import read_recipe

TINY = [
    "--set",
    "network.width=16",
    "--set",
    "network.blocks=1",
    "--set",
    "network.attention=[]",
    "--set",
    "training.validate_every=10",
]


def said(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walk")


@pytest.fixture(scope="module")
def told(place: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return said("train", "digits", *TINY, "--steps", "40")


@pytest.fixture(autouse=True)
def _there(place: Path, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def test_train_says_what_was_chosen_where_it_is_and_what_comes_next(told: str) -> None:
    for words in ("1 797 of 8 x 8", "Chosen from the data", "runs/digits/model", "caminito sample runs/digits"):
        assert words in told
    assert [int(n) for n in re.findall(r"step +(\d+) ", told)] == [10, 20, 30, 40]
    assert "Warning" not in told


def test_the_next_run_of_digits_gets_a_number_of_its_own() -> None:
    said("train", "digits", *TINY, "--steps", "2")
    assert Path("runs/digits-2/model/manifest.json").is_file()


def test_inspect_measures_and_proposes_options_that_train_takes() -> None:
    told = said("inspect", "digits", *TINY, "--steps", "40", "--write", "proposed.yaml")
    for words in ("Understood", "Would be trained", "Would take", "about 40 steps", "caminito train digits --config"):
        assert words in told
    said("train", "digits", "--config", "proposed.yaml", "--out", "proposed")
    assert json.loads(Path("proposed/status.json").read_text())["step"] == 40


def test_a_picture_carries_the_recipe_that_draws_it_again() -> None:
    said(
        "sample", "runs/digits", "-n", 6, "--class", 3, "--steps", 5, "--seed", 7, "--solver", "ddim", "--out", "a.png"
    )
    recipe = read_recipe("a.png")
    assert recipe == {
        "software": f"caminito {caminito.__version__}",
        "run": "digits",
        "trained_steps": "40",
        "steps": "5",
        "solver": "ddim",
        "seed": "7",
        "samples": "6",
        "class": "3",
    }
    again = ["-n", recipe["samples"], "--class", recipe["class"], "--steps", recipe["steps"], "--seed", recipe["seed"]]
    said("sample", f"runs/{recipe['run']}", *again, "--solver", recipe["solver"], "--out", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_arrays_folders_and_pictures_hold_the_same_samples() -> None:
    for target in ("s.npz", "s.npy", "folder"):
        said("sample", "runs/digits", "-n", 5, "--seed", 2, "--steps", 4, "--out", target)
    with np.load("s.npz") as held:
        samples, labels = held["samples"], held["labels"]
    assert np.array_equal(samples, np.load("s.npy"))
    assert samples.shape == (5, 8, 8) and samples.dtype == np.float64
    expected = caminito.load("runs/digits").sample(5, random_state=2, n_steps=4)
    assert np.array_equal(samples, expected)
    files = sorted(Path("folder").iterdir())
    assert [f.name for f in files] == [f"0000{i}.png" for i in range(5)]
    assert [read_recipe(f)["class"] for f in files] == [str(c) for c in labels]


def test_batch_size_changes_memory_and_not_the_samples() -> None:
    for size in (2, 5):
        said("sample", "runs/digits", "-n", 5, "--steps", 4, "--batch-size", size, "--out", f"b{size}.npy")
    assert np.allclose(np.load("b2.npy"), np.load("b5.npy"), atol=1)  # bfloat16 may turn one grey value


def test_calibrated_times_are_kept_with_the_run_and_used_by_sample() -> None:
    shutil.copytree("runs/digits", "calibrated", dirs_exist_ok=True)
    told = said("calibrate", "calibrated", "--steps", 3, "--solver", "ddim")
    for words in ("3 steps of ddim, by search", "noise before", "caminito sample calibrated --steps 3 --solver ddim"):
        assert words in told
    model = caminito.load("calibrated")
    assert model.grids_[0].after < model.grids_[0].before
    for run in ("calibrated", "runs/digits"):
        said("sample", run, "-n", 3, "--steps", 3, "--solver", "ddim", "--out", f"{Path(run).name}.npy")
    assert np.array_equal(np.load("calibrated.npy"), model.sample(3, random_state=0, n_steps=3, solver="ddim"))
    assert not np.array_equal(np.load("calibrated.npy"), np.load("digits.npy"))
    said("evaluate", "calibrated", "-n", 20, "--steps", 3, "--solver", "ddim")
    assert json.loads(Path("calibrated/metrics.json").read_text())["solver"] == "ddim"
    assert "calibrated times: 3 steps of ddim" in Path("calibrated/card.md").read_text()


def test_evaluate_sets_every_figure_beside_its_floor() -> None:
    told = said("evaluate", "runs/digits", "-n", 60, "--steps", 6)
    metrics = json.loads(Path("runs/digits/metrics.json").read_text())
    assert {"c2st", "precision", "recall", "copy_gauge"} <= set(metrics["scores"])
    assert all({"value", "floor", "meaning", "better"} <= set(score) for score in metrics["scores"].values())
    assert metrics["n_samples"] == 60 and metrics["n_held_out"] == 180 and metrics["n_train"] == 1617
    assert "real data" in told and "C2ST" in told
    assert "| precision |" in Path("runs/digits/card.md").read_text()


def test_a_model_that_repeats_its_data_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from caminito.cli.options import source_of
    from caminito.estimators.run import Run

    train, _ = Run.open("runs/digits").split(source_of("digits"))
    shutil.copytree("runs/digits", "parrot", dirs_exist_ok=True)
    monkeypatch.setattr("caminito.estimators.DiffusionModel.sample", lambda self, n, **_: train[:n])
    told = said("evaluate", "parrot", "-n", 50)
    assert "The model repeats what it was shown" in told
    assert json.loads(Path("parrot/metrics.json").read_text())["memorised"] is True


def test_the_report_needs_nothing_outside_itself() -> None:
    said("report", "runs/digits")
    text = Path("runs/digits/report.html").read_text()
    assert not re.findall(r"https?://", text)
    assert "<script" not in text and "<link" not in text and "@import" not in text
    sources = re.findall(r"\b(?:src|href|srcset|poster|data)=['\"]?([^'\" >]{1,30})", text)
    assert "url(" not in text
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    for words in (
        "Samples",
        "From noise to data",
        "How good they are",
        "Are they copies?",
        "Learning",
        "Choices",
        "Time",
    ):
        assert f"<h2>{words}" in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.slow
def test_a_report_without_the_data_says_so_and_is_made() -> None:
    np.save("rows.npy", np.random.default_rng(0).normal(size=(200, 2)))
    said("train", "rows.npy", "--out", "<b>rows", "--steps", "20")
    Path("rows.npy").unlink()
    told = said("report", "<b>rows")
    assert "The page is made without them" in told
    text = Path("<b>rows/report.html").read_text()
    assert "&lt;b&gt;rows" in text and "<b>rows" not in text


def test_doctor_finds_a_sound_run_sound_and_a_damaged_one_damaged() -> None:
    told = said("doctor", "runs/digits")
    assert told.count("  ok ") == 5 and "wrong" not in told
    shutil.copytree("runs/digits", "damaged", dirs_exist_ok=True)
    path = Path("damaged/model/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-9])
    result = CliRunner().invoke(app, ["doctor", "damaged"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "wrong model" in re.sub(r" +", " ", result.output) and "checksum" in result.output
