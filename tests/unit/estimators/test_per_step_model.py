"""A network for each step of a chain, under the estimator: options in, a saved model out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caminito.data import open_source
from caminito.denoiser import Precondition
from caminito.errors import ConfigError
from caminito.estimators import DiffusionModel, parse_config, updated
from caminito.nn import PerStep, ResidualMLP
from caminito.process import Chain

THREE = {"kind": "ddpm", "betas": [0.2, 0.5, 0.9]}
ONE = {"width": 24, "depth": 1}


def rows(n=400):
    return np.random.default_rng(0).normal(size=(n, 2)) * [0.3, 1.4]


def model(**changes):
    options = {"process": THREE, "network": {"kind": "per-step", "network": ONE}, "prediction": "previous"}
    return DiffusionModel(**options | {"max_steps": 40, "random_state": 0} | changes)


def test_three_networks_are_fitted_saved_loaded_and_sample_the_same(tmp_path):
    fitted = model().fit(rows())
    network = fitted.denoiser_.network
    assert isinstance(network, PerStep) and len(network.networks) == 3
    chain = Chain.ddpm(THREE["betas"])
    expected = Precondition("previous").coefficients(chain, torch.arange(1, 4)).label
    assert torch.equal(network.labels, expected.float())
    assert network.options["network"]["width"] == 24 and network.options["network"]["event_size"] == 2
    assert "mlp for each of 3 steps" in str(fitted.describe())
    assert fitted.training_.times == "uniform"
    fitted.save(tmp_path)
    again = DiffusionModel.load(tmp_path)
    assert again.denoiser_.network.options == network.options
    assert np.array_equal(again.sample(7, random_state=1), fitted.sample(7, random_state=1))


def test_all_networks_learn():
    fitted = model(training={"batch_size": 30}).fit(rows())
    fresh = model(max_steps=1, training={"learning_rate": 1e-12}).fit(rows())
    for after, before in zip(fitted.denoiser_.network.networks, fresh.denoiser_.network.networks):
        moved = max(float((a - b).detach().abs().max()) for a, b in zip(after.parameters(), before.parameters()))
        assert moved > 1e-2


def test_the_word_alone_takes_the_suggested_network_for_each_step(tmp_path):
    fitted = model(network="per-step", max_steps=2).fit(rows(60))
    assert fitted.denoiser_.network.options["network"]["width"] == 96
    fitted.save(tmp_path)
    assert DiffusionModel.load(tmp_path).get_params()["network"] == "per-step"


def test_grids_have_a_network_for_each_step_too(tmp_path):
    small = {"width": 8, "blocks": 1, "multipliers": [1], "attention": []}
    images = np.random.default_rng(0).normal(size=(30, 4, 4))
    fitted = model(network={"kind": "per-step", "network": small}, prediction="eps", max_steps=2).fit(images)
    assert [each.options["kind"] for each in fitted.denoiser_.network.networks] == ["unet"] * 3
    fitted.save(tmp_path)
    assert np.array_equal(DiffusionModel.load(tmp_path).sample(2, random_state=0), fitted.sample(2, random_state=0))


def test_a_learned_variance_is_a_second_output_of_each():
    fitted = model(variance="learned", prediction="eps", max_steps=3).fit(rows(60))
    assert [each.options["out_size"] for each in fitted.denoiser_.network.networks] == [4, 4, 4]
    assert fitted.sample(2, solver="ancestral-posterior").shape == (2, 2)


def test_a_resumed_run_ends_with_the_weights_it_would_have_had(tmp_path):
    from caminito.training import save_checkpoint

    small = model(max_steps=8, training={"batch_size": 4})  # some batches leave a network out
    whole = small.fit(rows()).sample(3, random_state=0)
    for progress in small.fit_iter(rows()):
        if progress.step == 3:
            save_checkpoint(tmp_path, progress.state)
            break
    for progress in small.fit_iter(rows(), resume=tmp_path):
        pass
    assert progress.step == 8 and np.array_equal(small.sample(3, random_state=0), whole)


def test_a_module_made_by_hand_is_saved_if_its_networks_are_alike(tmp_path):
    labels = Precondition("previous").coefficients(Chain.ddpm(THREE["betas"]), torch.arange(1, 4)).label
    alike = PerStep([ResidualMLP(2, width=16, depth=1) for _ in range(3)], labels)
    fitted = model(network=alike, max_steps=3).fit(rows(60))
    fitted.save(tmp_path)
    assert np.array_equal(DiffusionModel.load(tmp_path).sample(3, random_state=0), fitted.sample(3, random_state=0))
    several = PerStep([ResidualMLP(2, width=8 * k, depth=1) for k in (1, 2, 3)], labels)
    with pytest.raises(ConfigError, match="those of PerStep if all have the same options"):
        model(network=several, max_steps=3).fit(rows(60)).save(tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"process": "vp", "prediction": "eps"}, "VP has no steps that could have a network each"),
        ({"process": "auto", "prediction": "eps"}, "EDM has no steps that could have a network each"),
        ({"process": "ddpm"}, "at most 100 steps, got one of 1000"),
        ({"network": {"kind": "per-step", "network": "mlp"}}, "expected the options of one as network"),
        ({"network": {"kind": "per-step", "width": 8}}, "unknown option 'width'"),
        ({"network": {"kind": "per-step", "network": {"widht": 8}}}, "Did you mean 'width'"),
        ({"network": {"kind": "per-step", "labels": [0.1, 0.1, 0.2]}}, "two that are the same"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(changes, why):
    with pytest.raises(ConfigError, match=why):
        model(**changes).fit(rows(60))


def test_conditions_are_refused():
    with pytest.raises(ConfigError, match="takes no conditions, got y"):
        model().fit(rows(60), np.arange(60) % 2)


def test_options_are_checked_before_a_run_begins(tmp_path):
    from caminito.estimators.reading import Reading

    np.savez(tmp_path / "rows.npz", data=rows(40), labels=np.arange(40) % 2)
    source = open_source(tmp_path / "rows.npz")
    words = ["network.kind=per-step", "network.network.width=16", "process.kind=ddpm", "process.betas=[0.2, 0.5]"]
    config = parse_config(updated({}, words))
    assert config.network == {"kind": "per-step", "network": {"width": 16}}
    Reading.of(source, classes=False).check(config, source)
    with pytest.raises(ConfigError, match="--no-classes"):
        Reading.of(source).check(config, source)
    with pytest.raises(ConfigError, match="EDM has no steps"):
        Reading.of(source, classes=False).check(parse_config({"network": "per-step"}), source)
