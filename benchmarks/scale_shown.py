"""`benchmarks.scale`'s record as figures and tables of docs/scale.md; nothing is measured here."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from knowledge_neurons import ROOT
from knowledge_neurons.figures.plots import BLUE, COLUMN, GREEN, ORANGE, styled
from knowledge_neurons.results.atomic import write_atomic

DOCS = ROOT / "docs"
PAGE = DOCS / "scale.md"
GIB = 1024  # MiB


# --- figures ---------------------------------------------------------------------------------


def _panels(label: str, *titles: str) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels side by side, with what their y axes tell; needs `styled`."""
    size = (COLUMN * len(titles), 2.2)
    figure = Figure(figsize=size, layout="constrained")
    figure.set_label(label)
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
    return figure, panels


def _line(panel: Axes, x: Sequence[float], y: Sequence[float], color: str, label: str) -> None:
    panel.plot(x, y, color=color, marker="o", markersize=3, linewidth=1.2, label=label)


def _plain(panel: Axes, *axes: str) -> None:
    """Logarithmic axes with numbers as people write them."""
    for name in axes:
        getattr(panel, f"set_{name}scale")("log")
        axis = getattr(panel, f"{name}axis")
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())


def _workers(part: dict[str, Any]) -> Figure:
    rows = {row["way"]: row for row in part["rows"]}
    one, counts = rows["1 threads"], (1, 2, 4)
    many = [rows[f"{n} workers"] for n in counts]
    figure, (panel,) = _panels("Speed of workers", "Times as fast as one process of one thread")
    for key, color, label in (
        ("work_wall_s", BLUE, "without the start-up"),
        ("wall_s", ORANGE, "with it"),
    ):
        _line(panel, counts, [one[key] / row[key] for row in many], color, label)
    two = one["work_wall_s"] / rows["2 threads"]["work_wall_s"]
    panel.plot([2], [two], "s", color=GREEN, markersize=4, label="a process of 2 threads")
    panel.set_xticks(counts)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("Workers of one thread, on 2 cores")
    panel.legend()
    return figure


STAGES = {
    "1": (BLUE, "stage 1"),
    "2_get_kn": (ORANGE, "stage 2, neurons"),
    "8_plot_report": (GREEN, "stage 8, report"),
}


def _facts(part: dict[str, Any]) -> Figure:
    rows = part["rows"]
    counts = [row["facts"] for row in rows]
    figure, (left, right) = _panels("Growth with facts", "CPU seconds of a run", "Peak MiB")
    for stage, (color, label) in STAGES.items():
        uses = [row["stages"][stage] for row in rows]
        _line(left, counts, [use["cpu_s"] for use in uses], color, label)
        _line(right, counts, [use["peak_mib"] for use in uses], color, label)
    _plain(left, "x", "y")
    _plain(right, "x")
    right.set_ylim(bottom=0)
    for panel in (left, right):
        panel.set_xlabel("Facts of a relation, 8 prompts each")
    left.legend()
    return figure


def _lengths(part: dict[str, Any]) -> Figure:
    rows = part["rows"]
    tokens = [row["tokens"] for row in rows]
    figure, (left, right) = _panels("Growth with tokens", "CPU seconds of a prompt", "Peak MiB")
    _line(left, tokens, [row["seconds_a_prompt"] for row in rows], BLUE, "")
    _line(right, tokens, [row["peak_mib"] for row in rows], BLUE, "")
    _plain(left, "x", "y")
    _plain(right, "x")
    right.set_ylim(bottom=0)
    for panel in (left, right):
        panel.set_xlabel("Tokens of the prompt")
        panel.set_xticks(tokens)
        panel.minorticks_off()
    return figure


def _sizes(part: dict[str, Any]) -> Figure:
    rows = sorted(part["rows"], key=lambda row: row["parameters"])
    millions = [row["parameters"] / 1e6 for row in rows]
    figure, (panel,) = _panels("Growth with the model", "GiB of stage 1")
    for key, color, label in (
        ("host_mib", BLUE, "planned, CPU"),
        ("gpu_mib", GREEN, "planned, GPU"),
    ):
        _line(panel, millions, [row[key] / GIB for row in rows], color, label)
    timed = [(row["parameters"] / 1e6, row["timed"]["peak_mib"] / GIB) for row in rows
             if "timed" in row]  # fmt: skip
    panel.plot(*zip(*timed, strict=True), "s", color=ORANGE, markersize=4, label="measured, CPU")
    _plain(panel, "x", "y")
    panel.set_xlabel("Million parameters")
    panel.legend()
    return figure


# --- tables ----------------------------------------------------------------------------------


def _workers_table(part: dict[str, Any]) -> Iterator[list[str]]:
    yield ["", "wall s", "of it start-up", "CPU s", "efficiency", "with start-up", "bytes"]
    one = part["rows"][0]
    for row in part["rows"]:
        count = int(row["way"].split()[0])
        shares = [one[key] / count / row[key] for key in ("work_wall_s", "wall_s")]
        told = [f"{row['wall_s']:.1f}", f"{row['start_up']['wall_s']:.1f}", f"{row['cpu_s']:.1f}"]
        kind = "one process, " * row["way"].endswith("threads") + row["way"]
        name = kind.removesuffix("s") if count == 1 else kind
        same = "the same" if row["same"] else "other last digits"
        yield [name, *told, *(f"{share:.2f}" for share in shares), same]


def _facts_table(part: dict[str, Any]) -> Iterator[list[str]]:
    names = {"1": "1", "2_get_kn": "2, neurons", "2_analyze_kn": "2, statistics"}
    names |= {"8_plot_figures": "8, figures", "8_plot_report": "8, report"}
    counts = [row["facts"] for row in part["rows"]]
    yield ["stage: CPU s; peak MiB", *(f"{n:,} facts" for n in counts), "MiB more for 1,000"]
    for stage, name in names.items():
        uses = [row["stages"][stage] for row in part["rows"]]
        told = [f"{use['cpu_s']:.1f}; {use['peak_mib']:.0f}" for use in uses]
        yield [name, *told, f"{part['memory_slopes'][stage]:.1f}"]


def _statistics_table(part: dict[str, Any]) -> Iterator[list[str]]:
    yield ["facts", "CPU s", "without the sampled pairs", "peak MiB"]
    for row in part["rows"]:
        whole, exact = row["default"], row["without_pairs"]
        told = f"{whole['cpu_s']:.1f}", f"{exact['cpu_s']:.1f}", f"{whole['peak_mib']:.0f}"
        yield [f"{row['facts']:,}", *told]


def _report_table(part: dict[str, Any]) -> Iterator[list[str]]:
    yield ["facts", "MB", "CPU s, page", "peak MiB", "CPU s, figures"]
    for row in part["rows"]:
        page, drawn = row["8_plot_report"], row["8_plot_figures"]
        told = f"{page['cpu_s']:.1f}", f"{page['peak_mib']:.0f}", f"{drawn['cpu_s']:.1f}"
        yield [f"{row['facts']:,}", f"{row['report_mb']:.1f}", *told]


def _lengths_table(part: dict[str, Any]) -> Iterator[list[str]]:
    rows = part["rows"]
    yield ["tokens", *(str(row["tokens"]) for row in rows)]
    yield ["CPU s", *(f"{row['seconds_a_prompt']:.2f}" for row in rows)]
    yield ["peak MiB", *(str(row["peak_mib"]) for row in rows)]


def _sizes_table(part: dict[str, Any]) -> Iterator[list[str]]:
    yield ["shape", "million parameters", "planned GiB, CPU", "planned GiB, GPU",
           "measured GiB, CPU", "CPU s a prompt"]  # fmt: skip
    for row in part["rows"]:
        timed, gib = row.get("timed"), (row[key] / GIB for key in ("host_mib", "gpu_mib"))
        told = (
            [f"{timed['peak_mib'] / GIB:.2f}", f"{timed['seconds_a_prompt']:.3f}"]
            if timed
            else ["", ""]
        )
        size = f"{row['parameters'] / 1e6:,.0f}"
        yield [row["shape"], size, *(f"{one:.2f}" for one in gib), *told]


FIGURES: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "workers": _workers,
    "facts": _facts,
    "lengths": _lengths,
    "sizes": _sizes,
}
TABLES: dict[str, Callable[[dict[str, Any]], Iterator[list[str]]]] = {
    "workers": _workers_table,
    "facts": _facts_table,
    "statistics": _statistics_table,
    "report": _report_table,
    "lengths": _lengths_table,
    "sizes": _sizes_table,
}


# --- text ------------------------------------------------------------------------------------

ABOUT = {
    "workers": "**Workers.** Stage 1 of 160 facts (1,280 prompts) by a random BERT of 6 layers of "
    "384/1536, on 2 cores. Start-up is the same command on one fact: Python, the model, "
    "calibration, and with workers Ray and theirs. The audit, 16 of the prompts here and 1 % of a "
    "large relation's, is done by one process before the work is shared; a prompt of it costs as "
    "much as ten others, so it bounds what workers can save. Workers of one thread write the bytes "
    "that one process of one thread writes, however many they are.",
    "facts": "**Facts.** Of one relation, 8 prompts each, on a model of 2 layers of 64 neurons, "
    "whose scores take little, so that what is kept for each fact shows.",
    "statistics": "**A million facts.** Stage 2's statistics (`2_analyze_kn.py`) of 34 relations, "
    "two kinds of neurons, 4 of a fact. The sampled pairs are 100 partners of each fact, as the "
    "released code draws them; `--pairs 0` leaves them out, and the exact means stay.",
    "report": "**The report** of invented results like PARAREL's (34 relations, 9 prompts a fact, "
    "40 scores a prompt).",
    "lengths": "**Length.** One prompt, bert-base's shape, 4 points in each layer, a batch of at "
    "most 1 GiB.",
    "sizes": "**Models.** Planned: stage 1's peak as `scripts/plan.py` says it (float32 weights; "
    "batches of at most 1 GiB on a CPU, 16 GiB on a GPU; on a CPU it counts the reading of a "
    "checkpoint). Measured: one group of facts with 4 points in each layer, weights made in "
    "memory.",
}
PICTURES = {
    "workers": "Times as fast by workers",
    "facts": "CPU seconds and memory by facts",
    "lengths": "CPU seconds and memory by tokens",
    "sizes": "Memory by parameters",
}


# --- written ---------------------------------------------------------------------------------


def with_tables(text: str, record: dict[str, Any]) -> str:
    """The page with the parts that the record has: what each is of, its figure, its table."""
    for name in (name for name in TABLES if name in record):
        first, *rows = (f"| {' | '.join(row)} |" for row in TABLES[name](record[name]))
        parts = [textwrap.fill(ABOUT[name], 120, break_on_hyphens=False)]
        if name in FIGURES:
            parts.append(f"![{PICTURES[name]}](scale_{name}.svg)")
        parts.append("\n".join([first, "|" + "---|" * (first.count("|") - 1), *rows]))
        start, end = f"<!-- table: growth, {name} -->\n", "<!-- end -->\n"
        before, found, rest = text.partition(start)
        if not found or end not in rest:
            raise ValueError(f"{PAGE} has no {start.strip()} with {end.strip()} after it")
        text = before + start + "\n\n".join(parts) + "\n" + end + rest.partition(end)[2]
    return text


def drawn(name: str, part: dict[str, Any]) -> bytes:
    """A figure as SVG on white, for a page that may be dark; the same record, the same bytes."""
    content = io.BytesIO()
    with styled():
        FIGURES[name](part).savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def write(record: dict[str, Any]) -> None:
    """Figures and tables of the parts that are there."""
    for name in FIGURES.keys() & record.keys():
        write_atomic(DOCS / f"scale_{name}.svg", drawn(name, record[name]))
    write_atomic(PAGE, with_tables(PAGE.read_text(), record).encode())
