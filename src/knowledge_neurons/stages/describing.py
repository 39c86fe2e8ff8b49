"""What each neuron of a fact writes, what wakes it, what it does alone -> results/neurons/.

What it writes and what wakes it are told of the neurons of every relation, not only of those that
are mapped: `open_described` says what is wrong with any of them before any work.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import neuron_activity, neuron_words
from knowledge_neurons.experiments.neuron_activity import PROMPT, Text
from knowledge_neurons.experiments.neurons_alone import GROUP, switched_off
from knowledge_neurons.neurons import owners
from knowledge_neurons.neurons.owners import FactOf, PromptOf
from knowledge_neurons.results.activations import BOTH, HEAD
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.manifests import (
    check_whole,
    read_manifest,
    sha256_of,
    write_manifest,
)
from knowledge_neurons.results.neuron_activity import write_activity
from knowledge_neurons.results.neuron_words import write_neuron_words
from knowledge_neurons.results.neurons_alone import NeuronAlone
from knowledge_neurons.runs.grow import Job, grow, progress
from knowledge_neurons.stages import arguments
from knowledge_neurons.stages.asked import identity_of, prompts_at
from knowledge_neurons.stages.inputs import (
    Inputs,
    Relation,
    read_relations,
    read_sentences,
    sentences_path,
)
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_sentences
from knowledge_neurons.types import KNOWLEDGE, FactSentences, Neuron


@dataclass(frozen=True)
class Described:
    """The relations whose neurons are described, and the sentences of those that have any.

    owners: the neurons, by layer and index, with the facts that have each.  identity: what decides
    all that is said of them.
    """

    inputs: Inputs
    relations: list[Relation]
    sentences: Mapping[str, list[FactSentences]]
    owners: Mapping[Neuron, list[FactOf]]
    identity: dict[str, Any]

    @property
    def without_sentences(self) -> list[str]:
        """The relations that have none, or none of these facts."""
        return [one.name for one in self.relations if one.name not in self.sentences]

    @property
    def texts(self) -> int:
        """How many prompts of a relation are read, and sentences."""
        return max(1, self.inputs.settings.texts // max(1, len(self.relations)))


def open_described(inputs: Inputs) -> Described:
    """Every relation with neurons that the prompts have; ValueError where something is wrong."""
    results = inputs.settings.results
    names = [name for name in results.refined_relations(baseline=False) if name in inputs.facts]
    relations = read_relations(inputs, names, (KNOWLEDGE,))
    of_facts = {one.name: one.neurons[KNOWLEDGE] for one in relations}
    sums = {one.name: one.neurons_sha256[KNOWLEDGE] for one in relations}
    return Described(
        inputs,
        relations,
        _sentences(inputs, of_facts),
        owners.owners_of(of_facts),
        {**inputs.identity, "neurons_sha256": sums},
    )


def _sentences(inputs: Inputs, relations: Iterable[str]) -> dict[str, list[FactSentences]]:
    """Those of the relations that have a file.  The full BINGREL, which nobody named, may be there
    for other facts than these: then it is left out, and `without_sentences` tells so."""
    named = inputs.settings.sentences != str(arguments.SENTENCES)
    found = {}
    for name in relations:
        if sentences_path(inputs.settings, name).exists():
            try:
                found[name] = read_sentences(inputs, name)
            except ValueError:
                if named:
                    raise
    return found


def counts_of(relations: Iterable[Relation]) -> dict[FactOf, int]:
    """How many prompts each fact has."""
    return {
        (one.name, i): len(fact.prompts) for one in relations for i, fact in enumerate(one.facts)
    }


def is_there(path: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the file was made of the same; then it must be whole.  Else it is made anew."""
    if not path.exists() or (read_manifest(path) or {}).get("identity") != identity:
        return False
    check_whole(path)
    return True


def _since(started: float) -> dict[str, float]:
    """What a manifest says of the time a file took."""
    return {"wall_seconds": round(time.perf_counter() - started, 3)}


# --- what they write -------------------------------------------------------------------------


def write_words(described: Described) -> Path:
    """The words of every neuron, and those that write alike."""
    inputs = described.inputs
    results, pretrained = inputs.settings.results, inputs.pretrained
    told = {"words": neuron_words.WORDS, "alike": neuron_words.ALIKE}
    path, identity = results.neuron_words, described.identity | told
    if is_there(path, identity):
        return path
    started = time.perf_counter()
    found, neurons = [], list(described.owners)
    if neurons:
        with progress(len(neurons), "words", "neuron") as bar:
            for one in neuron_words.words_of(pretrained.model, pretrained.tokenizer, neurons):
                found.append(one)
                bar.update()
    write_neuron_words(results, found)
    write_manifest(path, identity, arguments=inputs.settings.given, **_since(started))
    return path


# --- what each does alone --------------------------------------------------------------------


def write_alone(inputs: Inputs, relation: Relation) -> Path:
    """Each neuron of a relation's facts off, on prompts of these facts."""
    settings, model, name = inputs.settings, inputs.pretrained.model, relation.name
    path = settings.results.neurons_alone(name)
    identity = inputs.identity | identity_of(inputs, relation) | {"prompts": owners.PROMPTS}
    of_facts = relation.neurons[KNOWLEDGE]
    having, counts = owners.owners_of({name: of_facts}), counts_of([relation])
    neurons, facts = list(having), list(having.values())
    asked = [owners.prompts_of(its, counts) for its in facts]
    prompts = prompts_at(inputs, (one for own in asked for one in own))
    asked = [[one for one in own if one in prompts] for own in asked]

    def work(some: range) -> list[NeuronAlone]:
        group = slice(some.start, some.stop)
        others = [[n for _, i in its for n in of_facts[i]] for its in facts[group]]
        return switched_off(model, neurons[group], asked[group], prompts, others, settings.seed)

    job = Job(
        path,
        identity,
        f"{name}, neurons alone",
        len(neurons),
        GROUP,
        work,
        encode_float32,
        unit="neuron",
        told=lambda place: f"{name}, neuron {list(neurons[place])}",
    )
    grow(job, settings.given, inputs.under, executor=inputs.executor)
    return path


# --- what wakes them -------------------------------------------------------------------------


def write_activity_of(described: Described) -> Path:
    """The activation of every neuron on texts of all relations and prompts of its own facts."""
    inputs = described.inputs
    settings, model = inputs.settings, inputs.pretrained.model
    path = settings.results.neuron_activity
    told = {"texts": settings.texts, "own_prompts": owners.PROMPTS, "seed": settings.seed}
    told |= {"bins": neuron_activity.BINS, "ends": neuron_activity.ENDS}
    told |= {"alike": neuron_activity.ALIKE, "max_seq_length": inputs.max_tokens}
    told["sentences_sha256"] = {
        name: sha256_of(sentences_path(settings, name)) for name in described.sentences
    }
    identity = described.identity | told
    if is_there(path, identity):
        return path
    started = time.perf_counter()
    texts = [*draw_prompts(described), *draw_sentences(described)]
    with progress(len(texts), "what wakes neurons", "text") as bar:
        asked = [one.prompt for one in texts]
        read = neuron_activity.read_texts(model, asked, list(described.owners), bar.update)
    own = read_own(described)
    write_activity(
        settings.results, neuron_activity.activity_of(texts, read, described.owners, own)
    )
    drawn = {kind: sum(one.kind == kind for one in texts) for kind in (PROMPT, BOTH, HEAD)}
    told = {"read": drawn, **inputs.under, **_since(started)}
    write_manifest(path, identity, arguments=settings.given, **told)
    return path


def read_own(described: Described) -> dict[Neuron, list[float]]:
    """Each neuron's activations on prompts of its own facts, those that can be asked."""
    inputs, counts = described.inputs, counts_of(described.relations)
    its = {neuron: owners.prompts_of(facts, counts) for neuron, facts in described.owners.items()}
    prompts = prompts_at(inputs, (one for own in its.values() for one in own))
    its = {neuron: [one for one in own if one in prompts] for neuron, own in its.items()}
    with progress(len(prompts), "prompts of their facts", "prompt") as bar:
        return neuron_activity.read_own(inputs.pretrained.model, its, prompts, bar.update)


def draw_prompts(described: Described) -> Iterator[Text]:
    """As many of each relation; from a generator of its own (seed, relation, "prompts")."""
    inputs = described.inputs
    for relation in described.relations:
        rng = random.Random(f"{inputs.settings.seed} {relation.name} prompts")
        counts = counts_of([relation])
        every = [PromptOf(*fact, place) for fact, n in counts.items() for place in range(n)]
        drawn = rng.sample(every, min(described.texts, len(every)))
        for one, prompt in prompts_at(inputs, drawn).items():
            text = relation.facts[one.fact].prompts[one.prompt]
            yield Text(PROMPT, relation.name, one.fact, text, prompt)


def draw_sentences(described: Described) -> Iterator[Text]:
    """As many of each relation that has any, in random order those that can be masked; from a
    generator of its own (seed, relation, "sentences")."""
    inputs = described.inputs
    tokenizer = inputs.pretrained.tokenizer
    for relation, facts in sorted(described.sentences.items()):
        rng = random.Random(f"{inputs.settings.seed} {relation} sentences")
        every = [
            (kind, fact, sentence)
            for fact in facts
            for kind, some in ((BOTH, fact.with_both), (HEAD, fact.with_head))
            for sentence in some
        ]
        masked = _masked(rng.sample(every, len(every)), rng, tokenizer.mask is None)
        drawn = list(islice(masked, described.texts))
        prompts = encode_sentences([text for *_, text in drawn], tokenizer, inputs.max_tokens)
        for (kind, fact, text), prompt in zip(drawn, prompts, strict=True):
            yield Text(kind, relation, fact, text, prompt)


def _masked(
    sentences: Iterable[tuple[str, FactSentences, str]], rng: random.Random, decoder: bool
) -> Iterator[tuple[str, int, str]]:
    """Kind, fact and masked text of those that can be masked, as stage 4 masks them."""
    for kind, fact, sentence in sentences:
        try:
            if kind == BOTH:
                text = data.mask_tail(sentence, fact.head, fact.tail, decoder)
            else:
                text = data.mask_random_word(sentence, (fact.head, fact.tail), rng, decoder)
        except data.CannotMask:
            continue
        yield kind, fact.index, text
