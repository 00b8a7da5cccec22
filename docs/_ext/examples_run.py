"""The tutorial is a script, and a build runs it, with a budget of two steps, before it shows it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

_SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "digits.py"


def _run(app: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_SCRIPT), "--steps", "2", "--out", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ExtensionError(f"the tutorial does not run:\n{done.stderr}")


def setup(app: Any) -> dict[str, Any]:
    """Run it once, when the build starts."""
    app.connect("builder-inited", _run)
    return {"version": "1", "parallel_read_safe": True}
