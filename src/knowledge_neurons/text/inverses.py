"""Inverse relations and other names: what is asked to see how far an edit reaches.

A file is {REL: {"inverse": "P1376", "templates": [...], "aliases": {head: [other name, ...]}}}.
Each template asks for a fact of REL backwards: [X] is its answer, [Y] its head.  inverse tells
which relation that is.  Only a relation in which an answer has one head can be asked backwards; of
others (official language) a file gives aliases alone.  An alias stands where the head stands in the
fact's own prompts; a "the" before the head goes with it, so an alias is written with its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from knowledge_neurons.text import strict_json
from knowledge_neurons.text.data import MASK, SPECIAL, is_name
from knowledge_neurons.text.relations import check_relation
from knowledge_neurons.text.strict_json import listed, short
from knowledge_neurons.types import Fact

HEAD, ANSWER = "[Y]", "[X]"  # in a template, which asks backwards


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    inverse: str | None = None
    templates: list[str] = []
    aliases: dict[str, list[str]] = {}


@dataclass(frozen=True)
class Inverse:
    """How a relation is asked backwards, if it can be, and other names of its heads.

    source: the file that says so, for messages.
    """

    source: Path
    relation: str
    inverse: str | None
    templates: tuple[str, ...]
    aliases: dict[str, tuple[str, ...]]

    def backwards(self, answer: str, head: str, index: int) -> Fact:
        """The inverse fact: whose answer is it?  index: of the fact."""
        prompts = (text.replace(HEAD, MASK).replace(ANSWER, answer) for text in self.templates)
        return Fact(str(self.inverse), f"inverse of {self.relation}", index, head, tuple(prompts))

    def renamed(self, fact: Fact, head: str) -> dict[str, Fact]:
        """Other name -> the fact's prompts with it in place of the head.

        Prompts that do not hold the head in its own spelling are left out, and a name without any.
        """
        found = {}
        for name in self.aliases.get(head, ()):
            prompts = [_renamed(prompt, head, name) for prompt in fact.prompts]
            if there := tuple(text for text in prompts if text):
                found[name] = Fact(fact.relation, fact.label, fact.index, fact.answer, there)
        return found


def _renamed(prompt: str, head: str, name: str) -> str | None:
    """The prompt with another name for its head, None where it does not hold the head."""

    def named(match: re.Match) -> str:
        capital = match.start() == 0 and match[0][0].isupper()
        return name[0].upper() + name[1:] if capital else name

    text, count = re.subn(rf"(?<!\w)(?:[Tt]he )?{re.escape(head)}(?!\w)", named, prompt)
    return text if count else None


def read_inverses(path: Path) -> dict[str, Inverse]:
    """Relation -> how it is asked backwards.

    Raises ValueError naming the file, and the relation that is not as above.
    """
    try:
        content = strict_json.read_object(path)
    except FileNotFoundError as error:
        sample = "data/PAIRS/sample_inverses.json"
        raise ValueError(f"{path}: no such file; the embedded sample is {sample}") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if not content:
        raise ValueError(
            f"{path}: expected {{relation: how it is asked backwards}}, got no relation"
        )
    found = {}
    for relation, one in content.items():
        check_relation(relation, path)
        where = f"{path}: {relation}"
        try:
            entry = msgspec.convert(one, _Entry)
        except msgspec.ValidationError as error:
            raise ValueError(f"{where}: {error}") from error
        _check(entry, where)
        aliases = {head: tuple(names) for head, names in entry.aliases.items()}
        found[relation] = Inverse(path, relation, entry.inverse, tuple(entry.templates), aliases)
    return found


def _check(entry: _Entry, where: str) -> None:
    if bool(entry.templates) != bool(entry.inverse) or not (entry.templates or entry.aliases):
        raise ValueError(
            f"{where}: expected an inverse relation with its templates, or aliases, or all of them"
        )
    for text in entry.templates:
        if text.count(HEAD) != 1 or text.count(ANSWER) != 1 or SPECIAL.search(text):
            raise ValueError(f"{where}: expected one [X], one [Y] and no [MASK] in {short(text)}")
    for head, names in entry.aliases.items():
        odd = [name for name in (head, *names) if not is_name(name)]
        if odd or not names or head in names or len(set(names)) < len(names):
            raise ValueError(
                f"{where}: expected other names of {short(head)}, each once, got {listed(names)}"
            )
