"""The README files say what was measured, and their Python runs."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "benchmarks" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MACHINE = {"processor": "a processor", "cores": 2, "gpu": None, "python": "3.11.7"}
ORIGIN = {"date": "2026-11-21", "commit": "abc1234", "machine": MACHINE, "versions": {"torch": "2.13.0"}}


@pytest.mark.parametrize("language", ["en", "es"])
def test_readme_tables_are_what_the_generator_makes_of_the_results(tables, language):
    text = tables.READMES[language].read_text(encoding="utf-8")
    assert tables.filled(text, language) == text, "run: python benchmarks/readme.py"


def test_every_readme_has_every_table_once(tables):
    for path in tables.READMES.values():
        found = [match[2] for match in tables.BLOCK.finditer(path.read_text(encoding="utf-8"))]
        assert found == list(tables.TABLES)


def test_every_picture_of_a_result_is_there_and_named_for_it(tables):
    found = [
        re.findall(r"\]\((benchmarks/\S+\.png)\)", path.read_text(encoding="utf-8")) for path in tables.READMES.values()
    ]
    assert found[0] and found[0] == found[1]
    for path in (ROOT / name for name in found[0]):
        assert path.is_file() and path.with_suffix(".json").is_file(), path


def test_both_readmes_show_the_same_python(tables):
    english, spanish = (
        [line.split("  #")[0] for line in _python(path)] for path in (tables.READMES["en"], tables.READMES["es"])
    )
    assert english == spanish


@pytest.mark.parametrize(("language", "said"), [("en", "Not measured yet"), ("es", "Sin medir todavía")])
def test_a_benchmark_without_results_is_said_to_be_not_measured(tables, tmp_path, language, said):
    for name in tables.TABLES:
        assert said in tables.block(name, language, tmp_path)
        assert "|" not in tables.block(name, language, tmp_path)


def test_a_table_shows_the_figures_of_its_json_and_their_origin(tables, tmp_path):
    scores = {"caminito": {"precision": {"mean": 0.95123, "sd": 0.00456}, "recall": {"mean": 0.5, "sd": 0.0}}}
    _write(
        tmp_path / "digits.json", ORIGIN | {"seeds": 5, "scores": scores, "train_seconds": {"mean": 121.4, "sd": 2.0}}
    )
    text = tables.block("digits", "en", tmp_path)
    assert "| **caminito** | – | – | 0.951 ± 0.005 | 0.500 | – |" in text
    assert "Training took 121 ± 2 s" in text
    for part in ("2026-11-21", "a processor", "2 cores", "`abc1234`", "torch 2.13.0", "without a GPU"):
        assert part in text


def test_the_comparison_shows_quality_and_speed_where_they_were_measured(tables, tmp_path):
    quality = {
        "caminito": {"parameters": 4_900_000, "frechet": 1.234, "sample_seconds": 60.0},
        "other": {"frechet": 3.5},
    }
    speed = {"train": 900.0, "evaluate": 3000.0}
    part = {"peer": speed, "caminito": {"train": 1800.0, "evaluate": 6000.0}, "ratio_train": 2.0, "ratio_evaluate": 2.0}
    throughput = {"diffusers small": {"parameters": {"peer": 1e6, "caminito": 1.1e6}, "float32": part}}
    _write(
        tmp_path / "images_vs_diffusers.json", ORIGIN | {"minutes": 20, "quality": quality, "throughput": throughput}
    )
    text = tables.block("images_vs_diffusers", "en", tmp_path)
    assert "| **caminito** | 4.90 | 1.23 | – | – | – | – | – | 60.0 |" in text
    assert "training, float32 | 900 | 1 800 | 2.00 |" in text
    _write(tmp_path / "images_vs_diffusers.json", ORIGIN | {"throughput": throughput})
    assert "Fréchet" not in tables.block("images_vs_diffusers", "en", tmp_path)


def test_the_gpu_table_is_found_in_its_folder(tables, tmp_path):
    (tmp_path / "gpu").mkdir()
    rates = {"eager": {"training_images_per_second": 6100.0, "training_share_of_peak": 0.25}}
    end = {"samples": 50_000, "evaluations": 20, "seconds": 45.6}
    facts = {"date": "2026-11-21", "torch": "2.13.0", "parameters": 35_700_000, "batch": 512}
    _write(tmp_path / "gpu" / "gpu_unet.json", facts | {"rates": rates, "end_to_end": end})
    text = tables.block("gpu_unet", "en", tmp_path)
    assert "| eager | 6 100 | 0.250 | – | – |" in text
    assert "35.7 M parameters" in text and "50 000 samples in 45.6 s, 20 evaluations each." in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.0123456, "0.0123"),
        (0.5, "0.500"),
        (1.5, "1.50"),
        (12.34, "12.3"),
        (123.4, "123"),
        (60000, "60 000"),
    ],
)
def test_three_digits_that_matter(tables, value, text):
    assert tables.number(value) == text


@pytest.mark.parametrize("value", [None, float("nan"), "0.5", True])
def test_what_is_no_number_is_a_dash(tables, value):
    assert tables.number(value) == tables.DASH


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tables, tmp_path, monkeypatch):
    lines = "\n".join(_python(tables.READMES["en"]))
    short = lines.replace("minutes=2", "max_steps=2, n_steps=2")
    assert short != lines
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(short, "README.md", "exec"), names)
    assert names["new"].shape == (100, 8, 8) and names["new"].dtype == names["X"].dtype
    assert (names["same"] == names["new"]).all()


def _python(path):
    return re.search(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)[1].splitlines()


def _write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
