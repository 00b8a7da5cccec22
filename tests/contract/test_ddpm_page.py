"""The page on DDPM: its code runs, and prints what the page shows, digit for digit."""

from pages import blocks, said


def test_the_page_prints_what_it_shows():
    names = {"__name__": "page"}
    shown = 0
    for code, expected in blocks("ddpm.md"):
        assert said(code, names) == (expected or "")
        shown += expected is not None
    assert shown == 9
