"""Stage 8, second half: everything that was found, in one page -> results/report.html.

Usage: python 8_plot_report.py [--output_dir DIR --beside FOLDER,...]

The paper's tables and figures, ours beside the published numbers; what was run, how, what it cost;
a browser of all facts; runs of other models (--beside) in a table of their own.  Reads the files of
the other stages, never the model.  It has no manifest: what it was made from stands in it, and the
same files give the same bytes.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from knowledge_neurons import report
from knowledge_neurons.report.models import read_models, rows_of
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.stages import arguments, tables


def main() -> None:
    settings = arguments.of_drawing(__doc__.splitlines()[0])
    results, path = settings.results, settings.results.report
    found = outcomes.read(results)
    models = read_models(results, found, settings.beside)
    write_atomic(path, report.render(results, settings.paper_look, found, models).encode())
    tables.show_models([one.name for one in models], rows_of(models))
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    program.run(main)
