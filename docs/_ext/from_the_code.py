"""Pages that cannot disagree with the code: commands and options are read from where they are defined.

`{command} NAME` shows a command of the command line; `{options} MODULE.CLASS` a table of a pydantic schema.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], code: int) -> nodes.table:
    """A table whose first `code` columns are literal."""
    table = nodes.table(classes=["table"])
    group = nodes.tgroup(cols=len(head))
    table += group
    for _ in head:
        group += nodes.colspec(colwidth=1)

    def line(cells: tuple[str, ...], literal: int) -> nodes.row:
        row = nodes.row()
        for place, text in enumerate(cells):
            entry, paragraph = nodes.entry(), nodes.paragraph()
            if text:
                paragraph += nodes.literal(text=text) if place < literal else nodes.Text(text)
            entry += paragraph
            row += entry
        return row

    top, body = nodes.thead(), nodes.tbody()
    top += line(head, 0)
    for cells in rows:
        body += line(cells, code)
    group += top
    group += body
    return table


class Command(Directive):
    """Usage, help and options of one command."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Nodes of the command."""
        import typer

        from caminito.cli.app import app

        commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
        command = commands[self.arguments[0]]
        places, flags = [], []
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                shown = parameter.metavar or parameter.name.upper()
                places.append(shown if parameter.required or shown.startswith("[") else f"[{shown}]")
                flags.append((shown.strip("[]"), parameter.help or "", ""))
            else:
                names = ", ".join([*parameter.opts, *parameter.secondary_opts])
                value = "" if parameter.is_flag else f" {parameter.metavar or ''}".rstrip()
                plain = isinstance(parameter.default, int | float | str) and not isinstance(parameter.default, bool)
                flags.append((names + value, parameter.help or "", str(parameter.default) if plain else ""))
        usage = f"caminito {command.name} {' '.join([*places, '[OPTIONS]'])}"
        out: list[nodes.Node] = [nodes.literal_block(usage, usage, language="text")]
        for text in (command.help or "").strip().split("\n\n"):
            if text.startswith("\b"):  # lines to be kept, of cells that are two spaces apart
                rows = [tuple(re.split(" {2,}", line)) for line in text.strip("\b\n").split("\n")]
                out.append(_table(("", "what it shows", "of"), rows, 1))
            else:
                out.append(nodes.paragraph(text=" ".join(text.split())))
        width = 3 if any(default for *_, default in flags) else 2
        if flags:
            out.append(_table(("option", "meaning", "default")[:width], [row[:width] for row in flags], 1))
        return out


class Options(Directive):
    """Fields of a pydantic model."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Nodes of the table."""
        module, _, name = self.arguments[0].rpartition(".")
        fields = getattr(importlib.import_module(module), name).model_fields
        rows = []
        for option, field in fields.items():
            default = field.get_default(call_default_factory=True)
            rows.append((option, "none" if default is None else str(default), field.description or ""))
        return [_table(("option", "default", "meaning"), rows, 2)]


def setup(app: Any) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("command", Command)
    app.add_directive("options", Options)
    return {"version": "1", "parallel_read_safe": True}
