"""How the figures look: every line, colour, size and place, as when they were last looked at.

Run: pytest tests/unit/test_figure_look.py
"""

import hashlib
import re

import pytest

from knowledge_neurons import report
from knowledge_neurons.figures import gallery, plots
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.layout import Results
from tests.reference import synthetic
from tests.reference.made_results import MadeFact, Writer

PROMPTS = ("{} lives in [MASK] .", "the home of {} is [MASK] .")
LONG = "P36 capital (of a state)"
# Where one differs and that is meant: look at it in the report, then write its digest here.
LOOKS = {
    "Figure 3: share of the neurons in each layer": "965f451fa212",
    "Change of the right answer's probability with neurons suppressed": "a47302c139d6",
    "Change of the right answer's probability with neurons amplified": "23746df9635f",
    "Dose and response: scaling the neurons of the facts of P19 birth": "ba9f11558bce",
    "Dose and response, log-odds: scaling the neurons of the facts of P19 birth": "8b48c65fb743",
    "Mean activation of the neurons by kind of sentence": "9f1c464c3a54",
    "Success of edits against the number of neurons edited": "b8242d62b62f",
    "Perplexity and accuracy before and after erasing relations": "d01c29b99574",
    "Neuron map of P19 birth: layers that drive, changes predicted and measured": "31e60b6c03f4",
    f"Neuron map of {LONG}: layers that drive, changes predicted and measured": "8e2b1b1046d2",
}

# Of many relations: as wide as the text, lower rows, longer names.
LOOKS_OF_MANY = {
    "suppress": "ce502c71d8b8",
    "suppress_log_odds": "8d738f62fdfd",
    "distant": "7a4815965a12",
    "erasure": "529abce70167",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dict[str, str]:
    """What a figure shows -> its SVG, of all figures of a report on made results."""
    facts = [MadeFact("Ann", "Rome", PROMPTS), MadeFact("Bob", "Oslo", PROMPTS)]
    relations = {"P19": ("birth", facts), "P36": ("capital (of a state)", facts[:1])}
    made = Writer(Results(tmp_path_factory.mktemp("made")), relations)
    made.everything()
    figures = re.findall(r'<svg [^>]*role="img".*?</svg>', report.render(made.results), re.DOTALL)
    return {re.search(r'aria-label="([^"]*)"', figure)[1]: figure for figure in figures}


def digest(figure: str) -> str:
    """The same where machines differ in the last digits, and so in ids, which are digests too."""
    figure = re.sub(r"(f[0-9a-f]{10}-)?\b[a-zA-Z]?[0-9a-f]{10}\b|f[0-9a-f]{10}-", "", figure)
    figure = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}", figure)
    return hashlib.sha256(figure.replace("-0.0", "0.0").encode()).hexdigest()[:12]


def test_the_report_has_these_figures(drawn):
    assert drawn.keys() == LOOKS.keys()


@pytest.mark.parametrize("name", LOOKS)
def test_a_figure_looks_as_it_did(drawn, name):
    assert digest(drawn[name]) == LOOKS[name]


def test_figures_of_many_relations_look_as_they_did(tmp_path):
    """Seventeen, which is one too many for the width of a column."""
    results = synthetic.write(tmp_path, 17, ("modified", "activations", "erasures", "triggers"))
    pictures = gallery.draw(results, outcomes.read(results))
    looks = {
        one.name: digest(plots.svg(one.figure)) for one in pictures if "amplify" not in one.name
    }
    assert looks == LOOKS_OF_MANY


def test_a_look_is_more_than_its_text(drawn):
    """Another colour, another width, a place a point away are other looks; a digit less is not."""
    figure = drawn["Success of edits against the number of neurons edited"]
    same = re.sub(r"(\d+\.\d{3})\d+", r"\1", figure)
    assert digest(same) == digest(figure) != digest(figure.replace("#0072b2", "#0072b3"))
    moved = re.sub(
        r"(\d+)\.(\d+)", lambda found: f"{int(found[1]) + 1}.{found[2]}", figure, count=9
    )
    assert digest(moved) != digest(figure)
