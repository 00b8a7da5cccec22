"""What SECURITY.md promises, held against the source of the package."""

import ast
from pathlib import Path

import pytest

import caminito

FILES = sorted(Path(caminito.__file__).parent.rglob("*.py"))

RUNS_CODE = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code"}
OPENS_CONNECTIONS = {
    "socket",
    "ssl",
    "urllib",
    "http",
    "ftplib",
    "smtplib",
    "requests",
    "httpx",
    "aiohttp",
    "webbrowser",
}
CALLS = {"eval", "exec", "compile", "__import__"}
READERS = {
    ("torch", "load"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("pandas", "read_pickle"),
}


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def nodes(request):
    return list(ast.walk(ast.parse(request.param.read_text(encoding="utf-8"))))


def test_nothing_imports_what_runs_code_or_opens_connections(nodes):
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    assert not {name.split(".")[0] for name in names} & (RUNS_CODE | OPENS_CONNECTIONS)


def test_nothing_is_evaluated_or_read_by_what_may_run_code(nodes):
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Name):
            assert call.func.id not in CALLS
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            assert (call.func.value.id, call.func.attr) not in READERS


def test_arrays_are_read_without_pickle(nodes):
    for call in (node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        if ast.unparse(call.func) in ("np.load", "numpy.load", "npy.read_array", "np.save"):
            told = {word.arg: word.value for word in call.keywords}
            assert ast.unparse(told["allow_pickle"]) == "False"
