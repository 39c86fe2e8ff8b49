"""Scores of a fact's prompts: sparse triplets, and the whole (L, F) where it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, SupportsIndex, overload

import numpy as np
from scipy import sparse

from knowledge_neurons.attribution.scorers import IG
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.library.shown import Shown, Table, several
from knowledge_neurons.neurons import refine
from knowledge_neurons.types import PromptScores, Triplet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRONGEST = 4  # scores of a prompt that are printed


@dataclass(frozen=True)
class Kept(PromptScores):
    """A prompt's scores that know how complete they are, whatever list they are put into.

    keep: scores from this share of the largest are there.  total: how many there were, L F.
    """

    keep: float = refine.KEEP
    total: int = 0

    @classmethod
    def of(cls, scores: PromptScores, keep: float, total: int) -> Kept:
        """The same, with Triplet where scoring leaves plain tuples."""
        every = {one.name: getattr(scores, one.name) for one in fields(PromptScores)}
        for name in ("of_answer", "baseline"):
            every[name] = [Triplet(*one) for one in every[name]]
        return cls(**every, keep=keep, total=total)

    def pruned(self, most: int) -> Kept:
        """Without scores that are neither among the `most` largest nor from 0.1 of the largest."""
        ordered = sorted((score for *_, score in self.of_answer), reverse=True)
        if not ordered or ordered[0] <= 0:
            return self
        least = min(refine.KEEP * ordered[0], ordered[max(most, 1) - 1])
        kept = [one for one in self.of_answer if one.score >= least]
        return replace(self, of_answer=kept, keep=max(self.keep, least / ordered[0]))


class Scores(Shown, list[Kept]):
    """One PromptScores a prompt: of_answer in units of the target, baseline in activation.

    texts: the prompts.  answer: what they were asked for.  shape: (L, F).  points: evaluated a
    layer (of each noisy copy), on the mean.  target: what scores are of and in, "probability".
    dense: (P, L, F) float32, every score; None unless it was asked for.  scorer: whose they are.
    smoothing: what noisy copies they are averaged over, None for none.
    """

    def __init__(
        self,
        prompts: Sequence[Kept],
        texts: Sequence[str],
        answer: str,
        shape: tuple[int, int],
        points: float,
        target: str,
        dense: np.ndarray | None = None,
        scorer: str = IG,
        smoothing: Smoothing | None = None,
    ):
        super().__init__(prompts)
        self.texts, self.answer, self.shape = tuple(texts), answer, shape
        self.points, self.target, self.dense = points, target, dense
        self.scorer, self.smoothing = scorer, smoothing

    @property
    def keep(self) -> float:
        """Share of a prompt's largest score from which the scores of every prompt are there."""
        return max((prompt.keep for prompt in self), default=refine.KEEP)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Kept: ...
    @overload
    def __getitem__(self, place: slice) -> Scores: ...
    def __getitem__(self, place):
        """One prompt's, or those of a slice, which are as complete as these."""
        found = super().__getitem__(place)
        if not isinstance(place, slice):
            return found
        dense = None if self.dense is None else self.dense[place]
        about = (self.answer, self.shape, self.points, self.target, dense)
        about += (self.scorer, self.smoothing)
        return Scores(found, self.texts[place], *about)

    def matrix(self, prompt: int = 0) -> np.ndarray:
        """Every score of a prompt, (L, F) float32; ValueError unless all were kept."""
        if self.dense is None:
            raise ValueError(
                f"only scores from {self.keep:g} of a prompt's largest were kept: ask for "
                "scores(..., dense=True), or take sparse()"
            )
        return self.dense[prompt]

    def sparse(self, prompt: int = 0) -> sparse.csr_array:
        """The scores of a prompt that were kept, (L, F)."""
        kept = self[prompt].of_answer
        layers, indices, values = zip(*kept, strict=True) if kept else ((), (), ())
        return sparse.csr_array((values, (layers, indices)), shape=self.shape, dtype=np.float32)

    def tables(self) -> list[Table]:
        """The kept scores of all prompts, a row each, a prompt's largest first."""
        rows = [
            (text, *one)
            for text, own in zip(self.texts, self, strict=True)
            for one in _strongest(own)
        ]
        text, layer, neuron, score = zip(*rows, strict=True) if rows else ((), (), (), ())
        columns = {"prompt": text, "layer": layer, "neuron": neuron, "score": score}
        return [Table(self._title(), columns, {"score": ".3g"})]

    def printed(self) -> list[Table]:
        """A row a prompt."""
        columns = {
            "scores": [len(own.of_answer) for own in self],
            "largest, by layer and neuron": [
                ", ".join(f"({one.layer}, {one.index}) {one.score:.3g}" for one in strongest)
                for strongest in (_strongest(own)[:STRONGEST] for own in self)
            ],
            "the model says": [own.predicted for own in self],
            "prompt": self.texts,
        }
        return [Table(self._title(), columns)]

    def _title(self) -> str:
        return f"scores of {several(len(self), 'prompt')} for {self.answer!r}"

    def notes(self) -> list[str]:
        kept = f"scores from {self.keep:g} of each prompt's largest"
        points = f"; {self.points:.1f} points a layer" * (self.scorer == IG)
        return [f"{kept}, in {self.target}{points}", *self.otherwise]

    @property
    def otherwise(self) -> list[str]:
        """How they were scored where that is not as the paper does, for notes."""
        smoothed = f"the mean over noisy copies ({self.smoothing})"
        said = [f"by {self.scorer}, in {self.target}"] * (self.scorer != IG)
        said += [smoothed] * bool(self.smoothing)
        return [f"scores are {', '.join(said)}"] * bool(said)

    def plot(self, prompt: int = 0, ax: Axes | None = None) -> Axes:
        """A prompt's scores over layers and neurons: see `figures.of_neurons.scores`."""
        from knowledge_neurons.figures import of_neurons  # matplotlib takes a second to import

        return of_neurons.scores(self[prompt].of_answer, self.shape, ax, f"score ({self.target})")


def _strongest(own: Kept) -> list:
    """Triplets of a prompt, the largest score first."""
    return sorted(own.of_answer, key=lambda one: -one.score)
