"""Numbers as the README tells them, and its sentences that are made of records.

A maker takes the records that it is of, in the order of readme_tables.py; that of another model's
studies is None until they have run.
"""

from __future__ import annotations

import math
import re
import textwrap

from knowledge_neurons.results.controls import RANDOM, REST, kind_told
from knowledge_neurons.types import KNOWLEDGE

KINDS = {"rare": "rare of them", "random": "random neurons"}  # beside those that kind_told names
FEW = ("shared_by_1", "rare")  # neurons of few facts, as stage 10 and as older records name them
SCORERS = {"ig": "integrated gradients", "gradient-activation": "gradient times activation",
           "log-probability": "log-probability increase", "logit": "logit contribution",
           "activation": "activation", "activation-norm": "activation times norm"}  # fmt: skip


def number(value: float, digits: int, sign: str = "") -> str:
    value = round(value, digits) or 0.0
    return f"{value:{sign if value else ''}.{digits}f}"  # no sign before 0


def told(estimate: dict, digits: int, sign: str = "", factor: float = 1.0) -> str:
    """ "-55.9 [-56.8, -54.9]"."""
    value, low, high = (
        number(factor * x, digits, sign) for x in (estimate["value"], *estimate["interval"])
    )
    return f"{value} [{low}, {high}]"


def seconds(value: float) -> str:
    """Two digits that count, three from a second on."""
    return f"{value:#.{2 if value < 1 else 3}g}"


def lines_of(sentence: str) -> list[str]:
    """A number and its % stay on a line."""
    lines = textwrap.wrap(sentence.replace(" %", "\u00a0%"), 118, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines]


def name_of(kind: str) -> str:
    """What the tables call a kind of neurons."""
    if kind.startswith(RANDOM):
        return f"random, as many as {kind_told(kind.removeprefix(RANDOM))}"
    return KINDS.get(kind) or kind_told(kind)


# --- SmolLM2 ---------------------------------------------------------------------------------


def effects_of(found: dict, beyond: dict | None) -> list[dict]:
    """The rows of stage 10's table: of the later study where there is one."""
    return (beyond or {}).get("effects") or found["controls"]


def facts_asked(found: dict) -> str:
    """Model and facts of the tables."""
    taken = [one["taken"] for one in found["known"].values() if one["taken"]]
    layers = len(found["table_2"]["neurons"]["layers"])
    width = found["neurons_per_layer"]
    return (
        f"SmolLM2-135M-Instruct ({layers} layers of {width:,} neurons, from a 4-bit file) "
        f"on {sum(taken)} facts of {len(taken)} relations, each answered right in at "
        f"least 3 of its 8 wordings: change of P(answer), with 95 % intervals."
    )


def real_model(found: dict, beyond: dict | None) -> str:
    """What the README says under its table."""
    return f"{whose(found, beyond)} {edits_of_a_real_model(found)}"


def whose(found: dict, beyond: dict | None) -> str:
    """The fact's or the relation's, and whether other wordings feel it."""
    off = {one["kind"]: one for one in effects_of(found, beyond) if one["factor"] == 0}
    few = next(off[kind] for kind in FEW if kind in off)
    clean = off.get(REST, off[KNOWLEDGE])  # found without the prompts held out
    own, held_out = (-100 * clean["changes"][key]["value"] for key in ("own", "held_out"))
    return (
        f"Most of what refinement finds is the relation's: of a fact's "
        f"{number(off[KNOWLEDGE]['neurons'], 1)} neurons {number(few['neurons'], 1)} are of few "
        f"facts, and those alone take {-100 * few['changes']['own']['value']:.0f} % of P(answer). "
        f"Other wordings feel them too: prompts held out from finding them lose {held_out:.0f} %, "
        f"the others {own:.0f} %."
    )


def edits_of_a_real_model(found: dict) -> str:
    """Tables 6 and 5 of a real model."""
    edit, random = found["table_6"]["knowledge"], found["table_6"]["random"]
    erased, by_chance = found["table_5"]["erased"], found["table_5"]["random"]
    own, others = (
        " to ".join(
            f"{100 * erased[which][f'accuracy_{when}']:.0f}" for when in ("before", "after")
        )
        for which in ("relation", "others")
    )
    beside = " and ".join(
        f"{100 * by_chance[which]['accuracy_after']:.0f}" for which in ("relation", "others")
    )
    return (
        f"**The paper's edit does not carry over.** With its lambdas the new answer comes in "
        f"{told(edit['success'], 1, '', 100)} % of {edit['edits']} edits (random neurons: "
        f"{number(100 * random['success']['value'], 1)} %), but the perplexity of other facts "
        f"explodes; erasing P36 takes its accuracy from {own} %, all other relations' from "
        f"{others} % (random neurons: to {beside} %)."
    )


def run(found: dict) -> str:
    """What stands above the README's command."""
    return (
        f"Weak: 135M parameters, quantised, facts chosen for being known, few answers in some "
        f"relations. [Findings](docs/findings.md); [all results](docs/results.md). From PyPI, no "
        f"model hub, {how_long(found)}:"
    )


def run_at_length(found: dict) -> str:
    """The same for docs/results.md."""
    return (
        f"A gated neuron's activation has either sign. Weak: 135M parameters, quantised, facts "
        f"chosen for being known, a handful of answers in some relations. `bash "
        f"scripts/real_model.sh` makes all of it, in {how_long(found)}."
    )


def how_long(found: dict) -> str:
    """Of the whole run: the work of its stages, in minutes rounded up to ten, for facts are chosen
    before them."""
    cores = re.search(r"\d+ cores?", found["made_with"]["machine"])[0]
    whole = sum(found["seconds_of_stages"].values()) / 60
    return f"{10 * math.ceil(whole / 10)} minutes on {cores}"


def woken(found: dict) -> str:
    """Table 4 of a real model."""
    of = found["table_4"]["neurons"]["by_sentences"]
    both, head, neither = (number(of[which]["value"], 1) for which in ("both", "head", "random"))
    return (
        f"Nor do sentences that state a fact wake its neurons more than others: their activation "
        f"is {both} with head and tail, {head} with the head, {neither} with neither."
    )


# --- beyond the paper ------------------------------------------------------------------------


def alone(found: dict) -> str:
    """What one neuron does by itself."""
    one = found["alone"]
    whose = " and ".join(one["relations"])
    own, other = (number(100 * change, 1, "+") for change in one["change"]["median"])
    nats, by_random = (number(change, 3, "+") for change in one["nats"]["median"])
    lowest = number(100 * one["change"]["lowest"][0], 0, "+")
    larger = one["larger_on_all_prompts"]
    return (
        f"Each of the {one['neurons']} neurons of {whose}'s facts was switched off alone: it "
        f"changes P(answer) of its facts by {own} % (median; {nats} nats of log-odds; strongest "
        f"{lowest} %), a random neuron of its layer by {other} % ({by_random} nats). "
        f"{'All' if larger == one['neurons'] else larger} of them move the log-odds of each of "
        "eight prompts more "
        "than the random one does."
    )


def agreement(beyond: dict) -> dict[str, float]:
    """Of each scorer but zero-out itself."""
    ranks = beyond["zero_out_rank_agreement"]
    return {scorer: rank for scorer, rank in ranks.items() if rank is not None}


def in_short(beyond: dict | None) -> str:
    """Map, one prompt and scorers, for the README; nothing until they are measured."""
    if beyond is None:
        return ""
    ranks = agreement(beyond)
    best = max(ranks, key=ranks.__getitem__)
    beside = "" if best == "ig" else f"; integrated gradients {number(ranks['ig'], 2)}"
    own, template = (
        number(beyond["localisation"]["overlaps"][key]["value"], 2)
        for key in ("wordings", "same_wording")
    )
    one, smoothed = (100 * beyond[f"{way}_precision"] for way in ("one_prompt", "smooth"))
    return (
        f"Coarse neurons of two wordings of a fact overlap by {own}, of two facts in one wording "
        f"by {template}. One prompt's strongest are the fact's to {one:.0f} %, smoothed "
        f"{smoothed:.0f} %. The neuron map foretells what switching drivers off does with r = "
        f"{number(beyond['map_r'], 2)}. Of all scorers {SCORERS.get(best, best)} ranks neurons "
        f"most as switching them off does ({number(ranks[best], 2)}{beside})."
    )


def at_length(beyond: dict | None) -> str:
    """The same for docs/results.md."""
    if beyond is None:
        return ""
    ranks = agreement(beyond)
    order = sorted(ranks, key=ranks.__getitem__, reverse=True)
    each = ", ".join(f"{SCORERS.get(one, one)} {number(ranks[one], 2)}" for one in order)
    return (
        f"Predicted and measured changes of a neuron, when what drives it is switched off, go "
        f"together with r = {number(beyond['map_r'], 2)} ({number(beyond['edges_per_node'], 0)} "
        f"edges a neuron, {seconds(beyond['map_s_per_fact'])} s a fact). Of the strongest neurons "
        f"of one prompt {100 * beyond['one_prompt_precision']:.0f} % are among those that the "
        f"fact's other wordings agree on, averaged over noisy copies of the model "
        f"{100 * beyond['smooth_precision']:.0f} %. Rank correlation of a scorer with switching "
        f"neurons off one by one: {each}."
    )


# --- the others ------------------------------------------------------------------------------


def published(found: dict) -> str:
    """EleutherAI's neurons, in a sentence."""
    ours, shown = found["table_2"], 100 * sum(found["table_2"]["layers"][7:])
    shared = 100 * ours["shared_within"] / ours["per_fact"]
    return (
        f"{number(ours['per_fact'], 2)} neurons a fact over {ours['facts']:,} facts, of which two "
        f"facts of a relation share {number(shared, 1)} %; {number(shown, 1)} % lie in the upper "
        f"five of twelve layers."
    )


def not_published(found: dict) -> str:
    """Which facts count in the table of published neurons."""
    lacking = sum(found["not_in_the_data"].values())
    return (
        f"Of {found['published_facts']:,} facts "
        f"({number(found['neurons_per_published_fact'], 2)} neurons each) {lacking:,} are of "
        f"relations that PARAREL lacks; {found['not_published']:,} of PARAREL's were not published "
        f"and count nowhere."
    )


def erased(demo: dict) -> str:
    """What the demo's model still knows after erasing."""
    own, others = zip(*demo["right_after_erasing"].values(), strict=True)
    own, others = (
        " to ".join(number(100 * x, 1) for x in (min(of), max(of))) for of in (own, others)
    )
    return (
        f"**Erasing makes the answers of a relation less likely, it does not make the model forget "
        f"them:** after it the first guess is still right for {own} % of the prompts of the "
        f"{len(demo['right_after_erasing'])} relations, of all others for {others} %."
    )


def fidelity(found: dict) -> str:
    """Beside Hugging Face's BERT and tokenizer."""
    texts = {one["texts"] for one in found["tokenizer"].values()}
    return (
        f"`custom_bert` equals Hugging Face's BertForMaskedLM on random checkpoints of all "
        f"{len(found['logits'])} shapes (largest difference {max(found['logits'].values()):.1e} of "
        f"the largest logit), the tokenizer BertTokenizer on {min(texts):,} prompts and sentences "
        f"(`benchmarks/parity.py`)."
    )
