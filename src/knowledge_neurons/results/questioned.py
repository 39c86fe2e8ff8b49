"""What was asked of edits as rows of words and numbers, for the screen and the report.

A table is {name of a row: a cell for each kind of neurons}; its heads stand under "".
"""

from __future__ import annotations

from collections.abc import Sequence

from knowledge_neurons.results.editors import JUDGED_IN_WORDS, SCORES, Editors
from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.results.symmetry import EDITED_IN_WORDS, Backwards, OtherNames, Reach

Table = dict[str, list[str]]


def reach_table(found: Sequence[Reach]) -> Table:
    """How far edits reach."""
    table = {
        "": [EDITED_IN_WORDS[one.kind] for one in found],
        "edits": [f"{one.edits} of {one.neurons:.2f} neurons" for one in found],
        "new answer first, prompt asked": [percent(one.success) for one in found],
    }
    new, old = [one.new_pair for one in found], [one.old_pair for one in found]
    table |= _backwards("new pair, backwards", new, new)
    table |= _backwards("old pair, backwards, where known", old, new)
    return table | _names([one.names for one in found])


def _backwards(
    title: str, pairs: Sequence[Backwards | None], asked: Sequence[Backwards | None]
) -> Table:
    """The head, asked for by the answer of its fact; one row where there is nothing to tell.

    asked: the new pair, which is asked in all edits in which the old one is.
    """
    some = [one for one in pairs if one]
    if not some:
        return {title: [f"0 of {one.edits} edits" if one else "not asked" for one in asked]}
    of = [one.edits for one in asked if one]
    return {
        title: [
            f"{one.edits} of {n} edits, {one.wordings} prompts"
            for one, n in zip(some, of, strict=True)
        ],
        f"{title}: head first, before": [percent(one.first_before) for one in some],
        f"{title}: head first, after": [percent(one.first_after) for one in some],
        f"{title}: P(head), before": [told(one.p_before, 4) for one in some],
        f"{title}: P(head), after": [told(one.p_after, 4) for one in some],
        f"{title}: median rank": [f"{one.rank_before:g} to {one.rank_after:g}" for one in some],
        f"{title}: log p, nats": [told(one.change, 2, "+") for one in some],
    }


def _names(names: Sequence[OtherNames | None]) -> Table:
    """The new answer by the head's own name and by others; one row where it has none."""
    title, some = "other names, where known", [one for one in names if one]
    if not some:
        return {title: ["none" for _ in names]}
    return {
        title: [f"{one.edits} edits, {one.prompts} prompts" for one in some],
        f"{title}: new first, own name": [percent(one.own) for one in some],
        f"{title}: new first, other names": [percent(one.other) for one in some],
        f"{title}: its log p, own name, nats": [told(one.own_change, 2, "+") for one in some],
        f"{title}: its log p, other names, nats": [told(one.other_change, 2, "+") for one in some],
    }


def editors_table(found: Editors) -> Table:
    """How edits are judged."""
    judged = found["judged"]
    table = {
        "": [JUDGED_IN_WORDS[one.kind] for one in judged],
        "neurons of a case": [f"{one.neurons:.2f}" for one in judged],
        "S, harmonic mean": [percent(one.overall) for one in judged],
    }
    for name in SCORES:
        scores = [one.scores.get(name) for one in judged]
        table[f"{name} score"] = [percent(one and one.share) for one in scores]
        table[f"{name}, by, in probability"] = [told(one and one.by, 3, "+") for one in scores]
    return table


def editors_title(found: Editors) -> str:
    """How many cases were judged, and which were not."""
    left_out = "".join(f", {n} left out ({why})" for why, n in found["left_out"].items())
    bare = f", {n} without neurons" if (n := found["without_neurons"]) else ""
    return f"{found['judged'][0].cases} cases of {found['source']}{left_out}{bare}"


def percent(estimate: Estimate | None) -> str:
    """A share in percent with its interval."""
    return told(estimate and estimate.times(100), 1) + " %" * bool(estimate)
