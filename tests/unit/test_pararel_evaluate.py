"""The figure of EleutherAI's pararel_evaluate.py: its averages, its bars, damaged files.

Run: pytest tests/unit/test_pararel_evaluate.py
"""

import copy
import json

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from knowledge_neurons.compat import plot_pararel_results
from knowledge_neurons.figures.pararel_evaluate import changes_by_relation
from knowledge_neurons.figures.plots import BLUE, ORANGE


def fact(relation: str, related: list[float], unrelated: list[float], neurons: int = 4) -> dict:
    """As their script writes one; enhanced facts change by twice as much the other way."""

    def part(changes: list[float]) -> dict:
        same = [True] * len(changes)
        return {
            "pct_change": changes,
            "correct_before": same,
            "correct_after": same,
            "n_prompts": len(changes),
        }

    return {
        "suppression": {"related": part(related), "unrelated": part(unrelated)},
        "enhancement": {
            "related": part([-2 * one for one in related]),
            "unrelated": part([-2 * one for one in unrelated]),
        },
        "n_refined_neurons": neurons,
        "n_unrelated_neurons": 5,
        "relation_name": relation,
    }


RESULTS = {
    "a": fact("P19", [-0.5, -0.25], [0.125]),
    "b": fact("P19", [-0.125], [-0.125, -0.25]),
    "c": fact("P19", [9.0], [9.0], neurons=0),
    "d": fact("P101", [-0.75], []),
}


def bars(axes, color: str) -> dict[float, float]:
    own = [bar for bar in axes.patches if to_hex(bar.get_facecolor()) == color.lower()]
    return {round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height() for bar in own}


def test_means_of_facts_then_of_relations():
    """A fact without neurons is left out, one without unrelated prompts has no such value."""
    assert changes_by_relation(RESULTS, "suppression") == {
        "P19": {"related": -0.25, "unrelated": -0.03125},
        "P101": {"related": -0.75},
    }
    assert changes_by_relation(RESULTS, "enhancement")["P101"] == {"related": 1.5}


def test_bars_stand_where_the_changes_are():
    """Relations by number; on axes of one's own, or on those that are given."""
    axes = plot_pararel_results(json.loads(json.dumps(RESULTS)))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["P19", "P101"]
    assert bars(axes, BLUE) == {-0.2: -0.25, 0.8: -0.75} and bars(axes, ORANGE) == {0.2: -0.03125}
    assert axes.get_title() == "Suppressing knowledge neurons"
    FigureCanvasAgg(axes.figure).draw()
    given = Figure().subplots()
    assert plot_pararel_results(RESULTS, "enhancement", given) is given
    assert given.get_title() == "Enhancing knowledge neurons" and bars(given, BLUE)[0.8] == 1.5


def test_enhancement_that_was_measured_by_suppressing_says_so():
    """As theirs does for unrelated facts; where it did not, nothing is said."""
    fault = copy.deepcopy(RESULTS)
    for one in fault.values():
        one["enhancement"]["unrelated"] = one["suppression"]["unrelated"]
    for results, said in ((fault, True), (RESULTS, False)):
        legend = plot_pararel_results(results, "enhancement").get_legend().get_texts()
        assert ["a fault of" in text.get_text() for text in legend] == [False, said]
        suppressed = plot_pararel_results(results).get_legend().get_texts()
        assert not any("a fault of" in text.get_text() for text in suppressed)


def test_the_forks_results_have_no_unrelated_facts():
    results = copy.deepcopy(RESULTS)
    for one in results.values():
        del one["suppression"]["unrelated"], one["n_unrelated_neurons"]
    axes = plot_pararel_results(results)
    assert bars(axes, ORANGE) == {} and bars(axes, BLUE) == {-0.2: -0.25, 0.8: -0.75}


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda r: r["a"].pop("relation_name"), "fact a: no 'relation_name'"),
        (lambda r: r.update(b=[[3, 7]]), "fact b: no 'relation_name'; .* not its neurons"),
        (lambda r: r["a"]["suppression"].pop("related"), "fact a: no 'related'"),
        (lambda r: r["a"]["suppression"]["related"].update(pct_change=["x"]), "expected numbers"),
        (lambda r: r["a"]["suppression"]["related"].update(pct_change=[float("nan")]), "numbers"),
        (lambda r: r.clear(), "got none"),
    ],
)
def test_files_of_another_shape(damage, part):
    results = copy.deepcopy(RESULTS)
    damage(results)
    with pytest.raises(ValueError, match=part):
        plot_pararel_results(results)
    with pytest.raises(ValueError, match="expected one of suppression, enhancement"):
        plot_pararel_results(RESULTS, "erasure")
