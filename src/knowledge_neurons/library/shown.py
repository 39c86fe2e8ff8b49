"""Results that print themselves: as text, in a notebook, as a table for other tools."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowledge_neurons.results.atomic import write_atomic

if TYPE_CHECKING:
    from pandas import DataFrame

WIDEST = 64  # characters of a cell, in text
LONGEST = 40  # rows that are printed


@dataclass(frozen=True)
class Table:
    """Columns of equal length under a title.

    formats: how numbers of a column are told, as `format` takes it; text needs none.
    """

    title: str
    columns: Mapping[str, Sequence[Any]]
    formats: Mapping[str, str] = field(default_factory=dict)

    def cells(self) -> dict[str, list[str]]:
        """The cells of the first LONGEST rows as they are told."""
        return {
            name: [format(value, self.formats.get(name, "")) for value in values[:LONGEST]]
            for name, values in self.columns.items()
        }

    def more(self) -> str:
        """What is said of rows that are not printed; empty where all are."""
        rows = max(map(len, self.columns.values()), default=0)
        return f"... and {rows - LONGEST:,} rows more" if rows > LONGEST else ""


class Shown:
    """What gives tables and notes can be printed, shown in a notebook, and handed on."""

    def tables(self) -> list[Table]:
        """What it holds; the first table is what `to_csv` and `to_frame` give, whole."""
        raise NotImplementedError

    def printed(self) -> list[Table]:
        """The tables that it prints."""
        return self.tables()

    def notes(self) -> Sequence[str]:
        """What is to be said beside the numbers, a sentence each."""
        return ()

    def __str__(self) -> str:
        parts = [_as_text(table) for table in self.printed()]
        return "\n".join([*parts, *(f"note: {note}" for note in self.notes())])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes())
        parts = [_as_html(table) for table in self.printed()]
        return "\n".join([*parts, f"<ul>{notes}</ul>" if notes else ""])

    def to_csv(self, path: str | Path | None = None) -> str:
        """The first table as CSV with a line of names; also written to path if there is one."""
        table = self.tables()[0]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(zip(*table.columns.values(), strict=True))
        if path is not None:
            write_atomic(Path(path), text.getvalue().encode())
        return text.getvalue()

    def to_frame(self) -> DataFrame:
        """The first table as a pandas DataFrame; ImportError says what to do without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "pandas is not installed: pip install pandas, or use to_csv()"
            ) from error
        return pandas.DataFrame(dict(self.tables()[0].columns))


def several(count: int, what: str) -> str:
    """ "1 prompt", "2 prompts"."""
    return f"{count} {what}{'s' * (count != 1)}"


def _as_text(table: Table) -> str:
    """Aligned columns, numbers to the right; no more of a text than fits."""
    told = table.cells()
    lines: list[list[str]] = [[] for _ in range(1 + max(map(len, told.values())))]
    for name, cells in told.items():
        column = [name, *(_short(cell) for cell in cells)]
        width = max(map(len, column))
        words = all(isinstance(value, str) for value in table.columns[name])
        for line, cell in zip(lines, column, strict=True):
            line.append(f"{cell:<{width}}" if words else f"{cell:>{width}}")
    rows = ["  ".join(line).rstrip() for line in lines] + [table.more()] * bool(table.more())
    return "\n".join([table.title, *(f"  {row}" for row in rows)])


def _short(cell: str) -> str:
    """A cell on one line, cut where it is too wide."""
    cell = cell.replace("\n", "\\n")
    return cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 3]}..."


def _as_html(table: Table) -> str:
    """A <table> with its title as caption; all text is escaped."""
    cells = table.cells()
    head = "".join(f"<th>{html.escape(name)}</th>" for name in cells)
    rows = (
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in zip(*cells.values(), strict=True)
    )
    caption = html.escape(table.title)
    return (
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>{table.more()}"
    )
