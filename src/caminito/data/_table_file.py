"""Tables on disk: delimited text (.csv, .tsv, .txt, .data, plain or .gz), Parquet and Feather.

Text is scanned once, as bytes and without a Python loop over its rows, for what a parser would pass over in silence:
rows of another length than the header, quotes never closed, bytes that are not of the encoding, and codes with leading
zeros ("00123") that would become numbers. Then pandas parses it.

Of a file larger than memory a sample of rows is read: one of each of m stretches of equal length, so the rows keep
their order and each has the same chance. The file passes by in batches; the sample and one of those are held.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError, DataError, MissingExtraError
from caminito._files import write_atomic
from caminito._random import Stream, uniform

if TYPE_CHECKING:
    from caminito.data._containers import Opened

__all__ = ["MAX_CELLS", "NA_VALUES", "is_table", "read_table", "sampled_table", "write_table"]

MAX_CELLS = 20_000_000
"""Rows times columns that a file is learnt from: a million rows of 20, 160 MB of numbers; of more, a sample of rows."""

NA_VALUES = ("", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "<NA>", "NaT")
"""Cells of a text file that are read as missing unless told otherwise."""

_TEXT = (".csv", ".tsv", ".tab", ".txt", ".data")
_PARQUET, _FEATHER = (".parquet", ".pq"), (".feather", ".arrow")
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = ((b"PAR1", "Parquet"), (b"ARROW1", "Feather"), (b"PK\x03\x04", "Excel or zip"), (b"\x1f\x8b", "gzip"))
_HEAD, _CHUNK, _BATCH = 1 << 18, 1 << 23, 1 << 20  # bytes, bytes, cells
_DRAW = 1 << 40  # which uniforms say the rows of a sample
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_SPAN = re.compile(r"-?\d+ days?(?: [+-]?\d{2}:\d{2}:\d{2}(?:\.\d+)?)?")
_WORDS = {"true": True, "false": False}


def read_table(
    path: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    na_values: Sequence[str] = NA_VALUES,
    names: Sequence[str] | None = None,
    max_cells: int | None = None,
) -> Any:
    """pandas.DataFrame of a file: delimited text, Parquet or Feather, by its suffix.

    In text, cells of `na_values` are missing; whole numbers with holes become Int64, true/false bool or boolean, ISO
    8601 dates datetime64 (in UTC where their offsets differ), "3 days 04:00:00" timedelta64. A column in which any
    number begins with a needless zero ("00123") is text. Files with ";", tab or "|" may have decimal commas.

    Parameters
    ----------
    path : path
        A local file: .csv, .tsv, .tab, .txt, .data, each also with .gz; .parquet, .pq; .feather, .arrow.
    delimiter : str, optional
        One character; found among , ; tab and | if not given.
    encoding : str, optional
        Of text; utf-8, or what its byte order mark says, if not given.
    na_values : sequence of str, default `NA_VALUES`
        Texts that are read as missing.
    names : sequence of str, optional
        Names of the columns of a text file that has no header line.
    max_cells : int, optional
        Rows times columns to hold: of a larger file a sample of rows is read, the same each time, and memory does not
        grow with the file.

    Raises
    ------
    DataError
        If the file is absent, empty, damaged, has only a header, repeated names, rows of unequal length, or another
        encoding.
    ConfigError
        For an unknown encoding, or a delimiter that is not one character.
    MissingExtraError
        For Parquet and Feather without pyarrow.
    """
    return sampled_table(path, max_cells, delimiter, encoding, na_values, names)[0]


def sampled_table(
    path: str | Path,
    max_cells: int | None,
    delimiter: str | None = None,
    encoding: str | None = None,
    na_values: Sequence[str] = NA_VALUES,
    names: Sequence[str] | None = None,
) -> tuple[Any, int]:
    """As `read_table`; with the rows that the file has."""
    path, kind = _checked_path(path)
    if max_cells is not None and max_cells < 1:
        raise ConfigError(f"max_cells: expected a whole number >= 1, got {max_cells!r}.")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing there"
        raise DataError(f"{path}: expected a file with a table, found {what}. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: expected a table, got an empty file. Check how it was written.")
    if kind == "text":
        named = None if names is None else list(names)
        return _read_text(path, delimiter, encoding, tuple(na_values), named, max_cells)
    return _read_arrow(path, kind, max_cells)


def write_table(frame: Any, path: str | Path) -> Path:
    """Write a frame to .csv, .tsv, .txt (.gz too), .parquet or .feather; returns the path. The file is whole or absent.

    Parquet and Feather give back every dtype of pandas. Text gives back what its cells say: numbers exactly, True and
    False, dates and durations to the microsecond, text that looks like none of these; categories come back as text,
    empty strings as missing, and time zones as offsets from UTC.

    Parameters
    ----------
    frame : table
        pandas, polars, pyarrow, or an array (n, p) with named fields or without. A pandas index is not written.
    path : path

    Raises
    ------
    DataError
        If the frame is no table, or two columns have one name.
    MissingExtraError
        For Parquet and Feather without pyarrow.
    StorageError
        If the file cannot be written.
    """
    path, kind = _checked_path(path)
    opened = _open(frame)
    buffer = io.BytesIO()
    if kind == "text":
        table = _as_pandas(frame, opened)
        plain = path.name.lower().removesuffix(".gz")
        text = table.to_csv(
            index=False,
            sep="\t" if plain.endswith((".tsv", ".tab")) else ",",
            na_rep="NA" if table.shape[1] == 1 else "",
            lineterminator="\n",
        ).encode()
        buffer.write(gzip.compress(text, 6, mtime=0) if path.suffix.lower() == ".gz" else text)
    else:
        _need_pyarrow(f"writing {path.suffix}")
        _write_arrow(frame, opened, kind, buffer)
    write_atomic(path, buffer.getvalue())
    return path


def is_table(path: str | Path) -> bool:
    """Whether a path has a suffix of a file that `read_table` reads, and is no folder; it need not exist."""
    path = Path(path)
    return _kind_of(path) is not None and not path.is_dir()


def _kind_of(path: Path) -> str | None:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    kinds = dict.fromkeys(_TEXT, "text")
    if path.suffix.lower() != ".gz":
        kinds |= dict.fromkeys(_PARQUET, "parquet") | dict.fromkeys(_FEATHER, "feather")
    return kinds.get(suffix)


def _checked_path(path: str | Path) -> tuple[Path, str]:
    if re.match(r"[a-zA-Z][\w+.-]+://", str(path)):
        raise DataError(f"{path}: expected a local file, got an address. Download it first; nothing is fetched.")
    path = Path(path)
    kind = _kind_of(path)
    if kind is None:
        suffix = Path(path.name.lower().removesuffix(".gz")).suffix
        raise DataError(
            f"{path}: expected a table in one of {', '.join((*_TEXT, '.csv.gz', *_PARQUET, *_FEATHER))}, got suffix "
            f"{suffix!r}. Save it as one of these (a spreadsheet: export it as .csv)."
        )
    return path, kind


def _need_pyarrow(doing: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f'{doing} needs pyarrow. Install it: pip install "caminito[tables]"') from error


def _read_arrow(path: Path, kind: str, max_cells: int | None) -> tuple[Any, int]:
    import pandas as pd

    _need_pyarrow(f"reading {path.suffix}")
    try:
        with path.open("rb") as file:
            part = None if max_cells is None else _arrow_sample(file, kind, max_cells)
        if part is not None:
            frame, rows = pd.read_parquet(part[0]), part[1]  # for the dtypes that reading all of it gives
        else:
            with path.open("rb") as file:
                frame = pd.read_parquet(file) if kind == "parquet" else pd.read_feather(file)
            rows = len(frame)
    except (ValueError, OSError) as error:  # pyarrow's own errors are these
        raise DataError(f"{path}: expected a whole {kind} file, got a damaged one ({error}). Copy it again.") from error
    _refuse_repeated(path, [str(name) for name in frame.columns])
    if len(frame) == 0:
        raise DataError(f"{path}: expected rows, got only the names of {frame.shape[1]} columns.")
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index(), rows


def _arrow_sample(file: IO[bytes], kind: str, max_cells: int) -> tuple[IO[bytes], int] | None:
    """A sample of the rows as a small Parquet file, and how many rows there are; None if all may be read."""
    import pyarrow
    from pyarrow import ipc, parquet

    if kind == "parquet":
        reader = parquet.ParquetFile(file)
        rows, schema = reader.metadata.num_rows, reader.schema_arrow
    elif file.read(6) == b"ARROW1":
        reader = ipc.open_file(file)
        rows, schema = sum(reader.get_batch(i).num_rows for i in range(reader.num_record_batches)), reader.schema
    else:  # the first version of Feather, which has no batches
        return None
    if rows * len(schema) <= max_cells:
        return None
    if kind == "parquet":
        batches = reader.iter_batches(batch_size=max(1, _BATCH // len(schema)))
    else:
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    drawn, first, kept = _rows_drawn(rows, max_cells // len(schema)), 0, []
    for batch in batches:
        here = drawn[np.searchsorted(drawn, first) : np.searchsorted(drawn, first + batch.num_rows)]
        if len(here):
            kept.append(batch.take(pyarrow.array(here - first)))
        first += batch.num_rows
    made = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_batches(kept, schema), made)
    made.seek(0)
    return made, rows


def _rows_drawn(rows: int, count: int) -> NDArray[np.int64]:
    """One row, by chance, of each of `count` stretches of a file; two at least."""
    edges = np.arange(max(count, 2) + 1, dtype=np.int64) * rows // max(count, 2)
    u = np.asarray(uniform(0, Stream.TABLE, _DRAW, len(edges) - 1))
    return edges[:-1] + (u * np.diff(edges)).astype(np.int64)


def _open(frame: Any) -> Opened:
    from caminito.data._containers import open_table

    return open_table(frame)


def _write_arrow(frame: Any, opened: Opened, kind: str, buffer: IO[bytes]) -> None:
    import pyarrow
    from pyarrow import feather, parquet

    try:
        if opened.container in ("polars", "pyarrow"):
            table = frame if opened.container == "pyarrow" else frame.to_arrow()
        else:
            table = pyarrow.Table.from_pandas(_as_pandas(frame, opened), preserve_index=False)
        parquet.write_table(table, buffer) if kind == "parquet" else feather.write_feather(table, buffer)
    except (ValueError, TypeError, NotImplementedError) as error:  # pyarrow's own errors are these
        raise DataError(f"expected columns that {kind} can hold, each of one type, got others ({error}).") from error


def _as_pandas(frame: Any, opened: Opened) -> Any:
    import narwhals as nw
    import pandas as pd

    if opened.container not in ("polars", "pyarrow"):
        table = pd.DataFrame(frame).reset_index(drop=True)
        return table.set_axis([str(name) for name in opened.names], axis=1)
    columns = {}
    for name, dtype in nw.from_native(frame, eager_only=True).schema.items():
        whole = ("UInt64" if dtype == nw.UInt64 else "Int64") if dtype.is_integer() else None
        values = nw.from_native(frame, eager_only=True)[name].to_list()
        columns[name] = pd.Series(values, dtype="boolean" if dtype == nw.Boolean else whole)
    return pd.DataFrame(columns)


@dataclass
class _Plan:
    """How a text file is to be parsed."""

    delimiter: str
    names: list[str]
    header: bool
    decimal: str = "."
    thousands: str | None = None
    spaced: bool = False


def _read_text(
    path: Path,
    delimiter: str | None,
    encoding: str | None,
    na_values: tuple[str, ...],
    names: list[str] | None,
    max_cells: int | None,
) -> tuple[Any, int]:
    import pandas as pd

    if delimiter is not None and len(delimiter) != 1:
        raise ConfigError(f"delimiter: expected one character, got {delimiter!r}.")
    with _opened(path) as file:
        head = file.read(_HEAD)
        while b"\n" not in head and (more := file.read(_HEAD)):
            head += more
        cut = bool(file.read(1))
    if not head.strip():
        raise DataError(f"{path}: expected a table, got an empty file. Check how it was written.")
    for magic, kind in _BINARY:
        if head.startswith(magic):
            raise DataError(
                f"{path}: expected text, got a file of {kind}. Give it the suffix of what it is, or export it."
            )
    encoding = _checked_encoding(path, head, encoding)
    content = _recoded(path, head, encoding)
    if content is not None:
        head, cut, encoding = content[:_HEAD], len(content) > _HEAD, "utf-8"
    lines = codecs.getincrementaldecoder(encoding)("replace").decode(head).split("\n")
    try:
        plan = _plan(path, lines[:-1] if cut and len(lines) > 1 else lines, delimiter, names)
    except csv.Error as error:
        raise DataError(f"{path}: expected lines of fields, got none of reasonable length ({error}).") from error
    scan = _scan(path, content, encoding, plan)
    if scan.rows == int(plan.header):
        raise DataError(
            f"{path}: expected rows, got only a header of {len(plan.names)} names: {', '.join(plan.names)}."
        )
    rows = scan.rows - int(plan.header)
    if max_cells is not None and rows * len(plan.names) > max_cells:
        content = _text_sample(path, content, encoding, plan, _rows_drawn(rows, max_cells // len(plan.names)))
        encoding = "utf-8"
    options: dict[str, Any] = {
        "sep": plan.delimiter,
        "header": 0 if plan.header else None,
        "names": plan.names,
        "index_col": False,
        "encoding": encoding,
        "decimal": plan.decimal,
        "thousands": plan.thousands,
        "keep_default_na": False,
        "na_values": list(na_values),
        "skipinitialspace": plan.spaced,
        "low_memory": False,
        **_exact_floats(plan),
        "compression": "gzip" if content is None and path.suffix.lower() == ".gz" else None,
    }

    def parse(**more: Any) -> Any:
        return pd.read_csv(path if content is None else io.BytesIO(content), **{**options, **more})

    try:
        frame = parse(dtype={plan.names[i]: str for i in sorted(scan.codes)})
        holed = [name for name in frame.columns if _may_be_whole(frame[name])]
        texts = parse(usecols=holed, dtype=str) if holed else None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a table of text, could not be parsed: {error}.") from error
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if texts is not None and name in texts.columns:
            column = _whole(column, texts[name])
        elif column.dtype == object or isinstance(column.dtype, pd.StringDtype):
            column = _recognised(_with_holes(column, na_values))
        columns[name] = column
    return pd.DataFrame(columns, columns=plan.names), rows


def _text_sample(path: Path, content: bytes | None, encoding: str, plan: _Plan, drawn: NDArray[np.int64]) -> bytes:
    """The header and the rows drawn of a file, as utf-8."""
    made = io.StringIO(newline="")
    writer = csv.writer(made, delimiter=plan.delimiter, lineterminator="\n")
    with _opened(path) if content is None else contextlib.nullcontext(io.BytesIO(content)) as file:
        text = io.TextIOWrapper(file, encoding, newline="")
        rows = filter(None, csv.reader(text, delimiter=plan.delimiter, skipinitialspace=plan.spaced))
        writer.writerows(itertools.islice(rows, int(plan.header)))
        for skipped in np.diff(drawn, prepend=-1).tolist():
            writer.writerows(itertools.islice(rows, skipped - 1, skipped))
        text.detach()
    return made.getvalue().encode()


def _exact_floats(plan: _Plan) -> dict[str, str]:
    """What makes pandas read the float nearest to its text; from 3.1 on it does so by itself."""
    import pandas as pd

    old = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)
    return {"float_precision": "round_trip"} if old and plan.decimal == "." else {}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: expected a whole gzip file, got a damaged one ({error}). Copy it again.") from error


def _checked_encoding(path: Path, head: bytes, encoding: str | None) -> str:
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    try:
        encoding = marked or "utf-8" if encoding is None else codecs.lookup(encoding).name
    except LookupError as error:
        raise ConfigError(
            f"encoding: expected one that Python knows, e.g. utf-8 or cp1252, got {encoding!r}."
        ) from error
    if encoding == "utf-8" and b"\0" in head:
        raise _wrong_encoding(path, encoding, "zero bytes, as utf-16 has them")
    return "utf-8-sig" if encoding == "utf-8" and marked == "utf-8-sig" else encoding


def _recoded(path: Path, head: bytes, encoding: str) -> bytes | None:
    """The whole file as utf-8 with plain line ends, where its bytes may be other than the ASCII they look like."""
    old_mac = b"\n" not in head and b"\r" in head
    if not old_mac and encoding.startswith(("utf-8", "ascii", "iso8859", "cp125", "koi8", "mac")):
        return None
    with _opened(path) as file:
        content = file.read()
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, encoding, f"byte {error.start} is the first") from error
    return (text.replace("\r", "\n") if old_mac else text).encode()


def _wrong_encoding(path: Path, encoding: str, place: str) -> DataError:
    tried = f"{encoding} (the default)" if encoding == "utf-8" else encoding
    return DataError(
        f"{path}: expected text in {tried}, got bytes that are not: {place}. Pass another: encoding='cp1252' for older "
        "files of Western Europe, 'latin-1', 'utf-16', 'cp1251', 'shift_jis', 'gb18030', ..."
    )


def _plan(path: Path, lines: list[str], delimiter: str | None, names: list[str] | None) -> _Plan:
    lines = [line.rstrip("\r") for line in lines if line.strip()][:200]
    delimiter = delimiter or _sniffed(lines)
    rows = list(csv.reader(lines, delimiter=delimiter))
    later = [cell for row in rows[names is None :] for cell in row[1:] if cell]
    spaced = sum(cell[0] == " " for cell in later) > len(later) / 2
    rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced))
    found = names
    if found is None:
        found = [name.strip() or f"column {i}" for i, name in enumerate(rows[0])]
        if all(_is_number(name) for name in found) and any("." in name for name in found):
            raise DataError(
                f"{path}: expected the names of the columns on the first line, got only numbers "
                f"({', '.join(found[:5])}). Add a header line, or pass names=[...]."
            )
    _refuse_repeated(path, found)
    plan = _Plan(delimiter, found, names is None, spaced=spaced)
    if delimiter != ",":
        cells = [cell.strip() for row in rows[int(plan.header) :] for cell in row]
        commas = sum(re.fullmatch(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+", cell) is not None for cell in cells)
        points = sum(re.fullmatch(r"[+-]?\d+\.\d+", cell) is not None for cell in cells)
        grouped = any(re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+,\d+", cell) for cell in cells)
        if commas and (grouped or not points):
            plan.decimal, plan.thousands = ",", "." if grouped else None
    return plan


def _sniffed(lines: list[str]) -> str:
    """The delimiter that splits most lines into as many fields as the first, and into the most of them."""
    best, choice = (0.0, 1), ","
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
        if counts and counts[0] > 1:
            score = (sum(count == counts[0] for count in counts) / len(counts), counts[0])
            if score > best:
                best, choice = score, delimiter
    return choice


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_repeated(path: Path, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(
            f"{path}: expected column names that differ, got some more than once: {', '.join(map(repr, twice))}. "
            "Rename them in the file; if its first line is data, pass names=[...]."
        )


@dataclass
class _Scan:
    """What one pass over the bytes of a file found."""

    rows: int = 0  # the header among them
    ragged: int = 0
    first: list[tuple[int, int]] = field(default_factory=list)  # line, fields
    codes: set[int] = field(default_factory=set)  # columns with a number that begins with a needless zero
    open_quote: bool = False


def _scan(path: Path, content: bytes | None, encoding: str, plan: _Plan) -> _Scan:
    with _opened(path) if content is None else contextlib.nullcontext(io.BytesIO(content)) as file:
        scan = _scan_bytes(path, file, encoding, plan)
    unclosed = scan.open_quote
    if scan.ragged or unclosed:
        with _opened(path) if content is None else contextlib.nullcontext(io.BytesIO(content)) as file:
            text = io.TextIOWrapper(file, encoding, newline="")
            scan = _scan_rows(path, text, plan)
            text.detach()
    if scan.ragged:
        expected = len(plan.names)
        separator = _DELIMITERS.get(plan.delimiter, repr(plan.delimiter))
        lines = ", ".join(f"line {line} has {fields}" for line, fields in scan.first)
        more = f" and {scan.ragged - len(scan.first)} more" if scan.ragged > len(scan.first) else ""
        hint = "Mend those lines: a delimiter inside a cell needs quotes"
        if scan.ragged >= scan.rows - 1 and {fields for _, fields in scan.first} == {expected + 1}:
            hint = "Every row has one field more than there are names: name the first column too"
        if unclosed:
            hint = "A quote is opened there, or before, and never closed: close it or take it out"
        raise DataError(
            f"{path}: expected {expected} fields separated by {separator} on every line, as in "
            f"{'the header' if plan.header else 'names'}; {lines}{more}. {hint}, or pass another delimiter."
        )
    return scan


def _scan_bytes(path: Path, file: IO[bytes], encoding: str, plan: _Plan) -> _Scan:
    """One vectorised pass; quotes toggle, which is wrong only for a stray one, and then rows come out ragged."""
    scan, decoder = _Scan(), codecs.getincrementaldecoder(encoding)("strict")
    mark = plan.delimiter.encode(encoding)[-1]
    line, inside, carried, rest = 1, 0, 0, b""
    while True:
        piece = file.read(_CHUNK)
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            near = line + (rest + piece[: error.start]).count(b"\n")
            raise _wrong_encoding(path, encoding, f"the first about line {near}") from error
        block = rest + piece
        if not block:
            break
        cut = block.rfind(b"\n") + 1 if piece else len(block)
        block, rest = block[:cut], block[cut:]
        if not piece and not block.endswith(b"\n"):
            block += b"\n"
        if block:
            line, inside, carried = _scan_block(block, mark, plan, scan, line, inside, carried)
        if not piece:
            break
    scan.open_quote = bool(inside)
    return scan


def _scan_block(
    block: bytes, mark: int, plan: _Plan, scan: _Scan, line: int, inside: int, carried: int
) -> tuple[int, int, int]:
    """Count whole lines of the file into `scan`; `carried` delimiters of their first row came before.

    Returns the number of the next line, whether a quote is open, and what to carry on.
    """
    text = np.frombuffer(block, np.uint8)
    ends, splits, quotes = text == 10, text == mark, text == 34
    lines = np.flatnonzero(ends)
    if inside or quotes.any():
        within = (np.cumsum(quotes, dtype=np.uint8) + np.uint8(inside)) & 1
        ends, splits = ends & (within == 0), splits & (within == 0)
        inside = int(within[-1])
    stops, places = np.flatnonzero(ends), np.flatnonzero(splits)
    before = np.searchsorted(places, stops)
    header = -1
    if len(stops):
        fields = np.diff(before, prepend=-carried) + 1
        starts = np.concatenate([[0], stops[:-1] + 1])
        blank = (fields == 1) & ((stops == starts) | ((stops == starts + 1) & (text[starts] == 13)))
        bad = (fields != len(plan.names)) & ~blank
        if plan.header and not scan.rows:
            header = int(np.argmin(blank))
        scan.rows += int((~blank).sum())
        scan.ragged += int(bad.sum())
        for row in np.flatnonzero(bad)[: 5 - len(scan.first)]:
            scan.first.append((line + int(np.searchsorted(lines, stops[row])), int(fields[row])))
    zero = np.flatnonzero((text[:-1] == 48) & (text[1:] >= 48) & (text[1:] <= 57))
    previous = np.where(zero > 0, text[zero - 1], 10)
    zero = zero[(previous == mark) | (previous == 10) | (previous == 34) | (previous == 32)]
    row = np.searchsorted(stops, zero)
    column = np.searchsorted(places, zero) - np.concatenate([[-carried], before])[row]
    scan.codes.update(int(i) for i in np.unique(column[row > header]) if i < len(plan.names))
    carried = int(len(places) - (before[-1] if len(before) else -carried))
    return line + len(lines), inside, carried


def _scan_rows(path: Path, file: IO[str], plan: _Plan) -> _Scan:
    """The same, row by row: slow, for files with stray quotes or rows to be reported."""
    scan, expected = _Scan(), len(plan.names)
    reader = csv.reader(file, delimiter=plan.delimiter, skipinitialspace=plan.spaced)
    line = 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            if not row:
                continue
            scan.rows += 1
            if len(row) != expected:
                scan.ragged += 1
                if len(scan.first) < 5:
                    scan.first.append((start, len(row)))
            if plan.header and scan.rows == 1:
                continue
            scan.codes.update(i for i, cell in enumerate(row[:expected]) if cell[:1] == "0" and cell[1:2].isdigit())
    except csv.Error as error:
        raise DataError(
            f"{path}: expected fields of reasonable length, line {reader.line_num} has one too long ({error}). A quote "
            "that is never closed is the usual cause."
        ) from error
    return scan


def _may_be_whole(column: Any) -> bool:
    if column.dtype != np.float64:
        return False
    values = column.to_numpy()
    holes = np.isnan(values)
    return bool(holes.any() and not holes.all() and (values[~holes] == np.rint(values[~holes])).all())


def _whole(column: Any, text: Any) -> Any:
    """Int64 of a column whose cells are all written as whole numbers; else the column."""
    import pandas as pd

    words = text.dropna()
    if not words.str.fullmatch(r"\s*[+-]?\d+\s*").all():
        return column
    whole = pd.to_numeric(words).to_numpy()
    if whole.dtype != np.int64:
        return column
    missing = text.isna().to_numpy(bool)
    values = np.zeros(len(text), np.int64)
    values[~missing] = whole
    return pd.Series(pd.arrays.IntegerArray(values, missing), index=column.index, name=column.name)


def _with_holes(column: Any, na_values: tuple[str, ...]) -> Any:
    """The column as text and holes, where pandas keeps whole numbers that outgrow 64 bits, or holes beside them."""
    import pandas as pd

    if column.dtype == object and "integer" in pd.api.types.infer_dtype(column, skipna=True):
        column = column.map(str, na_action="ignore")
    return column if column.isna().any() else column.mask(column.isin(na_values))


def _recognised(column: Any) -> Any:
    """A column of text as True and False, dates or durations, where every cell is one."""
    import pandas as pd

    present = column.dropna()
    if not len(present):
        return column
    few = present.iloc[:50].astype(str)
    if few.str.lower().isin(_WORDS).all():
        words = present.astype(str).str.lower()
        if words.isin(_WORDS).all():
            found = words.map(_WORDS).astype("boolean").reindex(column.index)
            return found if found.isna().any() else found.astype(bool)
    try:
        if few.str.fullmatch(_DATE).all() and present.str.fullmatch(_DATE).all():
            return _dates(column)
        if few.str.fullmatch(_SPAN).all() and present.str.fullmatch(_SPAN).all():
            return pd.to_timedelta(column)
    except (ValueError, OverflowError, AttributeError):
        return column
    return column


def _dates(column: Any) -> Any:
    import pandas as pd

    try:
        times = pd.to_datetime(column, format="ISO8601")
    except ValueError:
        times = pd.to_datetime(column, format="ISO8601", utc=True)
    return times if times.dtype != object else pd.to_datetime(column, format="ISO8601", utc=True)
