"""What the package promises of its own source and import cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import caminito

SOURCE = Path(caminito.__file__).parent
FORBIDDEN = re.compile(r"\bpickle\b|joblib\.load|torch\.load\(|\beval\(|\bexec\(|yaml\.load\(|allow_pickle=True")


def code_lines():
    for path in sorted(SOURCE.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            yield f"{path.relative_to(SOURCE)}:{number}", line


def test_no_line_can_load_code():
    assert [where for where, line in code_lines() if FORBIDDEN.search(line) and ".eval()" not in line] == []


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, caminito; print([m for m in ('torch', 'numpy', 'sklearn', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_importable_and_listed():
    for name in caminito.__all__:
        assert getattr(caminito, name) is not None
    assert set(caminito.__all__) <= set(dir(caminito))


def test_every_module_says_what_it_is_and_what_it_offers():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith('"""'), path
        if not path.name.startswith("_") or path.name == "__init__.py":
            assert "__all__" in text, path


def test_no_module_takes_a_private_name_of_another():
    """A private module (_random) may be imported; a name with an underscore within a module is that module's own."""
    taken = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("caminito"):
                continue
            home = SOURCE.parent.joinpath(*str(node.module).split("."))
            for name in (each.name for each in node.names):
                private = name.startswith("_") and not name.endswith("__")
                if private and not (home / name).is_dir() and not (home / f"{name}.py").is_file():
                    taken.append(f"{path.relative_to(SOURCE)}: {node.module}.{name}")
    assert taken == []
