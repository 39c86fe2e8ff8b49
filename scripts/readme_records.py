"""What the README cites of finished runs: records for benchmarks/results, for readme_tables.py."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from knowledge_neurons.results import outcomes
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons_alone import read_alone
from knowledge_neurons.results.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "benchmarks" / "results"
SLOTS = ("neurons", "baseline")
EDITED = ("knowledge", "random", "random_same_size")


def read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{path}: not there; is it the results folder of a whole run?") from error


def demo(folder: Path) -> dict:
    """What the README cites of a finished demo, as its summaries hold it."""
    statistics = read(folder / "kn/statistics.json")
    distant = read(folder / "distant/summary.json")["table"]
    edits = [
        edit
        for name in ("edit-1-8.json", "edit-1-8-top_k.json")
        for edit in read(folder / "edit" / name)["edits"]
    ]
    by_variant = {(edit["variant"]["top_k"], edit["kind"]): edit for edit in edits}
    erased = {path.stem: read(path) for path in sorted((folder / "erase").glob("P*.json"))}
    manifest = read(folder / "kn/manifests/statistics.json.manifest.json")
    return {
        "command": "bash scripts/demo.sh && python scripts/readme_tables.py --demo results/demo",
        "made_with": manifest["made_with"],
        "table_2": {
            kind: {key: statistics[kind][key] for key in ("per_fact", "shared_within",
                                                          "shared_across", "layers")}
            for kind in SLOTS
        },
        "change": read(folder / "modify_activation/summary.json")["change"],
        "table_4": {kind: distant[kind]["by_sentences"] for kind in SLOTS},
        "table_6": {
            kind: {
                "change": by_variant[None, kind]["change"],
                "success": by_variant[None, kind]["success"],
                "success of 1": by_variant[1, kind]["success"],
                "success of 10": by_variant[10, kind]["success"],
                "same_relation": by_variant[None, kind]["same_relation"]["increase"],
                "other_relations": by_variant[None, kind]["other_relations"]["increase"],
            }
            for kind in EDITED
        },
        "table_5": {
            slots: {which: erased["P19"][slots][which]["perplexity_increase"]
                    for which in ("relation", "others")}
            for slots in ("erased", "random")
        },
        "right_after_erasing": {
            relation: [found["erased"][which]["accuracy_after"] for which in ("relation", "others")]
            for relation, found in erased.items()
        },
    }  # fmt: skip


def real(folder: Path) -> dict:
    """What the README cites of a finished run on SmolLM2, as its summaries hold it."""
    known = read(folder / "data/known.json")
    statistics = read(folder / "kn/statistics.json")
    edited = {edit["kind"]: edit for edit in read(folder / "edit/edit-1-8.json")["edits"]}
    erased = read(folder / "erase/P36.json")
    manifest = read(folder / "kn/manifests/statistics.json.manifest.json")
    found = outcomes.read(Results(folder))
    scored = read(folder / "manifests/TREx-all-P36.rlt.jsonl.manifest.json")
    return {
        "command": "bash scripts/real_model.sh && "
        "python scripts/readme_tables.py --real results/smollm2",
        "made_with": manifest["made_with"],
        "seconds_of_stages": {
            stage: round(seconds) for stage, seconds in provenance(found.manifests).seconds.items()
        },
        "alone": alone(Results(folder)),
        "model_sha256": known["model_sha256"],
        "neurons_per_layer": scored["neurons_per_layer"],
        "known": {
            name: {"asked": one["asked"], "taken": len(one["facts"]), "fewer": one["other"]}
            for name, one in known["relations"].items()
        },
        "table_2": {
            kind: {key: statistics[kind][key] for key in ("per_fact", "shared_within",
                                                          "shared_across", "layers")}
            for kind in SLOTS
        },
        "change": read(folder / "modify_activation/summary.json")["change"],
        "controls": read(folder / "controls/summary.json")["effects"],
        "table_4": read(folder / "distant/summary.json")["table"],
        "table_6": {
            kind: {
                "edits": one["edits"],
                "change": one["change"],
                "success": one["success"],
                "same_relation": one["same_relation"]["increase"],
                "other_relations": one["other_relations"]["increase"],
            }
            for kind, one in edited.items()
        },
        "table_5": {
            slots: {
                which: {key: erased[slots][which][key]
                        for key in ("perplexity_increase", "accuracy_before", "accuracy_after")}
                for which in ("relation", "others")
            }
            for slots in ("erased", "random")
        },
    }  # fmt: skip


def alone(results: Results) -> dict:
    """What one neuron does by itself, of the relations that stage 9 mapped: of each neuron the
    change of P(answer) by it and by random ones, and of log-odds in nats."""
    found = [
        one
        for relation in results.mapped_relations()
        for one in read_alone(results.neurons_alone(relation))
        if one.asked
    ]
    p = np.array([np.mean(one.probabilities, axis=0) for one in found])  # (N, 3)
    nats = np.array([np.mean(one.log_odds, axis=0) for one in found])
    change, by = p[:, 1:] / p[:, :1] - 1, nats[:, 1:] - nats[:, :1]  # by itself, by random ones
    return {
        "relations": results.mapped_relations(),
        "neurons": len(found),
        "change": {"median": np.median(change, axis=0).tolist(), "lowest": change.min(0).tolist()},
        "nats": {"median": np.median(by, axis=0).tolist(), "lowest": by.min(0).tolist()},
        "larger_on_all_prompts": sum(
            all(abs(off - as_is) > abs(other - as_is) for as_is, off, other in one.log_odds)
            for one in found
        ),
        "lowers": int((by[:, 0] < 0).sum()),
    }


def published(folder: Path) -> dict:
    """What the README cites of neurons that others published, as its manifests hold it."""
    statistics = read(folder / "kn/statistics.json")["neurons"]
    manifest = read(folder / "kn/manifests/statistics.json.manifest.json")
    taken = read(folder / "manifests/not_in_the_data.json.manifest.json")
    of_facts = map(read, sorted(folder.glob("kn/manifests/kn_bag-*.json.manifest.json")))
    return {
        "command": "python scripts/get_data.py --published-neurons && "
        "KN_RESULTS=results/published-bert-base-uncased python src/2_analyze_kn.py && "
        "python scripts/readme_tables.py --published results/published-bert-base-uncased",
        "date": datetime.date.today().isoformat(),
        "made_with": manifest["made_with"],
        "adopted": taken["identity"]["adopted"],
        "published_facts": taken["published"],
        "placed": taken["placed"],
        "not_in_the_data": taken["not_in_the_data"],
        "not_published": sum(len(one["facts_not_published"]) for one in of_facts),
        "neurons_per_published_fact": taken["neurons_per_published_fact"],
        "seconds_of_2_analyze_kn": manifest["wall_seconds"],
        "table_2": {key: value for key, value in statistics.items() if key != "relations"},
    }


def write(name: str, content: dict) -> None:
    record = json.dumps(content, indent=2)
    # A list is a line: an interval, not four lines.
    flat = re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", record)
    (RECORDS / f"{name}.json").write_text(flat + "\n")
