"""The page on checking parts of one's own: its code runs, and prints what the page says it does, but for digits."""

import re

from pages import blocks, said


def words(text):
    """The words of a text, with # for every number of its own."""
    return ["#" if re.fullmatch(r"[\d.]+(e[-+]?\d+)?", word.strip(".,:")) else word for word in text.split()]


def test_the_page_prints_what_it_shows():
    names = {"__name__": "page"}
    shown = 0
    for code, expected in blocks("check-your-own.md"):
        got = said(code, names)
        assert words(got) == words(expected or ""), got
        shown += expected is not None
    assert shown == 5
