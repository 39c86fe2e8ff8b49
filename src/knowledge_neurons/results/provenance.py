"""What was run, with what, and what it cost: the manifests of a results folder, summed up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from knowledge_neurons.results import layout
from knowledge_neurons.results.json_files import check_numbers, naming
from knowledge_neurons.results.manifests import start_over
from knowledge_neurons.results.origin import OF_IG, UNNAMED

# The outputs of each stage whose manifests tell its seconds, so that none is counted twice.
TIMED = {
    1: layout.SCORES,
    2: f"{layout.NEURONS}|{layout.STATISTICS}",
    3: f"{layout.CHANGES}|{layout.CURVES}",
    4: layout.ACTIVATIONS,
    5: layout.TRIGGERS,
    6: layout.EDITS,
    7: layout.ERASURES,
    9: f"{layout.MAPS}|{layout.DESCRIBED}",
    10: layout.CONTROLS,
    11: layout.WAYS,
}


@dataclass(frozen=True)
class Provenance:
    """What the outputs of all stages were made with; every different value that occurs, sorted.

    models, data: as they were named on the command line; _sha256: what they were.
    versions: package, and python -> versions.  commits: "-dirty" marks changed files.
    seconds: stage -> wall seconds of its last runs, summed over relations.
    quadrature: relation -> stage 1's audit of its integrals.
    scorers: of stage 1.  rules: what they do, such as "riemann-left, 20 steps".
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
    scorers: list[str]
    rules: list[str]
    quadrature: dict[str, dict[str, Any]]


# Of outputs that the report cannot tell of without: the fields of identity (OF_IG of ig alone) and
# manifest.
NEEDED = {
    layout.SCORES: (("relation", "rule", "steps"), ()),
    f"{layout.NEURONS}|{layout.BASE_NEURONS}": ((), ("neurons_per_fact", "shared_used")),
}


def check_manifest(output: str, manifest: dict[str, Any], path: Path) -> dict[str, Any]:
    """The manifest, whole, if what the report needs of it is there and its numbers are in bounds.

    output: its name, relative to the results folder.  path: where it is.
    Raises ValueError naming the manifest's file and the field.
    """
    with naming(f"manifest of {path}", start_over(path)):
        check_numbers(manifest)
        for pattern, (of_identity, own) in NEEDED.items():
            if re.fullmatch(pattern, output) and (of_identity or "in_band" in manifest):
                identity = manifest.get("identity", {})
                missing = {*of_identity} - identity.keys() | {*own} - manifest.keys()
                missing -= {*OF_IG} if "scorer" in identity else set()
                if missing:
                    raise ValueError(f"it lacks {', '.join(sorted(missing))}")
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
        scorers=_values([UNNAMED | one["identity"] for one in scored.values()], "scorer"),
        rules=sorted({_rule(manifest["identity"]) for manifest in scored.values()}),
        quadrature={r: m["quadrature"] for r, m in sorted(scored.items()) if "quadrature" in m},
    )


def _values(mappings: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    return sorted({mapping[key] for mapping in mappings if mapping.get(key) is not None})


def _rule(identity: Mapping[str, Any]) -> str:
    scorer, target = identity.get("scorer"), identity.get("target")
    how = [scorer or f"{identity['rule']}, {identity['steps']} steps"]
    how += [f"of the {target}"] * bool(target)
    return ", ".join([*how, *filter(None, [identity.get("smoothing")])])


def _seconds(manifests: Mapping[str, Mapping[str, Any]]) -> dict[int, float]:
    """Stages that have run, by number."""
    seconds: dict[int, float] = {}
    for name, manifest in manifests.items():
        for stage, pattern in TIMED.items():
            if re.fullmatch(pattern, name) and "wall_seconds" in manifest:
                seconds[stage] = seconds.get(stage, 0.0) + manifest["wall_seconds"]
    return dict(sorted(seconds.items()))


# --- what stage 1 scored ---------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What stage 1 scored, over all relations.

    layers, width: L and F of the model, every different value.  scored: "0-11", the layers whose
    neurons have scores.  left_out: prompts that a decoder cannot read.  several: prompts whose
    answer has several tokens, by how these were asked.  skipped: facts that cannot be asked.
    """

    model: str
    layers: list[int]
    width: list[int]
    relations: int
    facts: int
    prompts: int
    scored: list[str]
    left_out: int
    several: dict[str, int]
    skipped: int
    cut: int


def model_name(manifest: Mapping[str, Any]) -> str:
    """The last part of what --bert_model named: a hub name, a folder or an archive."""
    named = str(manifest.get("arguments", {}).get("bert_model", "unknown"))
    return PurePath(named).name.removesuffix(".tar.gz")


def run_of(manifests: Mapping[str, Mapping[str, Any]]) -> Run | None:
    """None where no manifest of stage 1 is there."""
    scored = [m for name, m in manifests.items() if re.fullmatch(layout.SCORES, name)]
    if not scored:
        return None
    return Run(
        model=", ".join(sorted({model_name(manifest) for manifest in scored})),
        layers=_values(scored, "layers"),
        width=_values(scored, "neurons_per_layer"),
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
