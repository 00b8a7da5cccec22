"""Holes in what a network is told of the items themselves: their law, what they depend on, and what is left alone."""

from __future__ import annotations

import pytest
import torch

from caminito.nn import Given
from caminito.training import known_at_random, with_holes


@pytest.mark.parametrize("grid", [(12,), (9, 12), (4, 6, 5)])
def test_each_entry_is_known_about_half_the_time_and_rows_from_hardly_to_nearly_all(grid):
    mask = known_at_random(4000, grid, 3, 5)
    assert mask.shape == (4000, *grid) and mask.dtype == torch.bool
    share = mask.float().mean(0)
    assert float(share.min()) > 0.35 and float(share.max()) < 0.75
    rows = mask.flatten(1).float().mean(1)
    assert (torch.histc(rows, 5, 0, 1) > 200).all()  # 4000 rows, five shares of what is known


def test_there_are_boxes_hidden_and_shown_halves_and_scattered_pixels():
    mask = known_at_random(4000, (16, 16), 0, 0)

    def is_box(part: torch.Tensor) -> torch.Tensor:
        rows, columns = part.any(2), part.any(1)
        return (part == rows[:, :, None] & columns[:, None, :]).all((1, 2)) & part.any((1, 2)) & ~part.all((1, 2))

    hidden, shown = is_box(~mask), is_box(mask)
    assert 0.3 < float(hidden.float().mean()) < 0.5 and 0.25 < float(shown.float().mean()) < 0.45  # a band is both
    half = (mask == mask[:, :1]).all((1, 2)) & is_box(mask)  # bands of whole columns
    assert 0.05 < float(half.float().mean()) < 0.2
    neither = mask[~hidden & ~shown]
    fine = (neither[:, ::2] != neither[:, 1::2]).any((1, 2)).float().mean()
    assert 0.2 < float(fine) < 0.5  # cells of one pixel; of those of 2, 4, 8 neighbours are alike


def test_holes_of_a_row_are_a_function_of_seed_step_and_row():
    whole, part = known_at_random(300, (5, 7), 3, 5), known_at_random(70, (5, 7), 3, 5)
    assert torch.equal(whole[:70], part)
    for seed, step in ((3, 6), (4, 5), (3, -1)):
        assert 0.3 < float((known_at_random(70, (5, 7), seed, step) != part).float().mean()) < 0.7


def test_only_fields_known_in_part_get_holes_the_same_in_all_channels_and_what_was_hidden_stays_so():
    torch.manual_seed(0)
    value = torch.randn(50, 2, 6, 6)
    mask = torch.rand(50, 2, 6, 6) < 0.5
    cond = {
        "known": Given(value, mask=mask),
        "map": Given(value),
        "plain": value,
        "text": Given(torch.randn(50, 3, 4), mask=torch.ones(50, 3, dtype=torch.bool)),
    }
    out = with_holes(cond, 1, 2)
    drawn = known_at_random(50, (6, 6), 1, 2)
    assert torch.equal(out["known"].mask, mask & drawn[:, None]) and out["known"].value is value
    assert all(out[name] is cond[name] for name in ("map", "plain", "text"))
    assert torch.equal(cond["known"].mask, mask) and with_holes(None, 1, 2) is None
