"""Tables as a source: which paths are tables, and facts that do not depend on the file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from caminito._errors import DataError
from caminito.data import is_table, open_source, open_table

TEXT = "a,b,c\n1,x,0.5\n2,,0.25\n1,x,0.5\n2,,0.25\n3,y,\n"


def test_the_suffix_says_what_a_table_is_and_a_folder_is_none(tmp_path: Path) -> None:
    tables = ("a.csv", "a.TSV", "a.txt.gz", "a.data", "a.parquet", "a.pq", "a.feather", "a.arrow", "a.tab")
    others = ("a.npy", "a.npz", "train-images-idx3-ubyte.gz", "a.parquet.gz", "a.png", "digits", "a.xlsx")
    assert [is_table(name) for name in tables] == [True] * len(tables)
    assert [is_table(name) for name in others] == [False] * len(others)
    (tmp_path / "photos.csv").mkdir()
    assert not is_table(tmp_path / "photos.csv")


def test_facts_count_rows_repeated_rows_and_holes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TEXT)
    source = open_table(tmp_path / "t.csv")
    assert (source.facts["count"], source.facts["duplicates"]) == (5, 2)
    assert [(c["name"], c["kind"], c["distinct"]) for c in source.facts["columns"]] == [
        ("a", "integer", 3),
        ("b", "category", 2),
        ("c", "number", 2),
    ]
    assert np.array_equal(source.matrix[:, 0], [1, 2, 1, 2, 3])
    assert source.columns[1].missing_share == pytest.approx(0.4)
    assert open_table(tmp_path / "t.csv", types={"a": "category"}).columns[0].kind == "category"


def test_the_fingerprint_is_of_values_names_and_kinds_and_of_no_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TEXT)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    pd.read_csv(tmp_path / "t.csv").to_csv(tmp_path / "other.tsv", sep="\t", index=False)
    prints = {open_table(tmp_path / name).fingerprint for name in ("t.csv", "t.csv.gz", "other.tsv")}
    assert len(prints) == 1
    for old, new in (("0.25\n3", "0.75\n3"), ("a,b,c", "a,b,d"), ("3,y", "3,z"), ("1,x,0.5\n2,,", "2,,0.25\n1,x,")):
        (tmp_path / "changed.csv").write_text(TEXT.replace(old, new, 1))
        assert open_table(tmp_path / "changed.csv").fingerprint not in prints
    assert open_table(tmp_path / "t.csv", types={"a": "category"}).fingerprint not in prints


def test_open_source_says_that_a_table_is_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TEXT)
    with pytest.raises(DataError, match="got a table. Read it with `read_table`"):
        open_source(tmp_path / "t.csv")
    (tmp_path / "t.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"unknown kind '.xlsx'; tables are .csv"):
        open_source(tmp_path / "t.xlsx")
