"""The pages on tables, densities, guidance and observations: their code runs, and prints what they show."""

import pytest
from pages import blocks, said


@pytest.mark.parametrize(
    ("page", "outputs"), [("tables.md", 6), ("density.md", 2), ("guidance.md", 14), ("posterior.md", 5)]
)
def test_the_page_prints_what_it_shows(page, outputs):
    names = {"__name__": "page"}
    shown = 0
    for code, expected in blocks(page):
        assert said(code, names) == (expected or "")
        shown += expected is not None
    assert shown == outputs
