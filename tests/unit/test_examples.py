"""The pages of the gallery: each a formula, a short script, a picture and an exercise, in an order without gaps."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PAGES = sorted(EXAMPLES.glob("*/[0-9][0-9]_*.py"))
SECTIONS = sorted({page.parent for page in PAGES})
FIRST = [min(page for page in PAGES if page.parent == section) for section in SECTIONS]


def names(pages):
    return [page.stem for page in pages]


def test_pages_are_numbered_through_the_sections_in_their_order():
    numbers = [int(page.name[:2]) for page in PAGES]
    assert numbers == sorted(set(numbers))
    assert "".join(section.name[0] for section in SECTIONS) == "123456789abcd"[: len(SECTIONS)]


@pytest.mark.parametrize("section", [EXAMPLES, *SECTIONS], ids=lambda section: section.name)
def test_every_section_says_what_it_is_about(section):
    title, line, empty, *text = (section / "GALLERY_HEADER.rst").read_text(encoding="utf-8").splitlines()
    assert len(line) == len(title) and set(line) == {"=" if section == EXAMPLES else "-"}
    assert not empty and text


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_a_page_has_a_title_a_formula_ten_to_forty_lines_a_picture_and_one_exercise(page):
    source = page.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(source)).splitlines()
    assert said[1] == "=" * len(said[0]) and said[3]
    assert ".. code-block:: text" in said
    code, *rest = source.split('"""', 2)[2].split("\n# %%\n")
    assert len(rest) == 1 and rest[0].startswith("# Exercise\n# --------\n# ")
    lines = [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert 10 <= len(lines) <= 40
    assert re.search(r"^ *plot\.\w+\(", code, re.MULTILINE)


@pytest.mark.slow  # one of each section: the documentation runs them all
@pytest.mark.parametrize("page", FIRST, ids=names(FIRST))
def test_a_page_runs_as_a_script_and_writes_nothing(page, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", str(page)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
