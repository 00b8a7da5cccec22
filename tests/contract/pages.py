"""Pages of the documentation whose code runs: their blocks, and what a block prints."""

import contextlib
import io
import re
from pathlib import Path

from caminito.testing import BrokenIdentity

DOCS = Path(__file__).resolve().parents[2] / "docs"
_PYTHON = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def blocks(name):
    """Each python block of a page with the text block right after it, or None."""
    yield from ((found[1], found[2]) for found in _PYTHON.finditer((DOCS / name).read_text(encoding="utf-8")))


def said(code, names):
    """What a block prints, and after that the error it raises."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, "a page", "exec"), names)
        except BrokenIdentity as error:
            out.write(f"BrokenIdentity: {error}\n")
    return out.getvalue()
