"""One prompt on random models of real shapes: seconds, memory; the plan's memory of larger ones.

    python -m benchmarks.scale_models time SHAPE TOKENS PROMPTS    # in a process of its own
    python -m benchmarks.scale_models plan

The last line is JSON.  Scored are all layers with POINTS points each, about what the default takes
of a real model; seconds are CPU seconds of one thread.  Random weights are made in memory, so the
peak is that of the work; reading a checkpoint may take more, which the plan counts.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import torch

from benchmarks.random_models import BERT_BASE, random_bert
from custom_bert import BertConfig
from knowledge_neurons import ROOT
from knowledge_neurons.attribution import fact_scores
from knowledge_neurons.networks import shapes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.planning import estimate, tried
from knowledge_neurons.planning.estimate import GIB, MIB
from knowledge_neurons.planning.survey import Survey, survey
from knowledge_neurons.text import strict_json
from knowledge_neurons.types import Fact, Prompt

POINTS = 4  # of a layer: 4.2 of the demo's BERT
LEAST, MOST = 2.0, 5  # seconds of repeating, times; the least time counts
SAMPLE = ROOT / "data/PARAREL/sample_allbags.json"
BUDGET = {"cpu": GIB, "cuda": 16 * GIB}  # bytes of a batch, the most that is taken by default
BERTS = {"bert-base": BERT_BASE, "bert-large": BertConfig(28_996, 1024, 24, 16, 4096)}


def _llama(width: int, layers: int, neurons: int, heads: tuple[int, int], words: int, tied: bool):
    """heads: of queries, of keys."""
    return {
        **{"model_type": "llama", "vocab_size": words, "hidden_size": width},
        **{"num_hidden_layers": layers, "intermediate_size": neurons},
        **{"num_attention_heads": heads[0], "num_key_value_heads": heads[1]},
        **{"head_dim": width // heads[0], "tie_word_embeddings": tied},
    }


LLAMAS = {
    "SmolLM2-135M": _llama(576, 30, 1536, (9, 3), 49_152, True),
    "1B": _llama(2048, 16, 8192, (32, 8), 128_256, True),  # Llama 3.2's
    "3B": _llama(3072, 28, 8192, (24, 8), 128_256, True),
    "7B": _llama(4096, 32, 11_008, (32, 32), 32_000, False),  # Llama 2's
}


def config_of(name: str) -> BertConfig:
    """Of a BERT that is timed."""
    if name in BERTS:
        return BERTS[name]
    fields = BertConfig.__dataclass_fields__
    told = strict_json.read_object(ROOT / "models/demo-bert/config.json")
    return BertConfig(**{key: value for key, value in told.items() if key in fields})


# --- timed -----------------------------------------------------------------------------------


def facts_of(config: BertConfig, tokens: int, prompts: int) -> tried.Facts:
    """One fact asked for by so many random prompts, read in their middle."""
    generator = torch.Generator().manual_seed(tokens)
    ids = torch.randint(config.vocab_size, (prompts, tokens), generator=generator).tolist()
    own = [Prompt(tuple(row), tokens // 2, row[0]) for row in ids]
    return [(Fact("P0", "invented", 0, "", ("",) * prompts), own)]


def timed(name: str, tokens: int, prompts: int) -> dict[str, Any]:
    """Seconds a prompt and the peak of this process, of one fact."""
    torch.set_num_threads(1)
    config = config_of(name)
    model = random_bert(config, seed=0)
    with_model = peak_mib()
    tried.scoring(model, facts_of(config, 8, 1), POINTS)()  # warm
    work = tried.scoring(model, facts_of(config, tokens, prompts), POINTS)
    times: list[float] = []
    while len(times) < MOST and sum(times) < LEAST:
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return {
        "shape": name,
        "tokens": tokens,
        "prompts": prompts,
        "seconds_a_prompt": round(min(times) / prompts, 5),
        "runs": len(times),
        "with_model_mib": round(with_model),
        "peak_mib": round(peak_mib()),
    }


def peak_mib() -> float:
    """Of this process so far (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- planned ---------------------------------------------------------------------------------


def plans() -> dict[str, Any]:
    """Stage 1's peak memory of every shape, on the sample's facts; no weight is allocated."""
    read = {causal: survey(SAMPLE, None, "", None, causal) for causal in (False, True)}
    networks = {name: shapes.of_config(config_of(name)) for name in ("demo", *BERTS)}
    networks |= {name: shapes.of_config(config) for name, config in LLAMAS.items()}
    rows = [planned(name, one, read[one.causal]) for name, one in networks.items()]
    return {"tokens": round(read[False].tokens), "rows": rows, "peak_mib": round(peak_mib())}


def planned(name: str, network: Network, asked: Survey) -> dict[str, Any]:
    host, gpu = (
        estimate.peaks(1, network, asked, POINTS, budget, torch.device(kind))
        for kind, budget in BUDGET.items()
    )
    parameters = shapes.parameters(network)
    return {
        "shape": name,
        "layers": network.shape.layers,
        "neurons": network.shape.neurons,
        "parameters": parameters,
        "weights_mib": round(4 * parameters / MIB),
        "host_mib": round(host[0] / MIB),
        "gpu_mib": round(gpu[1] / MIB),
        "facts_together": fact_scores.group_size(network, torch.device("cpu")),
    }


def main(kind: str, *rest: str) -> None:
    if kind == "plan":
        found = plans()
    else:
        name, tokens, prompts = rest
        found = timed(name, int(tokens), int(prompts))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
