"""Stage 6, second half: edit the chosen facts one by one and record what each edit does.

Section 5.1 and Table 6 of the paper.  An edit is measured on the prompt that its fact was chosen
by, on the fact's other prompts (paraphrases), and on other facts, which it should leave alone.
Random neurons show what the change of any neuron does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from knowledge_neurons.editing import patches, slots
from knowledge_neurons.experiments.choose_facts import (
    Bags,
    Place,
    Planned,
    Watching,
    prompt_at,
)
from knowledge_neurons.networks.evaluation import Reader, Reading
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.edits import CHOSEN, CONTROL_SAME_SIZE, EditRecord, Variant
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.types import CONTROL, Neuron, WeightEdit


def knowledge_edit(model: Network, planned: Planned, variant: Variant) -> WeightEdit:
    """The edit of the fact's own neurons; of the first top_k of them where that is asked."""
    chosen = planned.neurons[: variant.top_k]
    return _update(model, chosen, planned, variant)


def _update(
    model: Network, neurons: Sequence[Neuron], planned: Planned, variant: Variant
) -> WeightEdit:
    """The update of these neurons; of answers of several tokens by the first that differs."""
    old, new = slots.first_differing(planned.old, planned.new)
    return slots.update(model, neurons, old, new, variant.lambda_1, variant.lambda_2)


Patch = tuple[WeightEdit, patches.Header]  # to be saved


def patch_of(model: Network, planned: Planned, record: EditRecord, sha256: str) -> Patch | None:
    """The edit of a fact's own neurons, to be kept; the controls are not worth it.

    record: of the edit.  sha256: of the model.
    """
    if record.kind != CHOSEN:
        return None
    edit = knowledge_edit(model, planned, Variant(record.lambda_1, record.lambda_2, record.top_k))
    header = patches.Header(
        kind="update",
        model_sha256=sha256,
        relation=record.relation,
        neurons=edit.neurons,
        fact=record.fact,
        old=record.old,
        new=record.new,
        lambdas=(record.lambda_1, record.lambda_2),
    )
    return edit, header


def random_neurons(
    model: Network, avoid: Sequence[Neuron], count: int, rng: random.Random
) -> list[Neuron]:
    """Different neurons of the whole model, none of those to avoid; drawn one after the other."""
    chosen: list[Neuron] = []
    layers, _, width, _ = model.shape
    if count > layers * width - len(set(avoid)):
        raise ValueError(f"the model does not have {count} neurons besides {len(set(avoid))}")
    while len(chosen) < count:
        neuron = Neuron(*divmod(rng.randrange(layers * width), width))
        if neuron not in avoid and neuron not in chosen:
            chosen.append(neuron)
    return chosen


def edits(model: Network, planned: Planned, variant: Variant, seed: int) -> dict[str, WeightEdit]:
    """Kind of neurons -> the edit: the fact's own, as many random ones, these with a change of the
    same size (Frobenius norm).  The random ones depend on seed, fact and how often it was edited
    before, not on the lambdas."""
    # DEVIATION: the released code has its random neurons commented out (difference 15)
    own = knowledge_edit(model, planned, variant)
    asked, again = planned.asked, f" {planned.repeat}" * bool(planned.repeat)
    rng = random.Random(f"{seed} {asked.relation} {asked.fact}{again} neurons")
    drawn = random_neurons(model, planned.neurons, len(own.neurons), rng)
    control = _update(model, drawn, planned, variant)
    same_size = slots.resized(control, slots.size_of(own))
    return {CHOSEN: own, CONTROL: control, CONTROL_SAME_SIZE: same_size}


def edit_fact(
    model: Network,
    tokenizer: Tokens,
    bags: Bags,
    planned: Planned,
    variants: Sequence[Variant],
    seed: int,
) -> Iterator[EditRecord]:
    """Edit one fact in every variant with every kind of neurons; each is undone before the next."""
    own = bags[planned.asked.relation][planned.asked.fact]
    places = [place for one in (*planned.same, *planned.other) for place in one.places]
    rows = {place: len(own) + row for row, place in enumerate(dict.fromkeys(places))}
    watched = [prompt_at(bags, place) for place in rows]  # once, however often a fact was drawn
    # The old answer in the tokens that it has in each prompt.
    answers = [(p.answers, planned.new) for p in own] + [(p.answers, p.answers) for p in watched]
    reader = Reader(model, [*own, *watched], answers)
    before = reader.read()
    old, new = map(tokenizer.text, (planned.old, planned.new))
    for variant in variants:
        for kind, edit in edits(model, planned, variant, seed).items():
            with slots.edited(model, edit):
                after = reader.read()
            yield EditRecord(
                *(planned.asked.relation, planned.asked.fact, planned.asked.prompt, old, new),
                kind,
                **asdict(variant),
                neurons=[list(neuron) for neuron in edit.neurons],
                size=slots.size_of(edit),
                prompts=_outcomes(before, after, len(own), tokenizer),
                same=_watched(before, after, planned.same, rows),
                other=_watched(before, after, planned.other, rows),
                repeat=planned.repeat,
            )


def _outcomes(before: Reading, after: Reading, prompts: int, tokenizer: Tokens) -> list[dict]:
    """Probability and rank of both answers, [before, after], for each prompt of the fact."""
    p = np.exp([before.log_probabilities[:prompts], after.log_probabilities[:prompts]])
    ranks = np.stack([before.ranks[:prompts], after.ranks[:prompts]])  # (2, prompts, old and new)
    predicted = tokenizer.tokens(after.predicted[:prompts].tolist())
    return [
        {
            "p_old": p[:, row, 0].tolist(),
            "p_new": p[:, row, 1].tolist(),
            "rank_old": ranks[:, row, 0].tolist(),
            "rank_new": ranks[:, row, 1].tolist(),
            "predicted": predicted[row],
        }
        for row in range(prompts)
    ]


def _watched(
    before: Reading, after: Reading, facts: Sequence[Watching], rows: Mapping[Place, int]
) -> list[dict]:
    """Each fact that watches: which it is, and the right answers' [before, after].

    rows: where a prompt stands in the readings.
    """
    records = []
    for watching in facts:
        own = [rows[place] for place in watching.places]
        log_p = [_short(reading.log_probabilities[own, 0]) for reading in (before, after)]
        where = {"fact": [watching.relation, watching.fact], "prompts": list(watching.prompts)}
        records.append({**where, "log_p": log_p})
    return records


def _short(values: np.ndarray) -> list[float]:
    """With the digits of a float32, which they were read in: the records are half as long."""
    return [float(str(value)) for value in values.astype(np.float32)]
