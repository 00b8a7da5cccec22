"""Mistakes at the command line: one message that says how to go on, status 2, no traceback, and nothing half-made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from caminito.cli.app import app

TINY = [
    "--set",
    "network.width=16",
    "--set",
    "network.blocks=1",
    "--set",
    "network.attention=[]",
    "--set",
    "training.batch_size=16",
    "--steps",
    "4",
]


def said(*arguments: str) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300"})


def refused(*arguments: str) -> str:
    """The message of a command that has to fail."""
    result = said(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "digits"
    result = said("train", "digits", "--out", str(path), *TINY)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def images(folder: Path, count: int, size: tuple[int, int] = (8, 8)) -> Path:
    folder.mkdir(exist_ok=True)
    numbers = np.random.default_rng(size[0])
    for i in range(count):
        Image.fromarray(numbers.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{size[0]}_{i:03}.png")
    return folder


@pytest.mark.parametrize("command", ["inspect", "train"])
def test_data_that_cannot_be_learnt_from_are_refused_and_leave_no_run(here: Path, command: str) -> None:
    (here / "empty").mkdir()
    assert "found an empty folder" in refused(command, "empty")
    assert "at least 2 items" in refused(command, str(images(here / "one", 1)))
    assert "nothing at this path" in refused(command, "absent")
    np.save(here / "constant.npy", np.ones((20, 3)))
    assert "identical" in refused(command, "constant.npy")
    np.save(here / "nan.npy", np.full((20, 3), np.nan))
    assert "NaN" in refused(command, "nan.npy")
    assert not (here / "runs").exists()


def test_mixed_sizes_say_what_to_do_and_resize_does_it(here: Path) -> None:
    images(images(here / "mixed", 12), 12, (10, 9))
    assert "--resize" in refused("train", "mixed")
    assert "expected a side such as 64" in refused("train", "mixed", "--resize", "big")
    done = said("train", "mixed", "--resize", "8x6", "--out", "r", *TINY)
    assert done.exit_code == 0, done.output


def test_a_run_keeps_the_cap_on_pixels_it_was_started_with(here: Path) -> None:
    images(images(here / "data", 150), 1, (8, 16))
    assert "--max-pixels: expected a whole number of at least 1" in refused("inspect", "data", "--max-pixels", "0")
    assert "--max-pixels 64 (in Python max_pixels=64)" in refused("train", "data", "--max-pixels", "63")
    done = said("train", "data", "--max-pixels", "100", "--out", "r", *TINY)
    assert done.exit_code == 0, done.output
    assert "8x16 = 128 pixels" in done.output
    done = said("evaluate", "r", "-n", "10", "--steps", "2")  # without the cap, these would be other data
    assert done.exit_code == 0, done.output
    assert "--max-pixels" in refused("train", "--resume", "r", "--max-pixels", "100")


def test_unreadable_files_are_listed(here: Path) -> None:
    images(here / "some", 150)
    (here / "some" / "words.png").write_text("not a picture")
    done = said("train", "some", "--out", "r", *TINY)
    assert done.exit_code == 0, done.output
    assert "words.png" in done.output and "not an image" in done.output


def test_a_class_with_one_member_is_pointed_at(here: Path) -> None:
    images(here / "data" / "many", 12) if (here / "data").mkdir() is None else None
    images(here / "data" / "single", 1)
    done = said("train", "data", "--out", "r", *TINY)
    assert done.exit_code == 0, done.output
    assert "single" in done.output and "can only be copies" in done.output


def test_numbers_below_one_are_refused(run: Path) -> None:
    assert "-n: expected a whole number of at least 1, got 0" in refused("sample", str(run), "-n", "0")
    assert "--steps: expected a whole number of at least 1" in refused("sample", str(run), "--steps", "0")
    assert "--batch-size: expected a whole number of at least 1" in refused("sample", str(run), "--batch-size", "0")
    assert "--seed: expected a whole number of at least 0" in refused("sample", str(run), "--seed", "-1")
    assert "-n: expected a whole number of at least 10, got 5" in refused("evaluate", str(run), "-n", "5")
    assert "--steps: expected a whole number of at least 1" in refused("train", "digits", "--steps", "0")
    assert "--minutes: expected more than 0" in refused("train", "digits", "--minutes", "0")


def test_an_unknown_class_is_answered_with_the_known_ones(run: Path) -> None:
    message = refused("sample", str(run), "--class", "eleven")
    assert "'eleven'" in message and "Known classes: 0, 1, 2" in message


def test_an_unknown_solver_is_answered_with_the_known_ones(run: Path) -> None:
    for command in ("sample", "calibrate", "evaluate"):
        assert "dpmpp2m" in refused(command, str(run), "--solver", "eular")


def test_an_unknown_method_of_calibration_is_answered_with_the_known_ones(run: Path) -> None:
    message = refused("calibrate", str(run), "--method", "best")
    assert "--method: expected one of auto, search, klub, score, trajectory, got 'best'" in message
    assert "draws noise on the way" in refused("calibrate", str(run), "--solver", "ancestral", "--method", "search")


@pytest.mark.parametrize(
    ("assignment", "advice"),
    [
        ("max_stpes=3", "Did you mean max_steps?"),
        ("training.batchsize=3", "Did you mean training.batch_size?"),
        ("network.widht=8", "Did you mean 'width'?"),
        ("process.kind=vpp", "Did you mean 'vp'?"),
        ("training.batch_size=none", "valid integer"),
        ("prediction=noise", "'eps'"),
        ("batch_size", "expected name=value"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(here: Path, assignment: str, advice: str) -> None:
    message = refused("train", "digits", "--set", assignment)
    assert advice in message
    assert not (here / "runs").exists()


def test_config_files_are_read_and_checked(here: Path) -> None:
    assert "expected a YAML file" in refused("train", "digits", "--config", "absent.yaml")
    Path("list.yaml").write_text("- a\n- b\n")
    assert "expected lines such as" in refused("train", "digits", "--config", "list.yaml")
    Path("typo.yaml").write_text("traning:\n  batch_size: 3\n")
    assert "Did you mean training?" in refused("train", "digits", "--config", "typo.yaml")
    Path("good.yaml").write_text("network:\n  width: 16\n  blocks: 1\n  attention: []\ntraining:\n  batch_size: 8\n")
    done = said("train", "digits", "--config", "good.yaml", "--steps", "3")
    assert done.exit_code == 0, done.output
    assert "batch_size: 8" in Path("runs/digits/config.yaml").read_text()


def test_set_reaches_into_options_that_a_file_left_at_auto(here: Path) -> None:
    Path("auto.yaml").write_text("network: auto\nprocess: auto\n")
    done = said("train", "digits", "--config", "auto.yaml", "--out", "r", *TINY)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", ["sample", "calibrate", "evaluate", "report", "doctor"])
def test_what_is_not_a_run_is_refused(here: Path, command: str) -> None:
    (here / "folder").mkdir()
    assert "nothing at this path" in refused(command, "absent")
    assert "no config.yaml" in refused(command, "folder")


def test_a_run_is_never_overwritten(run: Path) -> None:
    message = refused("train", "digits", "--out", str(run))
    assert "holds a run already" in message and "--out" in message


def test_resume_takes_no_other_options(run: Path) -> None:
    assert "--steps, --seed" in refused("train", "--resume", str(run), "--steps", "5", "--seed", "1")
    assert "is finished" in refused("train", "--resume", str(run))
    assert "expected DATA" in refused("train")


def test_places_that_cannot_hold_samples_are_refused_before_drawing(run: Path, here: Path) -> None:
    assert ".png, .npz or .npy" in refused("sample", str(run), "--out", "samples.jpg")
    Path("taken").write_text("")
    assert "this is a file" in refused("sample", str(run), "--out", "taken")
    Path("folder.png").mkdir()
    assert "this is a folder" in refused("sample", str(run), "--out", "folder.png")


def test_rows_of_numbers_have_no_picture(here: Path) -> None:
    np.save("rows.npy", np.random.default_rng(0).normal(size=(60, 4)))
    done = said("train", "rows.npy", "--out", "r", "--steps", "3")
    assert done.exit_code == 0, done.output
    assert "no picture" in refused("sample", "r", "--out", "x.png")
    assert said("sample", "r", "-n", "5").output.rstrip().endswith(".npz")


def test_evaluating_without_the_data_says_where_to_put_them(here: Path) -> None:
    folder = images(here / "data", 40)
    assert said("train", "data", "--out", "r", *TINY, "--set", "validation_fraction=0.3").exit_code == 0
    folder.rename(here / "moved")
    assert "no longer at" in refused("evaluate", "r")
    done = said("evaluate", "r", "moved")
    assert done.exit_code == 0, done.output
    (here / "moved" / "8_000.png").unlink()
    assert "does not hold the data" in refused("evaluate", "r", "moved")


def test_too_few_held_out_items_say_so_before_sampling(here: Path) -> None:
    images(here / "data", 20)
    assert said("train", "data", "--out", "r", *TINY).exit_code == 0
    assert "at least 10 held-out items" in refused("evaluate", "r")
