"""Trees whose leaves know their rows, and the chain of jumps they make, against counts and laws known exactly."""

import itertools

import numpy as np
import pytest

from caminito.denoiser import LeafTree, RevealChain
from caminito.training import fit_leaves

RNG = np.random.default_rng(0)
ROWS = 600


def table():
    """Number, category of 5, number that depends on both, class that depends on all; some values missing."""
    a, b = RNG.integers(0, 40, ROWS), RNG.integers(0, 5, ROWS)
    c = (a + 10 * np.array([3, 0, 4, 1, 2])[b] + RNG.integers(0, 3, ROWS)) // 2
    d = (c > 25).astype(int) + (b == 2)
    codes = np.stack([a, b, c, d], 1).astype(np.int32)
    codes[RNG.random(ROWS) < 0.1, 2] = -1
    return codes


CODES, ORDERED = table(), [True, False, True, False]


def fitted(target, columns, **options):
    return fit_leaves(CODES, target, columns, ordered=ORDERED, **options)


@pytest.mark.parametrize(("target", "columns"), [(2, [0, 1]), (3, [0, 1, 2]), (1, [0, 3]), (0, [])])
def test_each_row_is_a_donor_of_the_leaf_it_falls_into(target, columns):
    tree = fitted(target, columns, min_rows=7)
    leaf = tree.leaf(CODES)
    for node in np.unique(leaf):
        rows = tree.order[tree.first[node] : tree.last[node]]
        assert set(rows) == set(np.flatnonzero(leaf == node))
        assert len(rows) >= 7
    assert tree.leaves == len(np.unique(leaf))
    inner = np.flatnonzero(tree.feature >= 0)
    assert (tree.first[inner] == tree.first[tree.left[inner]]).all()
    assert (tree.last[inner] == tree.last[tree.right[inner]]).all()


def test_donors_come_by_weight():
    weights = RNG.integers(1, 5, ROWS).astype(float)
    tree = fitted(2, [0, 1], min_rows=20, weights=weights)
    node = tree.leaf(CODES[:1])
    u = (np.arange(50_000) + 0.5) / 50_000
    rows = tree.donors(np.repeat(node, len(u)), u).rows
    inside = tree.order[tree.first[node[0]] : tree.last[node[0]]]
    shares = np.bincount(rows, minlength=ROWS) / len(u)
    assert np.allclose(shares[inside], weights[inside] / weights[inside].sum(), atol=2 / len(u))
    assert np.isclose(shares[inside].sum(), 1)


def test_allowed_donors_are_found_above_a_leaf_that_has_none():
    tree = fitted(2, [0, 1], min_rows=5)
    leaf = tree.leaf(CODES)
    allowed = CODES[:, 2] >= 30
    drawn = tree.donors(leaf, RNG.random(ROWS), allowed)
    assert allowed[drawn.rows].all()
    for node in np.unique(leaf):
        inside = leaf == node
        share = allowed[inside].mean()
        assert np.allclose(drawn.share[inside], share if share else 0.5 / inside.sum())
        if not share:  # the nearest node above with some
            above = tree.parent[node]
            while not allowed[tree.order[tree.first[above] : tree.last[above]]].any():
                above = tree.parent[above]
            assert set(drawn.rows[inside]) <= set(tree.order[tree.first[above] : tree.last[above]])


def test_categories_stand_on_the_line_whose_best_cut_is_the_best_of_all():
    # Fisher 1958: of all 2^4 - 1 ways to part five categories, the best for a number is a cut of their order by mean
    known = CODES[CODES[:, 2] >= 0]
    y, b = known[:, 2].astype(float), known[:, 1]
    root = fit_leaves(known, 2, [1], ordered=ORDERED, min_rows=1)
    left = {int(k) for k in range(5) if root.ranks[0][k] <= root.threshold[0]}

    def within(part):
        inside = np.isin(b, list(part))
        return sum(((y[s] - y[s].mean()) ** 2).sum() for s in (inside, ~inside))

    ways = [set(part) for size in (1, 2) for part in itertools.combinations(range(5), size)]
    best = min(within(part) for part in ways)
    assert np.isclose(within(left), best)


def test_missing_values_are_a_value_of_their_own():
    codes = CODES.copy()
    gone = codes[:, 2] < 0
    codes[:, 3] = gone  # what is missing is all that the class depends on
    tree = fit_leaves(codes, 3, [2, 0], ordered=ORDERED, min_rows=1)
    drawn = tree.donors(tree.leaf(codes), RNG.random(ROWS)).rows
    assert (codes[drawn, 3] == gone).all()
    back = fit_leaves(codes, 2, [3], ordered=ORDERED, min_rows=1)
    drawn = back.donors(back.leaf(codes), RNG.random(ROWS)).rows
    assert ((codes[drawn, 2] < 0) == gone).all()


def test_arrays_make_the_same_tree():
    tree = fitted(2, [0, 1], min_rows=5)
    again = LeafTree.from_arrays(tree.arrays())
    u = RNG.random(ROWS)
    assert np.array_equal(tree.donors(tree.leaf(CODES), u).rows, again.donors(again.leaf(CODES), u).rows)


def test_a_chain_of_jumps_has_the_law_of_the_table():
    # a full factorial law that trees can hold exactly: every conditional is a table of counts
    p = RNG.dirichlet(np.ones(2 * 3 * 2)).reshape(2, 3, 2)
    flat = RNG.choice(12, size=6000, p=p.ravel())
    codes = np.stack(np.unravel_index(flat, p.shape), 1).astype(np.int32)
    order, ordered = [2, 0, 1], [False] * 3
    trees = {c: fit_leaves(codes, c, order[:k], ordered=ordered, min_rows=1) for k, c in enumerate(order)}
    made = RevealChain(order, trees, codes).reveal(RNG.random((200_000, 3)))
    counts = np.bincount(np.ravel_multi_index(tuple(made.codes.T), p.shape), minlength=12) / 200_000
    empirical = np.bincount(flat, minlength=12) / 6000
    assert np.abs(counts - empirical).max() < 5 * np.sqrt(0.25 / 200_000)
    assert (made.log_share == 0).all()


def test_what_is_given_stays_and_what_is_allowed_weighs():
    order = [1, 0, 2, 3]
    trees = {c: fitted(c, order[:k], min_rows=5) for k, c in enumerate(order) if c != 1}
    given = np.zeros((2000, 4), dtype=np.int32)
    given[:, 1] = 2
    allowed = {0: CODES[:, 0] < 10}
    made = RevealChain(order, trees, CODES).reveal(RNG.random((2000, 4)), given, allowed)
    assert (made.codes[:, 1] == 2).all() and (made.codes[:, 0] < 10).all()
    assert (made.rows[:, 1] == -1).all() and (CODES[made.rows[:, 3], 3] == made.codes[:, 3]).all()
    chosen = CODES[:, 1] == 2
    assert np.isclose(np.exp(made.log_share).mean(), (CODES[chosen, 0] < 10).mean(), atol=0.12)
