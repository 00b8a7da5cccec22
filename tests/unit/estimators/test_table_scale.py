"""Tables that are large: trees of many rows, threads and clusters, files that are sampled, and what they may cost."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import caminito.data._table_file as table_file
import caminito.training.leaves as leaves
from caminito import TableDiffusion
from caminito._errors import ConfigError, DataError
from caminito.data import open_table, read_table, write_table
from caminito.estimators import table_choice
from caminito.estimators.denoise_jumps import Denoise
from caminito.training import fit_leaves


def mixed(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    return pd.DataFrame(
        {
            "a": a,
            "b": np.round(a + rng.normal(size=rows), 1),
            "word": np.array(["x", "y", "z"])[rng.integers(0, 3, rows)],
            "c": np.where(rng.random(rows) < 0.1, np.nan, a**2),
        }
    )


def numbers(rows=400):
    return mixed(rows)[["a", "b"]].assign(d=lambda frame: frame["a"] * frame["b"])


# -- trees of many rows ------------------------------------------------------------------------------------------------

ORDERED = [True, False, True, False, True]


def coded(rows=6000):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 300, rows), rng.integers(0, 12, rows)
    c = a // 3 + 5 * b + rng.integers(0, 8, rows)
    d = np.where(rng.random(rows) < 0.3, rng.integers(0, 4, rows), (c > 70) + (b % 3 == 0) * 2)
    e = np.where(rng.random(rows) < 0.2, -1, c // 2)
    return np.stack([a, b, c, d, e], 1).astype(np.int32)


def in_parts(monkeypatch, rows=1000):
    """As if these were very many rows: the first splits by 800, into parts of 200."""
    monkeypatch.setattr(leaves, "_LARGE", rows)
    monkeypatch.setattr(leaves, "_SAMPLE", 800)
    monkeypatch.setattr(leaves, "_PART", 200)


@pytest.mark.parametrize("split", [400_000, 2500])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("target", "columns"), [(2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1]), (1, [0, 2, 3])])
def test_a_tree_of_parts_is_a_tree_whose_leaves_hold_all_rows(target, columns, weighted, split, monkeypatch):
    in_parts(monkeypatch)
    monkeypatch.setattr(leaves, "_SPLIT", split)
    codes = coded()
    weights = np.random.default_rng(0).integers(1, 4, len(codes)).astype(float) if weighted else None
    tree = fit_leaves(codes, target, columns, ordered=ORDERED, min_rows=9, weights=weights)
    leaf = tree.leaf(codes)
    assert sorted(tree.order.tolist()) == list(range(len(codes)))
    for node in np.unique(leaf):
        rows = tree.order[tree.first[node] : tree.last[node]]
        assert set(rows) == set(np.flatnonzero(leaf == node)) and len(rows) >= 9
    assert tree.leaves == len(np.unique(leaf)) > 50
    inner = np.flatnonzero(tree.feature >= 0)
    assert (np.minimum(tree.left[inner], tree.right[inner]) > inner).all()
    assert (tree.first[inner] == tree.first[tree.left[inner]]).all()
    assert (tree.last[inner] == tree.last[tree.right[inner]]).all()
    assert (tree.last[tree.left[inner]] == tree.first[tree.right[inner]]).all()


def test_a_tree_of_parts_says_as_much_as_one_grown_at_once(monkeypatch):
    codes = coded()

    def left():
        tree = fit_leaves(codes, 2, [0, 1], ordered=ORDERED, min_rows=20)
        leaf = tree.leaf(codes)
        mean = np.bincount(leaf, codes[:, 2]) / np.maximum(np.bincount(leaf), 1)
        return float(((codes[:, 2] - mean[leaf]) ** 2).mean())

    whole = left()
    in_parts(monkeypatch)
    assert left() < 1.1 * whole < 0.05 * codes[:, 2].var()


def test_candidates_are_tried_on_a_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr(table_choice, "TRIED", 500)
    seen = []
    coded_table = table_choice.CodedTable
    monkeypatch.setattr(
        table_choice, "CodedTable", lambda matrix, *rest: seen.append(len(matrix)) or coded_table(matrix, *rest)
    )
    model = TableDiffusion(random_state=0).fit(mixed(2000))
    assert set(seen) == {400} and len(model._reveal.table.matrix) == 2000


def test_forests_are_fitted_to_a_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr("caminito.estimators.denoise_jumps._FITTED", 300)
    seen = []
    fit = Denoise._scaled
    monkeypatch.setattr(Denoise, "_scaled", lambda self, matrix: seen.append(len(matrix)) or fit(self, matrix))
    model = TableDiffusion(mode="denoise", start=0.3, jitter=0.1, random_state=0).fit(numbers(500))
    assert 300 in seen and len(model.sample(50)) == 50


# -- threads and clusters ----------------------------------------------------------------------------------------------


BOTH = [(mixed, {"mode": "reveal"}), (numbers, {"mode": "denoise", "start": 0.3, "jitter": 0.1})]


@pytest.mark.parametrize(("make", "how"), BOTH, ids=["reveal", "denoise"])
def test_samples_are_the_same_for_any_number_of_jobs(make, how, monkeypatch):
    in_parts(monkeypatch, 300)
    frame = make(700)
    one, *others = (TableDiffusion(random_state=0, n_jobs=jobs, **how).fit(frame) for jobs in (None, 2, -1))
    for other in others:
        pd.testing.assert_frame_equal(one.sample(100), other.sample(100))
    wanted = [model.sample(50, condition={"a": (0, 1)}) for model in (one, others[0])]
    pd.testing.assert_frame_equal(*wanted)


def test_trees_grown_at_once_share_the_table(monkeypatch):
    seen = []
    grow = fit_leaves
    monkeypatch.setattr(
        "caminito.estimators.reveal_jumps.fit_leaves",
        lambda codes, *rest, **named: seen.append(id(codes)) or grow(codes, *rest, **named),
    )
    model = TableDiffusion(mode="reveal", random_state=0, n_jobs=3).fit(mixed())
    assert seen.count(id(model._reveal.table.codes)) == 4


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_cluster_of_two_workers_grows_the_same_model(processes):
    distributed = pytest.importorskip("dask.distributed", reason='needs dask: pip install "caminito[scale]"')
    import joblib

    def drawn():
        return [TableDiffusion(random_state=0, **how).fit(make(200)).sample(100) for make, how in BOTH]

    here = drawn()
    where = {"processes": processes, "host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, **where) as cluster,
        distributed.Client(cluster) as client,
    ):
        with joblib.parallel_config("dask"):
            there = drawn()
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter) > 50
    for one, other in zip(here, there):
        pd.testing.assert_frame_equal(one, other)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fewer(monkeypatch):
    """As if memory held 4000 cells, and batches were of 500."""
    monkeypatch.setattr(table_file, "_BATCH", 500)
    for name in ("caminito.estimators.table.MAX_CELLS", "caminito.data.table_source.MAX_CELLS"):
        monkeypatch.setattr(name, 4000)


def numbered(rows=5000):
    return mixed(rows).assign(number=np.arange(rows)).drop(columns="c")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.feather"])
def test_of_a_large_file_one_row_of_each_stretch_is_read(tmp_path, name, fewer):
    if name.endswith(("parquet", "feather")):
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    frame = numbered()
    write_table(frame, tmp_path / name)
    part = read_table(tmp_path / name, max_cells=4000)
    assert (part["number"] // 5).tolist() == list(range(1000)) and len(part["number"].unique()) == 1000
    assert 1.8 < (part["number"] % 5).mean() < 2.2
    pd.testing.assert_frame_equal(part, frame.iloc[part["number"]].reset_index(drop=True))
    pd.testing.assert_frame_equal(part, read_table(tmp_path / name, max_cells=4000))
    pd.testing.assert_frame_equal(read_table(tmp_path / name, max_cells=20_000), frame)
    source = open_table(tmp_path / name)
    assert (source.facts["count"], source.facts["rows_in_file"]) == (1000, 5000)


def test_quotes_line_ends_in_cells_codes_and_holes_survive_the_sample(tmp_path):
    rows = "".join(f'{i:05d};"a ""word""; and\nmore";{i},5;;x\n\n' for i in range(300))
    (tmp_path / "t.csv").write_text("zip;text;half;gone;word\n" + rows, encoding="cp1252")
    whole = read_table(tmp_path / "t.csv", encoding="cp1252")
    part = read_table(tmp_path / "t.csv", encoding="cp1252", max_cells=500)
    at = part["zip"].astype(int)
    assert len(part) == 100 and (at // 3).tolist() == list(range(100)) and part["zip"].str.len().eq(5).all()
    pd.testing.assert_frame_equal(part, whole.iloc[at].reset_index(drop=True))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_path_is_fitted_as_the_table_in_it(tmp_path, name, fewer):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    for rows in (300, 2000):
        write_table(mixed(rows), tmp_path / name)
        by_path = TableDiffusion(random_state=0).fit(tmp_path / name)
        by_text = TableDiffusion(random_state=0).fit(str(tmp_path / name))
        by_table = TableDiffusion(random_state=0).fit(read_table(tmp_path / name, max_cells=4000))
        pd.testing.assert_frame_equal(by_path.sample(50), by_table.sample(50))
        pd.testing.assert_frame_equal(by_text.sample(50), by_table.sample(50))
        assert len(by_path._training) == min(rows, 1000)


def test_a_path_elsewhere_is_answered_with_how_to_read_it(tmp_path):
    write_table(mixed(), tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"got the path '.*t.csv'. Read it first: caminito.data.read_table"):
        TableDiffusion(random_state=0).fit(mixed()).impute(str(tmp_path / "t.csv"))
    with pytest.raises(DataError, match="nothing there"):
        TableDiffusion().fit(tmp_path / "other.csv")
    with pytest.raises(ConfigError, match="max_cells: expected a whole number >= 1, got 0"):
        read_table(tmp_path / "t.csv", max_cells=0)


def _peak(path: Path) -> float:
    """MiB that reading at most 5000 cells takes."""
    tracemalloc.start()
    read_table(path, max_cells=5000)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def test_memory_grows_neither_with_the_rows_of_a_file_nor_with_its_columns_of_text(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "_CHUNK", 1 << 13)
    monkeypatch.setattr(table_file, "_HEAD", 1 << 12)
    peaks = {}
    for rows, columns in ((1000, 20), (12_000, 5), (12_000, 20)):
        cells = np.random.default_rng(0).integers(0, 10**9, (rows, columns)).astype(str)
        frame = pd.DataFrame(np.char.add("word ", cells)).add_prefix("column ")
        write_table(frame, path := tmp_path / f"{rows}-{columns}.csv")
        read_table(path, max_cells=5000)
        peaks[rows, columns] = _peak(path)
    assert peaks[12_000, 20] < 1.5 * peaks[1000, 20] and peaks[12_000, 20] < 1.5 * peaks[12_000, 5]
    assert peaks[12_000, 20] * 2**20 < path.stat().st_size / 3


def test_memory_of_a_fit_is_a_few_times_that_of_its_numbers(monkeypatch):
    monkeypatch.setattr(table_choice, "TRIED", 1000)
    rng, peaks = np.random.default_rng(0), []
    for rows in (20_000, 80_000):
        X = np.round(rng.normal(size=(rows, 4)), 2)
        tracemalloc.start()
        TableDiffusion(mode="reveal", min_rows=rows // 20, random_state=0).fit(X)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 6 * (60_000 * 4 * 8)
