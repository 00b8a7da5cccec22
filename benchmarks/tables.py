"""Tables by trees: quality under a gate of privacy, CPU-seconds of one thread, memory and size, in six parts.

    forest27    the 27 tables of the ForestDiffusion paper under its protocol: 3 splits, 5 made tables each
    side        the same beside ForestDiffusion itself, in one run on the same splits
    large       adult, california, magic, shoppers, default, beijing: 90 % to learn from, 10 % to judge
    impute      a fifth of the values of the 27 tables hidden, five draws of each
    million     a mixed table of 20 columns that grows from 10^4 to 10^6 rows, on two threads, with a picture
    conditions  values, intervals and holes asked of one to three columns, on tables of `large` with holes

    pip install pot xgboost ForestDiffusion==1.0.6      (the last for `side` alone)
    python benchmarks/tables.py --part forest27 [--method caminito|bootstrap|oracle] [--tables iris wine]

Each part writes results/tables_PART.json, for a baseline results/scratch_tables_PART_METHOD.json. Seconds are of
`time.process_time`, on one thread but for `million`. Memory is the peak of a child process over what it held when
everything was imported and the training table was there. Distances, coverage, W1: _forest.py; Shape, Trend, C2ST:
`caminito.metrics`.
"""

from __future__ import annotations

import argparse
import ctypes.util
import gc
import importlib
import importlib.util
import json
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import _forest
from _common import RESULTS, write
from _forest import KINDS, MADE, SEEDS, SPLITS, Table, load
from caminito.metrics import TableReport, column_shapes, pair_trends, table_report

SIDE = ("iris", "concrete_slump", "yacht_hydrodynamics")
JOBS = 2  # threads of `million`
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas")

# -- methods -----------------------------------------------------------------------------------------------------------


class Method(Protocol):
    """What a method must do; the target is a column of the frame."""

    def fit(self, frame: pd.DataFrame) -> Any: ...
    def sample(self, n: int, *, random_state: int, condition: Any = None) -> pd.DataFrame: ...
    def impute(self, frame: pd.DataFrame, n_draws: int, *, random_state: int) -> Sequence[pd.DataFrame]: ...
    def size(self) -> int: ...


class Caminito:
    """Ours, as it comes."""

    def __init__(self, jobs: int | None = None) -> None:
        from caminito import estimators

        if not hasattr(estimators, "TableDiffusion"):
            raise SystemExit("caminito.estimators has no TableDiffusion here. Try --method bootstrap.")
        self.model = estimators.TableDiffusion(random_state=0, n_jobs=jobs)

    def fit(self, frame: pd.DataFrame) -> Caminito:
        self.model.fit(frame)
        return self

    def sample(self, n: int, *, random_state: int, condition: Any = None) -> pd.DataFrame:
        return self.model.sample(n, condition=condition, random_state=random_state)

    def impute(self, frame: pd.DataFrame, n_draws: int, *, random_state: int) -> Sequence[pd.DataFrame]:
        drawn = self.model.impute(frame, n_draws=n_draws, random_state=random_state)
        return [drawn] if isinstance(drawn, pd.DataFrame) else drawn

    def centre(self, frame: pd.DataFrame) -> pd.DataFrame:
        return self.model.impute(frame, how="centre")

    def size(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(Path(folder) / "model")
            return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())

    def facts(self) -> dict[str, Any]:
        return {"mode": getattr(self.model, "mode_", None)}


class Bootstrap:
    """Training rows drawn again: what the figures of quality reward, and the gate must refuse."""

    def fit(self, frame: pd.DataFrame) -> Bootstrap:
        self.frame = frame.reset_index(drop=True)
        return self

    def sample(self, n: int, *, random_state: int, condition: Any = None) -> pd.DataFrame:
        rows = self.frame if condition is None else self.frame[meets(self.frame, condition)]
        return rows.sample(n, replace=True, random_state=random_state).reset_index(drop=True)

    def impute(self, frame: pd.DataFrame, n_draws: int, *, random_state: int) -> Sequence[pd.DataFrame]:
        rng, out = np.random.default_rng(random_state), []
        for _ in range(n_draws):
            filled = frame.reset_index(drop=True).copy()
            for name in filled:
                empty, known = filled[name].isna().to_numpy(), self.frame[name].dropna()
                filled.loc[empty, name] = known.iloc[rng.integers(0, len(known), empty.sum())].array
            out.append(filled)
        return out

    def size(self) -> int:
        return int(self.frame.memory_usage(deep=True).sum())

    def facts(self) -> dict[str, Any]:
        return {}


class Oracle(Bootstrap):
    """The training rows themselves, as often as asked."""

    def sample(self, n: int, *, random_state: int, condition: Any = None) -> pd.DataFrame:
        return self.frame.iloc[np.arange(n) % len(self.frame)].reset_index(drop=True)


class Peer:
    """ForestDiffusion 1.0.6 on the numbers of a table, class by class as its authors run it."""

    def __init__(self, table: Table, **options: Any) -> None:
        for name, what in (("catboost", "CatBoostRegressor"), ("lightgbm", "LGBMRegressor")):
            # it imports them, and uses neither by default
            if name not in sys.modules and importlib.util.find_spec(name) is None:
                sys.modules[name] = SimpleNamespace(**{what: None})  # type: ignore[assignment]
        self.make = importlib.import_module("ForestDiffusion").ForestDiffusionModel
        self.table, self.options = table, options

    def fit(self, frame: pd.DataFrame) -> Peer:
        rows, kind = self.table.numbers(frame), self.table.kind
        last = rows.shape[1] - 1
        whole = [*kind.whole, *([last] if self.table.name in _forest.WHOLE_TARGETS else [])]
        given = {"X": rows} if kind.task == "numbers" else {"X": rows[:, :-1], "label_y": rows[:, -1]}
        columns = {"bin_indexes": [*kind.two], "cat_indexes": [*kind.words], "int_indexes": whole}
        self.model = self.make(**given, **columns, n_jobs=1, seed=0, **self.options)
        return self

    def sample(self, n: int, *, random_state: int, condition: Any = None) -> pd.DataFrame:
        np.random.seed(random_state)  # it has no other
        return self.table.frame(np.asarray(self.model.generate(batch_size=n), dtype=np.float64))

    def impute(self, frame: pd.DataFrame, n_draws: int, *, random_state: int) -> Sequence[pd.DataFrame]:
        raise NotImplementedError("its flow cannot impute")

    def size(self) -> int:
        return len(pickle.dumps(self.model))  # it has no other way to be kept

    def facts(self) -> dict[str, Any]:
        return {"options": self.options or "defaults"}


METHODS: dict[str, Callable[..., Any]] = {"caminito": Caminito, "bootstrap": Bootstrap, "oracle": Oracle}


def make(name: str, table: Table | None = None, options: dict[str, Any] | None = None) -> Any:
    """A method, not yet fitted."""
    if name == "ForestDiffusion":
        if table is None:
            raise SystemExit("ForestDiffusion is measured by --part side.")
        return Peer(table, **(options or {}))
    return METHODS[name](**(options or {}))


# -- time and memory ---------------------------------------------------------------------------------------------------


def timed(work: Callable[..., Any], *given: Any, **named: Any) -> tuple[Any, float, float]:
    """Result, CPU-seconds, seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    return work(*given, **named), time.process_time() - cpu, time.perf_counter() - wall


def resident(which: str) -> float:
    """MiB that this process holds (VmRSS) or held at most (VmHWM) since the peak was last forgotten; NaN off Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return math.nan
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(which)) / 1024


def give_back() -> None:
    """What was freed goes back to the system, or the next peak would hide in it."""
    gc.collect()
    libc = ctypes.util.find_library("c")
    if libc and hasattr(ctypes.CDLL(libc), "malloc_trim"):
        ctypes.CDLL(libc).malloc_trim(0)


def forget_peak() -> None:
    """Begin a new peak of memory."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def in_child(args: argparse.Namespace, method: str, table: str, **more: Any) -> dict[str, Any]:
    """Peak memory of fitting and sampling, and the size of the model, in a process of its own."""
    asked = {"part": args.part, "method": method, "table": table, **more}
    command = [sys.executable, __file__, "--part", args.part, "--child", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:] or done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def child(asked: dict[str, Any]) -> None:
    """What `in_child` asks for."""
    if asked["part"] in ("forest27", "side", "impute"):
        table = load(asked["table"])
        split = table.split(0)
        if asked["part"] == "impute":
            rows, hidden = _forest.holes(split)
            rows = np.where(hidden, np.nan, rows)
        else:
            rows = split.train
        frame = table.frame(rows)
    else:
        table = None
        frame = mixed(asked["rows"]) if asked["part"] == "million" else large(asked["table"])[0]
    warm = make(asked["method"], table, asked.get("options"))
    for name in ("sklearn.ensemble", "sklearn.tree", "scipy.stats", "scipy.optimize", "scipy.spatial.distance"):
        importlib.import_module(name)
    give_back()
    before = resident("VmRSS")
    forget_peak()
    _, cpu, wall = timed(warm.fit, frame)
    fitted = resident("VmHWM")
    forget_peak()
    if asked["part"] == "impute":
        _, drawn, _ = timed(warm.impute, frame, MADE, random_state=0)
    else:
        _, drawn, _ = timed(warm.sample, len(frame), random_state=0)
    facts = {
        "fit_mib": fitted - before,
        "draw_mib": resident("VmHWM") - before,
        "model_bytes": warm.size(),
        "fit_cpu": cpu,
        "fit_wall": wall,
        "draw_cpu": drawn,
        "rows": len(frame),
        **warm.facts(),
    }
    print(json.dumps(facts))


# -- the 27 tables -----------------------------------------------------------------------------------------------------


def generated(args: argparse.Namespace, method: str, table: Table, options: Any = None) -> dict[str, Any]:
    """Every figure of one of the 27 tables, averaged over splits and made tables."""
    found, fits, draws = [], [], []
    facts: dict[str, Any] = {}
    for number in range(args.splits):
        split = table.split(number)
        frame = table.frame(split.train)
        model, cpu, _ = timed(make(method, table, options).fit, frame)
        fits.append(cpu)
        made = []
        for seed in range(args.made):
            sample, cpu, _ = timed(model.sample, len(frame), random_state=seed)
            draws.append(cpu)
            made.append(table.numbers(sample))
        found.append(split.judge(made, seeds=args.seeds, use=args.models, told=args.models))
        facts = model.facts()
    figures = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
    return {
        **figures,
        "dcr_ratio": _forest.distance_ratio(figures),
        "private": _forest.private(figures),
        "fit_cpu": float(np.mean(fits)),
        "draw_cpu": float(np.mean(draws)),
        "cpu_seconds": float(np.mean(fits) + np.sum(draws) / args.splits),  # one fit and all its made tables
        "rows": len(frame),
        "columns": len(table.columns),
        **facts,
    }


def forest27(args: argparse.Namespace) -> dict[str, Any]:
    """The 27 tables."""
    found: dict[str, dict[str, Any]] = kept(args)
    for name in args.tables or KINDS:
        if name in found:
            continue
        found[name] = generated(args, args.method, load(name)) | {"memory": in_child(args, args.method, name)}
        keep(args, found)
        shown = ("W_test", "cov_test", "R2", "F1", "dcr_ratio", "private", "cpu_seconds")
        print(name, {key: found[name][key] for key in shown if key in found[name]}, flush=True)
    numbers = {name: {k: v for k, v in f.items() if isinstance(v, int | float)} for name, f in found.items()}
    return {
        "means": _forest.means(numbers),
        "cpu_seconds_of_all": sum(figures["cpu_seconds"] for figures in found.values()),
        "not_private": [name for name, figures in found.items() if not figures["private"]],
        "most_mib": most(found, "fit_mib", "draw_mib"),
        "most_bytes": most(found, "model_bytes"),
        "published": _forest.PUBLISHED,
        "tables": found,
    }


def most(found: dict[str, dict[str, Any]], *names: str) -> float | None:
    """The largest of some figures of memory."""
    values = [f["memory"][name] for f in found.values() for name in names if name in f["memory"]]
    return max(values) if values else None


def side(args: argparse.Namespace) -> dict[str, Any]:
    """Ours and ForestDiffusion on the same splits."""
    options = json.loads(args.peer)
    out: dict[str, Any] = {"peer_options": options or "defaults", "tables": kept(args)}
    for name in args.tables or SIDE:
        if name in out["tables"]:
            continue
        table, row = load(name), {}
        for method, how in ((args.method, None), ("ForestDiffusion", options)):
            memory = in_child(args, method, name, options=how)
            row[method] = generated(args, method, table, how) | {"memory": memory}
            print(name, method, row[method], flush=True)
        ours, theirs = row[args.method], row["ForestDiffusion"]
        row["time_ratio"] = theirs["cpu_seconds"] / max(ours["cpu_seconds"], 1e-9)
        if "fit_mib" in ours["memory"] and "fit_mib" in theirs["memory"]:
            row["memory_ratio"] = theirs["memory"]["fit_mib"] / max(ours["memory"]["fit_mib"], 1.0)
        out["tables"][name] = row
        keep(args, out["tables"])
    return out


def impute(args: argparse.Namespace) -> dict[str, Any]:
    """A fifth of the features hidden completely at random."""
    found: dict[str, dict[str, Any]] = kept(args)
    for name in args.tables or KINDS:
        if name in found:
            continue
        table, rows, times = load(name), [], []
        for number in range(args.splits):
            split = table.split(number)
            true, hidden = _forest.holes(split)
            frame = table.frame(np.where(hidden, np.nan, true))
            model, fit, _ = timed(make(args.method).fit, frame)
            drawn, draw, _ = timed(model.impute, frame, args.made, random_state=number)
            times.append(fit + draw)
            filled = [table.numbers(each) for each in drawn]
            for each in filled:
                if not np.array_equal(each[~hidden], true[~hidden]):
                    raise SystemExit(f"{name}: known values were changed")
            rows.append(_forest.judge_imputed(split, true, hidden, filled))
            if isinstance(model, Caminito):
                middle, more, _ = timed(model.centre, frame)
                judged = _forest.judge_imputed(split, true, hidden, [table.numbers(middle)])
                rows[-1] |= {f"centre_{key}": judged[key] for key in ("AvgMAE", "W_train", "W_test") if key in judged}
                rows[-1]["centre_cpu_seconds"] = fit + more
        figures = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        found[name] = figures | {"cpu_seconds": float(np.mean(times)), "memory": in_child(args, args.method, name)}
        keep(args, found)
        print(name, figures, flush=True)
    numbers = {name: {k: v for k, v in f.items() if isinstance(v, int | float)} for name, f in found.items()}
    return {"means": _forest.means(numbers), "published": _forest.PUBLISHED_IMPUTATION, "tables": found}


# -- large tables ------------------------------------------------------------------------------------------------------

LARGE: dict[str, tuple[str, tuple[str, ...]]] = {  # target, and numbers that are names
    "adult": ("income", ()),
    "california": ("medianHouseValue", ()),
    "magic": ("class", ()),
    "shoppers": ("Revenue", ("OperatingSystems", "Browser", "Region", "TrafficType", "Revenue")),
    "default": ("default", ("default", "PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6")),
    "beijing": ("pm2.5", ()),
}


def large(name: str) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Rows to learn from, rows to judge, and the target."""
    target, words = LARGE[name]
    frame = pd.read_csv(_forest.TABLES / f"{name}.csv")
    if name == "beijing":
        frame = frame.drop(columns=["No", "pm2.5_1ago", "pm2.5_2ago", "pm2.5_3ago"]).dropna(subset=target)
    for word in words:
        frame[word] = frame[word].astype(str).astype("category")
    train, test = train_test_split(frame, test_size=0.1, random_state=0)
    return train.reset_index(drop=True), test.reset_index(drop=True), target


def on_large(args: argparse.Namespace) -> dict[str, Any]:
    """Shape, Trend, C2ST, utility and privacy of six tables; sdmetrics beside ours where it is installed."""
    found: dict[str, dict[str, Any]] = {}
    for name in args.tables or LARGE:
        train, test, target = large(name)
        model, fit, _ = timed(make(args.method).fit, train)
        samples, seconds = [], 0.0
        for seed in range(args.made):
            sample, draw, _ = timed(model.sample, len(train), random_state=seed)
            samples.append(sample)
            seconds += draw
        again = [train.sample(len(train), replace=True, random_state=seed) for seed in range(args.made)]
        found[name] = {
            **judged([table_report(train, sample, test=test, target=target) for sample in samples]),
            "fit_cpu": fit,
            "rows_per_second": len(train) * args.made / seconds if seconds else math.inf,
            "rows": len(train),
            "columns": train.shape[1],
            "sdmetrics": sdmetrics(train, samples),
            "rows_again": {
                "shape": float(np.mean([np.mean(list(column_shapes(train, rows).values())) for rows in again])),
                "trend": float(np.mean([np.mean(list(pair_trends(train, rows).values())) for rows in again])),
            },
            "memory": in_child(args, args.method, name),
            **model.facts(),
        }
        print(name, found[name], flush=True)
    others = [figures for name, figures in found.items() if name != "adult"]
    keys = ("shape", "trend", "c2st")
    means = {key: float(np.mean([figures[key]["value"] for figures in others])) for key in keys} if others else {}
    return {"means_without_adult": means, "tables": found}


def judged(reports: Sequence[TableReport]) -> dict[str, dict[str, float]]:
    """Means over reports of made tables, the deviations of single ones, and the floors."""
    found = {}
    for key in reports[0].scores:
        values = [report.scores[key].value for report in reports]
        floors = [report.scores[key].floor for report in reports]
        found[key] = {
            "value": float(np.mean(values)),
            "floor": float(np.mean(floors)),
            "sd_of_draws": float(np.std(values, ddof=1)),
        }
    return found


def sdmetrics(real: pd.DataFrame, fakes: Sequence[pd.DataFrame]) -> dict[str, float] | None:
    """Mean Shape and Trend errors of made tables, by sdmetrics itself, in percent."""
    if importlib.util.find_spec("sdmetrics") is None:
        return None
    properties = importlib.import_module("sdmetrics.reports.single_table._properties")
    kinds = pd.api.types
    columns = {}
    for name in real:
        number = kinds.is_numeric_dtype(real[name]) and not kinds.is_bool_dtype(real[name])
        columns[name] = {"sdtype": "numerical" if number else "categorical"}
    judges = {"shape": properties.ColumnShapes(), "trend": properties.ColumnPairTrends()}
    facts = {"columns": columns}
    return {
        name: float(np.mean([100 * (1 - judge.get_score(real.copy(), fake.copy(), facts)) for fake in fakes]))
        for name, judge in judges.items()
    }


# -- conditions --------------------------------------------------------------------------------------------------------


def meets(frame: pd.DataFrame, condition: dict[str, Any]) -> pd.Series:
    """Which rows meet it: (low, high) includes both ends, None is missing, anything else is equal."""
    rows = pd.Series(True, index=frame.index)
    for name, what in condition.items():
        if what is None:
            rows &= frame[name].isna()
        elif isinstance(what, tuple):
            rows &= frame[name].between(*what)
        else:
            rows &= (frame[name] == what).fillna(False).astype(bool)
    return rows


def conditions(frame: pd.DataFrame, count: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Conditions on one to three columns that at least 100 rows meet, each around a row that exists."""
    yielded, empty = 0, [name for name in frame if frame[name].isna().any()]
    for _ in range(50 * count):
        names = list(rng.choice(frame.columns, rng.integers(1, 4), replace=False))
        rows = frame
        if empty and rng.random() < 1 / 3:
            names[0] = str(rng.choice(empty))
            rows = frame[frame[names[0]].isna()]
        row = rows.iloc[int(rng.integers(len(rows)))]
        condition: dict[str, Any] = {}
        for name in dict.fromkeys(names):
            column, value = frame[name], row[name]
            if pd.isna(value):
                condition[name] = None
            elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
                place = (column < value).mean()
                low, high = column.quantile([max(place - 0.2, 0), min(place + 0.2, 1)])
                condition[name] = (min(low, value), max(high, value))
            else:
                condition[name] = value
        if meets(frame, condition).sum() >= 100:
            yielded += 1
            yield condition
        if yielded == count:
            return


def with_holes(frame: pd.DataFrame) -> pd.DataFrame:
    """A tenth of the second and of the fourth column gone, in the half of the rows where the first number is large."""
    first = next(name for name in frame if pd.api.types.is_numeric_dtype(frame[name]))
    large = (frame[first] > frame[first].median()).to_numpy()
    out, rng = frame.copy(), np.random.default_rng(0)
    for name in frame.columns[[1, 3]]:
        out[name] = frame[name].mask(large & (rng.random(len(frame)) < 0.2))
    return out


def on_conditions(args: argparse.Namespace) -> dict[str, Any]:
    """Samples under conditions beside the real rows that meet them, told apart by trees that know the condition."""
    found: dict[str, dict[str, Any]] = {}
    for name in args.tables or LARGE:
        train, test, _ = large(name)
        rows = with_holes(pd.concat([train, test], ignore_index=True))
        train = rows.iloc[: len(train)]
        model = make(args.method).fit(train)
        real, fake, seconds, broken, kinds = [], [], 0.0, 0, {"equal": 0, "interval": 0, "missing": 0}
        for number, condition in enumerate(conditions(train, args.conditions, np.random.default_rng(0))):
            matching = rows[meets(rows, condition)]
            matching = matching.sample(min(len(matching), 500), random_state=number)
            sample, cpu, _ = timed(model.sample, len(matching), random_state=number, condition=condition)
            seconds += cpu
            broken += len(matching) - int(meets(sample, condition).sum())
            for what in condition.values():
                kinds["missing" if what is None else "interval" if isinstance(what, tuple) else "equal"] += 1
            real.append(matching.assign(condition=str(number)))
            fake.append(sample.assign(condition=str(number)))
        together = [pd.concat(each, ignore_index=True) for each in (real, fake)]
        scores = table_report(*together).scores
        drawn, cpu, _ = timed(model.sample, 10_000, random_state=0, condition=condition)
        found[name] = {
            "conditions": len(real),
            "kinds": kinds,
            "rows": len(together[0]),
            "rows_that_break_them": broken,
            "c2st": {"value": scores["c2st"].value, "floor": scores["c2st"].floor},
            "shape": scores["shape"].value,
            "trend": scores["trend"].value,
            "rows_per_second": len(together[0]) / seconds if seconds else math.inf,  # in portions of at most 500
            "rows_per_second_of_10000": len(drawn) / cpu if cpu else math.inf,
        }
        print(name, found[name], flush=True)
    return {"mean_c2st": float(np.mean([figures["c2st"]["value"] for figures in found.values()])), "tables": found}


# -- a million rows ----------------------------------------------------------------------------------------------------

COUNTS = (10_000, 30_000, 100_000, 300_000, 1_000_000)


def mixed(n: int, seed: int = 0) -> pd.DataFrame:
    """Twenty columns of every kind, all hanging together by three hidden ones; some values are missing."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, n))
    group = np.digitize(a + 0.5 * rng.standard_normal(n), [-1.0, 0.0, 0.8, 1.6])

    def noise(size: float = 1.0) -> np.ndarray:
        return size * rng.standard_normal(n)

    frame = pd.DataFrame(
        {
            "linear": a - b + noise(0.3),
            "curved": a**2 + noise(0.2),
            "ring": np.hypot(a, b) + noise(0.1),
            "two_peaks": np.where(c > 0, 3.0, -3.0) + noise(0.7),
            "heavy": np.exp(1.5 * b + noise(0.3)),
            "share": 1 / (1 + np.exp(-c - noise(0.5))),
            "money": np.round(np.exp(8 + 0.5 * a + noise(0.2)), 2),
            "often_zero": np.where(rng.random(n) < 0.7, 0.0, np.round(np.exp(3 + b), 1)),
            "grid": np.round(2 * (a + c) + noise()) / 2,
            "far": 1e6 + 1e3 * c + noise(10.0),
            "age": np.clip(np.round(45 + 12 * a + noise(4)), 18, 95).astype(int),
            "count": rng.poisson(np.exp(0.8 + 0.4 * b)),
            "hour": ((12 + 4 * c + noise(2)) % 24).astype(int),
            "yes": b + noise(0.5) > 0.3,
            "group": pd.Categorical.from_codes(group, list("vwxyz")),
            "town": np.char.add("town ", (np.abs(10 * a + 5 * c + noise(2)) % 50).astype(int).astype(str)),
            "size": pd.Categorical.from_codes(np.digitize(c, [-0.7, 0.7]), ["s", "m", "l"], ordered=True),
            "word": np.array(["red", "green", "blue", "grey"])[np.digitize(b + noise(0.4), [-1.0, 0.0, 1.0])],
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(1e6 * np.abs(a + noise(0.2))), unit="s"),
            "rare": pd.Categorical.from_codes((rng.random(n) < 0.01 + 0.02 * (group == 4)).astype(int), ["no", "yes"]),
        }
    )
    for name in ("heavy", "share", "word", "money"):
        frame.loc[rng.random(n) < 0.02 + 0.03 * (group == 0), name] = None
    return frame


def million(args: argparse.Namespace) -> dict[str, Any]:
    """Time and memory against rows, each count in a process of its own."""
    rows, options = {}, {"jobs": JOBS} if args.method == "caminito" else None
    for count in args.rows or COUNTS:
        rows[str(count)] = in_child(args, args.method, "mixed", rows=count, options=options)
        print(count, rows[str(count)], flush=True)
    good = {int(count): figures for count, figures in rows.items() if "failed" not in figures}
    if len(good) > 1:
        draw(good, RESULTS / f"{result_name(args)}.png")
    return {"columns": 20, "rows": rows}


def draw(rows: dict[int, dict[str, Any]], path: Path) -> None:
    """CPU-seconds and memory against rows."""
    from caminito.plot import style

    fig, (left, right) = style.figure(10, 4.6, (1, 2))
    counts = np.array(sorted(rows))
    fit, make_ = ([rows[count][name] for count in counts] for name in ("fit_cpu", "draw_cpu"))
    memory = [max(rows[count]["fit_mib"], rows[count]["draw_mib"], 1.0) for count in counts]
    left.plot(counts, fit, color=style.REAL, marker="o", markersize=4, label="fit")
    left.plot(counts, make_, color=style.GENERATED, marker="o", markersize=4, label="draw as many rows")
    right.plot(counts, memory, color=style.REAL, marker="o", markersize=4)
    for axes, title, unit, last in (
        (left, "Time, of two threads for the fit", "CPU-seconds", fit),
        (right, "Peak memory", "MiB", memory),
    ):
        guide = last[-1] * counts / counts[-1]
        axes.plot(counts, guide, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        style.dress(axes, title, "rows of 20 mixed columns", unit, grid="both")
        style.log_scale(axes, "x")
        style.log_scale(axes, "y")
    style.legend(left, loc="upper left")
    style.caption(fig, "Growth with the number of rows", "Dashed: in proportion to the rows.")
    fig.savefig(path)


# -- all of it ---------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "forest27": forest27,
    "side": side,
    "large": on_large,
    "impute": impute,
    "million": million,
    "conditions": on_conditions,
}


def result_name(args: argparse.Namespace) -> str:
    """Baselines, parts of a part and a shortened protocol are not kept."""
    protocol = args.splits == SPLITS and args.made == MADE
    whole = args.method == "caminito" and not args.tables and not args.rows and (protocol or args.part != "forest27")
    return f"tables_{args.part}" if whole else f"scratch_tables_{args.part}_{args.method}"


def _unfinished(args: argparse.Namespace) -> Path:
    return RESULTS / f"scratch_unfinished_{args.part}_{args.method}.json"


def kept(args: argparse.Namespace) -> dict[str, Any]:
    """Tables that an interrupted run has measured already."""
    path = _unfinished(args)
    return json.loads(path.read_text()) if args.resume and path.exists() else {}


def keep(args: argparse.Namespace, found: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    _unfinished(args).write_text(json.dumps(found))


def main() -> None:
    """Measure a part and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--method", choices=METHODS, default="caminito")
    parser.add_argument("--tables", nargs="+", help="only these")
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--made", type=int, default=MADE, help="made tables, or draws of an imputation")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the judging models")
    parser.add_argument("--no-models", dest="models", action="store_false", help="leave out R2, F1, F1_disc (hours)")
    parser.add_argument("--peer", default="{}", help="options of ForestDiffusion, as JSON; none are its defaults")
    parser.add_argument("--rows", type=int, nargs="+", help="of the growing table")
    parser.add_argument("--conditions", type=int, default=20, help="per table")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of child processes
    torch.set_num_threads(1)
    begin = time.perf_counter()
    with threadpool_limits(1):
        if args.child:
            child(json.loads(args.child))
            return
        figures = PARTS[args.part](args)
    told = {"method": args.method, "splits": args.splits, "made": args.made, "seeds": args.seeds, "models": args.models}
    write(result_name(args), told | figures | {"seconds": time.perf_counter() - begin}, PACKAGES)


if __name__ == "__main__":
    main()
