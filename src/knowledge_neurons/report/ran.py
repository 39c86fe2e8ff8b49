"""What stage 1 scored, over all relations: which model, how many facts and prompts, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knowledge_neurons.report.comparability import model_name, outputs_of


@dataclass(frozen=True)
class Run:
    """What stage 1 scored, over all relations.

    scored: "0-11", the layers whose neurons have scores.  left_out: prompts that a decoder cannot
    read.  several: prompts whose answer has several tokens, by how these were asked.  skipped:
    facts that cannot be asked.
    """

    model: str
    layers: list[int]
    relations: int
    facts: int
    prompts: int
    scored: list[str]
    left_out: int
    several: dict[str, int]
    skipped: int
    cut: int


def run_of(manifests: Mapping[str, Mapping[str, Any]]) -> Run | None:
    """None where no manifest of stage 1 is there."""
    scored = outputs_of(manifests, 1)
    if not scored:
        return None
    return Run(
        model=", ".join(sorted({model_name(manifest) for manifest in scored})),
        layers=sorted({manifest["layers"] for manifest in scored if "layers" in manifest}),
        relations=len(scored),
        facts=sum(manifest.get("facts", 0) for manifest in scored),
        prompts=sum(manifest.get("prompts", 0) for manifest in scored),
        scored=sorted({one.get("identity", {}).get("layers", "") for one in scored} - {""}),
        left_out=sum(sum(one.get("prompts_left_out", {}).values()) for one in scored),
        several=_several(scored),
        skipped=sum(len(manifest.get("skipped_facts", ())) for manifest in scored),
        cut=sum(manifest.get("prompts_cut", 0) for manifest in scored),
    )


def _several(scored: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How answers of several tokens were asked -> of how many prompts."""
    found: Counter[str] = Counter()
    for one in scored:
        counts = one.get("answers_of_several_tokens", {})
        found[one.get("identity", {}).get("answers", "own")] += sum(counts.values())
    return {how: count for how, count in found.items() if count}
