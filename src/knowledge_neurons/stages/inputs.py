"""Opening what a stage reads: model, prompts, neurons, sentences, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from knowledge_neurons.experiments.choose_facts import Bags
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.networks.interface import check_neurons
from knowledge_neurons.networks.pretrained import Pretrained, chosen_device, fingerprint
from knowledge_neurons.results import origin
from knowledge_neurons.results.adopted import is_adopted, not_published
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import sha256_of
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.runs.executor import Executor
from knowledge_neurons.runs.grow import progress
from knowledge_neurons.stages import tables, workers
from knowledge_neurons.stages.arguments import ModelSettings, SentenceSettings
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import Encoded, encode_facts
from knowledge_neurons.text.strict_json import listed
from knowledge_neurons.types import BASELINE, KINDS, Fact, FactSentences, NeuronSets, Prompt


@dataclass(frozen=True)
class Inputs:
    """The model on its device and the prompts.

    source: file of the prompts.  bags: {relation: [bag of each fact]}.  facts: of relations that
    the stage named, or all, as many as it takes.  identity: what of model and prompts decides the
    result.  executor: who does the work.
    """

    settings: ModelSettings
    source: Path
    bags: dict[str, list]
    facts: dict[str, list[Fact]]
    pretrained: Pretrained
    device: torch.device
    identity: dict[str, Any]
    executor: Executor

    @property
    def max_tokens(self) -> int:
        """--max_seq_length, as far as the model has positions."""
        return min(self.settings.max_seq_length, self.pretrained.model.max_tokens)

    @property
    def under(self) -> dict[str, Any]:
        """Device and threads, which decide the last digits of a result: for manifests."""
        return {"device": str(self.device), "threads": torch.get_num_threads()}

    @property
    def shown(self) -> str:
        """The model, for the screen."""
        return f"{self.settings.bert_model} on {self.device}"

    def encode(self, facts: Sequence[Fact], skip_unknown: bool | None = None) -> list[list[Prompt]]:
        """The prompts of each fact; none where it is left out.  skip_unknown: default --oov's."""
        return self.encode_counted(facts, skip_unknown).prompts

    def encode_counted(self, facts: Sequence[Fact], skip_unknown: bool | None = None) -> Encoded:
        """The prompts of each fact, and what was left out, by reason."""
        settings, tokenizer = self.settings, self.pretrained.tokenizer
        skip = settings.oov == "skip" if skip_unknown is None else skip_unknown
        fewest = settings.min_prompts
        return encode_facts(facts, tokenizer, self.max_tokens, skip, self.source, fewest)

    def encode_all(self) -> Bags:
        """The tokenised prompts of every relation."""
        encoded = {}
        with progress(len(self.facts), "tokenising", "relation") as bar:
            for name, facts in self.facts.items():
                encoded[name] = self.encode(facts)
                bar.update()
        return encoded

    @property
    def identity_of_all(self) -> dict[str, Any]:
        """What decides a result that all tokenised prompts take part in."""
        return {
            **self.identity,
            "max_seq_length": self.max_tokens,
            "max_facts": self.settings.max_facts or 0,
            "oov": self.settings.oov,
            "min_prompts": self.settings.min_prompts,
            "seed": self.settings.seed,
        }

    def show(self, title: str, bags: Bags, rows: dict[str, object]) -> None:
        """Say what is about to be done with all prompts, and on which model."""
        bare = sum(not prompts for facts in bags.values() for prompts in facts)
        left_out = f"{bare} facts that cannot be asked"
        tables.show(title, {"model": self.shown, "left out": left_out, **rows})

    def check_unchanged(self) -> str:
        """The sha256 of the model's weights, which must be that of when it was loaded, wherever
        they were edited."""
        model, before = self.pretrained.model, self.pretrained.sha256
        for found in self.executor.everywhere(lambda: fingerprint(model)):
            if found != before:
                raise RuntimeError(
                    f"the edits were not undone: the weights had sha256 {before} and have {found}"
                )
        return before


def open_inputs(settings: ModelSettings, relations: Iterable[str] | None = None) -> Inputs:
    """Read the prompts, then load the model onto its device.

    relations: whose facts the stage takes; None for all.
    Raises ValueError for facts, a model or a device that is not there.
    """
    source, bags = _read_bags(settings)
    facts = {
        name: data.facts_of(bags, name, source, settings.max_facts)
        for name in (sorted(bags) if relations is None else relations)
    }
    return with_model(settings, source, bags, facts)


def with_model(
    settings: ModelSettings, source: Path, bags: dict[str, list], facts: dict[str, list[Fact]]
) -> Inputs:
    """Load the model onto its device, to be asked what was read from a file."""
    device = chosen_device(settings.device)
    if settings.threads_per_worker:
        torch.set_num_threads(settings.threads_per_worker)
    pretrained = checkpoints.from_pretrained(
        settings.bert_model,
        revision=settings.revision,
        lowercase=settings.do_lower_case,
        layer_norm_eps=settings.layer_norm_eps,
        weights=settings.weights,
    )
    pretrained.model.to(device)
    identity = {  # origin.COMMON
        "model_sha256": pretrained.sha256,
        "tokenizer_sha256": pretrained.tokenizer_sha256,
        "lowercase": pretrained.tokenizer.lowercase,
        "layer_norm_eps": pretrained.layer_norm_eps,
        "data_sha256": sha256_of(source),
        **settings.of_language,
    }
    executor = workers.executor(settings, pretrained.model)
    return Inputs(settings, source, bags, facts, pretrained, device, identity, executor)


def _read_bags(settings: ModelSettings) -> tuple[Path, dict[str, list]]:
    """The prompts, and the file they come from."""
    split = settings.tmp_data_path
    source = split if split and split.exists() else settings.data_path
    bags = data.read_bags(source)
    if split and source != split:
        write_json(split, bags)
        source = split  # what a second run will read
    return source, bags


# --- neurons ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Relation:
    """The facts of a relation and their neurons, checked to belong together and to the model.

    neurons: adopted ones have no baseline.  neurons_sha256: of the file of each kind.
    unknown: facts that are not among adopted neurons: they take no part.
    """

    name: str
    facts: list[Fact]
    neurons: NeuronSets
    neurons_sha256: dict[str, str]
    unknown: frozenset[int]

    def known(self, bags: Sequence[list[Prompt]]) -> list[list[Prompt]]:
        """The prompts of each fact, none of one whose neurons are not known."""
        return [[] if i in self.unknown else own for i, own in enumerate(bags)]

    @property
    def identity(self) -> dict[str, Any]:
        """What of it decides a result."""
        return {"relation": self.name, "neurons_sha256": self.neurons_sha256}


def read_relations(
    inputs: Inputs, asked: Iterable[str], kinds: Sequence[str] = KINDS, whole: bool = False
) -> list[Relation]:
    """The relations asked for, else all that have neurons of one of the kinds; sorted by name.

    whole: neurons must be of as many facts as the prompts have; else only those facts are taken
    that stage 1 took (--max_facts).
    Raises ValueError for one without neurons, or whose neurons are not of these facts and this
    model.
    """
    results = inputs.settings.results
    there = sorted({name for kind in kinds for name in results.refined_relations(kind == BASELINE)})
    if not there:
        raise ValueError(
            f"no kn_bag-<REL>.json in {results.kn}: run stages 1 and 2 first (1_run_mlm.sh, then "
            "2_run_kn.sh)"
        )
    names = sorted(set(asked)) or there
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(
            f"no neurons of {', '.join(missing)} in {results.kn}; there are those of "
            f"{', '.join(there)}"
        )
    return [_read_relation(inputs, name, kinds, whole) for name in names]


def _read_relation(inputs: Inputs, name: str, kinds: Sequence[str], whole: bool) -> Relation:
    if name not in inputs.facts:
        raise ValueError(f"{inputs.source} has no relation {name}, which has neurons")
    facts, neurons, sums = inputs.facts[name], {}, {}
    shape = inputs.pretrained.model.shape
    of_facts = inputs.settings.results.fact_neurons(name, baseline=False)
    for kind in kinds:
        path = inputs.settings.results.fact_neurons(name, kind == BASELINE)
        if not path.exists():
            if kind == BASELINE and neurons and is_adopted(of_facts):
                continue
            raise ValueError(
                f"{path}: no such file; 2_run_kn.sh writes it, beside that of the other kind"
            )
        neurons[kind] = read_fact_neurons(path)
        sums[kind] = sha256_of(path)
        try:
            origin.check(path, inputs.identity)
            origin.check_shape(path, shape.layers, shape.neurons)
        except ValueError as error:
            raise ValueError(f"{error} (--bert_model, --data_path)") from error
        if not whole:
            facts = facts[: origin.scores_of(path).get("max_facts") or None]
        if len(neurons[kind]) != len(facts):
            raise ValueError(
                f"{path} has the neurons of {len(neurons[kind])} facts, {inputs.source} has "
                f"{len(facts)} facts of {name}: they do not belong together.  Give the same "
                "--data_path (KN_DATA) and --max_facts as to stage 1"
            )
        for fact, own in zip(facts, neurons[kind], strict=True):
            try:
                check_neurons(inputs.pretrained.model, own)
            except ValueError as error:
                raise ValueError(f"{path}, {fact}: {error}; is it of another model?") from error
    return Relation(name, facts, neurons, sums, not_published(of_facts))


# --- web sentences: stages 4 and 5 -----------------------------------------------------------


def sentences_path(settings: SentenceSettings, relation: str) -> Path:
    """The file of a relation's sentences."""
    if settings.sentences.count("{}") != 1:
        raise ValueError(
            f"--sentences {settings.sentences!r}: expected one {{}} where the relation's name "
            "stands, such as data/BINGREL/sample_distant_{}.json"
        )
    return Path(settings.sentences.replace("{}", relation))


def with_sentences(inputs: Inputs) -> tuple[list[Relation], list[str]]:
    """`read_relations` of those that have a file of sentences, and the names of those that have
    none; ValueError where one of --relations has none, or none has."""
    settings = inputs.settings
    relations = read_relations(inputs, settings.relations)
    paths = {relation.name: sentences_path(settings, relation.name) for relation in relations}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing and (settings.relations or len(missing) == len(relations)):
        raise ValueError(
            f"{paths[missing[0]]}: no such file.  Name the sentences with --sentences or "
            "KN_SENTENCES, {} in place of the relation: scripts/get_data.py fetches the full "
            "BINGREL; the embedded sample is data/BINGREL/sample_distant_{}.json"
        )
    return [relation for relation in relations if relation.name not in missing], missing


def read_sentences(inputs: Inputs, relation: str) -> list[FactSentences]:
    """The sentences of all facts of a relation; ValueError where they are of other facts."""
    settings = inputs.settings
    pairs = data.read_pairs(settings.pairs)
    if relation not in pairs:
        raise ValueError(
            f"{settings.pairs} has no pairs of {relation}, only of {listed(sorted(pairs))}.  "
            "Name those of the prompts with --pairs or KN_PAIRS"
        )
    facts = data.facts_of(inputs.bags, relation, inputs.source)  # also those beyond --max_facts
    data.check_pairs(facts, pairs[relation], settings.pairs)
    return data.read_sentences(sentences_path(settings, relation), relation, pairs[relation])
