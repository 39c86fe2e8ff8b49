"""The embedded model, a few of its facts, and neurons files as the authors' stages leave them."""

import json
from dataclasses import replace
from pathlib import Path

from knowledge_neurons import ROOT
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest, write_manifest
from tests.integration.stages import Place

MODEL = ROOT / "models" / "demo-bert"
SAMPLE = ROOT / "data" / "PARAREL" / "sample_allbags.json"
RELATIONS = ("P19", "P36", "P37")
FACTS = 12  # of each: the fewest of which one fact's neuron is not yet a tenth
SHARED = [3, 400]  # a neuron that every fact has


def neurons_of(fact: int) -> list[list[int]]:
    """Two of its own and the shared one; any neurons do for a test of the machinery."""
    return [[3, fact], SHARED, [2, 100 + fact]]


def editable(folder: Path) -> Place:
    """Prompts and kn_bag files without manifests, in a new folder."""
    sample = json.loads(SAMPLE.read_bytes())
    data = folder / "data.json"
    data.write_text(json.dumps({name: sample[name][:FACTS] for name in RELATIONS}))
    results = folder / "results"
    (results / "kn").mkdir(parents=True)
    for name in RELATIONS:
        write_neurons(results, name, [neurons_of(fact) for fact in range(FACTS)])
    return Place(MODEL, data, results)


def write_neurons(results: Path, relation: str, neurons: list) -> None:
    (results / "kn" / f"kn_bag-{relation}.json").write_text(json.dumps(neurons))


def another(place: Place, name: str) -> Place:
    """The same model and prompts with neurons of one's own, to be harmed."""
    folder = place.results.with_name(name)
    for relation in RELATIONS:
        of_facts = Results(place.results).fact_neurons(relation, baseline=False)
        write_atomic(folder / "kn" / of_facts.name, of_facts.read_bytes())
    return replace(place, results=folder)


def interrupt(whole: Path, path: Path, kept: float) -> None:
    """Leave at path what the run that wrote `whole` had written after so many lines.

    kept: 7.5 is seven lines and a piece of the eighth.
    """
    lines = whole.read_bytes().splitlines(keepends=True)
    content = b"".join(lines[: int(kept)]) + (lines[int(kept)][:40] if kept % 1 else b"")
    write_atomic(path.with_name(f"{path.name}.partial"), content)
    identity = read_manifest(whole)["identity"]
    write_manifest(path, identity, complete=False)
