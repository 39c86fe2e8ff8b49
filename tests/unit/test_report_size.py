"""The report of the paper's 27,738 facts stays small: one relation of its size, extrapolated.

Run: pytest tests/unit/test_report_size.py      (`benchmarks.report_size` opens the whole)
"""

from benchmarks.report_size import make_facts
from knowledge_neurons.report import embedding
from knowledge_neurons.results import published
from knowledge_neurons.results.layout import Results
from tests.reference.made_results import Shape, Writer, invented_words

LIMIT = 40e6  # bytes
SHAPE = Shape(layers=12, width=3072, scores=40.0, filler=18)  # bert-base, as the benchmark has it


def test_the_papers_facts_fit_into_forty_megabytes(tmp_path):
    """As many relations as this one, and every neuron of the model with its words."""
    facts = make_facts(invented_words(300), 0, published.FACTS // published.RELATIONS, 116)
    made = Writer(Results(tmp_path), {"P1": ("relation", facts)}, SHAPE)
    for stage in (1, 2, 3, 4, 5, 9):
        getattr(made, f"stage_{stage}")()
    found = embedding.embed(made.results)
    neurons = {neuron for own in made.neurons["P1"] for neuron in own}
    words = sum(map(len, found.words.values())) / len(neurons) * SHAPE.layers * SHAPE.width
    of_relation = len(found.index) + len(found.relations["P1"]) + len(found.texts["P1"])
    assert 0.8 * LIMIT < published.RELATIONS * of_relation + words < LIMIT
