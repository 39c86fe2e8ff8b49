"""What the neurons of all facts write -> results/neurons/words.jsonl, beside the maps."""

from __future__ import annotations

from pathlib import Path

from knowledge_neurons.experiments import neuron_words
from knowledge_neurons.results.manifests import check_whole, read_manifest, write_manifest
from knowledge_neurons.results.neuron_words import write_neuron_words
from knowledge_neurons.runs.grow import progress
from knowledge_neurons.stages.inputs import Inputs, read_relations
from knowledge_neurons.types import KNOWLEDGE


def describe(inputs: Inputs) -> Path:
    """Write the words of every neuron that a fact has, unless they are there of the same neurons.

    Relations that the prompts do not have are passed over.
    """
    results, pretrained = inputs.settings.results, inputs.pretrained
    path = results.neuron_words
    names = [name for name in results.refined_relations(baseline=False) if name in inputs.facts]
    relations = read_relations(inputs, names, (KNOWLEDGE,))
    identity = {
        **inputs.identity,
        "words": neuron_words.WORDS,
        "alike": neuron_words.ALIKE,
        "neurons_sha256": {one.name: one.neurons_sha256[KNOWLEDGE] for one in relations},
    }
    if path.exists() and (read_manifest(path) or {}).get("identity") == identity:
        check_whole(path)
        return path
    neurons = sorted({n for one in relations for own in one.neurons[KNOWLEDGE] for n in own})
    found = []
    if neurons:
        with progress(len(neurons), "words", "neuron") as bar:
            for one in neuron_words.words_of(pretrained.model, pretrained.tokenizer, neurons):
                found.append(one)
                bar.update()
    write_neuron_words(results, found)
    write_manifest(path, identity, arguments=inputs.settings.given)
    return path
