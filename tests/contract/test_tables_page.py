"""The page on tables: its code runs, and prints what the page shows."""

from pages import blocks, said


def test_the_page_prints_what_it_shows():
    names = {"__name__": "page"}
    shown = 0
    for code, expected in blocks("tables.md"):
        assert said(code, names) == (expected or "")
        shown += expected is not None
    assert shown == 6
