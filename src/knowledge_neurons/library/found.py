"""What `find` gives: neurons, and what their reader has to know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from knowledge_neurons.library.model import Said, top_line
from knowledge_neurons.library.scores import Scores
from knowledge_neurons.library.shown import Shown, Table, several
from knowledge_neurons.neurons import thresholds
from knowledge_neurons.types import Neuron

if TYPE_CHECKING:
    from matplotlib.axes import Axes


NAMED = 5  # facts in a line


@dataclass(frozen=True)
class Asked:
    """How neurons are chosen: see `Finding.find`; ValueError for thresholds out of range."""

    coarse: float
    shared: float
    min_prompts: int
    by: str
    shared_by: str

    def __post_init__(self):
        thresholds.check(self.coarse, self.by, self.shared, self.shared_by, self.min_prompts)

    def __str__(self) -> str:
        units = {"share": "of the largest score", "absolute": "in units of the target"}
        unit = units.get(self.by, "by percentile")
        prompts = "of the prompts" if self.shared_by == "share" else "by percentile of counts"
        return f"coarse from {self.coarse:g} {unit}, shared by {self.shared:g} {prompts}"


class Found(Shown, list[Neuron]):
    """The neurons of a fact, a list of `Neuron`, first seen first.

    answer: what was asked for.  said: what the model says to each prompt; first: whether that is
    the answer.  shares: of each neuron the share of prompts in which it is coarse.  means: its mean
    score over the prompts, in units of the target; one that was not kept counts as 0.  scores: of
    the prompts.  refined: whether there were prompts enough, no two of them the same; otherwise
    these are coarse neurons that the prompts share.
    warnings: what speaks against them, in words.  taken_out: neurons of negative prompts.
    """

    def __init__(
        self,
        neurons: Sequence[Neuron],
        scores: Scores,
        said: Sequence[Said],
        first: Sequence[bool],
        counts: Counter[Neuron],
        asked: Asked,
        taken_out: Sequence[Neuron] = (),
        warnings: Sequence[str] = (),
    ):
        super().__init__(neurons)
        self.scores, self.answer, self.said, self.asked = scores, scores.answer, list(said), asked
        self.first = list(first)
        self.taken_out, self.warnings = list(taken_out), list(warnings)
        self.refined = len(set(scores.texts)) >= asked.min_prompts
        totals: Counter[Neuron] = Counter()
        for prompt in scores:
            for layer, index, score in prompt.of_answer:
                totals[Neuron(layer, index)] += score
        self.shares = {neuron: counts[neuron] / len(scores) for neuron in self}
        self.means = {neuron: totals[neuron] / len(scores) for neuron in self}

    def tables(self) -> list[Table]:
        """Neurons, then prompts."""
        kind = several(len(self), f"{'knowledge' if self.refined else 'coarse'} neuron")
        prompts = several(len(self.scores), "prompt")
        neurons = {
            "layer": [neuron.layer for neuron in self],
            "neuron": [neuron.index for neuron in self],
            "of prompts": [self.shares[neuron] for neuron in self],
            "mean score": [self.means[neuron] for neuron in self],
        }
        said = {
            "P(answer)": [one.probability for one in self.said],
            "top answers": [top_line(one.top) for one in self.said],
            "prompt": [one.text for one in self.said],
        }
        title = f"{kind} of {self.answer!r}, from {prompts} ({self.asked})"
        formats = {"of prompts": ".0%", "mean score": ".3g", "P(answer)": ".3g"}
        return [Table(title, neurons, formats), Table("what the model says", said, formats)]

    def notes(self) -> list[str]:
        also = f"taken out, for negative prompts have them too: {named(self.taken_out)}"
        return [*self.warnings, *[also] * bool(self.taken_out), *self.scores.otherwise]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Mean scores over layers and neurons: see `figures.of_neurons.scores`."""
        from knowledge_neurons.figures import of_neurons  # matplotlib takes a second to import

        triplets = [(*neuron, mean) for neuron, mean in self.means.items()]
        label = f"mean score ({self.scores.target})"
        return of_neurons.scores(triplets, self.scores.shape, ax, label)

    def plot_layers(self, ax: Axes | None = None) -> Axes:
        """How many lie in each layer: see `figures.of_neurons.layers`."""
        from knowledge_neurons.figures import of_neurons

        return of_neurons.layers(self, self.scores.shape[0], ax)


def named(neurons: Sequence[Neuron]) -> str:
    """ "(3, 7), (3, 260)"."""
    return ", ".join(f"({layer}, {index})" for layer, index in neurons)


class FoundMany(Shown, list[Found]):
    """What `find_many` gives: a `Found` for each fact, in their order.  names: of the facts."""

    def __init__(self, found: Sequence[Found], names: Sequence[str]):
        super().__init__(found)
        self.names = list(names)

    @property
    def sharing(self) -> np.ndarray:
        """How many neurons two facts have in common, (facts, facts); a fact's own number beside."""
        sets = [set(one) for one in self]
        return np.array([[len(a & b) for b in sets] for a in sets], dtype=int).reshape(
            len(sets), len(sets)
        )

    @property
    def facts_of(self) -> Mapping[Neuron, int]:
        """In how many of the facts each neuron is, the most shared first."""
        counts = Counter(neuron for one in self for neuron in one)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def tables(self) -> list[Table]:
        """A row a fact."""
        columns = {
            "fact": self.names,
            "answer": [one.answer for one in self],
            "neurons": [len(one) for one in self],
            "P(answer)": [float(np.mean([s.probability for s in one.said])) for one in self],
            "said": [f"{sum(one.first)} of {len(one.first)}" for one in self],
            "warnings": [len(one.warnings) for one in self],
        }
        mean = np.mean([len(one) for one in self]) if self else 0.0
        title = f"{several(len(self), 'fact')}, {mean:.2f} neurons a fact"
        return [Table(title, columns, {"P(answer)": ".3g"})]

    def notes(self) -> list[str]:
        """A line for each kind of warning; the words are in the `warnings` of each."""
        facts: dict[str, list[str]] = {}
        for name, one in zip(self.names, self, strict=True):
            for kind in dict.fromkeys(warning.split(":")[0] for warning in one.warnings):
                facts.setdefault(kind, []).append(name)
        return [
            f"{kind}: {several(len(names), 'fact')} ({', '.join(names[:NAMED])}"
            f"{', ...' * (len(names) > NAMED)})"
            for kind, names in facts.items()
        ]

    def plot_sharing(self, ax: Axes | None = None) -> Axes:
        """Facts by facts: see `figures.of_neurons.sharing`."""
        from knowledge_neurons.figures import of_neurons  # matplotlib takes a second to import

        return of_neurons.sharing(self.sharing, self.names, ax)

    def plot_layers(self, ax: Axes | None = None) -> Axes:
        """How many neurons of all facts lie in each layer: see `figures.of_neurons.layers`."""
        from knowledge_neurons.figures import of_neurons

        neurons = [neuron for one in self for neuron in one]
        return of_neurons.layers(neurons, self[0].scores.shape[0] if self else 1, ax)
