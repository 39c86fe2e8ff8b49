"""How far the engine is from the literal twin of each family, as shares of the largest number.

python -m tests.reference.family_errors        # the worst of each family, as docs/families.md has
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.neuron_map import drivers
from knowledge_neurons.attribution.quadrature import rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.editing import slots
from knowledge_neurons.editing.interventions import edited_activations
from knowledge_neurons.experiments.distant_activation import neuron_activations
from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.text.encoding import asking_after, asking_between
from knowledge_neurons.types import Edit, Neuron, Prompt, WeightEdit
from tests.reference import families as twin
from tests.reference.edits import updated_slot
from tests.reference.families import CASES, LONG, SHAPE, small

RULE = rule("riemann-left", 4)
MASK = 4
# Several edits of one prompt, of neurons in several layers and in one.
EDITS = (Edit((Neuron(0, 3), Neuron(2, 5), Neuron(2, 36)), 0.0), Edit((Neuron(1, 4),), 2.0))
TOPS = (Neuron(2, 5), Neuron(1, 4), Neuron(2, 36))  # whose drivers are asked for
READ = (Neuron(2, 5), Neuron(0, 3), Neuron(1, 36))


def prompts(name: str, tokens: int, count: int, answers: int = 1) -> list[Prompt]:
    """Random ones of a length, read where the family reads; answers: tokens of the answer."""
    rng = random.Random(f"{name} {tokens}")

    def drawn(many: int) -> list[int]:
        return [rng.randrange(5, SHAPE.vocabulary) for _ in range(many)]

    if CASES[name].causal:
        return [asking_after(drawn(tokens), drawn(answers), 64) for _ in range(count)]
    made = []
    for place in range(count):  # the first at the first token, the last at the last but one
        before = place * (tokens - 2) // max(count - 1, 1)
        parts = drawn(before), drawn(tokens - 1 - before), MASK, drawn(answers)
        made.append(asking_between(*parts, 64))
    return made


def share(found: Tensor | list, expected: Tensor | list) -> float:
    """The largest difference as a share of the largest number."""
    found, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (found, expected))
    return ((found - expected).abs().max() / expected.abs().max()).item()


# --- each is the error of a model in a dtype -------------------------------------------------


def of_scores(name: str, dtype: torch.dtype) -> float:
    """Attribution of all layers and neurons, each prompt's beside its largest."""
    model, worst = small(name, dtype), 0.0
    network = AdaptedNetwork(model)
    for tokens in (2, LONG):
        asked = prompts(name, tokens, 2)
        batch = collate(asked, range(len(asked)))
        clean = passes.clean_pass(network, batch)
        scores = integrated_gradients(network, clean, Probability(batch.answers), RULE)
        for prompt, found in zip(asked, scores, strict=True):
            expected = twin.integrated_gradients(
                name, model, prompt, lambda x, p=prompt: x.softmax(-1)[p.answer], *RULE
            )
            worst = max(worst, share(found, expected))
    return worst


def of_logits(name: str, dtype: torch.dtype) -> float:
    """Of all words, from the clean pass and from the pass that keeps nothing."""
    model, worst = small(name, dtype), 0.0
    network = AdaptedNetwork(model)
    for tokens in (2, LONG):
        asked = prompts(name, tokens, 3)
        batch = collate(asked, range(len(asked)))
        expected = torch.stack([twin.logits(name, model, prompt) for prompt in asked])
        for found in (passes.logits(network, batch), passes.clean_pass(network, batch).logits):
            worst = max(worst, share(found, expected))
    return worst


def of_interventions(name: str, dtype: torch.dtype) -> float:
    """P of answers of two tokens, unedited and under EDITS of several layers."""
    model, worst = small(name, dtype), 0.0
    asked = [p for tokens in (2, LONG) for p in prompts(name, tokens, 2, answers=2)]
    found = answer_probabilities(AdaptedNetwork(model), asked, [EDITS] * len(asked))
    for prompt, values in zip(asked, found, strict=True):
        expected = [twin.probability(name, model, prompt, e) for e in (Edit((), 1.0), *EDITS)]
        worst = max(worst, share(values, expected))
    return worst


def of_activations(name: str, dtype: torch.dtype) -> float:
    """Of READ, in prompts of two lengths."""
    model = small(name, dtype)
    asked = [p for tokens in (2, LONG) for p in prompts(name, tokens, 2)]
    found = neuron_activations(AdaptedNetwork(model), asked, [READ] * len(asked))
    expected = [
        [twin.activations(name, model, prompt, layer)[index].item() for layer, index in READ]
        for prompt in asked
    ]
    return share(found, expected)


def of_edited_activations(name: str, dtype: torch.dtype) -> float:
    """Of READ in prompts of two lengths, unedited and under EDITS of several layers."""
    model, worst = small(name, dtype), 0.0
    for tokens in (2, LONG):
        asked = prompts(name, tokens, 2)
        batch = collate(asked, range(len(asked)))
        edits = [list(EDITS)] * len(asked)
        found = edited_activations(AdaptedNetwork(model), batch, READ, edits)
        for prompt, values in zip(asked, found, strict=True):
            expected = [
                [twin.edited_activation(name, model, prompt, edit, neuron) for neuron in READ]
                for edit in (Edit((), 1.0), *EDITS)
            ]
            worst = max(worst, share(values, expected))
    return worst


def of_drivers(name: str, dtype: torch.dtype) -> float:
    """Of neurons of two layers, each neuron's beside its largest; by chunks of layers too."""
    model, worst = small(name, dtype), 0.0
    network = AdaptedNetwork(model)
    for tokens, memory in ((2, None), (LONG, 1)):
        asked = prompts(name, tokens, 2)
        clean = passes.clean_pass(network, collate(asked, range(len(asked))))
        found = drivers(network, clean, TOPS, RULE, memory=memory)
        for prompt, of_prompt in zip(asked, found, strict=True):
            for top, scores in zip(TOPS, of_prompt, strict=True):
                expected = twin.drivers(name, model, prompt, top, *RULE)
                worst = max(worst, share(scores[: top.layer], expected))
                assert not scores[top.layer :].any()
    return worst


def of_edits(name: str, dtype: torch.dtype) -> float:
    """Log probabilities of answers of two tokens: unedited, a fact updated, neurons erased.

    Raises AssertionError where an edit changes nothing that is read.
    """
    model = small(name, dtype)
    network = AdaptedNetwork(model)
    asked = [p for tokens in (2, LONG) for p in prompts(name, tokens, 2, answers=2)]
    reader, words = Reader(network, asked), model.get_output_embeddings().weight.tolist()
    neurons = [Neuron(0, 3), Neuron(2, 22)]
    update = partial(updated_slot, old=words[8], new=words[9], lambda_1=1.5, lambda_2=8.0)
    changes: list[tuple[WeightEdit | None, Callable]] = [
        (None, lambda slot: slot),
        (slots.update(network, neurons, old=8, new=9, lambda_1=1.5, lambda_2=8.0), update),
        (slots.erase(network, neurons), lambda slot: [0.0] * len(slot)),
    ]
    worst, plain = 0.0, torch.zeros(())
    for edit, new in changes:
        if edit is None:
            found = torch.from_numpy(reader.read().log_probabilities)[:, 0]
        else:
            with slots.edited(network, edit):
                found = torch.from_numpy(reader.read().log_probabilities)[:, 0]
            assert (found - plain).abs().max() > 1e-3, "the edit does not bite"
        changed = twin.with_slots(name, model, dict.fromkeys(neurons, new))
        expected = [_log_probability(name, changed, prompt) for prompt in asked]
        worst = max(worst, share(found, expected))
        plain = found if edit is None else plain
    return worst


def _log_probability(name: str, model: torch.nn.Module, prompt: Prompt) -> float:
    """Of the whole answer."""
    each = [
        twin.logits(name, model, one).log_softmax(-1)[one.answer].item()
        for one in (prompt, *prompt.later)
    ]
    return sum(each)


ERRORS: dict[str, Callable[[str, torch.dtype], float]] = {
    "scores": of_scores,
    "logits": of_logits,
    "interventions": of_interventions,
    "activations": of_activations,
    "edited activations": of_edited_activations,
    "drivers": of_drivers,
    "edits": of_edits,
}


def main() -> None:
    """Print a table: a row for each case, each kind in float32 / float64."""
    print("| model |", " | ".join(ERRORS), "|")
    print("|---|" + "---|" * len(ERRORS))
    for name in CASES:
        cells = []
        for error in ERRORS.values():
            both = (error(name, dtype) for dtype in (torch.float32, torch.float64))
            cells.append(" / ".join(f"{value:.0e}" for value in both))
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
