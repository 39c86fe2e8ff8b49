"""The README's and docs/speed.md's tables and sentences of speed, for readme_tables.py."""

from __future__ import annotations

from collections.abc import Iterator

from readme_told import number, seconds


def like_for_like(scores: dict) -> Iterator[list[str]]:
    """Whole sums of prompts that are not padded, by each program."""
    yield ["all 20 points, nothing padded", "seconds a prompt", "of ours"]
    for name, who in (
        ("exact", "ours (`--exact`)"),
        ("unpadded", "layer by layer, literal"),
        ("captum", "captum"),
        ("pypi", "knowledge-neurons 0.0.2 of PyPI"),
    ):
        yield [who, seconds(scores[f"{name}_s"]), number(scores["over_exact"][name], 1)]


def speed(scores: dict, edited: dict, read_: dict) -> Iterator[list[str]]:
    """Seconds of ours and of the released way, from the records of three benchmarks."""
    yield ["", "seconds", "the released way", "ratio"]
    exact, default = seconds(scores["exact_s"]), seconds(scores["default_s"])
    slow, captum, pypi = (seconds(scores[f"{name}_s"]) for name in ("released", "captum", "pypi"))
    over = scores["over_default"]
    for name, ours, theirs, ratio in (
        ("attribution of a prompt, all 20 points (`attribution.py`)", exact,
         f"{slow} padded to 128, layer by layer", scores["over_exact"]["released"]),
        ("the same, fewer points within 1e-3 (the default)", default, slow, over["released"]),
        ("beside captum, and knowledge-neurons 0.0.2 of PyPI", default, f"{captum}, {pypi}",
         min(over["captum"], over["pypi"])),
    ):  # fmt: skip
        yield [name, ours, theirs, number(ratio, 0)]
    for name, stage, padded in (
        ("suppressing and amplifying, a prompt (`interventions.py`)", "3_seconds_a_prompt", 128),
        ("reading activations of a sentence", "4_seconds_a_sentence", 512),
    ):
        took = read_[f"stage_{stage}"]
        way = f"one at a time, padded to {padded}"
        yield [name, seconds(took["ours"]), f"{seconds(took[way])} {way}",
               number(took[way] / took["ours"], 0)]  # fmt: skip
    ours = edited["seconds_batched"] / edited["prompts"]
    one = edited["seconds_one_at_a_time_extrapolated"] / edited["prompts"]
    way = f"{seconds(one)} one at a time, padded to {edited['padded_to']}"
    yield ["perplexity of a prompt (`editing.py`)", seconds(ours), way, number(one / ours, 0)]


def faster(scores: dict) -> str:
    """What is not like for like, named."""
    default, exact = scores["over_default"], scores["over_exact"]
    return (
        f"Not like for like: fewer points, the default, are {number(default['exact'], 1)} times "
        f"quicker, within 1e-3 of a prompt's largest score; the released scripts pad to 128 "
        f"tokens and take {number(exact['released'], 0)} times as long as ours with all points, "
        f"{number(default['released'], 0)} with fewer."
    )


def families(found: dict) -> str:
    """SmolLM2 beside a hook, and BERT through transformers beside custom_bert."""
    lengths = found["lengths"]
    tokens, exact, default = (
        ", ".join(number(one[key], 0) for one in lengths)
        for key in ("tokens", "exact_ratio", "default_ratio")
    )
    return (
        f"On SmolLM2 a prompt of {tokens} tokens takes {exact} times less than layer by layer with "
        f"a hook, all points, and {default} times less by default; a BERT through "
        f"`transformers`' modules takes {number(found['adapter_over_custom'], 2)} of what "
        f"`custom_bert` takes."
    )


def limits(scores: dict) -> str:
    """What the machine gives, and what bfloat16 takes."""
    half, single = (seconds(scores[f"{name}_s"]) for name in ("default_bf16", "default"))
    return (
        f"Exact attribution reaches {100 * scores['sgemm_share']:.0f} % of the machine's "
        f"matrix-product rate. On a CPU without fast bfloat16 products `--dtype bfloat16` is "
        f"slower: {half} s a prompt, {single} s in float32."
    )
