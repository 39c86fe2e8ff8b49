"""Scores of a fact's prompts: sparse triplets, and the whole (L, F) where it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from knowledge_neurons.library.shown import Shown, Table
from knowledge_neurons.types import PromptScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Scores(Shown, list[PromptScores]):
    """One PromptScores a prompt: of_answer in probability, baseline in activation.

    texts: the prompts.  answer: what they were asked for.  shape: (L, F).  keep: share of a
    prompt's largest score from which scores are there.  points: evaluated a layer, on the mean.
    dense: (P, L, F) float32, every score; None unless it was asked for.
    """

    def __init__(
        self,
        prompts: Sequence[PromptScores],
        texts: Sequence[str],
        answer: str,
        shape: tuple[int, int],
        keep: float,
        points: float,
        dense: np.ndarray | None = None,
    ):
        super().__init__(prompts)
        self.texts, self.answer, self.shape = tuple(texts), answer, shape
        self.keep, self.points, self.dense = keep, points, dense

    def __getitem__(self, place):
        """One prompt's, or those of a slice, which are as complete as these."""
        found = super().__getitem__(place)
        if not isinstance(place, slice):
            return found
        dense = None if self.dense is None else self.dense[place]
        about = (self.answer, self.shape, self.keep, self.points, dense)
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
        layers, indices, values = zip(*self[prompt].of_answer, strict=True) or ((), (), ())
        return sparse.csr_array((values, (layers, indices)), shape=self.shape, dtype=np.float32)

    def tables(self) -> list[Table]:
        """The kept scores of all prompts, a row each."""
        rows = [(text, *one) for text, own in zip(self.texts, self, strict=True)
                for one in own.of_answer]  # fmt: skip
        text, layer, neuron, score = zip(*rows, strict=True) if rows else ((), (), (), ())
        columns = {"prompt": text, "layer": layer, "neuron": neuron, "score": score}
        title = f"scores of {len(self)} prompts for {self.answer!r}"
        return [Table(title, columns, {"score": ".3g"})]

    def notes(self) -> list[str]:
        kept = f"scores from {self.keep:g} of each prompt's largest"
        return [f"{kept}, in probability; {self.points:.1f} points a layer"]

    def plot(self, prompt: int = 0, ax: Axes | None = None) -> Axes:
        """A prompt's scores over layers and neurons: see `figures.of_neurons.scores`."""
        from knowledge_neurons.figures import of_neurons  # matplotlib takes a second to import

        return of_neurons.scores(self[prompt].of_answer, self.shape, ax)
