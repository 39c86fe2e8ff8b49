"""CounterFact files (Meng et al. 2022) -> cases: facts, what they are edited into, what is asked.

A file is a JSON list of records, of which these fields are read:

    {"case_id": 3,
     "requested_rewrite": {"prompt": "The mother tongue of {} is", "relation_id": "P103",
                           "subject": "...", "target_true": {"str": "French"},
                           "target_new": {"str": "English"}},
     "paraphrase_prompts": ["...", ...], "neighborhood_prompts": ["...", ...]}

Prompts are the start of a text whose next words are the answer: a masked model reads them with
[MASK] and a full stop behind, a decoder as they are.  In the published file a random sentence
stands before each paraphrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from knowledge_neurons.text import strict_json
from knowledge_neurons.text.data import MASK, SPECIAL, is_name
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.types import Fact, Index

SLOT = "{}"  # where the subject stands in the prompt to rewrite


class _Target(msgspec.Struct):
    text: str = msgspec.field(name="str")


class _Rewrite(msgspec.Struct):
    prompt: str
    relation_id: str
    subject: str
    target_true: _Target
    target_new: _Target


class _Record(msgspec.Struct):
    case_id: Index
    requested_rewrite: _Rewrite
    paraphrase_prompts: list[str]
    neighborhood_prompts: list[str]


@dataclass(frozen=True)
class Case:
    """A fact to be edited, and the prompts that judge the edit, with one [MASK] each.

    case: its number in the file's own count.  true, new: its answer and what it is edited into.
    rewrite: asks for the fact.  paraphrases: ask for it in other words.  neighbours: ask for the
    same answer of other subjects.
    """

    case: int
    relation: str
    subject: str
    true: str
    new: str
    rewrite: str
    paraphrases: tuple[str, ...]
    neighbours: tuple[str, ...]

    @property
    def prompts(self) -> tuple[str, ...]:
        """All of them, in this order."""
        return (self.rewrite, *self.paraphrases, *self.neighbours)

    def asking(self, answer: str) -> Fact:
        """All prompts with one of the answers, as a fact."""
        return Fact(self.relation, "CounterFact", self.case, answer, self.prompts)


def read_cases(path: Path) -> list[Case]:
    """The cases of a file, in its order.

    Raises ValueError naming the file, and the record that is not as above.
    """
    try:
        content = strict_json.read(path)
    except FileNotFoundError as error:
        raise ValueError(
            f"{path}: no such file.  scripts/get_data.py --counterfact fetches the published one; "
            "the embedded sample is data/COUNTERFACT/sample_counterfact.json"
        ) from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    return cases_of(content, path)


def cases_of(content: Any, source: str | Path) -> list[Case]:
    """The same of a file's content; source: where it is from, for messages."""
    if not isinstance(content, list) or not content:
        found = "an empty list" if content == [] else type(content).__name__
        raise ValueError(f"{source}: expected a list of CounterFact's records, got {found}")
    seen: set[int] = set()
    cases = []
    for place, one in enumerate(content):
        where = f"{source}: record {place}"
        try:
            record = msgspec.convert(one, _Record)
        except msgspec.ValidationError as error:
            raise ValueError(f"{where}: {error}") from error
        if record.case_id in seen:
            raise ValueError(f"{where}: case_id {record.case_id} stands there twice")
        seen.add(record.case_id)
        cases.append(_case(record, f"{where} (case_id {record.case_id})"))
    return cases


def _case(record: _Record, where: str) -> Case:
    asked = record.requested_rewrite
    if asked.prompt.count(SLOT) != 1:
        raise ValueError(f"{where}: expected one {SLOT} in the prompt {short(asked.prompt)}")
    true, new = asked.target_true.text.strip(), asked.target_new.text.strip()
    for name, text in (("subject", asked.subject), ("target_true", true), ("target_new", new)):
        if not is_name(text):
            raise ValueError(f"{where}: the {name} {short(text)} is empty or no name")
    if true == new:
        raise ValueError(f"{where}: target_true and target_new are both {short(new)}")
    of_kinds = (
        [asked.prompt.replace(SLOT, asked.subject)],
        record.paraphrase_prompts,
        record.neighborhood_prompts,
    )
    (rewrite,), paraphrases, neighbours = (_masked(kind, where) for kind in of_kinds)
    return Case(
        *(record.case_id, asked.relation_id, asked.subject, true, new),
        *(rewrite, paraphrases, neighbours),
    )


def _masked(prefixes: Sequence[str], where: str) -> tuple[str, ...]:
    """Starts of texts as prompts whose answer comes next."""
    for text in prefixes:
        if not text.strip() or SPECIAL.search(text):
            raise ValueError(f"{where}: the prompt {short(text)} is empty or holds a special token")
    return tuple(f"{text.rstrip()} {MASK}." for text in prefixes)
