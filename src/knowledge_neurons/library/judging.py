"""What speaks against the neurons of a fact, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from knowledge_neurons.attribution import fact_scores
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.library.found import Asked
from knowledge_neurons.library.model import Model, Said
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.networks.passes import clean_pass
from knowledge_neurons.neurons import refine
from knowledge_neurons.text.encoding import AnswerNotInVocabulary, encode_open
from knowledge_neurons.types import Fact, Neuron, Prompt

LIKELIER = 10.0  # times: another way to write the answer is worth a hint
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


@dataclass(frozen=True)
class Ready:
    """A fact that is about to be scored: its texts as tokens, and those of its negative prompts."""

    texts: tuple[str, ...]
    answer: str
    prompts: list[Prompt]
    negative: tuple[list[Prompt], ...] = ()


def said_of(model: Model, own: Ready) -> tuple[list[Said], list[bool]]:
    """What the model says to each prompt, and whether the answer is what it says."""
    reading = Reader(model.model, own.prompts).read()
    rows = zip(own.texts, reading.log_probabilities[:, 0], model.guesses(own.prompts), strict=True)
    said = [Said(text, float(np.exp(log_p)), top[0]) for text, log_p, top in rows]
    return said, reading.said[:, 0].tolist()


def likelier(model: Model, own: Ready, said: Sequence[Said]) -> str | None:
    """A hint at another way to write the answer, or a word like it, that the model does say."""
    mine = float(np.mean([one.probability for one in said]))
    word = own.answer
    others = (word.capitalize(), word.title(), word.lower(), word.upper(), *model.nearest(word))
    for other in dict.fromkeys(others):
        if other == word:
            continue
        try:
            p = np.mean(model.probabilities(own.texts, other))
        except AnswerNotInVocabulary:
            continue
        if p > LIKELIER * mine and p > 0.01:
            return f"did you mean {other!r}?  Its probability is {p:.2g}, of {word!r} {mine:.2g}"
    return None


def warnings_of(
    own: Ready,
    first: Sequence[bool],
    neurons: Sequence[Neuron],
    counts: Counter[Neuron],
    asked: Asked,
) -> list[str]:
    """What a fact's own prompts say against its neurons."""
    warnings = []
    right, prompts = sum(first), len(first)
    if 2 * right < prompts:
        warnings.append(
            f"the model does not say this: {own.answer!r} is its first answer to {right} of "
            f"{prompts} prompts; these neurons raise its probability, they hold no known fact"
        )
    if prompts < asked.min_prompts:
        warnings.append(
            f"too few prompts to refine: {prompts}, at least {asked.min_prompts} are needed; these "
            "are coarse neurons, and depend on the wording"
        )
    if len(own.prompts[0].answers) > 1:
        warnings.append(
            f"the answer has {len(own.prompts[0].answers)} tokens: the neurons are those of its "
            "first, probabilities are of the whole"
        )
    if lowest := [f"({n.layer}, {n.index})" for n in neurons if n.layer == 0]:
        warnings.append(
            f"layer 0: {', '.join(lowest)}; neurons of the lowest layer tend to follow words of "
            "the prompt, whatever it asks"
        )
    if not neurons:
        most = max(counts.values(), default=0)
        warnings.append(f"no neuron is left; the most shared one is coarse in {most} prompts")
    return warnings


def everywhere(engine: Engine) -> set[Neuron]:
    """Neurons that are coarse for most unrelated texts, asked for the model's own answer."""
    engine = replace(engine, settings=replace(engine.settings, keep=refine.KEEP))
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
