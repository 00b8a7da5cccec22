"""What the commands share where the data are a table: options, how it is read, and how it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from caminito._errors import ConfigError
from caminito.cli.console import number, out
from caminito.cli.options import at_least, found_again, options_of

if TYPE_CHECKING:
    from caminito.data import TableSource
    from caminito.estimators.schema import TableConfig
    from caminito.estimators.table_reading import TableReading
    from caminito.estimators.table_run import TableRun

__all__ = [
    "Constraints",
    "Delimiter",
    "Encoding",
    "Missing",
    "Mode",
    "PrivacyK",
    "TableFlags",
    "Target",
    "Types",
    "check_target",
    "columns_table",
    "opened_table",
    "rows_of_table",
    "table_config",
    "table_of_run",
]

Target = Annotated[
    str | None,
    typer.Option("--target", metavar="COLUMN", help="Of a table: the column that the others are to predict."),
]
Mode = Annotated[
    str | None,
    typer.Option("--mode", metavar="M", help="Of a table: auto, reveal, denoise, boost or network; how rows are made."),
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="NAME=KIND", help="Of a table: what a column is, e.g. zip=category. Repeat."),
]
Constraints = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint", metavar="C", help='Of a table: what rows meet: "start <= end", "total = a + b". Repeat.'
    ),
]
PrivacyK = Annotated[
    int | None, typer.Option("--privacy-k", metavar="K", help="Of a table: a value has so many rows to come from.")
]
Missing = Annotated[
    str | None, typer.Option("--missing", metavar="HOW", help="Of a table: model (they are data) or fill.")
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", metavar="D", help="Of a text file: what separates cells, e.g. ';' or tab.")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", metavar="E", help="Of a text file, e.g. cp1252; utf-8 unless given.")
]

_MODES, _MISSING = ("auto", "reveal", "denoise", "boost", "network"), ("model", "fill")
_SHOWN = 60  # columns of a table that are listed


class TableFlags(NamedTuple):
    """Options that only a table has, None where they were not given."""

    target: str | None
    mode: str | None
    types: list[str] | None
    constraints: list[str] | None
    privacy_k: int | None
    missing: str | None
    delimiter: str | None
    encoding: str | None

    def given(self) -> dict[str, Any]:
        """Values by the names they are typed by."""
        flags = ("--target", "--mode", "--type", "--constraint", "--privacy-k", "--missing")
        return {flag: value or None for flag, value in zip((*flags, "--delimiter", "--encoding"), self)}

    def typed(self) -> list[str]:
        """The words that say the same again."""
        several = {"--type": self.types, "--constraint": self.constraints}
        pairs = [(flag, value) for flag, value in self.given().items() if value is not None and flag not in several]
        pairs += [(flag, text) for flag, texts in several.items() for text in texts or ()]
        return [word for flag, value in pairs for word in (flag, str(value))]


def table_config(
    file: Path | None, assignments: list[str] | None, flags: TableFlags, *, seed: int | None
) -> TableConfig:
    """Options: those of the file, then `--set`, then the flags.

    Raises
    ------
    ConfigError
        If the file cannot be read, or an option is unknown or impossible.
    """
    at_least(1, privacy_k=flags.privacy_k)
    for flag, value, known in (("--mode", flags.mode, _MODES), ("--missing", flags.missing, _MISSING)):
        if value is not None and value not in known:
            raise ConfigError(f"{flag}: expected one of {', '.join(known)}, got {value!r}.")
    from caminito.estimators.schema import parse_table_config

    own = {"mode": flags.mode, "privacy_k": flags.privacy_k, "missing": flags.missing, "random_state": seed}
    options = options_of(file, assignments, **own)
    if flags.types:
        before = options.get("types")
        options["types"] = (before if isinstance(before, dict) else {}) | dict(map(_typed, flags.types))
    if flags.constraints:
        before = options.get("constraints")
        options["constraints"] = [*(before if isinstance(before, list) else []), *flags.constraints]
    return parse_table_config(options)


def _typed(text: str) -> tuple[str, str]:
    name, equals, kind = text.rpartition("=")
    if not equals or not name.strip() or not kind.strip():
        raise ConfigError(f"--type: expected NAME=KIND, such as zip=category, got {text!r}.")
    return name.strip(), kind.strip()


def opened_table(data: str, config: TableConfig, flags: TableFlags) -> tuple[TableSource, TableReading]:
    """The table at a path, and how it is taken.

    Raises
    ------
    ConfigError
        If there is no such target, delimiter or encoding.
    DataError
        If there is no table to learn from.
    """
    from caminito.estimators.table_reading import TableReading

    delimiter = {"tab": "\t", "\\t": "\t"}.get(flags.delimiter or "", flags.delimiter)
    reading = TableReading(flags.target, delimiter, flags.encoding)
    source = _read(data, reading, config)
    reading.check(config, source)
    return source, reading


def table_of_run(run: TableRun, data: str | None) -> TableSource:
    """The table a run was trained on, from where it was or from `data`; errors as of `source_of_run`."""
    source = found_again(run, data, lambda path: _read(path, run.reading, run.config))
    run.check_data(source)
    return source


def _read(data: str, reading: TableReading, config: TableConfig) -> TableSource:
    from caminito.data import open_table

    with out.status("Reading"):
        types: Any = config.types
        return open_table(data, delimiter=reading.delimiter, encoding=reading.encoding, types=types)


def check_target(target: Path) -> None:
    """Refuse a place that cannot hold a table, before it is made.

    Raises
    ------
    ConfigError
    """
    from caminito.data import is_table

    if target.is_dir():
        raise ConfigError(f"--out {target}: expected a file, this is a folder. Give another name.")
    if not is_table(target):
        raise ConfigError(f"--out: expected a file .csv, .tsv, .csv.gz, .parquet or .feather, got {target.name!r}.")


def rows_of_table(source: TableSource, reading: TableReading) -> list[tuple[str, str, str]]:
    """What was found at a path, as rows (name, value, remark)."""
    facts = source.facts
    twice, holes = facts["duplicates"], sum(column.missing_share for column in source.columns)
    share = holes / len(source.columns)
    count = f"{facts['count']:,}".replace(",", " ")
    rows = [
        (
            "rows",
            f"{count} of {len(source.columns)} column{'s' if len(source.columns) > 1 else ''}",
            f"drawn from {facts['rows_in_file']:,} in the file".replace(",", " ") if "rows_in_file" in facts else "",
        ),
        ("duplicates", f"{number(twice)} rows repeat an earlier one" if twice else "none", ""),
        ("missing", f"{_percent(share)} of all cells" if share else "nothing", ""),
    ]
    if reading.target is not None:
        rows.append(("target", reading.target, "the column that the others are to predict"))
    return rows


def columns_table(source: TableSource) -> Table:
    """A line for each column: kind, different values, share missing, an example, and the range."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("  column", overflow="fold")
    table.add_column("kind", no_wrap=True)
    table.add_column("distinct", justify="right", no_wrap=True)
    table.add_column("missing", justify="right", no_wrap=True)
    table.add_column("example", overflow="ellipsis", no_wrap=True, max_width=24)
    table.add_column("range", style="dim")
    described = source.facts["columns"]
    for column in described[:_SHOWN]:
        cells = [
            f"  {column['name']}",
            column["kind"],
            f"{column['distinct']:,}".replace(",", " "),
            _percent(column["missing"]) if column["missing"] else "",
            str(column["example"]),
            column["range"],
        ]
        table.add_row(*map(Text, cells))
    if len(described) > _SHOWN:
        table.add_row(Text(f"  and {len(described) - _SHOWN} more", "dim"))
    return table


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
