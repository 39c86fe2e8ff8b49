"""Stage 1: attribution scores of one relation -> results/TREx-all-<REL>.rlt.jsonl.

Usage: bash 1_run_mlm.sh P101 [--device cuda ...]      (see --help for every flag)

One line per fact, in data order: for each prompt its tokens and its integrated-gradients scores
(equation 4 of the paper) and activations as [layer, neuron, score].  A run that was interrupted
goes on where it stopped; a relation that is done is left alone.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from knowledge_neurons.attribution import fact_scores, quadrature, quadrature_audit
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.attribution.quadrature_audit import Record
from knowledge_neurons.attribution.scorers import IG, ONE_BY_ONE
from knowledge_neurons.attribution.settings import EACH, JOINT, layers_of
from knowledge_neurons.attribution.settings import Settings as Scoring
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.attribution.target import PROBABILITY
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results import growing
from knowledge_neurons.results.json_files import encode, write_json
from knowledge_neurons.results.manifests import is_done
from knowledge_neurons.results.metrics import binomial_at_most
from knowledge_neurons.results.scores import encode_fact_scores
from knowledge_neurons.runs import grow
from knowledge_neurons.stages import arguments, scoring, tables, workers
from knowledge_neurons.stages.calibrating import calibrated
from knowledge_neurons.stages.inputs import Inputs, open_inputs
from knowledge_neurons.text.encoding import Encoded
from knowledge_neurons.types import Prompt

OUTPUTS = ("ig_gold", "ig_pred", "base", "pred")  # --get_..., in the order of manifests


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.ModelSettings):
    """What stage 1 is told.

    tolerance: None for all points.  memory: GiB, None for what is free.  outputs: of OUTPUTS.
    layers: first and last to score, None for the default.  smoothing: None for the model as it is.
    """

    relation: str
    rule: str
    steps: int
    tolerance: float | None
    dtype: str
    memory: float | None
    keep: float
    layers: tuple[int, int] | None
    answers: str
    aggregate: str
    target: str
    scorer: str
    smoothing: Smoothing | None
    outputs: list[str]

    @property
    def scoring(self) -> Scoring:
        return Scoring(
            rule=quadrature.rule(self.rule, self.steps),
            tolerance=self.tolerance,
            memory=None if self.memory is None else round(self.memory * 2**30),
            keep=self.keep,
            of_answer="ig_gold" in self.outputs,
            of_prediction="ig_pred" in self.outputs,
            baseline="base" in self.outputs,
            probabilities="pred" in self.outputs,
            layers=self.layers,
            answers=self.answers,
            aggregate=self.aggregate,
            target=self.target,
            scorer=self.scorer,
            smoothing=self.smoothing,
        )

    def identity(self, origin: dict[str, object], layers: range) -> dict[str, object]:
        """All that decides the scores.  origin: of model and prompts.  layers: that are scored."""
        names = ("rule", "steps", "tolerance") if self.scorer == IG else ("scorer",)
        names += ("dtype", "seed", "keep", "outputs")
        joint = self.answers == JOINT
        return {
            "relation": self.relation,
            **origin,
            "max_seq_length": self.max_seq_length,
            "max_facts": self.max_facts or 0,
            "oov": self.oov,
            "min_prompts": self.min_prompts,
            **{name: getattr(self, name) for name in names},
            "layers": f"{layers.start}-{layers.stop - 1}",
            "answers": f"{self.answers}, {self.aggregate}" if joint else self.answers,
            **({"target": self.target} if self.target != PROBABILITY else {}),
            **({"smoothing": str(self.smoothing)} if self.smoothing else {}),
        }


def parse() -> Settings:
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--pt_relation", required=True, help="relation, such as P101")
    arguments.add_model(parser)
    arguments.add_prompts(parser)
    arguments.add_results(parser)
    arguments.add_oov(parser)
    workers.add_workers(parser)
    scoring.add_scoring(parser)
    parser.add_argument("--get_ig_gold", action="store_true", help="scores for the right answer")
    parser.add_argument("--get_ig_pred", action="store_true", help="scores for the predicted token")
    parser.add_argument("--get_base", action="store_true", help="activations, the baseline")
    parser.add_argument("--get_pred", action="store_true", help="probabilities of all tokens")
    arguments.add_seed(parser, "what is calibrated and audited")
    args = parser.parse_args()
    scoring.resolve(args)
    outputs = [name for name in OUTPUTS if getattr(args, f"get_{name}")]
    if not outputs:
        raise ValueError(
            "nothing to compute: ask for --get_ig_gold and --get_base (as 1_run_mlm.sh does), "
            "--get_ig_pred or --get_pred"
        )
    return arguments.settings(
        Settings,
        args,
        relation=args.pt_relation,
        steps=scoring.steps_of(args.steps, args.batch_size, args.num_batch),
        tolerance=None if args.exact else args.tolerance,
        smoothing=scoring.smoothing_of(args),
        outputs=outputs,
    )


def products_in(model: Network, dtype: str) -> Network:
    """The model with its matrix products in one of DTYPES; float32 is the model itself.

    Raises ValueError for tf32 without a GPU.
    """
    if dtype == "bfloat16":
        return model.products_in(torch.bfloat16)
    if dtype == "tf32":
        if model.device.type != "cuda":
            raise ValueError("--dtype tf32 needs a GPU; on a CPU use float32 or bfloat16")
        torch.backends.cuda.matmul.allow_tf32 = True
    return model


def main() -> None:
    settings = parse()
    name, results, asked = settings.relation, settings.results, settings.scoring
    inputs = open_inputs(settings, [name])
    facts, path = inputs.facts[name], results.scores(name)
    layers = layers_of(inputs.pretrained.model, settings.layers)
    identity = settings.identity(inputs.identity, layers)
    if is_done(path, identity):
        print(f"{name} is done: {path}")
        return
    reference = inputs.pretrained.model
    model = products_in(reference, settings.dtype)
    found = inputs.encode_counted(facts)
    encoded, counts = found.prompts, counts_of(found)
    show_task(inputs, found, counts, layers)
    write_json(results.arguments, settings.given, readable=True)
    started = time.perf_counter()
    engine = fact_scores.prepare(model, inputs.pretrained.tokenizer, asked, reference)
    audit: dict[str, Any] | None = None
    if settings.scorer == IG:
        engine, audit = audited(calibrated(engine, inputs, identity), encoded, settings.seed)

    def score(some: range) -> list[fact_scores.ScoredFact]:
        """One group of `score_facts`."""
        own = slice(some.start, some.stop)
        (scored,) = fact_scores.score_facts(engine, facts[own], encoded[own])
        return scored

    def ending(lines: growing.GrowingLines, resumed: int) -> dict[str, object]:
        told = {}
        if audit is not None:
            copies = settings.smoothing.copies if settings.smoothing else 1
            points = points_per_layer(lines.read_beside(Record), len(layers) * copies)
            print(f"  {points:.2f} points a layer{' and copy' * (copies > 1)}")
            told = {"quadrature": {"points_per_layer": points, **audit}}
        return {
            "layers": reference.shape.layers,
            "neurons_per_layer": reference.shape.neurons,
            "facts_resumed": resumed,
            **told,
            **counts,
        }

    beside = results.quadrature(name), lambda fact: encode(record_of(fact))
    job = grow.Job(
        path,
        identity,
        name=name,
        facts=len(facts),
        group=fact_scores.group_size(reference, inputs.device, settings.scorer),
        work=score,
        encode=lambda fact: encode_fact_scores(fact.prompts),
        told=lambda place: str(facts[place]),
        beside=beside if audit is not None else None,
        started=started,
    )
    done = not grow.grow(job, settings.given, inputs.under, ending, inputs.executor)
    wrote = f"wrote {path} in {time.perf_counter() - started:.1f} s"
    print(f"{name} is done: {path}" if done else wrote)


def audited(
    engine: Engine, encoded: list[list[Prompt]], seed: int
) -> tuple[Engine, dict[str, Any]]:
    """`quadrature_audit.audit`, shown, with what it allows of all prompts."""
    engine, audit = quadrature_audit.audit(engine, encoded, seed)
    over, of = audit["over_tolerance"], audit["audited_prompts"]
    audit["share_over_at_most"] = binomial_at_most(over, of)
    tables.show_audit(audit)
    return engine, audit


def show_task(inputs: Inputs, found: Encoded, counts: Mapping[str, Any], layers: range) -> None:
    """What will be scored, how, and what is left out."""
    settings, steps = inputs.settings, f"{inputs.settings.steps} steps"
    within = f"within {settings.tolerance:g} of the largest score" if settings.tolerance else None
    how = {"rule": f"{settings.rule}, {steps}, {within or 'all points'}, {settings.dtype}"}
    if settings.scorer != IG:
        neurons = len(layers), inputs.pretrained.model.shape.neurons
        how = {"scorer": f"{settings.scorer}, {settings.dtype}{cost_of(settings, found, neurons)}"}
    tables.show(
        f"{settings.relation} ({inputs.facts[settings.relation][0].label})",
        {
            "model": inputs.shown,
            "facts": f"{counts['facts']}, {counts['prompts']} prompts, from {inputs.source}",
            "left out": str(found),
            "cut": f"{counts['prompts_cut']} prompts longer than {inputs.max_tokens} tokens",
            **({"target": settings.target} if settings.target != PROBABILITY else {}),
            **how,
            **({"smoothed": str(settings.smoothing)} if settings.smoothing else {}),
            "layers": f"{layers.start} to {layers.stop - 1}",
        },
    )


def cost_of(settings: Settings, found: Encoded, neurons: tuple[int, int]) -> str:
    """Of a scorer that goes neuron by neuron how many times it asks, said before it does.

    neurons: layers that are scored, and neurons of each.
    """
    if settings.scorer not in ONE_BY_ONE:
        return ""
    prompts = (prompt for of_fact in found.prompts for prompt in of_fact)
    asked = sum(len(one.answers) if settings.answers == EACH else 1 for one in prompts)
    tokens = len({"ig_gold", "ig_pred"} & {*settings.outputs})
    copies = settings.smoothing.copies if settings.smoothing else 1
    times = math.prod((*neurons, asked, tokens, copies))
    more = f" x {tokens} tokens" * (tokens > 1) + f" x {copies} copies" * (copies > 1)
    return f", {neurons[0]} x {neurons[1]} neurons x {asked} prompts{more}: {times:,} times"


def counts_of(found: Encoded) -> dict[str, Any]:
    """What there is to do and what is left out, for the screen and the manifest."""
    prompts = [prompt for of_fact in found.prompts for prompt in of_fact]
    counts: dict[str, Any] = {
        "facts": len(found.prompts),
        "prompts": len(prompts),
        "prompts_cut": sum(prompt.cut for prompt in prompts),
        "skipped_facts": [index for index, own in enumerate(found.prompts) if not own],
    }
    if longer := Counter(len(prompt.answers) for prompt in prompts if prompt.later):
        counts["answers_of_several_tokens"] = {str(k): longer[k] for k in sorted(longer)}
    if found.prompts_left_out:
        counts["prompts_left_out"] = dict(found.prompts_left_out)
    return counts


def record_of(fact: fact_scores.ScoredFact) -> Record:
    return {"prompts": len(fact.prompts), "points": fact.points}


def points_per_layer(records: list[Record], layers: int) -> float:
    """The mean over prompts and layers."""
    prompts, points = (sum(record[key] for record in records) for key in ("prompts", "points"))
    return points / (prompts * layers) if prompts else 0.0


if __name__ == "__main__":
    program.run(main)
