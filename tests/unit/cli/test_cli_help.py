"""`--help` and `--version`: every command is named, and nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import caminito
from caminito.cli.app import app

COMMANDS = (
    "inspect",
    "train",
    "sample",
    "impute",
    "inpaint",
    "upscale",
    "calibrate",
    "train-classifier",
    "evaluate",
    "plot",
    "report",
    "doctor",
)
HEAVY = ("torch", "numpy", "pandas", "matplotlib", "sklearn", "yaml")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([name, "--help"] for name in ("train", "train-classifier", "impute", "inpaint", "plot", "report")),
        ["--version"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from caminito.cli.app import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("heavy: []")


def test_help_names_every_command_in_the_order_of_use() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    places = [text.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)


def test_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"caminito {caminito.__version__}\n"


def test_no_arguments_show_help() -> None:
    assert "Commands" in CliRunner().invoke(app, []).output
