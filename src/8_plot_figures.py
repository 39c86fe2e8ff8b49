"""Stage 8: the paper's figures from what stages 2 to 7 wrote -> results/figs/, as PDF and PNG.

Usage: bash 8_run_plot.sh      (see --help for every flag)

Reads files alone, never the model.  A figure whose stage has not run is left out, and named with
what to run for it.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse

from knowledge_neurons.figures import gallery
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.outcomes import Outcomes
from knowledge_neurons.results.provenance import provenance
from knowledge_neurons.stages import arguments


def parse_arguments() -> argparse.Namespace:
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    arguments.add_results(parser)
    return parser.parse_args()


def warn_of_mixture(found: Outcomes) -> None:
    """Say it where the folder holds results of several models or data sets."""
    made = provenance(found.manifests)
    for what, named in (("models", made.models_sha256), ("data sets", made.data_sha256)):
        if len(named) > 1:
            short = ", ".join(sha256[:12] for sha256 in named)
            said = f"warning: these results are of {len(named)} {what} (sha256 {short})"
            print(program.printable(said))


def draw(args: argparse.Namespace, results: Results, found: Outcomes) -> dict[str, str]:
    """Write every figure with its manifests; its name -> the files."""
    written = {}
    for picture in gallery.draw(results, found):
        paths = gallery.save(results, picture, arguments.plain(args))
        written[picture.name] = ", ".join(path.name for path in paths)
    return written


def main() -> None:
    args = parse_arguments()
    results = arguments.results_of(args)
    found = outcomes.read(results)
    warn_of_mixture(found)
    arguments.show(f"Figures, in {results.figure('')}", draw(args, results, found))
    if missing := gallery.missing(found):
        arguments.show("Not drawn; run first", missing)


if __name__ == "__main__":
    program.run(main)
