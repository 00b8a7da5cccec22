"""How far the fitting of a table is: counted, written down in its run, and of no influence on what is fitted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from caminito import TableDiffusion
from caminito.data import open_table
from caminito.estimators.schema import parse_table_config
from caminito.estimators.table_progress import FitProgress, done, expect, watched
from caminito.estimators.table_reading import TableReading
from caminito.estimators.table_run import TableRun


def numbers(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    start = rng.normal(size=rows)
    return pd.DataFrame({"start": start, "end": start + rng.exponential(size=rows)})


@pytest.fixture
def run(tmp_path: Path) -> TableRun:
    numbers().to_csv(tmp_path / "table.csv", index=False)
    options = parse_table_config({"constraints": ["start <= end"]})
    return TableRun.create(tmp_path / "run", options, open_table(tmp_path / "table.csv"), TableReading())


def source(run: TableRun):
    return open_table(run.path.parent / "table.csv")


def test_work_adds_up_and_time_left_is_in_proportion():
    seen: list[FitProgress] = []
    done("nobody watches")
    with watched(seen.append):
        expect(4)
        done("one")
        done("three more", 3)
        done("one that was not expected")
    assert [(each.what, each.done, each.total) for each in seen] == [
        ("one", 1, 4), ("three more", 4, 4), ("one that was not expected", 5, 5)
    ]  # fmt: skip
    assert FitProgress("x", 1, 4, elapsed=2.0).remaining == 6.0
    assert FitProgress("x", 0, 4, elapsed=2.0).remaining is None
    done("nobody watches any more")
    assert len(seen) == 3


def test_watching_a_fit_counts_to_the_end_and_changes_nothing():
    seen: list[FitProgress] = []
    with watched(seen.append):
        one = TableDiffusion(start=0.3, jitter=0.1, random_state=0).fit(numbers(60))
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert len({each.total for each in seen}) == 1 and seen[-1].fraction == 1.0
    assert {each.what.split()[0] for each in seen} >= {"reveal", "denoise", "the"}
    two = TableDiffusion(start=0.3, jitter=0.1, random_state=0).fit(numbers(60))
    pd.testing.assert_frame_equal(one.sample(50), two.sample(50))


def test_a_run_says_what_is_being_fitted_how_much_and_how_long(run: TableRun):
    told = []
    run.train(source(run), report=lambda progress: told.append(json.loads((run.path / "status.json").read_text())))
    for status in told:
        assert status["state"] == "running" and 0 < status["fraction"] <= 1 and status["remaining"] >= 0
        assert status["done"] <= status["total"]
    assert told[0]["fitted"].startswith("reveal on rows kept aside, 1 of 3")
    events = [event for event in run.events if event["event"] == "fitted"]
    assert [event["what"] for event in events][-1] == "the model" and events[-1]["done"] == events[-1]["total"]
    assert run.status["state"] == "finished" and run.status["remaining"] == 0


def test_an_interrupted_fit_ends_cleanly_and_going_on_ends_at_the_same_model(run: TableRun, tmp_path: Path):
    calls = iter(range(10))

    def stop(progress: FitProgress) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(source(run), report=stop)
    status = run.status
    assert status["state"] == "interrupted" and "same model" in status["message"] and 0 < status["fraction"] < 1
    assert not (run.path / "model").exists()
    assert [event["event"] for event in run.events][-1] == "interrupt"
    again = TableRun.open(run.path).train(source(run), resume=True)
    whole = TableRun.create(tmp_path / "whole", run.config, source(run), TableReading()).train(source(run))
    pd.testing.assert_frame_equal(again.sample(50, random_state=1), whole.sample(50, random_state=1))


_KILLED = """
import os, signal, sys
from caminito.data import open_table
from caminito.estimators.table_run import TableRun
run = TableRun.open(sys.argv[1])
run.train(open_table(sys.argv[2]), report=lambda progress: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_fit_is_told_and_goes_on_to_the_same_model(run: TableRun):
    table = run.path.parent / "table.csv"
    died = subprocess.run([sys.executable, "-c", _KILLED, str(run.path), str(table)], env=os.environ, check=False)
    assert died.returncode == -signal.SIGKILL
    assert run.status["state"] == "killed" and run.status["fraction"] > 0
    again = TableRun.open(run.path).train(source(run), resume=True)
    whole = TableDiffusion(constraints=["start <= end"], random_state=0).fit(run.split(source(run))[0])
    pd.testing.assert_frame_equal(again.sample(50, random_state=1), whole.sample(50, random_state=1))
