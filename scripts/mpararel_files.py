"""mPARAREL's files: which there are and how much they hold, and their content as facts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from knowledge_neurons.text.data import SPECIAL

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Relation -> its name in English, as LAMA and Wikidata have it.
LABELS = {
    "P17": "country",
    "P19": "place of birth",
    "P20": "place of death",
    "P27": "country of citizenship",
    "P30": "continent",
    "P36": "capital",
    "P37": "official language",
    "P39": "position held",
    "P47": "shares border with",
    "P101": "field of work",
    "P103": "native language",
    "P106": "occupation",
    "P108": "employer",
    "P127": "owned by",
    "P131": "located in the administrative territorial entity",
    "P136": "genre",
    "P138": "named after",
    "P140": "religion",
    "P159": "headquarters location",
    "P176": "manufacturer",
    "P178": "developer",
    "P190": "twinned administrative body",
    "P264": "record label",
    "P276": "location",
    "P279": "subclass of",
    "P361": "part of",
    "P364": "original language of film or TV show",
    "P407": "language of work or name",
    "P413": "position played on team / speciality",
    "P449": "original network",
    "P463": "member of",
    "P495": "country of origin",
    "P530": "diplomatic relation",
    "P740": "location of formation",
    "P937": "work location",
    "P1303": "instrument",
    "P1376": "capital of",
    "P1412": "languages spoken, written or signed",
}


class Language(NamedTuple):
    """What there is of a language: its patterns, and the relations of LABELS without any."""

    templates: int
    without: frozenset[str] = frozenset()

    @property
    def relations(self) -> list[str]:
        return [name for name in LABELS if name not in self.without]


@dataclass(frozen=True)
class Expected:
    """How much there is.  rows, facts, everywhere: of all languages together; facts are told apart
    by relation, sub_uri and obj_uri; everywhere: those that every language has."""

    languages: Mapping[str, Language]
    rows: int
    facts: int
    everywhere: int


def _languages(table: str) -> dict[str, Language]:
    rows = (line.split() for line in table.strip().splitlines())
    return {name: Language(int(count), frozenset(without)) for name, count, *without in rows}


# Counted over the files of the repository at its commit 7153b7b: 1,708 of patterns.
FULL = Expected(
    _languages("""
        af 341 P413
        ar 260
        az 337
        bg 306 P276 P361 P364
        bn 330
        ca 338
        cs 382 P361
        cy 314
        da 302 P276 P361
        de 413
        el 525 P276
        en 328
        es 364 P276
        et 428
        fa 332 P361
        fi 399 P361
        fr 431 P276 P361
        ga 317
        gl 239
        he 354 P276
        hr 320 P361
        hu 354
        hy 346
        id 326 P361
        is 320 P264 P361 P413
        it 332 P276
        ja 331
        ko 311 P361
        lt 333 P276 P361
        lv 344 P361
        ms 310 P361
        nl 390
        pl 318 P361
        pt 336 P276 P361
        ro 388 P361
        ru 340 P276 P361
        sk 351 P361
        sl 348 P361
        sq 323 P264
        sv 391 P361
        th 300 P361
        tr 327
        uk 354 P276 P361
        vi 363 P361
        zh-hans 334
        zh-hant 264 P361
    """),
    rows=746_757,
    facts=31_434,
    everywhere=2_869,
)


# --- Pure: content -> facts ----------------------------------------------------------------------


class Row(msgspec.Struct, frozen=True):
    """A fact as a file of tuples has it."""

    sub_uri: str
    obj_uri: str
    sub_label: str
    obj_label: str
    lineid: int

    @property
    def key(self) -> tuple[str, str]:
        return self.sub_uri, self.obj_uri


class Facts(NamedTuple):
    """The facts of a relation in a language, in LAMA's order.

    rows: lines of the file.  unusable: of them those whose label is no name: it is empty, or holds
    a control character or a special token.
    """

    facts: list[Row]
    rows: int
    unusable: int


_row = msgspec.json.Decoder(Row)


def check_tuples(raw: bytes) -> Facts:
    """A relation's facts; no two are the same, nor in the same place."""
    rows = [_row.decode(line) for line in raw.splitlines() if line.strip()]
    if len({row.key for row in rows}) < len(rows) or len({row.lineid for row in rows}) < len(rows):
        seen = Counter(row.key for row in rows) + Counter(str(row.lineid) for row in rows)
        raise ValueError(f"got {seen.most_common(1)[0][0]} twice, expected each fact once")
    usable = [row for row in rows if _is_name(row.sub_label) and _is_name(row.obj_label)]
    usable.sort(key=lambda row: row.lineid)
    return Facts(usable, len(rows), len(rows) - len(usable))


def _is_name(label: str) -> bool:
    return bool(label.strip()) and not _CONTROL.search(label) and not SPECIAL.search(label)
