"""Whether a run's numbers can be set beside the paper's: what each stage was run with decides.

A number depends on the stages that lead to it, so each table has reasons of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from knowledge_neurons.results import layout, published
from knowledge_neurons.results.adopted import Taken, taken
from knowledge_neurons.results.origin import OF_IG, UNNAMED
from knowledge_neurons.results.provenance import model_name, provenance

# Output, relative to the results folder -> its manifest.
Manifests = Mapping[str, Mapping[str, Any]]

# The stages that a table's numbers come from, besides 1 and 2.
TABLES = {
    "counts": (),
    "suppressed": (3,),
    "amplified": (3,),
    "activations": (4,),
    "edits": (6,),
    "erasures": (7,),
}
COMMON = (1, 2)
SHOWN = 16  # characters of a sha256


@dataclass(frozen=True)
class Wanted:
    """A setting as the paper's numbers ask for it: in words, and as a test."""

    words: str
    accepts: Callable[[Any], bool]


def only(*values: Any) -> Wanted:
    """One of these; the first is the released code's."""
    return Wanted(str(values[0]), lambda value: value in values)


def at_most(limit: float) -> Wanted:
    """None stands for no error at all."""
    return Wanted(f"at most {limit:g}", lambda value: value is None or value <= limit)


def at_least(limit: float) -> Wanted:
    return Wanted(f"at least {limit:g}", lambda value: value >= limit)


@dataclass(frozen=True)
class Part:
    """Outputs of a stage: the pattern of their names, how many the paper has, their settings."""

    stage: int
    outputs: str
    count: int | None
    settings: Mapping[str, Wanted]


REFINED = {
    "shared": only(0.7),
    "step": only(0.05),
    "fewest": only(2.0),
    "most": only(5.0),
    "rounds": only(6),
    "min_prompts": only(3),
    "relation_share": only(0.1),
    "max_share": only(1.0),
    "held_out": only(None),
    "answer_token": only(0),
}
PARTS = (
    Part(
        1,
        layout.SCORES,
        published.RELATIONS,
        {
            "lowercase": only(False),
            "layer_norm_eps": only(1e-5, 1e-12),  # the released code's, the model's
            "max_seq_length": at_least(128),
            "rule": only("riemann-left"),
            "steps": only(20),
            "tolerance": at_most(1e-3),
            "dtype": only("float32"),
            "keep": at_most(0.1),
            "layers": only(f"0-{published.LAYERS - 1}"),
            "answers": only("own"),
            **{field: only(default) for field, default in UNNAMED.items()},
        },
    ),
    Part(2, layout.NEURONS, published.RELATIONS, REFINED | {"coarse": only(0.2)}),
    Part(2, layout.BASE_NEURONS, published.RELATIONS, REFINED | {"coarse": only(0.5)}),
    Part(3, layout.CHANGES, published.RELATIONS, {"scales": only([0.0, 2.0])}),
    Part(
        4,
        layout.ACTIVATIONS,
        published.RELATIONS,
        {
            "max_seq_length": only(512),
            "pool_sha256": only(published.SENTENCES_SHA256),
            "pairs_sha256": only(published.PAIRS_SHA256),
        },
    ),
    Part(
        6,
        layout.PAPER_EDITS,
        1,
        {
            "facts_per_relation": only(10),
            "draw": only("released"),
            "variants": only([{"lambda_1": 1.0, "lambda_2": 8.0, "top_k": None}]),
        },
    ),
    Part(
        7,
        layout.PAPER_ERASURES,
        None,
        {"neurons": only(20), "value": only("zero"), "other_sample": only(None)},
    ),
)


@dataclass(frozen=True)
class Comparability:
    """Why numbers cannot be compared with the paper's; empty where they can.

    common: for all of them.  tables: for one table, besides.  verified: whether the model's weights
    are known to be the paper's; False too while no fingerprint of those is known.
    """

    common: list[str]
    tables: Mapping[str, list[str]]
    verified: bool

    def of(self, table: str) -> list[str]:
        return [*self.common, *self.tables[table]]


def comparability(manifests: Manifests) -> Comparability:
    """manifests: as `outcomes` reads them."""
    scored = outputs_of(manifests, 1)
    if not scored:
        others = taken(manifests)
        reasons = (
            _taken(others)
            if others
            else ["no manifest of stage 1 says what model and data these results are of"]
        )
        return Comparability(reasons, {table: [] for table in TABLES}, False)
    common = [*_model(scored), *_data(scored), *_mixture(manifests)]
    for stage in COMMON:
        common += _settings(manifests, stage)
    tables = {
        table: [reason for stage in stages for reason in _settings(manifests, stage)]
        for table, stages in TABLES.items()
    }
    weights = {one["identity"].get("model_sha256") for one in scored}
    return Comparability(common, tables, weights == {published.MODEL_SHA256})


def outputs_of(manifests: Manifests, stage: int) -> list[Mapping[str, Any]]:
    """The manifests of a stage's main outputs."""
    patterns = [part.outputs for part in PARTS if part.stage == stage]
    return [m for name, m in manifests.items() if any(re.fullmatch(p, name) for p in patterns)]


# --- reasons ---------------------------------------------------------------------------------


def _taken(others: Taken) -> list[str]:
    """Of adopted neurons: model, facts and settings are theirs."""
    reasons = [
        f"the neurons are those that {one['by']} published of {one['model']}, the paper's are of "
        f"{published.MODEL}"
        for one in others.sources
    ]
    facts = f"they are of {others.published:,} facts, the paper's of {published.FACTS:,}"
    settings = [f"{key}: {told}" for one in others.sources for key, told in one["settings"].items()]
    return [*reasons, facts, f"they were made otherwise ({'; '.join(settings)})"]


def _model(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    models = sorted({f"{model_name(one)} with {one.get('layers')} layers" for one in scored})
    theirs = f"{published.MODEL} with {published.LAYERS} layers"
    if models != [theirs]:
        return [f"the model is {' and '.join(models)}, the paper's is {theirs}"]
    weights = {one["identity"].get("model_sha256") for one in scored}
    if published.MODEL_SHA256 and weights != {published.MODEL_SHA256}:
        return [f"the model is named {published.MODEL}, but its weights are others (sha256)"]
    return []


def _data(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    ours = (len(scored), *(sum(one.get(key, 0) for one in scored) for key in ("facts", "prompts")))
    paper = (published.RELATIONS, published.FACTS, published.PROMPTS)
    if ours != paper:
        return [f"the data are {_counted(ours)}, the paper's {_counted(paper)}"]
    if {one["identity"].get("data_sha256") for one in scored} != {published.PROMPTS_SHA256}:
        return ["the data are as many as the paper's, but other prompts (data_sha256)"]
    return []


def _mixture(manifests: Manifests) -> list[str]:
    made = provenance(manifests)
    return [
        f"the stages' results are of {len(named)} {what} (by their sha256)"
        for what, named in (("models", made.models_sha256), ("data sets", made.data_sha256))
        if len(named) > 1
    ]


def _settings(manifests: Manifests, stage: int) -> list[str]:
    """What of a stage's settings, or of its relations, is not the paper's."""
    found = []
    all_scored = len(outputs_of(manifests, 1)) == published.RELATIONS  # else `_data` tells it
    for part in (part for part in PARTS if part.stage == stage):
        named = partial(re.fullmatch, part.outputs)
        made = [m.get("identity", {}) for name, m in manifests.items() if named(name)]
        identities = [UNNAMED | identity for identity in made]
        if not identities:
            found.append(f"no manifest of stage {stage} says what it was run with")
            continue
        if part.count not in (None, len(identities)) and all_scored:
            found.append(f"stage {stage} has {len(identities)} relations of {part.count}")
        for field, wanted in part.settings.items():
            others = {str(i.get(field)) for i in identities if not _fits(i, field, wanted)}
            if others:
                words = " and ".join(map(_short, sorted(others)))
                found.append(f"stage {stage} has {field} {words}, the paper {_short(wanted.words)}")
    return list(dict.fromkeys(found))


def _fits(identity: Mapping[str, Any], field: str, wanted: Wanted) -> bool:
    """A field that an identity lacks was not known to the version that wrote it: it does not.

    But of another scorer than ig, which is told, there are no rule, steps and tolerance.
    """
    if field in OF_IG and identity["scorer"] != UNNAMED["scorer"]:
        return True
    return field in identity and wanted.accepts(identity[field])


def _counted(counts: tuple[int, int, int]) -> str:
    relations = f"{counts[0]} relation{'s' * (counts[0] != 1)}"
    return f"{relations}, {counts[1]:,} facts, {counts[2]:,} prompts"


def _short(value: str) -> str:
    """As it is; of a sha256 the start."""
    return f"{value[:SHOWN]}..." if re.fullmatch(r"[0-9a-f]{64}", value) else value
