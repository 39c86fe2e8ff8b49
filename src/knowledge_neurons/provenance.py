"""What results were made with, and what they cost: the manifests of a results folder, summed up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# The outputs of each stage whose manifests tell its seconds, so that none is counted twice.
TIMED = {
    1: r"[^/]+\.rlt\.jsonl",
    2: r"kn/(kn_bag-[^/]+|statistics)\.json",
    3: r"(modify_activation|dose_response)/[^/]+\.jsonl",
    4: r"distant/[^/]+\.jsonl",
    5: r"trigger_examples_th/[^/]+\.jsonl",
    6: r"edit/[^/]+\.jsonl",
    7: r"erase/[^/]+\.jsonl",
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
        if re.fullmatch(TIMED[1], name)
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
