"""Stage 10: edits of knowledge neurons judged as editors are, on cases of CounterFact.

An editor is given one prompt.  So a case's neurons are found from the prompt to rewrite alone, its
paraphrases and neighbours unseen: those that are coarse there (score >= t of the prompt's largest,
t = 0.2), and of these the few strongest, five by default.  One prompt cannot be refined by what
other prompts share with it, and its coarse set is often dozens of neurons; five is the most that
the paper's refinement leaves a fact on average.  What is scored is P(true answer), the fact as the
model has it.  The value slots are rewritten as stage 6 does it.  Beside these: no edit, and as many
random neurons of the same layers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from knowledge_neurons.attribution import fact_scores, quadrature_audit
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.editing import slots
from knowledge_neurons.experiments.controls import random_like
from knowledge_neurons.networks.evaluation import Reader, Reading
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons import refine
from knowledge_neurons.results.editors import NOTHING, Answered, CaseRecord, Pair
from knowledge_neurons.results.edits import CHOSEN
from knowledge_neurons.text.counterfact import Case
from knowledge_neurons.text.encoding import Encoded, Tokens, encode_facts
from knowledge_neurons.types import CONTROL, Neuron, Prompt

NEURONS = 5  # of a case, at most


@dataclass(frozen=True)
class Editing:
    """How a case is edited.

    neurons: at most.  lambda_1, lambda_2: as of stage 6.  seed: of the random neurons.
    """

    neurons: int = NEURONS
    lambda_1: float = 1.0
    lambda_2: float = 8.0
    seed: int = 42


@dataclass(frozen=True)
class AskedCase:
    """A case as tokens: its prompts, in the order of `Case.prompts`, asked for either answer."""

    case: Case
    true: Sequence[Prompt]
    new: Sequence[Prompt]


def encode_cases(
    cases: Sequence[Case], tokenizer: Tokens, max_tokens: int, skip_unknown: bool, source: str
) -> tuple[list[AskedCase], dict[str, int]]:
    """The cases that can be asked, and how many of the others for which reason.

    skip_unknown: leave out cases with an answer that the model cannot say, else
    AnswerNotInVocabulary names the first.  source: their file, for messages.
    """
    how = tokenizer, max_tokens, skip_unknown, source
    true, new = (
        encode_facts([case.asking(getattr(case, answer)) for case in cases], *how)
        for answer in ("true", "new")
    )
    asked = [
        AskedCase(case, *own)
        for case, *own in zip(cases, true.prompts, new.prompts, strict=True)
        if all(own)
    ]
    return asked, _left_out(true, new)


def _left_out(true: Encoded, new: Encoded) -> dict[str, int]:
    """Reason -> cases; one for which both answers have a reason counts for the true one's."""
    reasons: dict[int, str] = {}
    for encoded in (true, new):
        for why, cases in encoded.facts_left_out.items():
            reasons = {case: why for case in cases} | reasons
    return {why: [*reasons.values()].count(why) for why in sorted({*reasons.values()})}


def draw_cases(cases: Sequence[Case], most: int | None, seed: int) -> list[Case]:
    """So many of the cases, drawn without replacement, in their order; None for all."""
    if most is None or most >= len(cases):
        return list(cases)
    drawn = random.Random(f"{seed} cases").sample(range(len(cases)), most)
    return [cases[place] for place in sorted(drawn)]


def engine_for(model: Network, tokenizer: Tokens, asked: Sequence[AskedCase]) -> Engine:
    """An engine for the prompts to rewrite; where they are many, calibrated on some of them."""
    settings = Settings(keep=refine.THRESHOLDS.coarse, baseline=False)
    engine = fact_scores.prepare(model, tokenizer, settings)
    sample = quadrature_audit.evenly([one.true[0] for one in asked])
    return quadrature_audit.calibrate(engine, sample)


def judge_cases(engine: Engine, asked: Sequence[AskedCase], how: Editing) -> Iterator[CaseRecord]:
    """Find the neurons of each case, edit them and read all its prompts; every edit is undone."""
    rewrites = [one.case.asking(one.case.true) for one in asked]
    groups = fact_scores.score_facts(engine, rewrites, [[one.true[0]] for one in asked])
    for one, scored in zip(asked, chain.from_iterable(groups), strict=True):
        coarse = refine.strongest([scored.prompts[0].of_answer])
        yield judge_case(engine.model, one, coarse[: how.neurons], how)


def judge_case(
    model: Network, asked: AskedCase, neurons: Sequence[Neuron], how: Editing
) -> CaseRecord:
    """Edit these neurons, and random ones, and read what the model says without and with it.

    Random neurons have a generator of the case's own (seed, case_id).
    """
    case = asked.case
    rng = random.Random(f"{how.seed} {case.case} editors")
    edited = {CHOSEN: list(neurons), CONTROL: random_like(model, neurons, rng)}
    answers = [(new.answers, true.answers) for new, true in zip(asked.new, asked.true, strict=True)]
    reader = Reader(model, asked.true, answers)
    answered = {NOTHING: _answered(case, reader.read())}
    old, new = slots.first_differing(asked.true[0].answers, asked.new[0].answers)
    for kind, chosen in edited.items():
        if not chosen:
            answered[kind] = answered[NOTHING]
            continue
        edit = slots.update(model, chosen, old, new, how.lambda_1, how.lambda_2)
        with slots.edited(model, edit):
            answered[kind] = _answered(case, reader.read())
    return CaseRecord(
        *(case.case, case.relation, case.subject, case.true, case.new),
        neurons=edited,
        answered=answered,
    )


def _answered(case: Case, reading: Reading) -> Answered:
    pairs = [Pair(new=new, true=true) for new, true in reading.log_probabilities.tolist()]
    paraphrased = 1 + len(case.paraphrases)
    return Answered(
        rewrite=pairs[:1], paraphrases=pairs[1:paraphrased], neighbours=pairs[paraphrased:]
    )
