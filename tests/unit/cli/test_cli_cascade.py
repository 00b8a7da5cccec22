"""Runs that enlarge what another run draws, on the command line."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from caminito import CascadeDiffusion, load
from caminito.cli.app import app

TINY = ["--set", "network.kind=unet", "--set", "network.width=16", "--set", "network.multipliers=[1]"]
TINY += ["--set", "network.blocks=1", "--set", "network.attention=[]", "--set", "n_steps=2", "--steps", "2"]


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base of 4 x 4, a stage that makes 8 x 8 of it, and a run of 8 x 8."""
    root = tmp_path_factory.mktemp("cascade")
    for name, options in {"base": ["--resize", 4], "stage": ["--set", "upscale=2"], "plain": []}.items():
        result = run("train", "digits", "--out", root / name, *options, *TINY)
        assert result.exit_code == 0, result.output
    return root


def test_samples_are_enlarged_and_the_recipe_says_by_what(runs, tmp_path):
    target = tmp_path / "drawn.png"
    result = run(
        *("sample", runs / "base", "-n", 3, "--class", 7, "--then", runs / "stage", "--augmentation", 0.2),
        *("--seed", 5, "--guidance", 2, "-o", target),
    )
    assert result.exit_code == 0, result.output
    with Image.open(target) as image:
        facts = image.info
    assert (facts["run"], facts["then"], facts["augmentation"]) == ("base", "stage", "0.2")
    result = run("sample", runs / "base", "-n", 3, "--class", 7, "--then", runs / "stage", "-o", tmp_path / "drawn.npz")
    assert result.exit_code == 0, result.output
    drawn = np.load(tmp_path / "drawn.npz")
    assert drawn["samples"].shape == (3, 8, 8) and drawn["labels"].tolist() == [7, 7, 7]
    cascade = CascadeDiffusion([load(runs / "base"), load(runs / "stage")])
    assert np.array_equal(drawn["samples"], cascade.sample(3, condition=[7] * 3, random_state=0))
    assert run("sample", runs / "base", "-n", 2, "--then", runs / "stage").exit_code == 0
    assert (runs / "base" / "samples" / "n2_seed0_then-stage.png").is_file()


def test_a_saved_cascade_is_sampled_as_a_run_is(runs, tmp_path):
    cascade = CascadeDiffusion([load(runs / "base"), load(runs / "stage")])
    cascade.save(tmp_path / "whole")
    result = run("sample", tmp_path / "whole", "-n", 2, "--class", 3, "--seed", 1, "-o", tmp_path / "drawn.npz")
    assert result.exit_code == 0, result.output
    expected = cascade.sample(2, condition=[3, 3], random_state=1)
    assert np.array_equal(np.load(tmp_path / "drawn.npz")["samples"], expected)
    result = run("sample", tmp_path / "whole", "-n", 2)
    assert result.exit_code == 0 and (tmp_path / "whole" / "samples" / "n2_seed0.png").is_file()


def test_a_stage_is_an_ordinary_run(runs):
    result = run("sample", runs / "stage", "-n", 2)
    assert result.exit_code == 0 and "--then" in result.output
    assert (runs / "stage" / "samples" / "final.png").is_file()
    assert "upscale: 2" in (runs / "stage" / "config.yaml").read_text()


def test_what_cannot_be_asked_is_refused_with_its_reason(runs, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 3}" for i in range(40)))
    assert run("train", tmp_path / "rows.csv", "--out", tmp_path / "table").exit_code == 0
    base, stage, plain, table = (runs / "base", runs / "stage", runs / "plain", tmp_path / "table")
    cases = [
        ([base, "--then", table], "--then: expected the run of a network"),
        ([base, "--then", plain], "stage 1: expected a model with one condition of low resolution, got 0"),
        ([plain, "--then", stage], "stages 0 and 1 do not chain: stage 0 gives items 8 x 8"),
        ([plain, "--then", stage], f"stage 1 is {stage}"),
        ([stage, "--then", stage], "stage 0: expected a base"),
        ([table, "--then", stage], "--then: not for the run of a table"),
        ([base, "--then", stage, "--guidance", 2, "--guide", "step:1"], "--guide: not for samples that are enlarged"),
        ([base, "--then", stage, "--augmentation", 0.9], "expected a number from 0 to 0.6"),
        ([base, "--augmentation", 0.1], "without conditions of low resolution"),
    ]
    for words, message in cases:
        result = run("sample", *words, "-n", 2, "-o", tmp_path / "never.npz")
        assert result.exit_code == 2 and message in " ".join(result.output.split()), (words, result.output)
    whole = tmp_path / "whole"
    CascadeDiffusion([load(base), load(stage)]).save(whole)
    for words, message in {
        ("--average", 0.1): "--average: not for a cascade",
        ("--guidance", 2, "--guide", plain): "--guide: not for samples that are enlarged",
        ("--then", plain): "stage 2: expected a model with one condition of low resolution, got 0",
    }.items():
        result = run("sample", whole, "-n", 2, *words)
        assert result.exit_code == 2 and message in " ".join(result.output.split()), (words, result.output)
    result = run("sample", plain, "-n", 2, "--guidance", 2, "--guide", whole)
    assert result.exit_code == 2 and f"{whole} is a cascade" in " ".join(result.output.split())
    result = run("train", "digits", "--out", tmp_path / "run", "--set", "upscale=3", *TINY)
    assert result.exit_code == 2 and "sides that 3 divides" in result.output
    chain = ["--set", "network=per-step", "--set", "process.kind=ddpm", "--set", "process.betas=[0.2, 0.5]"]
    result = run("train", "digits", "--out", tmp_path / "run", "--set", "upscale=2", "--no-classes", *chain)
    assert result.exit_code == 2 and "option upscale: makes a condition" in result.output, result.output
    assert not (tmp_path / "run").exists()
