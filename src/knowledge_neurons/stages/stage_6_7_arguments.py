"""What stages 6 and 7 share: model, prompts of all relations, knowledge neurons that fit them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from knowledge_neurons.attribution.fact_scores import encode_facts
from knowledge_neurons.editing.slots import check_neurons
from knowledge_neurons.experiments.choose_facts import Bags
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results import origin
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.stages import arguments
from knowledge_neurons.text import data
from knowledge_neurons.text.relations import check_relation
from knowledge_neurons.types import Neuron


@dataclass(frozen=True)
class Inputs:
    """The model on its device, the tokenised prompts of every relation, and what made them."""

    pretrained: checkpoints.Pretrained
    device: torch.device
    bags: Bags
    source: Path
    identity: Mapping[str, object]

    @property
    def left_out(self) -> int:
        """Facts without prompts."""
        return sum(not prompts for facts in self.bags.values() for prompts in facts)


def parser(description: str) -> argparse.ArgumentParser:
    made = arguments.Parser(description=description)
    arguments.add_model(made)
    arguments.add_prompts(made)
    arguments.add_results(made)
    arguments.add_kn_dir(made)
    arguments.add_oov(made)
    arguments.add_seed(made, "all that is drawn")
    return made


def load(args: argparse.Namespace) -> Inputs:
    """Load the model and tokenise the prompts of all relations, once."""
    source, bags = arguments.read_bags(args)
    most = arguments.max_facts_of(args)
    facts = {name: data.facts_of(bags, name, source, most) for name in sorted(bags)}
    device = arguments.device_of(args)
    pretrained = arguments.pretrained_of(args)
    config = pretrained.model.config
    longest = min(args.max_seq_length, config.max_position_embeddings)
    skip = args.oov == "skip"
    encoded = {}
    with arguments.progress(len(facts), "tokenising", "relation") as bar:
        for name, own in facts.items():
            encoded[name] = encode_facts(own, pretrained.tokenizer, longest, skip, source)
            bar.update()
    pretrained.model.to(device)
    made_from = {
        **origin.of(pretrained, source),
        "max_seq_length": longest,
        "max_facts": max(args.max_facts, 0),
        "oov": args.oov,
        "seed": args.seed,
    }
    return Inputs(pretrained, device, encoded, source, made_from)


def read_neurons(results: Results, relation: str, inputs: Inputs) -> list[list[Neuron]]:
    """The knowledge neurons of a relation's facts; ValueError where they do not fit the inputs."""
    check_relation(relation, "the relation to be changed")
    path = results.fact_neurons(relation, baseline=False)
    if not path.exists():
        there = ", ".join(results.refined_relations(False)) or "none"
        raise ValueError(
            f"{path}: no such file, so {relation} has no knowledge neurons (there are those of: "
            f"{there}).  Run 1_run_mlm.sh {relation} and 2_run_kn.sh first"
        )
    if relation not in inputs.bags:
        raise ValueError(f"{path}: {inputs.source} has no relation {relation}")
    neurons = read_fact_neurons(path)
    origin.check(path, inputs.identity)
    facts = len(inputs.bags[relation])
    if len(neurons) != facts:
        raise ValueError(
            f"{path} has {len(neurons)} facts, {inputs.source} has {facts} of {relation}: they "
            "must be the same facts in the same order (if stage 1 had --max_facts N, give it here)"
        )
    for index, fact in enumerate(neurons):
        try:
            if fact:
                check_neurons(inputs.pretrained.model, fact)
        except ValueError as error:
            raise ValueError(f"{path}, fact {index}: {error}") from error
    return neurons


def check_unchanged(inputs: Inputs) -> str:
    """The sha256 of the model's weights, which must be that of when it was loaded."""
    found = checkpoints.fingerprint(inputs.pretrained.model)
    if found != inputs.pretrained.sha256:
        raise RuntimeError(
            "the edits were not undone: the weights had sha256 "
            f"{inputs.pretrained.sha256} and have {found}"
        )
    return found
