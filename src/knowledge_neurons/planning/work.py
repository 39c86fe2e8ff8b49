"""What calls of stages come to: how often the model is asked, and for how many operations.

The numbers of passes are those of the experiments' code: stage 3 asks a fact's prompts and another
fact's, each under every edit; stage 6 reads before an edit and after each; stage 7 reads everything
before and under two edits; stage 9 walks down from every neuron, switches drivers off, reads texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from knowledge_neurons.attribution import quadrature_audit
from knowledge_neurons.attribution.scorers import IG, ONE_BY_ONE, ZERO_OUT
from knowledge_neurons.attribution.settings import layers_of
from knowledge_neurons.experiments import neuron_maps
from knowledge_neurons.experiments.choose_facts import Selection
from knowledge_neurons.networks import operations
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons.owners import PROMPTS
from knowledge_neurons.planning.calls import KNOWN, Call
from knowledge_neurons.planning.survey import Survey
from knowledge_neurons.results.changes import AMPLIFY, SUPPRESS
from knowledge_neurons.results.edits import EDITED
from knowledge_neurons.text.strict_json import listed
from knowledge_neurons.types import KINDS

# Points that a layer takes, those tried in vain included: as stage 1 of demo.sh told of its BERT at
# the default tolerance, and stage 1 of real_model.sh of a decoder, SmolLM2, at five times that
# (points_per_layer in the manifests of their scores; no committed record has them).
POINTS = {False: 4.2, True: 4.3}
CALIBRATION = 20 + 3 + 4 + 6  # points a layer of a calibrated prompt: all, and the numbers tried
INTEGRAL = len(quadrature_audit.INTEGRAL.alphas)
SCORED_POINTS = {"gradient-activation": 1}  # of a layer; all other scorers than ig have none
EDITED_FROM = 0.6  # of the way up: where the lowest of a fact's neurons lies, and edits start
# Of a fact that is mapped; different ones for each fact of a relation; the share of a model's that
# any fact has, at most (of EleutherAI's published neurons).
NEURONS, DISTINCT, SERVING = 4, 2, 0.15
FACTORS = len((SUPPRESS, AMPLIFY))
# Edits of a prompt in stage 10: neurons, the rest's and four sets of few facts, each with its
# random twin, off, the first two doubled too; at each pair of thresholds, some of which are equal.
CONTROLS, THRESHOLDS = 2 * (6 + 2), 40


@dataclass(frozen=True)
class Work:
    """What a call comes to.

    starts: programs that load the model; light: that do not.  points: of a prompt's paths, one in
    every layer that is scored by default.  scored, edited, sentences: prompts attributed, asked
    under edits (and `edits`, those edits), sentences read.  read: prompts read a few together;
    together: as many as a batch takes.  tokenised: prompts.
    updates: edits of weights.  operations: on the device.
    """

    stage: int
    starts: float = 0
    light: float = 0
    points: float = 0
    scored: float = 0
    read: float = 0
    together: float = 0
    edited: float = 0
    edits: float = 0
    sentences: float = 0
    tokenised: float = 0
    updates: float = 0
    operations: float = 0

    def __add__(self, other: Work) -> Work:
        counted = (one.name for one in fields(self) if one.name != "stage")
        return Work(
            self.stage, **{name: getattr(self, name) + getattr(other, name) for name in counted}
        )

    def times(self, count: float) -> Work:
        """So much of it."""
        counted = (one.name for one in fields(self) if one.name != "stage")
        return Work(self.stage, **{name: count * getattr(self, name) for name in counted})


@dataclass(frozen=True)
class Asked:
    """What calls are asked of.

    network: its shape.  relations: those of the run; none for all of the survey's.
    points: of a layer that a results folder tells; None where none does.  calibrated: whether it is
    calibrated already.
    """

    network: Network
    survey: Survey
    relations: tuple[str, ...] = ()
    points: float | None = None
    calibrated: bool = False

    def of(self, call: Call) -> tuple[str, ...]:
        """The relations of a call; ValueError for one that is not there."""
        there = self.survey.prompts
        if missing := sorted({*call.relations, *self.relations} - there.keys()):
            raise ValueError(f"relation {missing[0]} is not in the data.  It has: {listed(there)}")
        return call.relations or self.relations or tuple(there)

    @property
    def tokens(self) -> int:
        return max(1, round(self.survey.tokens))


def works_of(asked: Asked, calls: Sequence[Call]) -> dict[int, Work]:
    """The work of each stage that is called."""
    found: dict[int, Work] = {}
    for call in calls:
        work = _OF_STAGE[call.stage](asked, call)
        found[call.stage] = found[call.stage] + work if call.stage in found else work
    return dict(sorted(found.items()))


def _known(asked: Asked, call: Call) -> Work:
    survey = asked.survey
    share = sum(min(call.taken, len(own)) for own in survey.prompts.values())
    return _read(asked, KNOWN, survey.prompts_of() * share / max(1, survey.facts_of(())))


def points_of(asked: Asked, call: Call) -> float:
    """How many points a layer takes: as told by the results, else as was measured elsewhere."""
    if call.scorer != IG:
        return SCORED_POINTS.get(call.scorer, 0)
    if call.tolerance is None:
        return call.steps
    return min(call.steps, asked.points or POINTS[asked.network.causal])


def prompt_of(asked: Asked, call: Call) -> Work:
    """One prompt of stage 1, by every noisy copy; what it takes to make those is not counted."""
    network, points = asked.network, points_of(asked, call)
    once = operations.scores(network, asked.tokens, [0.0] * network.shape.layers)
    work = _along(asked, call, points) + Work(1, scored=1, operations=once)
    return (work + _one_by_one(asked, call)).times(call.copies)


def _along(asked: Asked, call: Call, points: float) -> Work:
    """So many points in each of the layers scored."""
    default, own = (_once_in(asked, layers) for layers in (None, call.layers))
    return Work(1, points=points * own / default, operations=points * own)


def _scores(asked: Asked, call: Call) -> Work:
    """Every prompt, of ig also the audit and the calibration, which ask the model without noise."""
    network, survey, mean = asked.network, asked.survey, points_of(asked, call)
    relations = asked.of(call)
    prompts = survey.prompts_of(relations)
    work = Work(1, starts=len(relations), tokenised=prompts)
    work += prompt_of(asked, call).times(prompts)
    if call.scorer != IG:
        return work
    audited = sum(
        quadrature_audit.audited_count(round(survey.prompts_of([name]))) for name in relations
    )
    fewer = mean if call.tolerance is not None or call.dtype != "float32" else 0
    points = audited * (call.steps + INTEGRAL + fewer)
    if call.tolerance is not None and not asked.calibrated:
        points += quadrature_audit.CALIBRATED * CALIBRATION
    once = operations.scores(network, asked.tokens, [0.0] * network.shape.layers)
    return (
        work
        + _along(asked, call, points)
        + Work(1, scored=2 * audited, operations=2 * audited * once)
    )


def _one_by_one(asked: Asked, call: Call) -> Work:
    """Every neuron of the layers scored: off, from its layer on up, or alone before the head."""
    if call.scorer not in ONE_BY_ONE:
        return Work(1)
    network = asked.network
    layers = layers_of(network, call.layers)
    if call.scorer != ZERO_OUT:
        layers = [network.shape.layers - 1] * len(layers)
    done = sum(operations.edit(network, asked.tokens, layer) for layer in layers)
    done *= network.shape.neurons
    usual = operations.edit(network, asked.tokens, edited_layer(network))  # what the rate is of
    return Work(1, edits=done / usual, operations=done)


def edited_layer(network: Network) -> int:
    """The layer in which edits of a fact's neurons start."""
    return min(round(EDITED_FROM * network.shape.layers), network.shape.layers - 1)


def _once_in(asked: Asked, layers: tuple[int, int] | None) -> float:
    """Operations of a point in each of some layers."""
    scored = layers_of(asked.network, layers)
    return sum(operations.point(asked.network, asked.tokens, layer) for layer in scored)


def _refine(asked: Asked, call: Call) -> Work:
    return Work(2, light=2, tokenised=asked.survey.prompts_of(asked.of(call)))


def _changes(asked: Asked, call: Call) -> Work:
    """Own prompts and another fact's, under two kinds of neurons times each factor."""
    prompts = asked.survey.prompts_of(asked.of(call))
    edits = len(KINDS) * (call.scales or FACTORS)
    edited, rows = 2 * prompts, 2 * prompts * edits
    return _edited(asked, 3, edited, rows)


def _controls(asked: Asked, call: Call) -> Work:
    """Own prompts, those of another fact of the relation and of another relation's; then of some
    facts at each pair of thresholds."""
    survey, relations = asked.survey, asked.of(call)
    prompts = survey.prompts_of(relations)
    few = sum(min(call.taken, len(survey.prompts[name])) for name in relations)
    sampled = prompts * few / max(1, survey.facts_of(relations))
    rows = 3 * prompts * CONTROLS + sampled * THRESHOLDS
    return _edited(asked, 10, 3 * prompts + sampled, rows)


def _edited(asked: Asked, stage: int, edited: float, rows: float) -> Work:
    """So many prompts, under so many edits all together."""
    network, tokens = asked.network, asked.tokens
    done = edited * operations.reading(network, tokens)
    done += rows * operations.edit(network, tokens, edited_layer(network))
    tokenised = asked.survey.prompts_of() + edited
    return Work(stage, starts=1, edited=edited, edits=rows, tokenised=tokenised, operations=done)


def _sentences(asked: Asked, call: Call) -> Work:
    """Stage 4 reads as many random ones as there are with both; stage 5 only those with both."""
    survey, found = asked.survey, asked.survey.sentences
    every = found.both if call.stage == 5 else 2 * found.both + found.head
    count = survey.share_of(asked.of(call)) * every
    tokens = max(1, round(survey.of_sentence))
    done = count * operations.reading(asked.network, tokens)
    return Work(call.stage, starts=1, sentences=count, operations=done)


def _edits(asked: Asked, call: Call) -> Work:
    """Each edit reads the fact's prompts and those of facts that watch, once before and once after
    every variant with every kind of neurons.  Choosing facts reads four tries an edit."""
    survey, chosen = asked.survey, Selection()
    relations = asked.of(call)
    edits = sum(min(call.edits, len(survey.prompts[name])) for name in relations)
    each = survey.prompts_of(relations) / max(1, survey.facts_of(relations))
    watching = 2 * chosen.others * (each if call.all_prompts else 1)
    passes = 1 + call.variants * len(EDITED)
    work = _read(asked, 6, edits * ((each + watching) * passes + 4))
    return work + Work(6, updates=edits * call.variants * len(EDITED))


def _erase(asked: Asked, call: Call) -> Work:
    survey = asked.survey
    own = survey.prompts_of(asked.of(call)[:1])
    others = survey.prompts_of() - own
    others = others if call.others is None else min(others, call.others)
    work = _read(asked, 7, 3 * (own + others))
    return replace(work, read=0, together=work.read)


def _maps(asked: Asked, call: Call) -> Work:
    """Every driver off beside a random one, and points: a way down for each neuron, one way up for
    all, each half of the cost."""
    network, survey = asked.network, asked.survey
    facts = sum(min(call.taken, len(survey.prompts[name])) for name in asked.of(call))
    points = facts * call.wordings * neuron_maps.POINTS * (NEURONS + 1) / 2
    edits = facts * NEURONS * 2 * (neuron_maps.EDGES + 1)
    done = points * _once_in(asked, None)
    done += edits * operations.edit(network, asked.tokens, network.shape.layers // 2)
    every = survey.prompts_of()
    work = Work(9, starts=1, points=points, edits=edits, tokenised=every, operations=done)
    return work + _described(asked, call)


def _described(asked: Asked, call: Call) -> Work:
    """Neurons of the relations mapped off, and random ones; those of all read on what is drawn."""
    network, survey = asked.network, asked.survey
    most = SERVING * network.shape.layers * network.shape.neurons
    facts = survey.facts_of(asked.of(call)), survey.facts_of(())
    own, every = (PROMPTS * min(DISTINCT * count, most) for count in facts)
    read = min(call.texts, survey.prompts_of()) + min(every, survey.prompts_of())
    sentences = min(call.texts, survey.sentences.both + survey.sentences.head)
    done = read * operations.reading(network, asked.tokens)
    done += sentences * operations.reading(network, max(1, round(survey.of_sentence)))
    found = Work(9, together=read, sentences=sentences, operations=done)
    return replace(_edited(asked, 9, own, 2 * own), starts=0, tokenised=own) + found


def _report(asked: Asked, call: Call) -> Work:
    return Work(8, light=2, tokenised=asked.survey.prompts_of(asked.of(call)))


def _read(asked: Asked, stage: int, prompts: float) -> Work:
    """A program that tokenises everything and reads so many prompts."""
    done = prompts * operations.reading(asked.network, asked.tokens)
    every = asked.survey.prompts_of()
    return Work(stage, starts=1, read=prompts, tokenised=every, operations=done)


_OF_STAGE = {KNOWN: _known, 1: _scores, 2: _refine, 3: _changes, 4: _sentences, 5: _sentences}
_OF_STAGE |= {6: _edits, 7: _erase, 8: _report, 9: _maps, 10: _controls}
