"""What results are made from: the fields of model and prompts that stages record and compare.

A field that an older file does not name is not compared: it says nothing about it.  What stage 1
names only where it is not the default, `UNNAMED`, is the default there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knowledge_neurons.results.manifests import read_manifest

MODEL = ("model_sha256", "tokenizer_sha256", "lowercase", "layer_norm_eps")
COMMON = (*MODEL, "data_sha256")
# What scores must have in common for neurons that are found in them to be compared.
SCORING = (*MODEL, "rule", "steps", "keep", "max_seq_length", "layers", "answers")
UNNAMED = {"scorer": "ig", "target": "probability", "smoothing": None}
SCORING += tuple(UNNAMED)
OF_IG = ("rule", "steps", "tolerance")  # other scorers have none


def scores_of(neurons: Path) -> dict[str, Any]:
    """The identity of the scores that a file of neurons was refined from, as its manifest has it.

    Empty for a file of the released code, which has no manifest.
    """
    manifest = read_manifest(neurons) or {}
    return manifest.get("identity", {}).get("scores", {})


def check(neurons: Path, now: Mapping[str, Any]) -> None:
    """Raise ValueError for neurons of another model, tokenizer or prompts than those loaded now.

    now: at least COMMON.
    """
    identity = (read_manifest(neurons) or {}).get("identity", {})
    made_from, of = identity.get("scores", {}), "other scores"
    advice = "Take the model and the prompts that stage 1 had, or run stages 1 and 2 again"
    if adopted := identity.get("adopted"):
        made_from, of = identity, f"another model or other prompts ({adopted['by']}'s)"
        advice = f"Take {adopted['model']}, and the prompts that the neurons were matched with"
    for field in COMMON:
        if field in made_from and made_from[field] != now[field]:
            raise ValueError(
                f"{neurons} is of {of}: {field} was {made_from[field]!r} and is "
                f"{now[field]!r} now.  {advice}"
            )


def check_shape(neurons: Path, layers: int, width: int) -> None:
    """Raise ValueError for adopted neurons of a model with other layers, L of F neurons.

    No weights of theirs are known to compare.
    """
    manifest = read_manifest(neurons) or {}
    there = manifest.get("layers", layers), manifest.get("neurons_per_layer", width)
    if there != (layers, width):
        raise ValueError(
            f"{neurons} is of a model with {there[0]} layers of {there[1]} neurons, this one has "
            f"{layers} of {width}"
        )


def first_difference(
    identities: Mapping[str, Mapping[str, Any]], fields: tuple[str, ...]
) -> str | None:
    """How two of the identities, by name, disagree in one of the fields; None where all agree."""
    every = {name: UNNAMED | own for name, own in identities.items() if own}
    for field in fields:
        named = [(name, own[field]) for name, own in every.items() if field in own]
        for name, value in named[1:]:
            first, expected = named[0]
            if value != expected:
                return f"of {name} and {first}: {field} is {value!r} and {expected!r}"
    return None
