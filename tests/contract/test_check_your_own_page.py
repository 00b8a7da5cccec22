"""The page on checking parts of one's own: its code runs, and prints what the page says it does, but for digits."""

import contextlib
import io
import re
from pathlib import Path

from caminito.testing import BrokenIdentity

PAGE = Path(__file__).resolve().parents[2] / "docs" / "check-your-own.md"


def blocks(text):
    """Each python block with the text block that follows it, or None."""
    found = re.findall(r"^```(python|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for i, (kind, body) in enumerate(found):
        if kind == "python":
            shown = found[i + 1][1] if i + 1 < len(found) and found[i + 1][0] == "text" else None
            yield body, shown


def said(code, names):
    """What a block prints, and after that the error it raises."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, str(PAGE), "exec"), names)
        except BrokenIdentity as error:
            out.write(f"BrokenIdentity: {error}\n")
    return out.getvalue()


def words(text):
    """The words of a text, with # for every number of its own."""
    return ["#" if re.fullmatch(r"[\d.]+(e[-+]?\d+)?", word.strip(".,:")) else word for word in text.split()]


def test_the_page_prints_what_it_shows():
    names = {"__name__": "page"}
    shown = 0
    for code, expected in blocks(PAGE.read_text(encoding="utf-8")):
        got = said(code, names)
        assert words(got) == words(expected or ""), got
        shown += expected is not None
    assert shown == 5
