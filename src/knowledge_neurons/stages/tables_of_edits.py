"""What stage 10 shows of edits that were questioned: how far they reach, how editors are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from knowledge_neurons.results.editors import JUDGED_IN_WORDS, SCORES, Editors
from knowledge_neurons.results.estimates import Estimate, told
from knowledge_neurons.results.symmetry import EDITED_IN_WORDS, Backwards, Reach
from knowledge_neurons.stages.tables import show_columns


def show_reach(found: Sequence[Reach]) -> None:
    """A column for each kind of neurons, a line a number."""

    def line(cell: Callable[[Reach], str]) -> list[str]:
        return [cell(one) for one in found]

    table = {"": [EDITED_IN_WORDS[one.kind] for one in found]}
    table["edits"] = line(lambda one: f"{one.edits} of {one.neurons:.2f} neurons")
    table["new answer first, prompt asked"] = line(lambda one: _percent(one.success))
    for title, pair in (
        ("new answer's fact, backwards", [one.new_pair for one in found]),
        ("old answer's, backwards, of those known", [one.old_pair for one in found]),
    ):
        table |= {f"{title}: {name}": cells for name, cells in _backwards(pair).items()}
    names = [one.names for one in found]
    counts = [f"{one.edits} edits, {one.prompts} prompts" if one else "none" for one in names]
    table["by other names, of those known: asked"] = counts
    if any(names):
        for title, of in (("own name", "own"), ("other names", "other")):
            shares = [one and getattr(one, of) for one in names]
            changes = [one and getattr(one, f"{of}_change") for one in names]
            table[f"  new answer first, {title}"] = [_percent(one) for one in shares]
            table[f"  its log p, {title}, nats"] = [told(one, 2, "+") for one in changes]
    show_columns("Do edits reach other ways to ask?  (95 % intervals over edits)", table)


def _backwards(pairs: Sequence[Backwards | None]) -> dict[str, list[str]]:
    """Name -> a cell for each kind of neurons."""
    table = {"asked": [f"{one.edits} edits, {one.wordings} prompts" if one else "none"
                       for one in pairs]}  # fmt: skip
    there = [one for one in pairs if one]
    if len(there) == len(pairs):
        for name, of in (("before", "before"), ("after", "after")):
            table[f"head first, {name}"] = [_percent(getattr(one, f"first_{of}")) for one in there]
            table[f"P(head), {name}"] = [told(getattr(one, f"p_{of}"), 4) for one in there]
        table["median rank"] = [f"{one.rank_before:g} -> {one.rank_after:g}" for one in there]
        table["log p, nats"] = [told(one.change, 2, "+") for one in there]
    return table


def show_editors(found: Editors) -> None:
    """A column for each kind of neurons, a line a score."""
    judged = found["judged"]
    table = {"": [JUDGED_IN_WORDS[one.kind] for one in judged]}
    table["neurons of a case"] = [f"{one.neurons:.2f}" for one in judged]
    table["S, harmonic mean"] = [_percent(one.overall) for one in judged]
    for name in SCORES:
        scores = [one.scores.get(name) for one in judged]
        table[f"{name} score"] = [_percent(one and one.share) for one in scores]
        table["  by, in probability" + " " * len(table)] = [told(one and one.by, 4, "+")
                                                           for one in scores]  # fmt: skip
    left_out = "".join(f", {n} left out ({why})" for why, n in found["left_out"].items())
    bare = f", {n} without neurons" if (n := found["without_neurons"]) else ""
    title = f"Edits judged on {judged[0].cases} cases{left_out}{bare} (95 % intervals over cases)"
    show_columns(title, table)


def _percent(estimate: Estimate | None) -> str:
    return told(estimate and estimate.times(100), 1) + " %" * bool(estimate)
