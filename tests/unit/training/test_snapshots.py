"""Snapshots along training: the averages they make are those of the weights, and a stop leaves no trace in them."""

import math

import numpy as np
import pytest
import torch

from caminito.denoiser import NetworkDenoiser, Precondition
from caminito.errors import ConfigError, RunError
from caminito.estimators.schema import parse_config, parse_training, updated
from caminito.nn import ResidualMLP
from caminito.process import EDM
from caminito.training import (
    PowerAverage,
    Snapshots,
    TrainingConfig,
    fit_steps,
    initial_state,
    load_checkpoint,
    save_checkpoint,
)
from caminito.training.posthoc import Profile, inner, misfit

X = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 2))).float()
STEPS = 300


def denoiser():
    torch.manual_seed(0)
    return NetworkDenoiser(ResidualMLP(2, width=8, depth=1), Precondition("edm"), EDM(20.0), (2,))


def options(steps=STEPS, **more):
    return TrainingConfig(**({"steps": steps, "batch_size": 16, "warmup": 10, "learning_rate": 1e-2} | more))


def begun(config, folder=None):
    """A denoiser, and its training from the first step."""
    model = denoiser()
    state = initial_state(model.network, config, snapshots=folder)
    return model, state, fit_steps(model, X, config, seed=4, resume=state)


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()]).double()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of snapshots, the state at the end, the first weights, and all later ones (steps, weights)."""
    folder = tmp_path_factory.mktemp("run") / "snapshots"
    model, state, steps = begun(options(snapshots=32), folder)
    first = [p.detach().clone().double() for p in model.network.parameters()]
    return folder, state, first, torch.stack([flat(model.network) for _ in steps])


def direct(first, path, std, until=STEPS):
    """The average of all weights kept one by one, in float64."""
    average = PowerAverage([torch.cat([p.flatten() for p in first])], std)
    for step, weights in enumerate(path[:until], start=1):
        average.update([weights], step)
    return average.values[0]


def reconstructed(folder, std, step=None):
    """In the order of the parameters."""
    held = Snapshots.reconstruct(folder, std, step)
    return torch.cat([held[name].flatten() for name, _ in denoiser().network.named_parameters()]).double()


@pytest.mark.parametrize("std", [0.05, 0.10])
def test_a_width_that_was_followed_comes_back_as_it_was(trained, std):
    folder, state, first, path = trained
    followed = torch.cat([v.flatten() for v in state.snapshots.averages[std].values]).double()
    got, size = reconstructed(folder, std), float(path.abs().max())
    assert float((got - followed).abs().max()) <= 1e-6 * size  # its coefficients are 0 and 1 to 1e-6 (test_posthoc)
    # an average rounds to float32 at each step and forgets: some tens of roundings of 6e-8, of random sign, remain
    assert float((got - direct(first, path, std)).abs().max()) <= 2e-6 * size


@pytest.mark.parametrize(("std", "step"), [(0.12, STEPS), (0.07, STEPS), (0.12, 192)])
def test_any_other_width_is_made_to_what_the_misfit_allows(trained, std, step):
    """|error| <= misfit |p| min_c |theta - c|, entry by entry; see `test_posthoc`."""
    folder, _, first, path = trained
    kept = [Profile(s, std_) for s in Snapshots.steps(folder) for std_ in (0.05, 0.10)]
    wanted = Profile(step, std)
    until = path[:step]
    allowed = misfit(kept, wanted) * math.sqrt(inner(wanted, wanted)) * (until - until.mean(0)).norm(dim=0)
    truth, got = direct(first, path, std, step), reconstructed(folder, std, step)
    error = (got - truth).abs()
    assert bool((error <= allowed + 1e-5 * float(path.abs().max())).all())
    others = [direct(first, path, other, step) for other in (0.05, 0.10)]
    assert float(error.norm()) < 0.01 * min(float((truth - other).norm()) for other in others)


def test_no_weight_and_no_tracked_average_knows_of_the_snapshots(trained, tmp_path):
    _, state, _, path = trained
    model, plain, steps = begun(options())
    assert all(torch.equal(flat(model.network), weights) for _, weights in zip(steps, path))
    assert all(torch.equal(a, b) for a, b in zip(state.average.values, plain.average.values))
    save_checkpoint(tmp_path, plain)
    tensors, _ = load_checkpoint(tmp_path)
    assert plain.snapshots is None and not any(name.startswith("snapshots") for name in tensors)


@pytest.mark.parametrize(("limit", "saved", "killed"), [(4, 4, 6), (4, 9, 23), (32, 17, 17)])
def test_a_killed_and_resumed_training_leaves_the_snapshots_of_one_that_was_not(tmp_path, limit, saved, killed):
    """Also where the kill came after older snapshots had made room (limit 4: steps 1 and 3 are gone at 6)."""
    config = options(27, snapshots=limit)
    *_, steps = begun(config, tmp_path / "whole")
    for _ in steps:
        pass
    *_, steps = begun(config, tmp_path / "cut")
    for progress in steps:
        if progress.step == saved:
            save_checkpoint(tmp_path / "checkpoints", progress.state)
        if progress.step == killed:
            break
    _, state, steps = begun(config, tmp_path / "cut")
    tensors, facts = load_checkpoint(tmp_path / "checkpoints")
    state.load(tensors, facts["step"], facts["elapsed"])
    assert max(Snapshots.steps(tmp_path / "cut")) <= saved
    for progress in steps:
        pass
    assert progress.step == 27 and Snapshots.steps(tmp_path / "cut")[-1] == 27
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    a, b = (Snapshots.reconstruct(tmp_path / name, 0.15) for name in ("whole", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_training_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    config = options(10, snapshots=4)
    for name, killed in (("whole", 10), ("cut", 7), ("cut", 10)):
        *_, steps = begun(config, tmp_path / name)
        assert next(progress for progress in steps if progress.step == killed)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_the_end_has_a_snapshot_also_where_the_clock_sets_it(tmp_path):
    *_, steps = begun(options(None, minutes=0.003, snapshots=4, validate_every=10), tmp_path)
    for progress in steps:
        pass
    assert Snapshots.steps(tmp_path)[-1] == progress.step


def test_snapshots_need_a_folder_and_a_resumed_training_those_it_had(tmp_path):
    config = options(8, snapshots=4)
    with pytest.raises(ConfigError, match=r"training\.snapshots: expected a folder to write them to, got none\. Give"):
        next(fit_steps(denoiser(), X, config))
    with pytest.raises(ConfigError, match="expected a folder"):
        next(fit_steps(denoiser(), X, config, resume=initial_state(denoiser().network, options(8))))
    save_checkpoint(tmp_path / "with", next(begun(config, tmp_path / "kept")[2]).state)
    save_checkpoint(tmp_path / "without", next(begun(options(8))[2]).state)
    for folder, given in (("with", options(8)), ("without", config)):
        with pytest.raises(RunError, match=r"other options .*snapshots/.*Resume with the configuration"):
            begun(given, tmp_path / "kept")[1].load(load_checkpoint(tmp_path / folder)[0], 1, 0.0)
    with pytest.raises(RunError, match=r"nowhere: expected the snapshots taken up to step 1, found none\. Restore"):
        begun(config, tmp_path / "nowhere")[1].load(load_checkpoint(tmp_path / "with")[0], 1, 0.0)


@pytest.mark.parametrize(
    ("value", "message"), [(3, "expected 0 for none, or at least 4"), (-1, "greater than or equal")]
)
def test_too_few_snapshots_are_refused_by_name(value, message):
    with pytest.raises(ConfigError, match=rf"option training\.snapshots: .*{message}.*, got {value}\."):
        parse_training({"snapshots": value})


def test_the_option_is_reached_from_the_command_line_form():
    assert parse_training(parse_config(updated({}, ["training.snapshots=16"])).training).snapshots == 16
    assert TrainingConfig().snapshots == 0
