"""How few points will do: found by the first relation of a folder, kept there for all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from knowledge_neurons.attribution import quadrature_audit
from knowledge_neurons.attribution.fact_scores import Engine
from knowledge_neurons.results.json_files import naming, write_json
from knowledge_neurons.results.manifests import read_json
from knowledge_neurons.stages.inputs import Inputs
from knowledge_neurons.types import Count


class Calibration(TypedDict):
    """What the first relation leaves to the others: for what, and points that each layer tries."""

    identity: dict[str, Any]
    prompts: Count
    points_tried: list[int]


# What decides how many points each layer tries; a calibration that differs in it is made anew.
CALIBRATED_FOR = (
    *("model_sha256", "tokenizer_sha256", "data_sha256", "lowercase", "layer_norm_eps"),
    *("max_seq_length", "rule", "steps", "tolerance", "seed", "layers", "target"),
)


def calibrated(engine: Engine, inputs: Inputs, identity: Mapping[str, Any]) -> Engine:
    """The engine with the points that an earlier run of any relation found, or finds now."""
    if engine.scheme.exact:
        return engine
    path = inputs.settings.results.calibration
    about = {key: identity[key] for key in CALIBRATED_FOR if key in identity}
    advice = "Remove the file to calibrate anew"
    if path.exists():
        kept = read_json(path, Calibration, advice)
        if kept["identity"] == about:
            with naming(path, advice):
                return quadrature_audit.calibrated(engine, kept["points_tried"])
    sample = quadrature_audit.draw_sample(
        inputs.bags, inputs.source, engine.tokenizer, inputs.max_tokens, inputs.settings.seed
    )
    engine = quadrature_audit.calibrate(engine, sample)
    found = Calibration(identity=about, prompts=len(sample), points_tried=[*engine.scheme.first])
    write_json(path, found, readable=True)
    return engine
