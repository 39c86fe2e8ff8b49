"""Stage 8, second half: everything that was found, in one page -> results/report.html.

Usage: python 8_plot_report.py [--output_dir DIR] [--beside FOLDER,...]

The paper's tables and figures, ours beside the published numbers; what was run, how, what it cost;
and a browser of all facts.  Reads the files of stages 1 to 7, never the model.  It has no manifest:
what it was made from stands in it, and the same files give the same bytes.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from knowledge_neurons import report
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.stages import drawing


def main() -> None:
    settings = drawing.parse(__doc__.splitlines()[0])
    path = settings.results.report
    page = report.render(settings.results, settings.paper_look, settings.beside)
    write_atomic(path, page.encode())
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    program.run(main)
