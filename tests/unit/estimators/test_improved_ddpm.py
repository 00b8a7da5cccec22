"""Improved DDPM under the estimator: options in, a saved model out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caminito.errors import ConfigError, ShapeError
from caminito.estimators import DiffusionModel, parse_config, updated
from caminito.sampling import Ancestral
from caminito.training import TrainingConfig

TINY = {"kind": "mlp", "event_size": 2, "width": 24, "depth": 1}
CHAIN = {"kind": "ddpm", "betas": "cosine", "steps": 20}


def rows(n=400):
    return np.random.default_rng(0).normal(size=(n, 2)) * [0.3, 1.4]


def model(**changes):
    options = {"process": CHAIN, "network": TINY, "variance": "learned", "max_steps": 60, "random_state": 0}
    return DiffusionModel(**options | changes)


def test_a_learned_variance_is_trained_described_saved_and_sampled_with(tmp_path):
    fitted = model(solver="ancestral-posterior", n_steps=6).fit(rows())
    assert fitted.training_.loss == "hybrid" and fitted.training_.times == "uniform"
    assert fitted.residual_variance_ is None
    assert "learned by the network" in str(fitted.describe())
    assert fitted.denoiser_.network.options["out_size"] == 4
    rule, grid = fitted.solver_and_grid()
    assert rule == Ancestral("posterior") and len(grid) == 7
    x, t = torch.zeros(3, 2), torch.tensor(12.0, dtype=torch.float64)
    with torch.no_grad():
        var = fitted.denoiser_.var(x, t)
    assert bool((var > 0).all())
    fitted.save(tmp_path)
    again = DiffusionModel.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.denoiser_.var(x, t), var)
    assert np.array_equal(again.sample(5, random_state=1), fitted.sample(5, random_state=1))
    bound = {"method": "bound", "random_state": 2}
    # a chain is saved by its steps, and its products are then rounded in another order
    assert np.allclose(again.score_samples(rows(4), **bound), fitted.score_samples(rows(4), **bound), rtol=1e-9)


def test_a_grid_takes_two_channels_for_each_of_its_own():
    images = np.random.default_rng(0).normal(size=(40, 3, 4, 4))
    fitted = model(
        network={"width": 8, "blocks": 1, "multipliers": [1], "attention": []}, channel_axis=1, max_steps=2
    ).fit(images)
    assert fitted.denoiser_.network.options["out_channels"] == 6
    assert fitted.sample(2, solver="ancestral-posterior", n_steps=3).shape == (2, 3, 4, 4)


def test_options_are_reached_from_the_command_line_form():
    words = ["variance=learned", "process.kind=ddpm", "training.times=resampled", "training.loss=vlb"]
    config = parse_config(updated({}, [*words, "training.weight=p2", "training.uncertainty=false"]))
    assert config.variance == "learned"
    training = TrainingConfig(**config.training)
    assert (training.times, training.loss, training.weight) == ("resampled", "vlb", "p2")
    with pytest.raises(ConfigError, match="training.loss"):
        parse_config({"training": {"loss": "l_vlb"}})


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"process": "vp"}, ConfigError, "needs a chain, and VP has no steps"),
        ({"process": {"kind": "ddpm", "betas": [0.5]}}, ConfigError, "at least 2 noisy steps, got 1"),
        ({"training": {"loss": "squared"}}, ConfigError, "teaches no variance"),
        ({"variance": "measured", "training": {"loss": "hybrid"}}, ConfigError, "Use variance='learned'"),
        ({"network": TINY | {"out_size": 3}}, ShapeError, r"expected 4 channels .* got \(\d+, 3\)"),
        ({"variance": "leant"}, ConfigError, "option variance"),
        ({"variance": "measured", "process": "vp", "prediction": "previous"}, ConfigError, "nothing comes before x_t"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(changes, error, why):
    with pytest.raises(error, match=why):
        model(**changes).fit(rows(60))


def test_a_chain_of_one_step_works_without_a_range():
    """T = 1: noise, one prediction. Its last step is to the data, and takes D as it is."""
    fitted = model(process={"kind": "ddpm", "betas": [0.9999]}, variance="measured", max_steps=5).fit(rows(60))
    assert fitted.sample(3).shape == (3, 2)
    assert np.isfinite(fitted.score_samples(rows(3), method="bound")).all()


@pytest.mark.parametrize("training", [{"loss": "vlb"}, {"loss": "hybrid", "times": "resampled", "uncertainty": True}])
def test_a_resumed_run_takes_what_is_beside_the_network_with_it(tmp_path, training):
    from caminito.training import save_checkpoint

    small = model(process=CHAIN | {"steps": 3}, max_steps=8, training=training | {"batch_size": 60})
    whole = small.fit(rows(200)).sample(3, random_state=0)
    for progress in small.fit_iter(rows(200)):
        if progress.step == 4:
            save_checkpoint(tmp_path, progress.state)
            break
    for progress in small.fit_iter(rows(200), resume=tmp_path):
        pass
    assert progress.step == 8 and np.array_equal(small.sample(3, random_state=0), whole)
