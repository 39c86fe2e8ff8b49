"""Stage 8: the paper's figures from what stages 2 to 7 wrote -> results/figs/, as PDF and PNG.

Usage: bash 8_run_plot.sh      (see --help for every flag)

Reads files alone, never the model.  A figure whose stage has not run is left out, and named with
what to run for it.  With --beside FOLDER,... other models' runs stand beside this one.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from collections.abc import Sequence

from knowledge_neurons.figures import gallery
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.models import ModelRun, models_of, read_runs
from knowledge_neurons.results.outcomes import Outcomes
from knowledge_neurons.results.provenance import provenance
from knowledge_neurons.stages import drawing, tables


def warn_of_mixture(found: Outcomes) -> None:
    """Say it where the folder holds results of several models or data sets."""
    made = provenance(found.manifests)
    for what, named in (("models", made.models_sha256), ("data sets", made.data_sha256)):
        if len(named) > 1:
            short = ", ".join(sha256[:12] for sha256 in named)
            said = f"warning: these results are of {len(named)} {what} (sha256 {short})"
            print(program.printable(said))


def draw(settings: drawing.Settings, found: Outcomes, runs: Sequence[ModelRun]) -> dict[str, str]:
    """Write every figure with its manifests; its name -> the files."""
    written, results = {}, settings.results
    for picture in gallery.draw(results, found, settings.paper_look, runs):
        paths = gallery.save(results, picture, settings.given)
        written[picture.name] = ", ".join(path.name for path in paths)
    return written


def main() -> None:
    settings = drawing.parse(__doc__.splitlines()[0])
    found = outcomes.read(settings.results)
    runs = read_runs(settings.results, found, settings.beside)
    warn_of_mixture(found)
    tables.show(f"Figures, in {settings.results.figure('')}", draw(settings, found, runs))
    if missing := gallery.missing(found):
        tables.show("Not drawn; run first", missing)
    if runs:
        tables.show_models(models_of(runs))


if __name__ == "__main__":
    program.run(main)
