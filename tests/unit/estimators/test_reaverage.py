"""Models with another average of their weights: from a fit, from a run, from a run that was killed."""

from __future__ import annotations

import copy
import gc
import os
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import caminito
from caminito import DiffusionModel
from caminito.cli.app import app
from caminito.data import open_source
from caminito.errors import ConfigError, RunError
from caminito.estimators import parse_config
from caminito.estimators.run import Run, load
from caminito.plot import read_recipe
from caminito.training import Snapshots, load_checkpoint, save_checkpoint

X = np.random.default_rng(0).normal(size=(120, 2))
STEPS = 40


def model(**changes):
    options = {"max_steps": STEPS, "network": {"width": 8, "depth": 1}, "random_state": 0, "device": "cpu"}
    return DiffusionModel(**(options | {"training": {"snapshots": 8}} | changes))


def weights(fitted):
    return {name: p.detach().clone() for name, p in fitted.denoiser_.network.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def fitted():
    return model().fit(X)


# -- a fit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "step"), [(0.12, None), (0.12, 24), (0.05, None)])
def test_the_new_model_has_the_weights_that_the_snapshots_make(fitted, width, step):
    before, samples = weights(fitted), fitted.sample(4, random_state=1)
    made = fitted.reaverage(width, step)
    assert type(made) is DiffusionModel and made is not fitted
    assert same(weights(made), Snapshots.reconstruct(fitted._snapshots, width, step))
    assert made.n_steps_ == (step or STEPS)
    assert made.describe()["average"].value == f"sigma_rel {width:g}, of {step or STEPS} steps"
    assert made._walked().denoiser is made.denoiser_ and made.denoiser_.process is made.process_
    again = made.sample(4, random_state=1)
    assert np.isfinite(again).all()
    assert np.array_equal(again, samples) == (width == 0.05 and step is None)
    # nothing of this reaches the model it was made from
    assert same(weights(fitted), before) and np.array_equal(fitted.sample(4, random_state=1), samples)
    assert "average" not in fitted.describe() and fitted.n_steps_ == STEPS


def test_the_average_of_training_itself_comes_back(fitted):
    """The default of rows is ema=.05, which is followed: the same weights by another way."""
    assert fitted.training_.ema == 0.05
    found, own = weights(fitted.reaverage(0.05)), weights(fitted)
    for name in own:
        assert torch.allclose(found[name], own[name], rtol=0, atol=1e-6 * float(own[name].abs().max()))


def test_it_is_saved_like_any_other_and_then_has_no_snapshots(fitted, tmp_path):
    made = fitted.reaverage(0.15)
    made.save(tmp_path / "wide")
    loaded = caminito.load(tmp_path / "wide")
    assert np.array_equal(loaded.sample(3, random_state=2), made.sample(3, random_state=2))
    assert loaded.describe()["average"].value == "sigma_rel 0.15, of 40 steps"
    with pytest.raises(
        ConfigError, match=r"expected snapshots of the weights, and this model has none\. Train it with"
    ):
        loaded.reaverage(0.1)
    assert same(weights(made.reaverage(0.07)), weights(fitted.reaverage(0.07)))


@pytest.mark.parametrize("width", [0.0, -0.1, 0.2887, 1.0, float("nan")])
def test_a_width_out_of_reach_is_refused(fitted, width):
    with pytest.raises(ConfigError, match=r"sigma_rel: expected a width in \(0, 0\.2887\), got"):
        fitted.reaverage(width)


def test_a_step_without_a_snapshot_is_refused_with_those_that_have_one(fitted):
    with pytest.raises(ConfigError, match=r"step: expected one of a snapshot \(8, 16, 24, 32, 40\), got 25\."):
        fitted.reaverage(0.1, 25)


def test_without_snapshots_nothing_is_kept_and_the_weights_are_the_same(fitted):
    plain = model(training=None).fit(X)
    assert plain._snapshots is None and same(weights(plain), weights(fitted))
    with pytest.raises(ConfigError, match=r"this model has none\. Train it with training\.snapshots"):
        plain.reaverage(0.1)


def test_the_temporary_folder_goes_with_the_last_model_that_needs_it():
    first = model(max_steps=8).fit(X)
    folder = Path(first._snapshots)
    second = first.reaverage(0.1)
    first.fit(X[:60])
    gc.collect()
    assert folder.is_dir() and Path(first._snapshots) != folder
    second.reaverage(0.12)
    copied = copy.deepcopy(second)
    del second
    gc.collect()
    assert not folder.exists()
    with pytest.raises(ConfigError, match="this model has none"):
        copied.reaverage(0.1)


def test_averaging_between_two_steps_of_training_leaves_the_training_as_it_was(fitted):
    other = model()
    for progress in other.fit_iter(X):
        if progress.step == 17:
            made = other.reaverage(0.15)
            assert made.n_steps_ == 16 and np.isfinite(made.sample(2, random_state=0)).all()
    assert same(weights(other), weights(fitted))


@pytest.mark.parametrize("variance", ["measured", "learned"])
def test_a_model_with_a_variance_keeps_one(variance):
    chain = {"kind": "ddpm", "betas": "cosine", "steps": 10}
    made = model(process=chain, variance=variance, max_steps=8).fit(X).reaverage(0.1)
    assert np.isfinite(made.sample(3, solver="ancestral-posterior", random_state=0)).all()


def test_a_resumed_fit_needs_its_folder_and_ends_with_its_snapshots(tmp_path):
    whole = model(max_steps=12).fit(X)
    kept = tmp_path / "snapshots"
    for progress in model(max_steps=12).fit_iter(X, snapshots=kept):
        if progress.step == 5:
            save_checkpoint(tmp_path / "checkpoints", progress.state)
        if progress.step == 9:
            break
    resumed = model(max_steps=12)
    with pytest.raises(ConfigError, match="snapshots: expected the folder of those taken before the stop, got none"):
        next(resumed.fit_iter(X, resume=tmp_path / "checkpoints"))
    for _ in resumed.fit_iter(X, resume=tmp_path / "checkpoints", snapshots=kept):
        pass
    assert same(weights(resumed.reaverage(0.12)), weights(whole.reaverage(0.12)))


# -- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "points.npy"
    np.save(path, X)
    return open_source(path)


def begun(path, source, **training):
    options = {"snapshots": 8, "checkpoint_minutes": 0, "batch_size": 32} | training
    config = {"network": {"width": 8, "depth": 1}, "max_steps": STEPS, "training": options, "device": "cpu"}
    return Run.create(path, parse_config(config), source)


def files(run):
    kept = sorted((run.path / "snapshots").iterdir())
    return {path.name: path.read_bytes() for path in [*kept, run.path / "model" / "weights.safetensors"]}


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    run = begun(tmp_path_factory.mktemp("runs") / "whole", source)
    for _ in run.train(source):
        pass
    return run


def test_a_run_that_was_killed_ends_with_the_snapshots_of_one_that_was_not(whole, source, tmp_path):
    """What a kill at step 27 leaves, the last checkpoint being that of step 15: later snapshots, and fewer old ones."""
    run = begun(tmp_path / "cut", source)
    with closing(run.train(source)) as steps:
        for progress in steps:
            if progress.step == 15:
                shutil.copytree(run.path / "checkpoints", tmp_path / "then")
            if progress.step == 27:
                shutil.copytree(run.path, tmp_path / "killed")
                break
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    shutil.move(tmp_path / "then", tmp_path / "killed" / "checkpoints")
    killed = Run.open(tmp_path / "killed")
    assert killed.status["state"] == "killed" and Snapshots.steps(killed.path / "snapshots")[-1] == 24
    with closing(killed.train(source, resume=True)) as steps:
        assert next(steps).step == 16
    for _ in Run.open(killed.path).train(source, resume=True):
        pass
    assert files(killed) == files(whole)
    a, b = (load(run.path).reaverage(0.15) for run in (whole, killed))
    assert same(weights(a), weights(b))
    tensors, _ = load_checkpoint(whole.path / "checkpoints")
    assert {name.split("/")[1] for name in tensors if name.startswith("snapshots/")} == {"0.05", "0.1"}


def test_a_run_is_averaged_anew_wherever_it_lies(whole, tmp_path, monkeypatch):
    here = load(whole.path).reaverage(0.15).sample(3, random_state=0)
    shutil.copytree(whole.path, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    moved = load("elsewhere")
    monkeypatch.chdir(os.sep)
    assert np.array_equal(moved.reaverage(0.15).sample(3, random_state=0), here)
    with pytest.raises(ConfigError, match="a run directory keeps them"):
        load(whole.path / "model").reaverage(0.15)


def test_snapshots_of_another_network_or_cut_files_are_refused(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "run")
    folder = tmp_path / "run" / "snapshots"
    other = model(network={"width": 9, "depth": 1}, max_steps=8).fit(X)
    shutil.rmtree(folder)
    shutil.copytree(other._snapshots, folder)
    with pytest.raises(RunError, match="snapshots are of another network"):
        load(tmp_path / "run").reaverage(0.1)
    next(folder.glob("*8.safetensors")).write_bytes(b"cut")
    with pytest.raises(RunError, match="checksum"):
        load(tmp_path / "run").reaverage(0.1)


def told(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300"})


def test_the_command_line_samples_another_average_and_says_so_in_the_picture(whole):
    done = told("sample", whole.path, "-n", 30, "--average", 0.15)
    assert done.exit_code == 0, done.output
    picture = whole.path / "samples" / "n30_seed0_average0-15.png"
    assert read_recipe(picture)["average"] == "0.15" and read_recipe(picture)["trained_steps"] == "40"
    told("sample", whole.path, "-n", 5, "--average", 0.15, "--out", whole.path / "a.npy")
    expected = load(whole.path).reaverage(0.15).sample(5, random_state=0)
    assert np.array_equal(np.load(whole.path / "a.npy"), expected)
    assert not np.array_equal(expected, load(whole.path).sample(5, random_state=0))


def test_the_command_line_refuses_what_cannot_be_averaged(whole, source, tmp_path):
    wide = told("sample", whole.path, "--average", 0.3)
    assert wide.exit_code == 2 and "sigma_rel: expected a width in (0, 0.2887), got 0.3." in wide.output
    plain = begun(tmp_path / "plain", source, snapshots=0)
    for _ in plain.train(source):
        pass
    assert not (plain.path / "snapshots").exists()
    none = told("sample", plain.path, "--average", 0.1)
    assert none.exit_code == 2 and "this model has none. Train it with training.snapshots" in none.output
