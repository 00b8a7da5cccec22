"""Randomness is a function of (seed, stream, step, index) and of nothing else."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from caminito._random import Stream, normal, permutation, seed_from, uniform

EVENTS = [(1,), (2,), (3, 5), (4096,), (5000,), (3, 40, 40)]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("start", [0, 1, 6, 4095, 4096, 10_001])
def test_row_i_of_a_draw_has_the_same_bits_wherever_the_draw_starts(event, start):
    whole = normal(3, Stream.NOISE, 2, (9, *event), start=start)
    for i in range(9):
        assert torch.equal(normal(3, Stream.NOISE, 2, (1, *event), start=start + i)[0], whole[i])


def test_concatenated_chunks_are_the_whole_draw_bitwise():
    whole = normal(0, Stream.SAMPLE, 1, (1000, 7))
    for size in (1, 13, 585, 586, 999):
        chunks = [normal(0, Stream.SAMPLE, 1, (min(size, 1000 - i), 7), start=i) for i in range(0, 1000, size)]
        assert torch.equal(torch.cat(chunks), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_narrow_draw_is_the_float64_draw_rounded(dtype):
    wide = normal(5, Stream.NOISE, 3, (64, 3, 4), start=17, dtype=torch.float64)
    assert torch.equal(normal(5, Stream.NOISE, 3, (64, 3, 4), start=17, dtype=dtype), wide.to(dtype))


def test_uniforms_are_the_same_row_wherever_it_starts():
    whole = uniform(1, Stream.TIME, 0, 10_000)
    assert torch.equal(uniform(1, Stream.TIME, 0, 300, start=4000), whole[4000:4300])
    assert float(whole.min()) >= 0 and float(whole.max()) < 1


def test_draws_differ_in_seed_stream_step_and_row():
    base = normal(0, Stream.SAMPLE, 0, (1, 64))
    others = [
        normal(1, Stream.SAMPLE, 0, (1, 64)),
        normal(0, Stream.NOISE, 0, (1, 64)),
        normal(0, Stream.SAMPLE, 1, (1, 64)),
        normal(0, Stream.SAMPLE, 0, (1, 64), start=1),
    ]
    # two independent normals of float32 resolution coincide with probability below 1e-6
    assert all(int((base == other).sum()) == 0 for other in others)


def test_rows_steps_and_streams_are_uncorrelated_within_standard_errors():
    n = 200_000
    draws = [
        normal(0, s, k, (n, 1), dtype=torch.float64).flatten() for s in (Stream.SAMPLE, Stream.TIME) for k in (0, 1)
    ]
    table = torch.stack([*draws, draws[0].roll(1)])
    off = torch.corrcoef(table) - torch.eye(5, dtype=torch.float64)
    assert float(off.abs().max()) < 5 / math.sqrt(n)  # 5 standard errors of a correlation of 0


def test_normal_draws_are_standard_normal_and_uniform_draws_uniform():
    z = normal(11, Stream.SAMPLE, 0, (20_000, 1), dtype=torch.float64).flatten().numpy()
    u = uniform(11, Stream.TIME, 0, 20_000).numpy()
    # critical value of Kolmogorov's statistic at 1e-6
    limit = 2.74 / math.sqrt(20_000)
    assert stats.kstest(z, "norm").statistic < limit
    assert stats.kstest(u, "uniform").statistic < limit


def test_permutation_is_a_bijection_that_depends_on_its_seed_and_step():
    p = permutation(0, Stream.ORDER, 0, 500)
    assert torch.equal(p.sort().values, torch.arange(500))
    assert torch.equal(p, permutation(0, Stream.ORDER, 0, 500))
    assert not torch.equal(p, permutation(0, Stream.ORDER, 1, 500))
    assert not torch.equal(p, permutation(1, Stream.ORDER, 0, 500))


def test_an_empty_draw_is_empty():
    assert normal(0, Stream.SAMPLE, 0, (0, 3), start=7).shape == (0, 3)


def test_negative_and_large_seeds_are_seeds_like_any_other():
    assert not torch.equal(normal(-1, Stream.SAMPLE, 0, (1, 8)), normal(2**64 - 2, Stream.SAMPLE, 0, (1, 8)))
    assert torch.equal(normal(-1, Stream.SAMPLE, 0, (1, 8)), normal(2**64 - 1, Stream.SAMPLE, 0, (1, 8)))


def test_the_global_generators_are_neither_read_nor_moved():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = normal(0, Stream.SAMPLE, 0, (4, 4))
    torch.manual_seed(1)
    assert torch.equal(normal(0, Stream.SAMPLE, 0, (4, 4)), first)
    torch.set_rng_state(before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_seed_from_follows_scikit_learn():
    assert seed_from(7) == 7
    assert seed_from(np.int64(7)) == 7
    assert seed_from(np.random.RandomState(0)) == seed_from(np.random.RandomState(0))
    assert seed_from(np.random.default_rng(0)) == seed_from(np.random.default_rng(0))
    assert seed_from(None) != seed_from(None)  # equal with probability 2^-32
