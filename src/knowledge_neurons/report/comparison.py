"""Ours beside the published number: the difference, and a verdict that means something.

A verdict is passed only where model and data are the paper's; anything else is another experiment,
whatever its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from knowledge_neurons import published
from knowledge_neurons.provenance import TIMED, provenance


class Verdict(Enum):
    """What the published number is to ours."""

    INSIDE = "inside the interval"
    OUTSIDE = "outside the interval"
    SAME = "same as printed"
    DIFFERENT = "differs from print"
    NOT_COMPARABLE = "not comparable"
    NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class Comparison:
    """One number of ours, in the unit of the published one.

    quantity: what; neurons: of which kind.  interval: 95 %, None for a count that has none.
    paper: the published number, None where there is none.  digits: after its point.
    signed: it is a change.  detail, paper_detail: what it was made from, such as "1.45 → 2.48".
    """

    quantity: str
    neurons: str
    ours: float | None
    interval: tuple[float, float] | None
    paper: float | None
    digits: int
    unit: str = ""
    signed: bool = False
    detail: str = ""
    paper_detail: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in its unit (percentage points for percentages)."""
        return None if None in (self.ours, self.paper) else self.ours - self.paper

    def verdict(self, obstacles: Sequence[str]) -> Verdict:
        """obstacles: why the run cannot be compared with the paper's, empty where it can.

        A published number stands for all that round to it: it is inside where one of them is.
        """
        if self.paper is None or self.ours is None:
            return Verdict.NOT_PUBLISHED
        if obstacles:
            return Verdict.NOT_COMPARABLE
        if self.interval is None:
            same = f"{self.ours:.{self.digits}f}" == f"{self.paper:.{self.digits}f}"
            return Verdict.SAME if same else Verdict.DIFFERENT
        half = 0.5 * 10**-self.digits
        low, high = self.interval
        reaches = low <= self.paper + half and self.paper - half <= high
        return Verdict.INSIDE if reaches else Verdict.OUTSIDE


def obstacles(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why these results cannot be compared with the paper's; empty where they can.

    manifests: output -> its manifest, as `outcomes` reads them; those of stage 1 decide.  The model
    is known by its name and its layers: no sha256 of the authors' weights was published.
    """
    scored = [manifest for name, manifest in manifests.items() if re.fullmatch(TIMED[1], name)]
    if not scored:
        return ["no manifest of stage 1 says what model and data these results are of"]
    found = []
    models = sorted({f"{model_name(one)} with {one.get('layers')} layers" for one in scored})
    theirs = f"{published.MODEL} with {published.LAYERS} layers"
    if models != [theirs]:
        found.append(f"the model is {' and '.join(models)}, the paper's is {theirs}")
    ours = (len(scored), *(sum(one.get(key, 0) for one in scored) for key in ("facts", "prompts")))
    paper = (published.RELATIONS, published.FACTS, published.PROMPTS)
    if ours != paper:
        found.append(f"the data are {_counted(ours)}, the paper's {_counted(paper)}")
    made = provenance(manifests)
    for what, named in (("models", made.models_sha256), ("data sets", made.data_sha256)):
        if len(named) > 1:
            found.append(f"the stages' results are of {len(named)} {what} (by their sha256)")
    return found


def model_name(manifest: Mapping[str, Any]) -> str:
    """The last part of what --bert_model named: a hub name, a folder or an archive."""
    named = str(manifest.get("arguments", {}).get("bert_model", "unknown"))
    return PurePath(named).name.removesuffix(".tar.gz")


def _counted(counts: tuple[int, int, int]) -> str:
    names = ("relation", "facts", "prompts")
    relations = f"{counts[0]} {names[0]}{'s' * (counts[0] != 1)}"
    return f"{relations}, {counts[1]:,} facts, {counts[2]:,} prompts"
