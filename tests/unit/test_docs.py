"""The documentation leaves out no error, no warning and no command."""

from pathlib import Path

import pytest
import typer

from caminito import _errors
from caminito.cli.app import app

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", _errors.__all__)
def test_every_error_and_warning_has_a_section(name):
    assert f"\n## {name}\n" in (DOCS / "warnings.md").read_text(encoding="utf-8")


def test_every_command_has_a_section():
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    for name in typer.main.get_command(app).commands:
        assert f"```{{command}} {name}\n" in page, name


def test_a_docstring_keeps_its_stars_bars_and_underscores():
    import importlib.util

    spec = importlib.util.spec_from_file_location("plain_docstrings", DOCS / "_ext" / "plain_docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    got = module.converted(["Of (B, *event), |x|, fitted_ and `codec_`.", "", "    a = b*", "", "After."])
    assert got == [r"Of (B, \*event), \|x\|, fitted\_ and ``codec_``.", "", "::", "", "    a = b*", "", "After."]
