"""What stage 11 is told, which facts it asks, and the engine that scores as stage 1 did.

11_compare_ways.sh passes the same arguments to both of its programs, which ask the same facts.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from knowledge_neurons.attribution import adaptive, fact_scores, quadrature
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.attribution.scorers import SCORERS
from knowledge_neurons.attribution.settings import Settings as Scoring
from knowledge_neurons.attribution.settings import layers_of
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.attribution.target import PROBABILITY
from knowledge_neurons.experiments import compare_scorers, single_prompt
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.results import origin
from knowledge_neurons.results.ways import UNKNOWN, WITHOUT, Chosen
from knowledge_neurons.stages import arguments, numbers, scoring
from knowledge_neurons.stages.calibrating import calibrated
from knowledge_neurons.stages.inputs import Inputs, Relation, open_inputs, read_relations
from knowledge_neurons.text.encoding import Tokens, encode_fact
from knowledge_neurons.types import KNOWLEDGE, Fact, Neuron, Prompt

FACTS, KNOWN = 20, 0.1
GROUP = 1  # facts worked on together: what an interruption loses


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.ModelSettings):
    """facts: of a relation, at most.  known: P(answer) that a fact reaches in every wording asked.

    wordings: of a fact, on which scorers are compared.  candidates: strongest of every scorer, and
    random ones.  max_facts: among which facts are looked for.
    """

    facts: int
    known: float
    wordings: int
    scorers: tuple[str, ...]
    candidates: tuple[int, int]
    smoothings: tuple[Smoothing, ...]


def parse(description: str) -> Settings:
    parser, default = arguments.of_neurons(description), compare_scorers.Settings()
    arguments.add_relations(parser)
    arguments.add_oov(parser)
    parser.add_argument(
        "--facts",
        type=numbers.count,
        default=FACTS,
        help=f"the first N of each relation that have neurons and are known ({FACTS})",
    )
    parser.add_argument(
        "--known",
        type=numbers.share,
        default=KNOWN,
        help=f"P(answer) of a known fact in each of the --wordings asked, at least ({KNOWN:g})",
    )
    scorers = parser.add_argument_group("comparing scorers (11_compare_scorers.py)")
    scorers.add_argument(
        "--wordings",
        type=numbers.count,
        default=default.wordings,
        help=f"prompts of a fact, the first ones ({default.wordings})",
    )
    scorers.add_argument(
        "--scorers",
        type=names_of_scorers,
        default=default.scorers,
        help=f"some of {','.join(SCORERS)} (default: all)",
    )
    scorers.add_argument(
        "--candidates",
        type=candidates,
        metavar="N:M",
        default=(default.strongest, default.random),
        help="neurons that are switched off one by one: the N strongest of every scorer and M "
        f"random ones ({default.strongest}:{default.random})",
    )
    studied = parser.add_argument_group("studying one prompt (11_study_one_prompt.py)")
    studied.add_argument(
        "--smoothings",
        type=smoothings,
        default=single_prompt.Settings().smoothings,
        help="COPIES:NOISE of the weights or embeddings:COPIES:NOISE, several after commas "
        "(8:0.05,8:0.1)",
    )
    arguments.add_seed(parser, "the random neurons")
    return arguments.settings(Settings, parser.parse_args())


def names_of_scorers(text: str) -> tuple[str, ...]:
    """ "ig,logit" -> ("ig", "logit"), for argparse's `type`."""
    found = tuple(dict.fromkeys(arguments.names_of(text)))
    if not found or not {*found} <= {*SCORERS}:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: expected some of {','.join(SCORERS)}")
    return found


def candidates(text: str) -> tuple[int, int]:
    """ "20:100" -> (20, 100), for argparse's `type`."""
    strongest, colon, drawn = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected N:M, such as 20:100")
    return numbers.count(strongest), numbers.count(drawn)


def smoothings(text: str) -> tuple[Smoothing, ...]:
    """ "8:0.05,embeddings:8:0.1" -> ways to smooth, for argparse's `type`."""
    found = []
    for part in text.split(","):
        try:
            if ":" not in part:
                raise ValueError("no noise")
            *place, copies, noise = part.strip().rsplit(":", 2)
            found.append(Smoothing(int(copies), float(noise), *place))
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"{part[:40]!r}: expected such as 8:0.05 or embeddings:8:0.1 ({error})"
            ) from error
    return tuple(dict.fromkeys(found))


# --- which facts -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """The facts of a relation that are asked, each with the prompts that the model can read.

    left_out: why -> how many facts, of those that were looked at.
    """

    relation: Relation
    facts: list[Fact]
    prompts: list[list[Prompt]]
    neurons: list[Sequence[Neuron]]
    left_out: Counter[str]

    @property
    def identity(self) -> dict[str, Any]:
        """What of it decides a result."""
        return self.relation.identity | {"chosen": [fact.index for fact in self.facts]}


def open_tasks(settings: Settings) -> tuple[Inputs, list[Task]]:
    """Model and prompts, and the facts of each relation; ValueError where none is known."""
    # All facts, for the neurons are of all that stage 1 took; the first of them are looked at.
    inputs = replace(open_inputs(replace(settings, max_facts=None)), settings=settings)
    relations = read_relations(inputs, settings.relations, (KNOWLEDGE,))
    tasks = [_choose(inputs, relation) for relation in relations]
    if not any(task.facts for task in tasks):
        raise ValueError(
            f"no fact of {', '.join(one.name for one in relations)} can be asked "
            f"({chosen_of(settings, tasks)}): give a lower --known, or neurons of facts that the "
            "model knows"
        )
    return inputs, tasks


def _choose(inputs: Inputs, relation: Relation) -> Task:
    """The first facts that have neurons and are known."""
    settings: Settings = inputs.settings
    looked_at = relation.facts[: settings.max_facts]
    encoded = relation.known(inputs.encode(looked_at))
    task = Task(relation, [], [], [], Counter())
    for fact, prompts, neurons in zip(
        looked_at, encoded, relation.neurons[KNOWLEDGE], strict=False
    ):
        if len(task.facts) == settings.facts:
            break
        if not (prompts and neurons):
            task.left_out[WITHOUT] += 1
            continue
        asked = Reader(inputs.pretrained.model, prompts[: settings.wordings]).read()
        if math.exp(asked.log_probabilities.min()) < settings.known:
            task.left_out[UNKNOWN] += 1
            continue
        task.facts.append(_readable(inputs, fact))
        task.prompts.append(prompts)
        task.neurons.append(neurons)
    return task


def _readable(inputs: Inputs, fact: Fact) -> Fact:
    """With the prompts alone that the model can read, as they are encoded."""
    tokenizer, most = inputs.pretrained.tokenizer, inputs.max_tokens
    texts = (text for text in fact.prompts if encode(tokenizer, most, fact, [text], Counter()))
    return replace(fact, prompts=tuple(texts))


def encode(
    tokenizer: Tokens,
    max_tokens: int,
    fact: Fact,
    texts: Sequence[str],
    left_out: Counter[str] | None = None,
) -> list[Prompt]:
    """Texts as prompts that ask for the fact's answer; left_out: see `encode_fact`."""
    return encode_fact(replace(fact, prompts=tuple(texts)), tokenizer, max_tokens, left_out)


def chosen_of(
    settings: Settings, tasks: Sequence[Task], alone: Counter[str] | None = None
) -> Chosen:
    """How the facts of all relations were chosen; alone: left out since."""
    left_out = sum((task.left_out for task in tasks), alone or Counter())
    return Chosen(settings.known, settings.facts, dict(left_out))


# --- as stage 1 did ----------------------------------------------------------------------------


def scored_as(inputs: Inputs, relation: Relation) -> dict[str, Any]:
    """How the scores were made that the neurons were refined from; the defaults where nobody says.

    layers: "1-29", first and last.
    """
    path = inputs.settings.results.fact_neurons(relation.name, baseline=False)
    layers = layers_of(inputs.pretrained.model, None)
    return {
        **{"rule": "riemann-left", "steps": scoring.STEPS, "tolerance": adaptive.TOLERANCE},
        **{"layers": f"{layers.start}-{layers.stop - 1}", "seed": inputs.settings.seed},
        "max_seq_length": inputs.settings.max_seq_length,
        **inputs.identity,
        **origin.scores_of(path),
    }


def engine_of(inputs: Inputs, scored: dict[str, Any]) -> Engine:
    """The engine of stage 1 with its calibration.  scored: see `scored_as`."""
    how = Scoring(
        rule=quadrature.rule(scored["rule"], scored["steps"]),
        tolerance=scored["tolerance"],
        baseline=False,
        layers=numbers.layers(scored["layers"]),
        target=scored.get("target", PROBABILITY),
    )
    engine = fact_scores.prepare(inputs.pretrained.model, inputs.pretrained.tokenizer, how)
    settings = replace(inputs.settings, seed=scored["seed"])
    return calibrated(engine, replace(inputs, settings=settings), scored)


def identity_of(inputs: Inputs, task: Task, scored: dict[str, Any]) -> dict[str, Any]:
    """What decides a relation's records in either study."""
    told = {"layers": scored["layers"], "seed": inputs.settings.seed}
    return inputs.identity | told | {"max_seq_length": inputs.max_tokens} | task.identity
