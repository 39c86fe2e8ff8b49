"""What results were made with, and what they cost: the manifests of a results folder, summed up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Required, TypedDict

from knowledge_neurons.results import layout
from knowledge_neurons.results.json_files import check_numbers, convert, naming
from knowledge_neurons.results.manifests import start_over
from knowledge_neurons.types import Count, Index, Number, Share

# The outputs of each stage whose manifests tell its seconds, so that none is counted twice.
TIMED = {
    1: layout.SCORES,
    2: f"{layout.NEURONS}|{layout.STATISTICS}",
    3: f"{layout.CHANGES}|{layout.CURVES}",
    4: layout.ACTIVATIONS,
    5: layout.TRIGGERS,
    6: layout.EDITS,
    7: layout.ERASURES,
}


@dataclass(frozen=True)
class Provenance:
    """What the outputs of all stages were made with; every different value that occurs, sorted.

    models, data: as they were named on the command line; _sha256: what they were.
    versions: package, and python -> versions.  commits: "-dirty" marks changed files.
    seconds: stage -> wall seconds of its last runs, summed over relations.
    quadrature: relation -> stage 1's audit of its integrals.
    rules: such as "riemann-left, 20 steps".
    """

    models: list[str]
    models_sha256: list[str]
    data: list[str]
    data_sha256: list[str]
    seeds: list[int]
    devices: list[str]
    machines: list[str]
    versions: dict[str, list[str]]
    commits: list[str]
    seconds: dict[int, float]
    rules: list[str]
    quadrature: dict[str, dict[str, Any]]


# --- what is read of manifests, as types -----------------------------------------------------


class _Arguments(TypedDict, total=False):
    bert_model: str
    data_path: str
    seed: int


class _Identity(TypedDict, total=False):
    model_sha256: str
    data_sha256: str
    seed: int


class _Manifest(TypedDict, total=False):
    """The manifest of any output."""

    identity: _Identity
    arguments: _Arguments
    made_with: dict[str, str | None]
    device: str
    wall_seconds: Number


class _ScoresIdentity(_Identity, total=False):
    relation: Required[str]
    rule: Required[str]
    steps: Required[Count]
    tolerance: Number | None
    keep: Share
    max_seq_length: Count


class _Integral(TypedDict):
    prompts: Count
    median: Number
    p95: Number
    largest: Number
    coarse_same: Share
    completeness_gap: Number


class _Quadrature(TypedDict):
    tolerance: Number | None
    points_per_layer: Number
    audited_facts: Count
    audited_prompts: Count
    over_tolerance: Count
    worst_error: Number
    coarse_same: Count
    refined_same: Count
    repaired_facts: list[Index]
    integral: NotRequired[_Integral]


class _ScoresManifest(_Manifest, total=False):
    """The manifest of a relation's scores."""

    identity: Required[_ScoresIdentity]
    facts: Count
    prompts: Count
    prompts_cut: Count
    skipped_facts: list[Index]
    quadrature: _Quadrature


class _RefinedManifest(_Manifest, total=False):
    """The manifest of a relation's neurons, since it tells whether p brought them into the band."""

    in_band: Required[bool]
    neurons_per_fact: Required[Number]
    shared_used: Required[Number]


def check_manifest(output: str, manifest: dict[str, Any], path: Path) -> dict[str, Any]:
    """The manifest, whole, if what is read of it here and in the report has the right types.

    output: its name, relative to the results folder.  path: where it is.
    Raises ValueError naming the manifest's file and the field.
    """
    kind: type = _RefinedManifest if "in_band" in manifest else _Manifest
    if re.fullmatch(layout.SCORES, output):
        kind = _ScoresManifest
    convert(manifest, kind, f"manifest of {path}", start_over(path))
    with naming(f"manifest of {path}", start_over(path)):
        check_numbers(manifest)
    return manifest


def provenance(manifests: Mapping[str, Mapping[str, Any]]) -> Provenance:
    """manifests: output, relative to the results folder -> its manifest, as `outcomes` reads."""
    all_of = list(manifests.values())
    identities = [manifest.get("identity", {}) for manifest in all_of]
    arguments = [manifest.get("arguments", {}) for manifest in all_of]
    made_with = [manifest.get("made_with", {}) for manifest in all_of]
    packages = sorted({name for made in made_with for name in made} - {"commit", "machine"})
    scored = {
        manifest["identity"]["relation"]: manifest
        for name, manifest in manifests.items()
        if re.fullmatch(layout.SCORES, name)
    }
    return Provenance(
        models=_values(arguments, "bert_model"),
        models_sha256=_values(identities, "model_sha256"),
        data=_values(arguments, "data_path"),
        data_sha256=_values(identities, "data_sha256"),
        seeds=_values([*identities, *arguments], "seed"),
        devices=_values(all_of, "device"),
        machines=_values(made_with, "machine"),
        versions={name: _values(made_with, name) for name in packages},
        commits=_values(made_with, "commit"),
        seconds=_seconds(manifests),
        rules=sorted({_rule(manifest["identity"]) for manifest in scored.values()}),
        quadrature={r: m["quadrature"] for r, m in sorted(scored.items()) if "quadrature" in m},
    )


def _values(mappings: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    return sorted({mapping[key] for mapping in mappings if mapping.get(key) is not None})


def _rule(identity: Mapping[str, Any]) -> str:
    return f"{identity['rule']}, {identity['steps']} steps"


def _seconds(manifests: Mapping[str, Mapping[str, Any]]) -> dict[int, float]:
    """Stages that have run, by number."""
    seconds: dict[int, float] = {}
    for name, manifest in manifests.items():
        for stage, pattern in TIMED.items():
            if re.fullmatch(pattern, name) and "wall_seconds" in manifest:
                seconds[stage] = seconds.get(stage, 0.0) + manifest["wall_seconds"]
    return dict(sorted(seconds.items()))
