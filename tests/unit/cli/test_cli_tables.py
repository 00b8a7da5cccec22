"""Tables at the command line: what is understood, trained, drawn, filled and judged, and mistakes that end in words."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import caminito
from caminito._errors import ConfigError
from caminito.cli import table_judged
from caminito.cli.app import app
from caminito.cli.tables import table_of_run
from caminito.cli.where import conditions
from caminito.estimators.run import open_run
from caminito.estimators.table import TableDiffusion
from caminito.estimators.table_run import TableRun
from caminito.metrics import Score

ROWS = 120


def said(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300"})


def done(*arguments: object) -> str:
    result = said(*arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(*arguments: object) -> str:
    """The message of a command that has to fail."""
    result = said(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    return " ".join(result.output.split())


def flowers() -> pd.DataFrame:
    """Like iris: a class that says most of a length, a code with leading zeros, ages, dates and holes."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], ROWS // 3)
    frame = pd.DataFrame(
        {
            "class": np.array(["red", "green", "dark blue"])[kind],
            "petal length": np.round(2.0 * kind + rng.normal(1.5, 0.2, ROWS), 1),
            "age": rng.integers(18, 80, ROWS),
            "zip": [f"{code:05d}" for code in rng.integers(1, 6, ROWS)],
            "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 30, ROWS), "D"),
            "height": np.round(rng.normal(10, 2, ROWS), 1),
        }
    )
    frame.loc[::6, "height"] = np.nan
    frame.loc[1] = frame.loc[0]
    return frame


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables")
    flowers().to_csv(path / "flowers.csv", index=False)
    return path


@pytest.fixture(scope="module")
def told(place: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return done("train", "flowers.csv", "--out", "runs/flowers", "--target", "class")


@pytest.fixture
def here(place: Path, told: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


RUN = "runs/flowers"

# -- the language of --where ------------------------------------------------------------------------------------------


def test_where_reads_values_intervals_choices_and_holes() -> None:
    asked = conditions(
        """sex=F, age=30..40, up=..-1.5, on=2020-01-01.., city=?, hue = dark blue|red|?, "a, b"='it''s'"""
    )
    assert asked == {
        "sex": "F",
        "age": ("30", "40"),
        "up": (None, "-1.5"),
        "on": ("2020-01-01", None),
        "city": None,
        "hue": ["dark blue", "red", None],
        "a, b": "it's",
    }
    assert conditions("""a="?", b="1..2", c='', d="x=y|z" """) == {"a": "?", "b": "1..2", "c": "", "d": "x=y|z"}


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("sex", 3, "expected = after 'sex', got nothing"),
        ("sex=", 4, "expected a value for 'sex'"),
        ("sex=F age=3", 9, "expected a comma before the next name"),
        ("sex=F,", 6, "after the last comma"),
        ("sex=F,,age=3", 6, "expected the name of a column, got ','"),
        ("age>30", 3, "a comparison is an interval"),
        ("age>=30", 3, "a comparison is an interval"),
        ("age=..", 4, "at least one end"),
        ("age=1..2..3", 8, "got '..' too much"),
        ("age=?..3", 4, "expected the end of an interval"),
        ("hue=red|", 8, "one more value after |"),
        ("hue='red", 4, "expected a quote to be closed"),
        ("age=1, age=2", 7, "expected each column once"),
        ("hue='a' b", 8, "expected a comma or | before the next value"),
        ("", 0, "expected name=value, got nothing"),
    ],
)
def test_a_mistake_in_where_is_pointed_at(text: str, place: int, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conditions(text)
    first, shown, caret, example = str(caught.value).split("\n")
    assert why in first
    assert shown == f"  {text}"
    assert caret == f"  {' ' * place}^"
    assert 'sex=F, age=30..40, city=?"' in example


# -- inspect and train ------------------------------------------------------------------------------------------------


def test_inspect_says_what_the_columns_are_and_what_would_be_trained(here: Path) -> None:
    told = said("inspect", "flowers.csv", "--target", "class").output
    lines = {line.split("  ")[1].strip(): line.split() for line in told.splitlines() if line.startswith("  ")}
    assert lines["rows"][1:] == ["120", "of", "6", "columns"]
    assert lines["duplicates"][1:3] == ["1", "rows"]
    assert lines["class"][1:4] == ["category", "3", "red"]
    assert lines["zip"][1:3] == ["category", "5"] and lines["zip"][3].startswith("0000")
    assert lines["age"][1] == "integer" and lines["seen"][1] == "datetime"
    assert lines["height"][1] == "number" and "17.5 %" in " ".join(lines["height"])
    assert lines["mode"][1] == "reveal" and "Would be trained" in told
    assert "caminito train flowers.csv --target class" in told
    assert not Path("runs/flowers-2").exists()


def test_types_are_overridden_and_the_same_options_train(here: Path) -> None:
    told = done("inspect", "flowers.csv", "--type", "age=category", "--write", "asked.yaml", "--privacy-k", "9")
    assert "age category" in told and "rows in a leaf 9" in told
    assert "caminito train flowers.csv --config asked.yaml" in told
    done("train", "flowers.csv", "--config", "asked.yaml", "--out", "typed", "--seed", "3")
    model = caminito.load("typed")
    assert model.types == {"age": "category"} and model.privacy_k == 9 and model.random_state == 3
    assert {column.name: column.kind for column in model.columns_}["age"] == "category"


def test_train_says_what_was_chosen_and_writes_a_run(here: Path, told: str) -> None:
    for words in (
        "Chosen from the data",
        "mode reveal",
        "on 108 rows",
        "12 rows, to judge by",
        f"caminito sample {RUN}",
    ):
        assert words in told
    names = {"config.yaml", "data.json", "env.json", "events.jsonl", "status.json", "card.md", "model"}
    assert names <= {path.name for path in Path(RUN).iterdir()}
    facts = json.loads(Path(RUN, "data.json").read_text())
    assert facts["kind"] == "table" and facts["count"] == ROWS and facts["duplicates"] == 1
    assert re.fullmatch(r"[0-9a-f]{64}", facts["fingerprint"])
    assert json.loads(Path(RUN, "status.json").read_text())["state"] == "finished"
    events = [json.loads(line)["event"] for line in Path(RUN, "events.jsonl").read_text().splitlines()]
    assert [event for event in events if event != "fitted"][:3] == ["start", "choices", "finish"]
    assert events.count("fitted") >= 2
    assert "120 rows of 6 columns" in Path(RUN, "card.md").read_text()
    assert done("doctor", RUN).count(" ok ") == 3


def test_the_kind_of_file_decides_and_the_same_rows_are_the_same_data(here: Path) -> None:
    Path("again.csv.gz").write_bytes(gzip.compress(Path("flowers.csv").read_bytes()))
    flowers().to_csv("again.tsv", index=False, sep="\t")
    shown = [
        done("inspect", name).split("Would be trained")[0] for name in ("flowers.csv", "again.csv.gz", "again.tsv")
    ]
    assert shown[0] == shown[1] == shown[2]
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.save("rows.npy", rows)
    tiny = ["--set", "network.width=16", "--set", "network.depth=1"]
    assert "60 of 3 numbers" in done("train", "rows.npy", "--out", "rows", "--steps", "2", *tiny)
    assert "--where: not for a run of images or arrays" in refused("sample", "rows", "--where", "a=1")
    assert "impute: expected the run of a table" in refused("impute", "rows", "flowers.csv")


def test_a_run_that_was_stopped_goes_on_to_the_same_model(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TableDiffusion, "fit", stop)
        result = said("train", "flowers.csv", "--out", "stopped", "--target", "class")
    assert result.exit_code == 130 and "caminito train --resume stopped" in result.output
    assert "holds no model yet: it is interrupted" in refused("sample", "stopped")
    done("train", "--resume", "stopped")
    ours, theirs = (caminito.load(run).sample(50, random_state=1) for run in ("stopped", RUN))
    pd.testing.assert_frame_equal(ours, theirs)


def test_a_mode_that_the_columns_do_not_allow_is_refused_before_there_is_a_run(here: Path) -> None:
    Path("words.csv").write_text("a,b\n" + "x,y\nz,y\nx,w\n" * 10)
    assert "mode='denoise': expected numbers" in refused("train", "words.csv", "--mode", "denoise", "--out", "never")
    assert not Path("never").exists()
    told = done("inspect", "words.csv")
    assert "mode reveal" in told and "duplicates 27 rows" in told


# -- sample and impute ------------------------------------------------------------------------------------------------


def test_samples_are_those_of_the_model_in_the_order_of_the_file(here: Path) -> None:
    done("sample", RUN, "-n", 50, "--seed", 4, "-o", "new.csv")
    rows = pd.read_csv("new.csv", dtype={"zip": str}, parse_dates=["seen"])
    assert list(rows.columns) == list(flowers().columns)
    expected = caminito.load(RUN).sample(50, random_state=4)[list(rows.columns)]
    pd.testing.assert_frame_equal(rows, expected, check_dtype=False)
    done("sample", RUN, "-n", 50, "--seed", 4, "--batch-size", 7, "-o", "parts.csv")
    assert Path("parts.csv").read_bytes() == Path("new.csv").read_bytes()


def test_samples_meet_what_is_asked_of_them(here: Path) -> None:
    told = done("sample", RUN, "-n", 40, "--where", "class=dark blue|red, age=30..40, height=?")
    place = Path(told.rsplit(": ", 1)[1])
    assert place.parent == Path(RUN, "samples") and place.name.startswith("n40_seed0_class-dark-blue")
    rows = pd.read_csv(place)
    assert len(rows) == 40 and set(rows["class"]) == {"dark blue", "red"}
    assert rows["age"].between(30, 40).all() and rows["height"].isna().all()


def test_a_table_of_conditions_gets_a_sample_for_each_row(here: Path) -> None:
    Path("asked.csv").write_text("zip,class,age\n00003,red,\n,dark blue,33\n00001,,\n")
    done("sample", RUN, "--condition", "asked.csv", "-o", "asked-full.tsv")
    rows = pd.read_csv("asked-full.tsv", sep="\t", dtype={"zip": str})
    assert rows["zip"].tolist()[::2] == ["00003", "00001"] and rows["class"].tolist()[:2] == ["red", "dark blue"]
    assert rows["age"][1] == 33 and rows["age"].notna().all()
    assert "a sample for each of the 3 rows" in refused("sample", RUN, "--condition", "asked.csv", "-n", 5)
    assert "expected one of them" in refused("sample", RUN, "--condition", "asked.csv", "--where", "age=3")


def test_impute_keeps_what_is_known_and_fills_the_rest(here: Path) -> None:
    holes = flowers().head(30)
    holes.loc[::3, "class"] = None
    holes.loc[::2, "age"] = np.nan
    holes.to_csv("holes.csv", index=False)
    empty = int(holes.isna().to_numpy().sum())
    assert f"{empty} holes in" in done("impute", RUN, "holes.csv", "-o", "full.csv")
    full = pd.read_csv("full.csv", dtype={"zip": str}, parse_dates=["seen"])
    assert list(full.columns) == list(holes.columns) and not full[["class", "age"]].isna().any().any()
    for name in holes:
        known = holes[name].notna()
        assert (full.loc[known, name] == holes.loc[known, name]).all()
    done("impute", RUN, "holes.csv", "-o", "many.csv", "--draws", 3)
    drawn = [Path(f"many_{i}.csv").read_text() for i in (1, 2, 3)]
    assert len(set(drawn)) > 1 and not Path("many.csv").exists()
    assert "holes_full.csv" in done("impute", RUN, "holes.csv")
    done("impute", RUN, "holes.csv", "--centre", "-o", "centre.csv")
    assert not pd.read_csv("centre.csv").isna().any(axis=None)


# -- evaluate and report ----------------------------------------------------------------------------------------------


def test_evaluate_sets_every_figure_beside_its_floor_and_report_shows_them(here: Path) -> None:
    told = done("evaluate", RUN, "-n", 120)
    assert "column shapes, %" in told and "utility" in told and "guessing gets 0.50" in told
    metrics = json.loads(Path(RUN, "metrics.json").read_text())
    assert (metrics["n_samples"], metrics["n_train"], metrics["n_held_out"]) == (120, 108, 12)
    assert {"shape", "trend", "c2st", "copies", "dcr_ratio", "utility"} <= set(metrics["scores"])
    assert all({"value", "floor", "meaning", "better"} <= set(score) for score in metrics["scores"].values())
    assert {name for name, _ in metrics["columns"]} == set(flowers().columns)
    assert "| shape |" in Path(RUN, "card.md").read_text()
    before = Path(RUN, "metrics.json").read_bytes()
    done("report", RUN)
    assert Path(RUN, "metrics.json").read_bytes() == before
    text = Path(RUN, "report.html").read_text()
    assert not re.findall(r"https?://", text) and "<script" not in text
    for title in ("Made rows", "How good they are", "Column by column", "Pair by pair", "Choices, and why", "Data"):
        assert f"<h2>{title}" in text
    assert len(re.findall("<figcaption>", text)) == 6


def test_a_model_that_repeats_its_rows_is_told_apart_from_chance() -> None:
    def said_of(copies: float, ratio: float, held: int) -> str:
        scores = {"copies": Score(copies, 0.0, ""), "dcr_ratio": Score(ratio, 1.0, "")}
        return table_judged._memorised(scores, 1000, held)

    assert said_of(0.015, 0.9, 15) == "" and "copies" in said_of(0.5, 0.9, 15)
    assert said_of(0.0, 0.7, 15) == "" and "nearest 0.70" in said_of(0.0, 0.7, 1000)
    assert said_of(1.0, 0.0, 0) == ""


def test_other_data_are_refused_and_moved_ones_found(here: Path) -> None:
    other = flowers()
    other.loc[5, "age"] += 1
    other.to_csv("other.csv", index=False)
    assert "does not hold the data" in refused("evaluate", RUN, "other.csv")
    run = open_run(RUN)
    assert isinstance(run, TableRun)
    there = table_of_run(run, None)
    Path("flowers.csv").rename("moved.csv")
    try:
        assert "are no longer at" in refused("evaluate", RUN)
        assert table_of_run(run, "moved.csv").fingerprint == there.fingerprint
    finally:
        Path("moved.csv").rename("flowers.csv")


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["inspect", "train"])
def test_files_that_are_no_tables_say_what_is_wrong_and_leave_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ragged.csv").write_text("a,b\n1,2\n3\n4,5,6\n")
    message = refused(command, "ragged.csv")
    assert "line 3 has 1, line 4 has 3" in message
    Path("empty.csv").write_text("")
    assert "got an empty file" in refused(command, "empty.csv")
    Path("header.csv").write_text("a,b\n")
    assert "got only a header" in refused(command, "header.csv")
    Path("one.csv").write_text("a,b\n1,2\n")
    assert "at least 2 rows" in refused(command, "one.csv")
    Path("sheet.xlsx").write_text("x")
    message = refused(command, "sheet.xlsx")
    assert "unknown kind '.xlsx'" in message and ".csv" in message
    Path("old.csv").write_bytes("a,b\n1,caf\xe9\n2,x\n".encode("latin-1"))
    assert "cp1252" in refused(command, "old.csv")
    assert "found nothing there" in refused(command, "absent.csv")
    assert not Path("runs").exists()


def test_options_that_do_not_fit_are_named(here: Path) -> None:
    assert "--target: expected" not in refused("train", "flowers.csv", "--steps", 5, "--minutes", 2)
    assert "--minutes, --steps: not for a table" in refused("train", "flowers.csv", "--steps", 5, "--minutes", 2)
    assert "--target, --mode: not for images and arrays" in refused(
        "train", "digits", "--target", "class", "--mode", "auto"
    )
    assert "--class, --steps: not for the run of a table" in refused("sample", RUN, "--class", "red", "--steps", 3)
    assert "--solver: not for the run of a table" in refused("evaluate", RUN, "--solver", "ddim")
    for command in (["calibrate", RUN], ["plot", RUN, "strip"], ["plot", RUN, "loss"]):
        message = refused(*command)
        assert "one of a table" in message and "sample, impute, evaluate, report, doctor" in message
    assert "takes no other options, got --target" in refused("train", "--resume", RUN, "--target", "age")
    assert "holds a run already (finished)" in refused("train", "flowers.csv", "--out", RUN)
    assert "is finished: there is nothing left" in refused("train", "--resume", RUN)


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("--target", "clas", "Did you mean class?"),
        ("--type", "age", "expected NAME=KIND"),
        ("--type", "age=categry", "Is 'category' meant?"),
        ("--type", "agee=category", "is 'age' meant?"),
        ("--mode", "fast", "--mode: expected one of auto, reveal, denoise"),
        ("--missing", "drop", "--missing: expected one of model, fill"),
        ("--privacy-k", "0", "--privacy-k: expected a whole number of at least 1"),
        ("--set", "privacyk=3", "Did you mean privacy_k?"),
        ("--encoding", "utf-99", "encoding: expected one that Python knows"),
    ],
)
def test_an_impossible_option_is_answered_with_what_is_possible(
    here: Path, option: str, value: str, advice: str
) -> None:
    assert advice in refused("train", "flowers.csv", "--out", "never", option, value)
    assert not Path("never").exists()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("agee=3", ["'agee'", "'age'"]),
        ("class=tulip", ["'tulip'", "'dark blue'"]),
        ("age=40..30", ["low <= high"]),
        ("age=200..", ["18", "79"]),
        ("class=a..b", ["no order"]),
        ("class=?", ["missing"]),
        ("class=red age=3", ["comma", "^"]),
    ],
)
def test_conditions_that_cannot_be_met_say_why_and_write_nothing(here: Path, where: str, words: list[str]) -> None:
    message = refused("sample", RUN, "--where", where, "-o", "never.csv")
    assert all(word in message for word in words), message
    assert not Path("never.csv").exists()


def test_places_that_cannot_hold_a_table_are_refused_before_drawing(here: Path) -> None:
    assert ".csv, .tsv, .csv.gz, .parquet or .feather, got 'a.png'" in refused("sample", RUN, "-o", "a.png")
    Path("folder.csv").mkdir()
    assert "this is a folder" in refused("sample", RUN, "-o", "folder.csv")
    assert "this is a folder" in refused("impute", RUN, "flowers.csv", "-o", "folder.csv")
    assert "-n: expected a whole number of at least 1" in refused("sample", RUN, "-n", 0)
    assert "--draws: expected a whole number of at least 1" in refused("impute", RUN, "flowers.csv", "--draws", 0)
    assert "expected a table" in refused("impute", RUN, "holes.xlsx")


# -- constraints and progress -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stays")
    rng = np.random.default_rng(0)
    came = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, ROWS), "D")
    nights = rng.integers(1, 9, ROWS)
    frame = pd.DataFrame(
        {"came": came, "left": came + pd.to_timedelta(nights, "D"), "price": rng.integers(20, 90, ROWS)}
    )
    frame["beds"] = rng.integers(1, 4, ROWS)
    frame["total"] = frame["price"] * frame["beds"]
    frame.to_csv(path / "stays.csv", index=False)
    return path


BOUND = ["--constraint", "came < left", "--constraint", "total = price * beds"]


def test_constraints_are_understood_kept_and_shown_on_the_page(stays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stays)
    told = done("inspect", "stays.csv", *BOUND)
    assert "met by all of the 120 rows" in told and "--constraint 'came < left'" in told
    assert "constraints bind columns" in told and "total = price * beds" in told
    shown = done("train", "stays.csv", "--out", "run", *BOUND)
    assert "Chosen from the data" in shown
    done("sample", "run", "-n", "200", "--where", "total=100..200, left=2024-03-01..2024-03-31", "-o", "made.csv")
    made = pd.read_csv("made.csv", parse_dates=["came", "left"])
    assert (made["came"] < made["left"]).all() and made["left"].between("2024-03-01", "2024-03-31").all()
    assert (made["total"] == made["price"] * made["beds"]).all() and made["total"].between(100, 200).all()
    holed = pd.read_csv("stays.csv").head(20)
    holed.loc[::2, "left"] = None
    holed.loc[::3, "total"] = None
    holed.to_csv("holes.csv", index=False)
    done("impute", "run", "holes.csv", "-o", "full.csv")
    full = pd.read_csv("full.csv", parse_dates=["came", "left"])
    assert (full["came"] < full["left"]).all() and (full["total"] == full["price"] * full["beds"]).all()
    done("report", "run")
    page = Path("run/report.html").read_text()
    assert "How a row comes about" in page and "the tree that reveals left" in page
    assert "the tree that reveals total" not in page  # it is computed


def test_a_constraint_that_rows_break_or_that_says_nothing_leaves_no_run(
    stays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stays)
    told = refused("train", "stays.csv", "--out", "never", "--constraint", "left <= came")
    assert "120 rows do not meet 'left <= came': 0, 1, 2, 3, 4" in told and "leave the constraint out" in told
    assert "Did you mean 'left'" in refused("inspect", "stays.csv", "--constraint", "came < lft")
    told = refused("train", "stays.csv", "--out", "never", "--mode", "denoise", "--constraint", "came < left")
    assert "Use mode='reveal' or 'auto'" in told
    assert "--constraint: not for" in refused("train", "digits", "--constraint", "a < b")
    assert not Path("never").exists()


def test_ctrl_c_ends_a_fit_between_two_of_its_parts(stays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stays)

    class Pressed:
        requested = True

        def __enter__(self) -> Pressed:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    with monkeypatch.context() as patch:
        patch.setattr("caminito.cli.train.Stop", Pressed)
        result = said("train", "stays.csv", "--out", "cut")
    assert result.exit_code == 130
    assert re.search(r"Interrupted at [1-9]\d* %: nothing was saved; going on .* to the same model", result.output)
    assert "caminito train --resume cut" in result.output
    assert json.loads(Path("cut/status.json").read_text())["fitted"].startswith("reveal on rows kept aside")
    done("train", "--resume", "cut")
    done("train", "stays.csv", "--out", "whole")
    ours, theirs = (caminito.load(run).sample(30, random_state=1) for run in ("cut", "whole"))
    pd.testing.assert_frame_equal(ours, theirs)
