"""What `benchmarks.scale` asks, invented: models, prompts, neurons, results; a process for each.

    python -m benchmarks.scale_made model FOLDER LAYERS WIDTH NEURONS HEADS
    python -m benchmarks.scale_made prompts FILE FACTS          # of one relation, P36
    python -m benchmarks.scale_made neurons FOLDER FACTS        # of 34 relations, both kinds
    python -m benchmarks.scale_made results FOLDER FACTS        # of 34 relations, stages 1 to 7

What they say means nothing; their sizes are those of real ones.  In processes of their own, so that
the memory of what is measured is not theirs.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from knowledge_neurons import ROOT
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons import write_neurons
from knowledge_neurons.text import data
from knowledge_neurons.types import Neuron

SEED = 42
DEMO = ROOT / "models/demo-bert"
SAMPLE = ROOT / "data/PARAREL/sample_allbags.json"
PAIRS = ROOT / "data/PARAREL/sample_query_pairs.json"
RELATION, RELATIONS = "P36", 34
LAYERS, WIDTH = 12, 3072  # of the invented neurons' model, bert-base
FEWEST, MOST = 2, 6  # neurons of an invented fact, 4 on average: the paper's have 4.13
SCORES = 40.0  # of a prompt on average, in invented results


def model(folder: Path, layers: int, width: int, neurons: int, heads: int) -> None:
    """A random BERT that reads the sample's words, as a checkpoint."""
    from benchmarks.random_models import random_bert
    from custom_bert import BertConfig
    from knowledge_neurons.networks import checkpoints

    tokenizer = checkpoints.from_pretrained(DEMO).tokenizer
    made = random_bert(BertConfig(len(tokenizer), width, layers, heads, neurons), SEED)
    checkpoints.save_pretrained(made, tokenizer, folder)


def words() -> list[str]:
    """Whole words of the embedded model's vocabulary that may be a head or an answer."""
    lines = (DEMO / "vocab.txt").read_text("utf-8").split("\n")
    return sorted(word for word in lines if word.isascii() and word.isalpha() and word.istitle())


def prompts(file: Path, facts: int) -> None:
    """Facts of one relation: the sample's prompts, its heads and answers in place of others."""
    rng, known = random.Random(SEED), words()
    bags, pairs = data.read_bags(SAMPLE)[RELATION], data.read_pairs(PAIRS)[RELATION]
    made = []
    for place in range(facts):
        bag, (head, _) = bags[place % len(bags)], pairs[place % len(pairs)]
        first, second, answer = (rng.choice(known) for _ in range(3))
        new = f"{first} {second}"
        made.append([[text.replace(head, new), answer, name] for text, _, name in bag])
    write_json(file, {RELATION: made})


def sizes(facts: int, parts: int) -> list[int]:
    """Facts of each part, as even as can be."""
    return [facts // parts + (place < facts % parts) for place in range(parts)]


def neurons(folder: Path, facts: int) -> None:
    """Stage 2's files: half of a fact's neurons are of twenty that its relation shares."""
    results = Results(folder)
    for place, count in enumerate(sizes(facts, RELATIONS)):
        for baseline in (False, True):
            rng = random.Random(f"{SEED} {place} {baseline}")
            common = [_neuron(rng) for _ in range(20)]
            made = [
                sorted(
                    {rng.choice(common) if rng.random() < 0.5 else _neuron(rng) for _ in range(own)}
                )
                for own in (rng.randint(FEWEST, MOST) for _ in range(count))
            ]
            write_neurons(results, f"P{100 + place}", baseline, made, common)


def _neuron(rng: random.Random) -> Neuron:
    """Most in the upper layers."""
    return Neuron(LAYERS - 1 - min(int(rng.expovariate(0.7)), LAYERS - 1), rng.randrange(WIDTH))


def results(folder: Path, facts: int) -> None:
    """What stages 1 to 7 leave, as benchmarks/report_size.py invents it."""
    from benchmarks.report_size import make_relations
    from tests.reference.made_results import Shape, Writer

    shape = Shape(layers=LAYERS, width=WIDTH, scores=SCORES, filler=18)
    Writer(Results(folder), make_relations(facts), shape).everything()


KINDS = {"model": model, "prompts": prompts, "neurons": neurons, "results": results}

if __name__ == "__main__":
    kind, place, *numbers = sys.argv[1:]
    KINDS[kind](Path(place), *map(int, numbers))
