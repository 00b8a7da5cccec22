"""What the chain of DDPM says of tables that are none."""

import pytest

from caminito._errors import ConfigError
from caminito.process import Chain


@pytest.mark.parametrize(
    ("betas", "why"),
    [
        ([0.1, -0.2], r"numbers in \(0, 1\], got -0.2 at step 2"),
        ([0.0, 0.1], "got 0 at step 1"),
        ([0.1, 0.2, 1.0001], "got 1.0001 at step 3"),
        ([float("nan")], "got nan at step 1"),
        ([], r"got shape \(0,\)"),
        ([[0.1, 0.2]], r"got shape \(1, 2\)"),
        (0.1, r"got shape \(\)"),
    ],
)
def test_a_beta_outside_its_range_is_named_with_its_step(betas, why):
    with pytest.raises(ConfigError, match=why):
        Chain.ddpm(betas)


def test_a_last_beta_of_one_erases_the_signal():
    """beta = 1 is legal: the step forgets the past, as for zero terminal SNR."""
    alpha, sigma = Chain.ddpm([0.1, 1.0]).kernel(2.0)
    assert (float(alpha), float(sigma)) == (0.0, 1.0)


def test_one_step_is_a_chain():
    alpha, sigma = Chain.ddpm([0.75]).kernel(1.0)
    assert (float(alpha), float(sigma)) == (0.5, 0.75**0.5)
