"""How much of a fact's neurons one of its prompts finds: a record a fact and way of asking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_summary
from knowledge_neurons.results.metrics import mean_of
from knowledge_neurons.results.ways import Chosen, read_ways
from knowledge_neurons.types import Count, Index, Number, Share


@dataclass(frozen=True)
class SingleRecord:
    """One prompt of a fact, asked in one way, against the neurons of the fact's *other* wordings.

    way: "one prompt", "2 wordings", "weights x N(1, 0.05^2), 8 copies" and so on.  precision: share
    of its k strongest that are among the others' k refined neurons.  seconds: of processor time.
    """

    relation: str
    fact: Index
    prompt: Index
    way: str
    neurons: Count
    precision: Share
    seconds: Number


@dataclass(frozen=True)
class SingleSummary:
    """A way of asking over many facts.

    precision: mean over facts, with its interval.  gain: over one prompt, of the same facts; None
    of that itself.  better, worse: facts.  seconds: of a prompt.
    """

    way: str
    facts: Count
    precision: Estimate
    gain: Estimate | None
    better: Count
    worse: Count
    seconds: Number


@dataclass(frozen=True)
class OnePromptSummary:
    """What ways of asking come to over the facts of all relations: ways/one_prompt.json.

    facts: that were asked.  neurons: of a fact that its other wordings find, the mean; None of no
    fact.
    """

    facts: Count
    neurons: Number | None
    chosen: Chosen
    ways: list[SingleSummary]


def summaries_of(records: Iterable[SingleRecord], seed: int = 0) -> list[SingleSummary]:
    """A summary for each way, in the order in which they come; the first is what gains are over."""
    by_way: dict[str, dict[tuple[str, int], list[SingleRecord]]] = {}
    for record in records:
        facts = by_way.setdefault(record.way, {})
        facts.setdefault((record.relation, record.fact), []).append(record)
    means = {
        way: {fact: sum(one.precision for one in own) / len(own) for fact, own in facts.items()}
        for way, facts in by_way.items()
    }
    found = []
    for way, facts in by_way.items():
        precision = mean_of([*means[way].values()], seed)
        first = next(iter(means.values()))
        gains = [means[way][fact] - first[fact] for fact in means[way] if fact in first]
        every = [one.seconds for own in facts.values() for one in own]
        found.append(
            SingleSummary(
                way,
                len(facts),
                precision,
                mean_of(gains, seed) if way != next(iter(by_way)) else None,
                sum(gain > 0 for gain in gains),
                sum(gain < 0 for gain in gains),
                sum(every) / len(every),
            )
        )
    return found


# --- files -------------------------------------------------------------------------------------


def read_one_prompt(path: Path) -> tuple[list[SingleRecord], int]:
    """Stage 11's records of a relation, and how many of its facts have none.

    Raises ValueError naming file, line and what does not fit.
    """
    found = read_ways(path, SingleRecord, _check)
    records = [record for _, own in found for record in own]
    return records, sum(not own for _, own in found)


def _check(records: Sequence[SingleRecord]) -> None:
    """Every way once, against the same neurons."""
    ways = [one.way for one in records]
    if len(ways) != len({*ways}):
        raise ValueError("a way of asking has two records")
    if len({one.neurons for one in records}) > 1:
        raise ValueError("its ways are not judged by the same number of neurons")


def write_summary(path: Path, found: OnePromptSummary) -> None:
    write_json(path, found, readable=True)


def read_one_prompt_summary(results: Results) -> OnePromptSummary | None:
    """None where stage 11 has not studied one prompt."""
    path = results.one_prompt_summary
    return read_summary(path, OnePromptSummary, 11) if path.exists() else None
