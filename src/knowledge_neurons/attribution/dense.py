"""Every score of some prompts, by whatever scorer; smoothed, the mean over noisy copies.

Smoothed, scores are means over noisy copies of the model, before any is left out as too small.  A
group of facts goes through one copy after the other, so weights are multiplied and put back once a
group and copy.  All else is of the model as it is: activations, the predicted token and
probabilities; the numbers of points that calibration allows, whose error indicator still checks
every prompt of every copy; and the audit, which compares its own scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from knowledge_neurons.attribution import adaptive
from knowledge_neurons.attribution.scorers import IG, scores_in
from knowledge_neurons.attribution.smoothing import Smoothing, smoothed
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.passes import CleanPass, clean_pass
from knowledge_neurons.types import Batch

if TYPE_CHECKING:  # it scores facts with what is here
    from knowledge_neurons.attribution.fact_scores import Engine

# Of a batch the clean pass, each kind of scores (B, L, F), points evaluated for them (B,).
Dense = tuple[CleanPass, dict[str, Tensor], Tensor]


def dense_scores(engine: Engine, planned: Sequence[Batch]) -> Iterator[Dense]:
    """Of each batch the clean pass, each kind of scores (B, L, F) that is asked for, and the points
    evaluated for them, (B,).  Layers not scored are zero, but for the baseline.

    Smoothed, scores are on the CPU, and those of all batches are held at once, three times over: 12
    L F bytes a prompt and kind, 0.5 GB for a GPU's group of bert-base's; the weights twice.
    """
    smoothing = engine.settings.smoothing
    if smoothing and planned:
        yield from _smoothed(engine, planned, smoothing)
        return
    for batch in planned:
        clean = clean_pass(engine.model, batch)
        dense, points = _dense(engine, engine.model, clean, clean.predicted)
        yield clean, dense | _baseline(engine, clean), points


def _smoothed(engine: Engine, planned: Sequence[Batch], smoothing: Smoothing) -> Iterator[Dense]:
    """`dense_scores`, the mean over noisy copies."""
    predicted = [clean_pass(engine.model, batch).predicted for batch in planned]
    points = [torch.zeros(len(tokens), dtype=torch.long) for tokens in predicted]
    kinds: list[str] = []

    def score(copy: Network) -> Tensor:
        """By one copy, of all prompts: (K, P, L, F)."""
        found = []
        for place, batch in enumerate(planned):
            clean = clean_pass(copy, batch)
            dense, evaluated = _dense(engine, copy, clean, predicted[place])
            points[place] += evaluated
            kinds[:] = dense
            found.append(torch.stack([*dense.values()]).cpu())
        return torch.cat(found, dim=1)

    means = smoothed(engine.model, smoothing, score)
    parts = means.split([len(tokens) for tokens in predicted], dim=1)
    for batch, part, evaluated in zip(planned, parts, points, strict=True):
        clean = clean_pass(engine.model, batch)
        dense = dict(zip(kinds, part, strict=True))
        yield clean, dense | _baseline(engine, clean), evaluated


def _dense(
    engine: Engine, model: Network, clean: CleanPass, predicted: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """One model's scores and points.  predicted: (B,), which may be those of another."""
    settings, dense = engine.settings, {}
    points = torch.zeros(len(predicted), dtype=torch.long)
    for name, wanted, tokens in (
        ("of_answer", settings.of_answer, clean.batch.answers),
        ("of_prediction", settings.of_prediction, predicted),
    ):
        if not wanted:
            continue
        if settings.scorer == IG:
            of = engine.target(tokens)
            found = adaptive.adaptive_gradients(model, clean, of, engine.scheme, engine.memory)
            dense[name] = found.scores
            points += found.points.sum(dim=1)
        else:
            how = engine.scheme.layers, settings.scorer
            dense[name] = scores_in(*how, model, clean, tokens, engine.memory)
    return dense, points


def _baseline(engine: Engine, clean: CleanPass) -> dict[str, Tensor]:
    return {"baseline": clean.activations} if engine.settings.baseline else {}
