"""Docstrings here are plain text with numpydoc sections: formulas in ASCII, no markup but backticks.

Before napoleon reads one, stars, bars and trailing underscores are kept as they are written, and blocks that are set in
from the prose become literal blocks.
"""

from __future__ import annotations

import re
from typing import Any

_SECTION = re.compile(r"^-{3,}$")
_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_TYPED = {"Parameters", "Attributes", "Other Parameters"}
_LISTED = {"Parameters", "Attributes", "Returns", "Yields", "Raises", "Other Parameters", "Warns"}


def escaped(line: str) -> str:
    """One line of prose as reStructuredText that reads as it was written."""
    parts = _CODE.split(line)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = part if part.startswith("``") else f"`{part}`"
        else:
            parts[place] = re.sub(r"([*|\\])", r"\\\1", part)
            parts[place] = re.sub(r"(\w)_(?![\w])", r"\1\\_", parts[place])
    return "".join(parts)


def _typed(line: str) -> str:
    """`name : type` with the type as words, which Sphinx would otherwise take for names to link."""
    found = re.match(r"^(\S[^:]*) : ([^`]+)$", line)
    return f"{found[1]} : *{found[2]}*" if found else line


def converted(lines: list[str]) -> list[str]:
    """A docstring, with literal blocks where it has formulas."""
    out: list[str] = []
    section, literal, listed_table = "", False, False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if _SECTION.match(following.strip()) and line and not line.startswith(" "):
            section, literal = line.strip(), False
        if re.match(r"^=+( +=+)+$", line):
            listed_table = True
        set_in = line.startswith("    ") and section not in _LISTED and section != "Examples"
        if set_in and not literal and out and not out[-1].strip():
            out += ["::", ""]
            literal = True
        elif line and not line.startswith(" "):
            literal = False
        if literal or _SECTION.match(line) or section == "Examples" or listed_table:
            out.append(line)
        else:
            out.append(_typed(escaped(line)) if section in _TYPED else escaped(line))
        if listed_table and not line.strip():
            listed_table = False
    return out


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = converted(lines)


def setup(app: Any) -> dict[str, Any]:
    """Listen before napoleon does."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"version": "1", "parallel_read_safe": True}
