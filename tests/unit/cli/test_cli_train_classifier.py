"""`caminito train-classifier`: what it writes, and what it refuses before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from caminito.cli import train_classifier as command
from caminito.cli.app import app
from caminito.data import load_digits
from caminito.estimators import NoisyClassifier
from caminito.estimators.run import Run, load

TINY = ["--set", "network.width=8", "--set", "network.blocks=1", "--set", "network.attention=[]", "--steps", "2"]
IMAGES, DIGITS = load_digits()


def said(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300"})


def refused(*arguments: str | Path) -> str:
    """The message of a command that has to fail."""
    result = said(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and "Training" not in result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of digits without classes, with a classifier of two steps, and the same digits as an array."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "some.npz", x=IMAGES[:300], y=DIGITS[:300])
    done = said("train", folder / "some.npz", "--no-classes", "--out", folder / "r", *TINY)
    assert done.exit_code == 0, done.output
    done = said("train-classifier", folder / "some.npz", "--run", folder / "r", "--steps", "2")
    assert done.exit_code == 0, done.output
    (folder / "said.txt").write_text(done.output, encoding="utf-8")
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of one's own with that run in it."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def test_the_classifier_lies_in_the_run_and_sees_what_its_model_sees(trained: Path) -> None:
    classifier = NoisyClassifier.load(trained / "r" / "classifier")
    model = load(trained / "r")
    assert classifier.n_steps_ == 2
    assert classifier.classes_.tolist() == list(range(10))
    assert classifier.codec_.to_dict() == model.codec_.to_dict()
    assert classifier.process_.sigma_max == model.process_.sigma_max
    assert sorted(path.name for path in (trained / "r" / "classifier").iterdir()) == [
        "manifest.json",
        "weights.safetensors",
    ]


def test_it_says_how_well_held_out_items_are_told_apart(trained: Path) -> None:
    text = (trained / "said.txt").read_text(encoding="utf-8")
    run = Run.open(trained / "r")
    items, labels = IMAGES[:300], DIGITS[:300]
    held = np.setdiff1d(np.arange(300), _trained_on(run))
    assert f"Told apart, of {len(held)} held-out items" in text
    assert f"caminito sample {trained / 'r'} --class 9 --guidance 2 --guidance-by classifier" in text
    found = NoisyClassifier.load(trained / "r" / "classifier").accuracy_by_noise(items[held], labels[held])
    for level in found:
        assert f"{100 * level.accuracy:.1f} %" in text
    share = np.bincount(labels[held]).max() / len(held)
    assert f"right for {100 * share:.1f} %" in text


def _trained_on(run: Run) -> np.ndarray:
    from caminito.data import open_source

    return run.rows(open_source(run.facts["path"]))[0]


def test_one_seed_gives_one_classifier_wherever_it_goes(here: Path) -> None:
    for out, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        done = said("train-classifier", "some.npz", "--run", "r", "--steps", "2", "--seed", seed, "--out", out)
        assert done.exit_code == 0, done.output
    digests = [json.loads(Path(out, "manifest.json").read_text())["weights"]["sha256"] for out in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_a_classifier_is_replaced_only_when_asked(here: Path) -> None:
    before = (here / "r/classifier/manifest.json").read_bytes()
    message = refused("train-classifier", "some.npz", "--run", "r", "--steps", "2")
    assert "r/classifier holds a classifier already (2 steps)" in message and "--overwrite" in message
    assert (here / "r/classifier/manifest.json").read_bytes() == before
    done = said("train-classifier", "some.npz", "--run", "r", "--steps", "3", "--overwrite")
    assert done.exit_code == 0, done.output
    assert NoisyClassifier.load("r/classifier").n_steps_ == 3
    for flags in ([], ["--overwrite"]):  # what is no classifier is never replaced
        assert "not an empty folder" in refused("train-classifier", "some.npz", "--run", "r", "--out", "r", *flags)


class Pressed(command.Stop):
    """Ctrl-C before the first step ends."""

    def __enter__(self) -> Pressed:
        self.requested = True
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_ctrl_c_keeps_what_was_learnt_and_never_a_lesser_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "Stop", Pressed)
    stopped = said("train-classifier", "some.npz", "--run", "r", "--steps", "50", "--out", "new")
    assert stopped.exit_code == 130 and "Interrupted at step 1" in stopped.output
    assert NoisyClassifier.load("new").n_steps_ == 1
    stopped = said("train-classifier", "some.npz", "--run", "r", "--steps", "50", "--overwrite")
    assert stopped.exit_code == 130 and "r/classifier is as it was" in stopped.output
    assert NoisyClassifier.load("r/classifier").n_steps_ == 2


def test_data_that_cannot_teach_it_are_refused(here: Path) -> None:
    shutil.rmtree("r/classifier")
    np.save("plain.npy", IMAGES[:60])
    assert "at least two classes, got none" in refused("train-classifier", "plain.npy", "--run", "r")
    np.savez("one.npz", x=IMAGES[:60], y=np.zeros(60, dtype=int))
    assert "got one class alone" in refused("train-classifier", "one.npz", "--run", "r")
    np.savez("wide.npz", x=np.repeat(IMAGES[:60], 2, axis=2), y=DIGITS[:60])
    message = refused("train-classifier", "wide.npz", "--run", "r")
    assert "expected images of 8 x 8, as r was trained on, got images of 8 x 16" in message
    Path("table.csv").write_text("a,b\n1,2\n3,4\n")
    assert "got a table" in refused("train-classifier", "table.csv", "--run", "r")
    assert "nothing at this path" in refused("train-classifier", "absent", "--run", "r")
    assert not Path("r/classifier").exists()


def test_runs_that_have_no_network_are_refused(here: Path) -> None:
    Path("table.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 3}" for i in range(40)))
    done = said("train", "table.csv", "--out", "t")
    assert done.exit_code == 0, done.output
    message = refused("train-classifier", "some.npz", "--run", "t")
    assert "train-classifier: expected the run of a network, t is one of a table" in message
    assert "nothing at this path" in refused("train-classifier", "some.npz", "--run", "absent")
    assert "--steps: expected a whole number" in refused("train-classifier", "some.npz", "--run", "r", "--steps", "0")
    assert "--minutes: expected more than 0" in refused("train-classifier", "some.npz", "--run", "r", "--minutes", "0")
    assert "--seed: expected a whole number" in refused("train-classifier", "some.npz", "--run", "r", "--seed", "-1")
