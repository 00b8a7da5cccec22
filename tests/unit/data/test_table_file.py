"""Tables on disk: what the text says is what is read, and what a parser would pass over in silence is told."""

import csv
import doctest
import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caminito.data._table_file as table_file
from caminito._errors import ConfigError, DataError, MissingExtraError
from caminito.data import NA_VALUES, TableCodec, read_table, write_table


def _file(folder: Path, text: str | bytes, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def _dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype).replace("object", "str") for name, dtype in frame.dtypes.items()}


def test_columns_are_what_their_cells_say(tmp_path: Path) -> None:
    text = (
        "n,i,big,zip,when,at,span,flag,holed,word,f\n"
        "1,5,9007199254740993,00123,2020-01-02,2020-01-02 03:04:05,1 days 02:00:00,True,true,a,0.1\n"
        "2,?,,28001,2021-12-31,2020-01-03T00:00:00.5,-2 days 00:00:00,False,NA,NA,1e-3\n"
        "3,-7,9007199254740995,08002,,2020-01-04,NA,True,FALSE,,0.30000000000000004\n"
    )
    frame = read_table(_file(tmp_path, text))
    assert _dtypes(frame) == {
        "n": "int64",
        "i": "Int64",
        "big": "Int64",
        "zip": "str",
        "when": str(frame["when"].dtype),
        "at": str(frame["at"].dtype),
        "span": str(frame["span"].dtype),
        "flag": "bool",
        "holed": "boolean",
        "word": "str",
        "f": "float64",
    }
    assert [frame[name].dtype.kind for name in ("when", "at", "span")] == ["M", "M", "m"]
    assert frame["zip"].tolist() == ["00123", "28001", "08002"]
    assert frame["i"].tolist() == [5, pd.NA, -7] and frame["big"].tolist()[::2] == [9007199254740993, 9007199254740995]
    assert frame["f"].tolist() == [0.1, 1e-3, 0.30000000000000004]
    assert frame["at"].iloc[1] == pd.Timestamp("2020-01-03 00:00:00.5") and frame["when"].isna().tolist() == [
        False,
        False,
        True,
    ]
    assert frame["span"].iloc[1] == pd.Timedelta(days=-2) and frame["holed"].tolist() == [True, pd.NA, False]
    assert frame["word"].isna().tolist() == [False, True, True]
    kept = read_table(tmp_path / "t.csv", na_values=("", "?"))
    assert kept["word"].tolist()[:2] == ["a", "NA"] and set(NA_VALUES) >= {"", "?", "NA"}


def test_numbers_of_more_than_64_bits_are_text_with_holes(tmp_path: Path) -> None:
    frame = read_table(_file(tmp_path, "a,b,c\n123456789012345678901,18446744073709551615,1\n,,2\n7,8,3\n"))
    assert frame["a"].isna().tolist() == frame["b"].isna().tolist() == [False, True, False]
    assert frame["a"].dropna().tolist() == ["123456789012345678901", "7"]


def test_whole_floats_and_mixed_words_stay_what_they_are(tmp_path: Path) -> None:
    frame = read_table(
        _file(tmp_path, "a,b,c,d,e\n1.0,2020-01-01,true,1,12:30\n,2020-13-45,false,x,08:15\n2.0,x,maybe,2,23:59\n")
    )
    assert _dtypes(frame) == {"a": "float64", "b": "str", "c": "str", "d": "str", "e": "str"}
    assert frame["e"].tolist() == ["12:30", "08:15", "23:59"] and frame["d"].tolist() == ["1", "x", "2"]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_found(tmp_path: Path, mark: str, end: str) -> None:
    rows = [["id", "a long, name; with | all", "z"], ["1", "x, y; z | w", "2.5"], ["2", 'say "so"', "0.5"]]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=mark, lineterminator=end).writerows(rows)
    path = _file(tmp_path, buffer.getvalue())
    for given_mark in (None, mark):
        frame = read_table(path, delimiter=given_mark)
        assert frame.columns.tolist() == rows[0] and frame.iloc[:, 1].tolist() == [rows[1][1], rows[2][1]]
        assert frame["z"].tolist() == [2.5, 0.5] and frame["id"].tolist() == [1, 2]


def test_decimal_commas_are_read_where_the_delimiter_leaves_them(tmp_path: Path) -> None:
    frame = read_table(_file(tmp_path, "a;b;c\n1,5;1.234,5;x\n-2,25;12,0;y\n"))
    assert frame["a"].tolist() == [1.5, -2.25] and frame["b"].tolist() == [1234.5, 12.0]
    frame = read_table(_file(tmp_path, "a;b\n1.5;x,y\n2.5;z\n"))
    assert frame["a"].tolist() == [1.5, 2.5]
    frame = read_table(_file(tmp_path, "only\n1,5\n2,5\n", "t.tsv"), delimiter="\t")
    assert frame["only"].tolist() == [1.5, 2.5]


def test_spaces_after_delimiters_go_and_other_spaces_stay(tmp_path: Path) -> None:
    frame = read_table(_file(tmp_path, 'age, work, pay\n39, State-gov, 7.5\n50, ?, "8"\n'))
    assert frame.columns.tolist() == ["age", "work", "pay"] and frame["work"].tolist()[0] == "State-gov"
    assert frame["work"].isna().tolist() == [False, True] and frame["pay"].tolist() == [7.5, 8.0]
    assert read_table(_file(tmp_path, "a,b\nx, y\nz,w\nu,v\n"))["b"].tolist() == [" y", "w", "v"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "utf-16-le", "shift_jis"])
def test_encodings_are_found_by_their_mark_or_passed(tmp_path: Path, encoding: str) -> None:
    word = "東京" if encoding == "shift_jis" else "señal"
    path = _file(tmp_path, f"città,n\n{word},1\nb,2\n".replace("à", "a"), encoding=encoding)
    assert read_table(path, encoding=encoding)["citta"].tolist() == [word, "b"]
    if encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert read_table(path)["citta"].tolist() == [word, "b"]
    else:
        with pytest.raises(DataError, match=r"expected text in utf-8 \(the default\).*Pass another: encoding='cp1252'"):
            read_table(path)


def test_a_wrong_encoding_is_placed_and_an_unknown_one_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, "a,b\n" + "x,1\n" * 50 + "ñ,2\n", encoding="cp1252")
    with pytest.raises(DataError, match="about line 52"):
        read_table(path)
    with pytest.raises(ConfigError, match="utf-9"):
        read_table(path, encoding="utf-9")
    with pytest.raises(ConfigError, match="one character"):
        read_table(path, delimiter="::")


@pytest.mark.parametrize("chunk", [7, 64, 1 << 20])
def test_ragged_rows_are_told_by_line(tmp_path: Path, chunk: int, monkeypatch) -> None:
    monkeypatch.setattr(table_file, "_CHUNK", chunk)
    lines = ["a,b,c"] + [f"{i},{i},{i}" for i in range(100)]
    for i in (6, 20, 21, 50, 60, 70, 80):
        lines[i] = "1,2" if i % 2 else '1,"2,3",4,5'
    path = _file(tmp_path, "\n".join(lines))
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert "expected 3 fields separated by comma" in message and "and 2 more" in message
    assert "line 7 has 4, line 21 has 4, line 22 has 2, line 51 has 4, line 61 has 4 and" in message


def test_stray_and_unclosed_quotes(tmp_path: Path) -> None:
    frame = read_table(_file(tmp_path, 'pipe,code\n5" long,007\n6" long,012\n"a ""b""\nc, d",3\n'))
    assert frame["pipe"].tolist() == ['5" long', '6" long', 'a "b"\nc, d'] and frame["code"].tolist() == [
        "007",
        "012",
        "3",
    ]
    with pytest.raises(DataError, match="line 3 has 1.*never closed"):
        read_table(_file(tmp_path, 'a,b\n1,2\n"3,4\n5,6\n'))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.lists(st.sampled_from(["", "a", "b,c", 'd"e', "f\ng", "0", "01", "7"]), min_size=3, max_size=3), min_size=1
    ),
    st.integers(5, 60),
)
def test_the_fast_scan_agrees_with_the_csv_module(rows: list[list[str]], chunk: int) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([["x", "y", "02"], *rows])
    content = buffer.getvalue().encode()
    plan = table_file._Plan(",", ["x", "y", "z"], True)
    before, table_file._CHUNK = table_file._CHUNK, chunk
    try:
        scan = table_file._scan_bytes(Path("t"), io.BytesIO(content), "utf-8", plan)
    finally:
        table_file._CHUNK = before
    slow = table_file._scan_rows(Path("t"), io.StringIO(content.decode(), newline=""), plan)
    assert (scan.rows, scan.ragged, scan.open_quote) == (slow.rows, 0, False) and scan.codes == slow.codes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty file"),
        (b"\n\n", "empty file"),
        (b"a,b,c\n", "only a header of 3 names: a, b, c"),
        (b"a,b,a\n1,2,3\n", "more than once: 'a'"),
        (b"a,b\n1,2,3\n4,5,6\n", "name the first column too"),
        (b"5.1,3.5\n4.9,3.0\n", r"only numbers.*names=\[...\]"),
        (b"PAR1....", "Parquet"),
        (b"PK\x03\x04..", "Excel"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_table(_file(tmp_path, text))


def test_paths_that_are_no_table_are_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "absent.csv", "nothing there"),
        (tmp_path, "suffix ''"),
        (tmp_path / "a.xlsx", "export it as .csv"),
        ("https://example.org/a.csv", "nothing is fetched"),
        ("s3://bucket/a.parquet", "nothing is fetched"),
    ):
        with pytest.raises(DataError, match=words):
            read_table(path)
    with pytest.raises(DataError, match="gzip"):
        read_table(_file(tmp_path, gzip.compress(b"a,b\n1,2\n" * 99)[:-12], "t.csv.gz"))


def test_names_serve_a_file_without_header_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    path = _file(tmp_path, "5.1,a\n\n4.9,b\n\n", "t.data")
    frame = read_table(path, names=["length", "kind"])
    assert frame.columns.tolist() == ["length", "kind"] and frame["length"].tolist() == [5.1, 4.9]
    with pytest.raises(DataError, match="expected 1 fields.*as in names"):
        read_table(path, names=["length"])
    assert read_table(_file(tmp_path, ",a\n0,x\n1,y\n")).columns.tolist() == ["column 0", "a"]


def _varied(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "f": rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n),
            "whole": rng.integers(0, 9, n).astype(float),
            "i": rng.integers(-(2**62), 2**62, n),
            "holes": pd.array(rng.integers(2**60, 2**62, n), dtype="Int64"),
            "b": rng.random(n) < 0.5,
            "B": pd.array(rng.random(n) < 0.5, dtype="boolean"),
            "s": [f"w, {i}; 'ñ'\t\"q\"" for i in range(n)],
            "code": [f"{i:05d}" for i in range(n)],
            "t": pd.Series(pd.to_datetime(rng.integers(0, 2**50, n), unit="us")).astype("M8[us]"),
            "span": pd.Series(rng.integers(0, 2**40, n)).astype("m8[us]"),
        }
    )
    for name in ("f", "holes", "B", "s", "t", "span"):
        frame.loc[rng.random(n) < 0.2, name] = None
    return frame


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.txt"])
def test_text_written_is_read_with_the_same_values_and_types(tmp_path: Path, name: str) -> None:
    frame = _varied()
    assert write_table(frame.set_index(np.arange(60) * 3), tmp_path / name) == tmp_path / name
    back = read_table(tmp_path / name)
    pd.testing.assert_frame_equal(back.astype({"span": "m8[us]"}), frame, rtol=0, atol=0)
    assert back["span"].dtype.kind == "m"
    write_table(frame[["holes"]], tmp_path / name)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), frame[["holes"]])


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_parquet_and_feather_give_back_every_dtype(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    frame = _varied().assign(
        cat=pd.Categorical(list("ab") * 30, categories=["z", "b", "a"], ordered=True),
        f32=np.arange(60, dtype="f4"),
        tz=pd.date_range("2020", periods=60, tz="Europe/Madrid"),
    )
    write_table(frame, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), frame)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-30])
    with pytest.raises(DataError, match="damaged"):
        read_table(tmp_path / name)
    with pytest.raises(DataError, match="each of one type"):
        write_table(pd.DataFrame({"m": [1, "a"]}), tmp_path / name)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_without_pyarrow_the_extra_is_named(tmp_path: Path, name: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / name).write_bytes(b"PAR1")
    for call in (lambda: read_table(tmp_path / name), lambda: write_table(_varied(), tmp_path / name)):
        with pytest.raises(MissingExtraError, match=r"caminito\[tables\]"):
            call()
    assert (tmp_path / name).read_bytes() == b"PAR1"


def test_frames_of_polars_and_arrays_are_written(tmp_path: Path) -> None:
    write_table(np.array([[1.5, 2.0], [0.1, np.nan]]), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "0,1\n1.5,2.0\n0.1,\n"
    pl = pytest.importorskip("polars", reason="needs polars")
    frame = pl.DataFrame({"i": [2**60, None], "b": [True, None], "s": ["a", None], "f": [0.5, None]})
    write_table(frame, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    assert _dtypes(back) == {"i": "Int64", "b": "boolean", "s": "str", "f": "float64"} and back["i"].iloc[0] == 2**60
    with pytest.raises(DataError, match="more than once"):
        write_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), tmp_path / "t.csv")


def test_a_table_read_goes_through_the_codec_unchanged(tmp_path: Path) -> None:
    write_table(_varied(), tmp_path / "t.csv")
    frame = read_table(tmp_path / "t.csv")
    codec = TableCodec().fit(frame)
    pd.testing.assert_frame_equal(codec.decode(codec.encode(frame)), frame, rtol=0, atol=0)


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(table_file).failed == 0
