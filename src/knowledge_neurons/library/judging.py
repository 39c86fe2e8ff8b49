"""What speaks against the neurons of a fact, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from knowledge_neurons.attribution import fact_scores
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.library.found import Asked, Found, named
from knowledge_neurons.library.model import Model, Said
from knowledge_neurons.library.shown import several
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.networks.passes import clean_pass
from knowledge_neurons.neurons import refine
from knowledge_neurons.text.encoding import encode_open
from knowledge_neurons.types import Fact, Neuron, Prompt

# Another way to write the answer is worth a hint from so much, and so many times the answer's own.
LEAST, LIKELIER = 0.01, 10.0
# Texts that have nothing to do with anybody's fact.  A neuron that is coarse for most of them,
# whatever the model would say there, raises many answers.
UNRELATED = (
    "She opened the door and saw a [MASK].",
    "After the rain the children played in the [MASK].",
    "He has never been so [MASK].",
    "In the evening we talked about [MASK].",
    "The price of this went up by [MASK].",
)
MOST = 3  # of them
FEWEST = 4  # points a layer for them


@dataclass(frozen=True)
class Ready:
    """A fact that is about to be scored: its texts, the same as tokens, its negative prompts."""

    texts: tuple[str, ...]
    answer: str
    prompts: list[Prompt]
    negative: tuple[Ready, ...] = ()


def said_of(model: Model, own: Ready) -> tuple[list[Said], list[bool]]:
    """What the model says to each prompt, and whether the answer is what it says."""
    reading = Reader(model.model, own.prompts).read()
    rows = zip(own.texts, reading.log_probabilities[:, 0], model._guesses(own.prompts), strict=True)
    said = [Said(text, float(np.exp(log_p)), top[0]) for text, log_p, top in rows]
    return said, reading.said[:, 0].tolist()


def likelier(model: Model, own: Ready, said: Sequence[Said]) -> str | None:
    """A hint at another way to write the answer, or a word like it, that the model does say."""
    word, tokens = own.answer.strip(), len(own.prompts[0].answers)
    others = [word.capitalize(), word.title(), word.lower(), word.upper()]
    others += model._nearest(word) if tokens > 1 else []  # a word of its own is no slip
    chains = {}
    for other in dict.fromkeys(others):
        with suppress(ValueError):  # the model cannot say it
            chains[other] = [one.answers for one in model._encode_as_is(own.texts, other)]
    chains = {  # what is likelier has no more tokens
        other: answers
        for other, answers in chains.items()
        if other != word and len(answers[0]) <= tokens
    }
    if not chains:
        return None
    reader = Reader(model.model, own.prompts, list(zip(*chains.values(), strict=True)))
    p = np.exp(reader.read().log_probabilities).mean(0)  # of each
    mine, best = float(np.mean([one.probability for one in said])), int(p.argmax())
    if p[best] < LEAST or p[best] < LIKELIER * mine:
        return None
    return (
        f"written otherwise it is likelier: did you mean {[*chains][best]!r}?  Its probability is "
        f"{p[best]:.2g}, of {own.answer!r} {mine:.2g}"
    )


def warnings_of(
    own: Ready,
    first: Sequence[bool],
    neurons: Sequence[Neuron],
    counts: Counter[Neuron],
    asked: Asked,
    taken_out: Sequence[Neuron] = (),
) -> list[str]:
    """What a fact's own prompts say against its neurons: of what kind, a colon, the words."""
    warnings = []
    right, prompts, different = sum(first), len(first), len(set(own.texts))
    if 2 * right < prompts:
        warnings.append(
            f"the model does not say this: {own.answer!r} is its first answer to {right} of "
            f"{several(prompts, 'prompt')}; these neurons raise its probability, they hold no "
            "known fact"
        )
    if different < asked.min_prompts:
        warnings.append(
            f"too few prompts to refine: {different}{' different' * (different < prompts)}, at "
            f"least {asked.min_prompts} are needed; these are coarse neurons, and depend on the "
            "wording"
        )
    if cut := sum(prompt.cut for prompt in own.prompts):
        warnings.append(
            f"prompts were cut: {cut} of {prompts} are longer than the model can read, and lost a "
            "part"
        )
    if len(own.prompts[0].answers) > 1:
        warnings.append(
            f"an answer of several tokens: {own.answer!r} has {len(own.prompts[0].answers)}; the "
            "neurons are those of the first, probabilities are of the whole"
        )
    if lowest := [neuron for neuron in neurons if neuron.layer == 0]:
        warnings.append(
            f"layer 0: {named(lowest)}; neurons of the lowest layer tend to follow words of the "
            "prompt, whatever it asks"
        )
    if not neurons:
        most = max(counts.values(), default=0)
        why = f"the most shared one is coarse in {most} of {several(prompts, 'prompt')}"
        warnings.append(f"no neuron is left: {'negative prompts have all' if taken_out else why}")
    return warnings


def warn_of_shared(found: Sequence[Found], everywhere: Callable[[], set[Neuron]]) -> None:
    """Warn of neurons that most of many facts have, or unrelated texts beside few.

    everywhere: gives the neurons of unrelated texts.
    """
    wanted = {neuron for one in found for neuron in one}
    if not wanted:
        return
    if len({one.answer for one in found}) >= len(UNRELATED):
        counts = Counter(neuron for one in found for neuron in one)
        shared = {neuron for neuron, count in counts.items() if 2 * count > len(found)}
        where = f"more than half of these {len(found)} facts have them"
    else:
        shared = everywhere() & wanted
        where = f"{MOST} or more of {len(UNRELATED)} unrelated texts have them"
    for one in found:
        if mine := [neuron for neuron in one if neuron in shared]:
            one.warnings.append(f"shared by everything: {named(mine)}; {where}")


def everywhere(engine: Engine) -> set[Neuron]:
    """Neurons that are coarse for most unrelated texts, asked for the model's own answer.

    By few points and without noise: a warning can do with less accuracy than a result.
    """
    fewest = tuple(FEWEST * bool(points) for points in engine.scheme.first)
    engine = replace(
        engine,
        settings=replace(engine.settings, keep=refine.KEEP, smoothing=None),
        scheme=replace(engine.scheme, first=fewest, weight=0.0),
    )
    texts = encode_open(UNRELATED, engine.tokenizer, engine.model.max_tokens)
    asked: list[Prompt] = []
    for batch in fact_scores.batches(engine, texts):
        predicted = clean_pass(engine.model, batch).predicted.tolist()
        rows = zip(batch.order, predicted, strict=True)
        asked += [replace(texts[place], answer=token) for place, token in rows]
    fact = Fact("own", "unrelated", 0, "", UNRELATED)
    ((scored,),) = fact_scores.score_facts(engine, [fact], [asked])
    coarse = (one.of_answer for one in scored.prompts)
    counts = refine.count_coarse(coarse, refine.THRESHOLDS.coarse).counts
    return set(refine.at_least(counts, MOST))
