"""The run directory: what it holds, what it refuses, and that stopping changes nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import caminito
from caminito import _files
from caminito._errors import ConfigError, NonFiniteError, RunError, StorageError
from caminito.data import MAX_PIXELS, Source, open_source
from caminito.estimators import ModelConfig, parse_config
from caminito.estimators.events import EventLog
from caminito.estimators.folder import config_text
from caminito.estimators.reading import Reading
from caminito.estimators.run import Run, load
from caminito.plot import read_recipe

TINY = {
    "network": {"width": 16, "blocks": 1, "multipliers": [1, 1], "attention": []},
    "max_steps": 12,
    "training": {"validate_every": 5, "batch_size": 16, "checkpoint_minutes": 0, "validation_items": 32},
}


def tiny(**changes: object) -> ModelConfig:
    return parse_config(TINY | changes)


@pytest.fixture(scope="module")
def digits() -> Source:
    return open_source("digits")


@pytest.fixture(scope="module")
def trained(digits: Source, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.create(tmp_path_factory.mktemp("runs") / "digits", tiny(), digits)
    for _ in run.train(digits):
        pass
    return run


def weights(run: Run) -> bytes:
    return (run.path / "model" / "weights.safetensors").read_bytes()


def stopped(path: Path, source: Source, step: int) -> Run:
    """A run whose consumer left after `step` steps."""
    run = Run.create(path, tiny(), source)
    with closing(run.train(source)) as steps:
        for progress in steps:
            if progress.step == step:
                break
    return run


def test_a_finished_run_holds_every_file_of_the_design(trained: Run) -> None:
    names = {p.name for p in trained.path.iterdir()}
    assert names >= {"config.yaml", "data.json", "env.json", "events.jsonl", "status.json", "card.md"}
    assert names >= {"samples", "checkpoints", "model"}
    assert trained.status["state"] == "finished"
    assert trained.status["step"] == 12


def test_load_gives_back_arrays_like_the_training_array(trained: Run, digits: Source) -> None:
    samples = caminito.load(trained.path).sample(100)
    assert samples.shape == (100, 8, 8)
    assert samples.dtype == digits.items.dtype
    assert samples.min() >= digits.items.min() and samples.max() <= digits.items.max()
    assert np.array_equal(samples, np.rint(samples))  # whole numbers came in


def test_a_run_samples_the_same_wherever_it_lies(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load(trained.path).sample(3, random_state=4)
    shutil.copytree(trained.path, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere" / "checkpoints")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(load("elsewhere").sample(3, random_state=4), here)
    assert np.array_equal(load("elsewhere/model").sample(3, random_state=4), here)


def test_config_yaml_is_read_back_as_the_same_options(trained: Run) -> None:
    assert Run.open(trained.path).config == trained.config
    assert parse_config(yaml.safe_load(config_text(tiny(minutes=0.5, process="vp")))) == tiny(minutes=0.5, process="vp")


def test_a_seed_left_open_is_drawn_once_and_written_down(digits: Source, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", tiny(random_state=None), digits)
    assert isinstance(run.config.random_state, int)
    assert Run.open(run.path).config.random_state == run.config.random_state


def test_the_log_tells_steps_losses_per_level_and_what_was_chosen(trained: Run) -> None:
    events = list(trained.events)
    kinds = [e["event"] for e in events]
    assert kinds[0] == "start" and kinds[-1] == "finish"
    checks = [e for e in events if e["event"] == "validation"]
    assert [e["step"] for e in checks] == [5, 10, 12]
    assert all(len(e["levels"]) == len(e["logsnr"]) for e in checks)
    assert "process" in next(e for e in events if e["event"] == "choices")["choices"]


def test_pictures_carry_their_recipe(trained: Run) -> None:
    recipe = read_recipe(trained.path / "samples" / "final.png")
    assert recipe["run"] == "digits"
    assert recipe["trained_steps"] == "12"
    assert recipe["seed"] == "0"
    assert recipe["solver"] == "ancestral-large"
    assert recipe["steps"] == "48"


def test_stopping_twice_leaves_the_weights_of_the_run_that_was_not(
    trained: Run, digits: Source, tmp_path: Path
) -> None:
    run = stopped(tmp_path / "r", digits, 4)
    assert run.status["state"] == "interrupted"
    again = Run.open(run.path)
    with closing(again.train(digits, resume=True)) as steps:
        assert [next(steps).step for _ in range(3)] == [5, 6, 7]
    last = Run.open(run.path)
    for _ in last.train(digits, resume=True):
        pass
    assert weights(last) == weights(trained)
    assert [e["step"] for e in last.events if e["event"] == "resume"] == [4, 7]


def test_an_interrupted_run_can_be_sampled(digits: Source, tmp_path: Path) -> None:
    run = stopped(tmp_path / "r", digits, 4)
    model = load(run.path)
    assert model.n_steps_ == 4
    assert model.sample(2).shape == (2, 8, 8)


def test_an_interruption_in_the_middle_of_a_step_keeps_the_last_checkpoint(
    trained: Run, digits: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "r", tiny(), digits)
    steps = run.train(digits)
    for _ in range(3):
        next(steps)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("caminito.training.fit.draw_times", interrupted)
        next(steps)
    assert run.status["state"] == "interrupted"
    assert "step 3" in run.status["message"]
    for _ in run.train(digits, resume=True):
        pass
    assert weights(run) == weights(trained)


def test_nothing_is_overwritten(trained: Run, digits: Source, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds a run already \(finished at step 12\).*--out"):
        Run.create(trained.path, tiny(), digits)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        Run.create(tmp_path, tiny(), digits)
    with pytest.raises(RunError, match="finished"):
        next(trained.train(digits, resume=True))


def test_a_started_run_is_not_started_again_without_resume(digits: Source, tmp_path: Path) -> None:
    run = stopped(tmp_path / "r", digits, 2)
    with pytest.raises(RunError, match="caminito train --resume"):
        next(run.train(digits))


def test_other_data_are_refused(digits: Source, tmp_path: Path) -> None:
    run = stopped(tmp_path / "r", digits, 2)
    other = replace(digits, items=digits.items[:-1], facts=digits.facts | {"fingerprint": "0" * 64, "count": 1796})
    with pytest.raises(RunError, match=r"1797 items .* then, 1796 .* now"):
        next(run.train(other, resume=True))


def test_a_loss_that_is_not_finite_stops_with_a_diagnosis_and_keeps_the_checkpoint(
    digits: Source, tmp_path: Path
) -> None:
    training = TINY["training"] | {"learning_rate": 1e30, "warmup": 0}  # type: ignore[operator]
    run = Run.create(tmp_path / "r", tiny(training=training), digits)
    with pytest.raises(NonFiniteError, match="learning_rate"):
        for _ in run.train(digits):
            pass
    assert run.status["state"] == "failed"
    assert "Probable cause" in run.status["message"]
    assert run.has_checkpoint


def test_a_full_disk_keeps_the_checkpoint_before_it_and_the_run_goes_on(
    trained: Run, digits: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "r", tiny(), digits)
    steps = run.train(digits)
    for _ in range(4):
        next(steps)
    latest = (run.path / "checkpoints" / "latest.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="No space left"):
        patch.setattr(_files.os, "fsync", full)
        next(steps)
    assert (run.path / "checkpoints" / "latest.json").read_bytes() == latest
    assert not list(run.path.rglob(".*"))  # no half-written file is left
    for _ in Run.open(run.path).train(digits, resume=True):
        pass
    assert weights(run) == weights(trained)


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_a_cut_model_file_is_refused(trained: Run, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained.path, copy)
    path = copy / "model" / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"checksum|not valid JSON"):
        load(copy)


def test_altered_weights_are_refused(trained: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained.path, copy)
    path = copy / "model" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match="checksum"):
        load(copy)


def test_a_cut_checkpoint_is_refused_on_resume(digits: Source, tmp_path: Path) -> None:
    run = stopped(tmp_path / "r", digits, 3)
    path = sorted((run.path / "checkpoints").glob("*.safetensors"))[-1]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RunError, match="checksum"):
        next(run.train(digits, resume=True))


def test_what_is_not_a_run_is_named_with_the_runs_near_by(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from runs of the folder that the tests are started in
    with pytest.raises(RunError, match="nothing at this path.*caminito train"):
        load(tmp_path / "absent")
    with pytest.raises(RunError, match="no config.yaml"):
        load(tmp_path)
    with pytest.raises(RunError, match=r"Runs near by: .*digits"):
        load(trained.path.parent / "digit")


def test_a_run_without_a_model_says_how_to_train_it(digits: Source, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", tiny(), digits)
    with pytest.raises(RunError, match=r"no model yet: it is created at step 0.*--resume"):
        load(run.path)


def test_a_run_whose_process_is_gone_counts_as_killed(digits: Source, tmp_path: Path) -> None:
    run = stopped(tmp_path / "r", digits, 2)
    run._tell(state="running", pid=2**22 + 1)  # beyond the largest number a process can have
    assert run.status["state"] == "killed"
    run._tell(state="running", pid=os.getppid())
    assert run.status["state"] == "running"
    with pytest.raises(RunError, match="is being trained by process"):
        next(run.train(digits, resume=True))
    status = json.loads((run.path / "status.json").read_text())
    (run.path / "status.json").write_text(json.dumps(status | {"updated": time.time() - 3600}))
    assert run.status["state"] == "killed"


def test_the_log_survives_a_cut_line_and_leaves_out_what_a_kill_undid(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("start", step=0)
    for step in (1, 2, 3):
        log.append("step", step=step, loss=float("nan") if step == 3 else 1 / 3)
    with log.path.open("a") as file:
        file.write('{"event": "step", "st')
    log.append("resume", step=2)
    log.append("step", step=3)
    assert [e["event"] for e in log] == ["start", "step", "step", "step", "resume", "step"]
    assert [e.get("step") for e in log.current()] == [0, 1, 2, 2, 3]
    assert "NaN" not in log.path.read_text()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"network": {"widht": 8}}, "width"),
        ({"network": "mlp"}, "unet"),
        ({"process": {"kind": "vpp"}}, "vp"),
        ({"solver": "heum"}, "heun"),
        ({"device": "gpu0"}, "cuda"),
        ({"training": {"steps": 5}}, "max_steps"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_a_directory_is_made(
    digits: Source, tmp_path: Path, options: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        Run.create(tmp_path / "r", tiny(**options), digits)
    assert not (tmp_path / "r").exists()


def test_what_is_taken_for_images_and_what_for_arrays(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    cases = {
        "photographs": (numbers.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8), True, None, (3, 6, 5)),
        "unit": (numbers.random((4, 6, 5)), True, None, (1, 6, 5)),
        "field": (numbers.normal(size=(4, 6, 5)), False, None, (1, 6, 5)),
        "channels": (numbers.normal(size=(4, 2, 6, 5)), False, 1, (2, 6, 5)),
        "rows": (numbers.normal(size=(4, 3)), False, None, (3,)),
        "numbers": (numbers.normal(size=4), False, None, (1,)),
    }
    for name, (array, images, axis, shape) in cases.items():
        np.save(tmp_path / f"{name}.npy", array)
        source = open_source(tmp_path / f"{name}.npy")
        reading = Reading.of(source)
        assert (reading.images, reading.channel_axis) == (images, axis), name
        assert reading.event_shape(source) == shape, name
        assert reading.build(tiny())._new_codec().fit(reading.items(source)).event_shape == shape, name


def test_how_data_were_read_is_written_down_and_read_back(digits: Source, tmp_path: Path) -> None:
    reading = Reading.of(digits, classes=False, resize=(8, 8), max_pixels=99)
    run = Run.create(tmp_path / "r", tiny(), digits, reading)
    assert Run.open(run.path).reading == reading
    before = reading.to_dict()
    del before["max_pixels"]  # of a run made before there was a choice
    assert Reading.from_dict(before) == replace(reading, max_pixels=MAX_PIXELS)


def test_labels_are_handed_over_by_name_and_can_be_left_out(digits: Source) -> None:
    reading = Reading.of(digits)
    labels = reading.labels(digits)
    assert labels is not None and labels.dtype == np.int64 and set(labels) == set(range(10))
    assert Reading.of(digits, classes=False).labels(digits) is None
    named = replace(digits, classes=[f"no{i}" for i in range(10)])
    given = Reading.of(named).labels(named)
    assert given is not None and given[0] == "no0"


def test_the_split_is_the_one_that_training_makes(trained: Run, digits: Source) -> None:
    train, held = trained.split(digits)
    assert trained.model is not None
    rows, kept = trained.model._split(len(digits.items), 0)
    assert np.array_equal(train, digits.items[rows])
    assert np.array_equal(held, digits.items[kept])
