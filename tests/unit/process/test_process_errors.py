"""Each error of a process or grid says what was expected, what came, and what to do."""

import math

import pytest
import torch

from caminito._errors import ConfigError, GridError, TimeError
from caminito.process import EDM, VE, VP, Chain, Cosine, FromLogSNR, beta_table
from caminito.process import grid as grids

CHAIN = Chain.ddpm("linear", steps=100)

CASES = {
    "chain lengths": (lambda: Chain([0.1, 0.2], [0.1]), ConfigError, ["same length", "(2,)", "(1,)"]),
    "chain empty": (lambda: Chain([], []), ConfigError, ["T >= 1", "(0,)"]),
    "chain negative noise": (lambda: Chain([0.1], [-0.1]), ConfigError, ["noises >= 0", "standard deviation"]),
    "chain nan": (lambda: Chain([math.nan], [0.1]), ConfigError, ["finite"]),
    "chain without noise": (lambda: Chain([0.1, 0.2], [0.0, 0.0]), ConfigError, ["some sigma_i > 0", "without noise"]),
    "chain that ends erased": (lambda: Chain([0.1, 1.0], [0.3, 0.0]), ConfigError, ["not erased"]),
    "betas above one": (lambda: Chain.ddpm([0.1, 1.5]), ConfigError, ["(0, 1]", "variance"]),
    "betas zero": (lambda: Chain.ddpm([0.0, 0.5]), ConfigError, ["(0, 1]"]),
    "zero snr of one step": (lambda: Chain.ddpm([0.5], zero_snr=True), ConfigError, ["at least 2 steps", "got 1"]),
    "unknown table": (
        lambda: Chain.ddpm("lineal"),
        ConfigError,
        ["linear, scaled-linear, cosine, sigmoid", "'lineal'"],
    ),
    "table of no steps": (lambda: beta_table("linear", 0), ConfigError, [">= 1", "got 0"]),
    "table too short": (lambda: beta_table("linear", 15), ConfigError, ["15 steps", "exceeds", "'cosine'"]),
    "discretise none": (lambda: Chain.discretise(VP(), []), TimeError, ["increasing times", "none"]),
    "discretise falling": (lambda: Chain.discretise(VP(), [0.5, 0.2]), TimeError, ["increasing times", "0.5, 0.2"]),
    "discretise outside": (lambda: Chain.discretise(VP(), [0.5, 1.2]), TimeError, ["(0, 1", "1.2"]),
    "half a step": (lambda: CHAIN.kernel(2.5), TimeError, ["whole steps in 0..100", "2.5", "chain grid"]),
    "beyond the chain": (lambda: CHAIN.kernel(101.0), TimeError, ["0..100", "101"]),
    "before the chain": (lambda: CHAIN.kernel(-1.0), TimeError, ["0..100", "-1"]),
    "chain runs to noise": (lambda: CHAIN.transition(5, 5), TimeError, ["s < t", "s = 5", "t = 5", "towards noise"]),
    "time runs to noise": (lambda: VP().bridge(0.5, 0.2), TimeError, ["s < t", "0.5", "0.2", "towards noise"]),
    "rates of a chain": (lambda: CHAIN.rates(3), TimeError, ["no time derivative", "continuous process"]),
    "beta_min": (lambda: VP(0.0), ConfigError, ["beta_min", "> 0", "got 0"]),
    "sigma_max nan": (lambda: EDM(math.nan), ConfigError, ["sigma_max", "finite", "nan"]),
    "ve range": (lambda: VE(1.0, 0.5), ConfigError, ["sigma_max", "sigma_min = 1.0", "got 0.5"]),
    "shift": (lambda: Cosine(math.inf), ConfigError, ["shift", "finite", "inf"]),
    "rising curve": (lambda: FromLogSNR(lambda t: t), ConfigError, ["strictly decreasing", "must fall"]),
    "grid name": (lambda: grids.grid(VP(), 5, "karas"), ConfigError, ["karras", "'karas'"]),
    "no steps": (lambda: grids.grid(VP(), 0), GridError, [">= 1", "got 0"]),
    "negative steps": (lambda: grids.grid(CHAIN, -2), GridError, [">= 1", "got -2"]),
    "chain grid of time": (lambda: grids.grid(VP(), 5, "trailing"), GridError, ["for chains", "'karras'"]),
    "more steps than there are": (lambda: grids.grid(CHAIN, 101), GridError, ["100 steps", "101", "at most 100"]),
    "uniform beyond": (lambda: grids.grid(CHAIN, 101, "uniform"), GridError, ["100 steps", "101"]),
    "sigma range": (
        lambda: grids.karras(VE(0.01, 5.0), 5, sigma_min=6.0),
        GridError,
        ["sigma_min < sigma_max", "got 6", "80"],
    ),
    "rising grid": (lambda: grids.explicit(VP(), [0.1, 0.5]), GridError, ["strictly falling", "0.1, 0.5", "s < t"]),
    "equal times": (lambda: grids.explicit(VP(), [0.5, 0.5, 0.0]), GridError, ["strictly falling", "0.5, 0.5, 0"]),
    "one time": (lambda: grids.explicit(VP(), [0.5]), GridError, ["at least two times", "(1,)"]),
    "grid outside": (lambda: grids.explicit(VP(), [1.5, 0.0]), GridError, ["[0, 1]", "1.5"]),
    "nan in the grid": (lambda: grids.explicit(VP(), [1.0, math.nan, 0.0]), GridError, ["strictly falling", "nan"]),
    "half step in the grid": (lambda: grids.explicit(CHAIN, [50, 2.5, 0]), TimeError, ["whole steps", "2.5"]),
}


@pytest.mark.parametrize("case", CASES, ids=[c.replace(" ", "-") for c in CASES])
def test_error_names_what_was_expected_what_came_and_the_way_out(case):
    call, kind, parts = CASES[case]
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


def test_a_gap_in_a_row_of_times_is_found():
    with pytest.raises(TimeError, match="s < t"):
        VP().transition(torch.tensor([0.1, 0.5]), torch.tensor([0.2, 0.5]))
    with pytest.raises(TimeError, match="s < t"):
        CHAIN.transition(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 5.0]))
