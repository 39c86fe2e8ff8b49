"""Write two samples in CounterFact's format (Meng et al. 2022), of the embedded samples' facts.

* data/COUNTERFACT/sample_counterfact.json: of data/PARAREL's facts, for the embedded model;
* data/COUNTERFACT/world_counterfact.json: of data/WORLD's, for a really pretrained decoder.

Wordings are those of sample_wording.py and world_wording.py that end in the answer, all of them
this project's own: one to rewrite, two others as paraphrases.  Neighbours are other heads with the
same answer, asked by the wording to rewrite; a fact without one is no case.  The published file
also has a random sentence before each paraphrase, Wikidata's ids, and prompts for texts to be
generated; here these are empty.

Run it after editing any input; the same inputs always give the same bytes:

    python scripts/make_counterfact_sample.py            # write
    python scripts/make_counterfact_sample.py --check    # write nothing, exit 1 if out of date
"""

import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import make_sample
import make_world_sample
import sample_wording
import world_wording

FOLDER = Path(__file__).resolve().parents[1] / "data" / "COUNTERFACT"
SEED = 2022
RELATIONS = {
    "sample": ("P20", "P30", "P36", "P37", "P106", "P1303"),
    "world": ("P17", "P30", "P103", "P106", "P140", "P495"),
}
PER_RELATION = 6  # cases
PARAPHRASES, MOST_NEIGHBOURS = 2, 5
END = " [Y]."

Facts = Sequence[tuple[str, str]]  # head and answer


def prefixes(wordings: Sequence[str]) -> list[str]:
    """Those that end in the answer and start with a word of their own, up to the answer."""
    found = [
        text.removesuffix(END)
        for text in wordings
        if text.endswith(END) and not text.startswith("[X]")
    ]
    if len(found) <= PARAPHRASES:
        raise ValueError(f"{len(found)} wordings end in the answer, expected {PARAPHRASES + 1}")
    return found


def make_cases(
    relation: str, facts: Facts, wordings: Sequence[str], articles: set[str], first: int
) -> list[dict[str, Any]]:
    """Cases of a relation, numbered from `first`.

    Draw order, from a generator of the relation's own: the facts that may be cases are shuffled;
    then for each its wordings, its new answer, its neighbours.
    """
    rng = random.Random(f"{SEED} {relation}")
    answers = sorted({answer for _, answer in facts})
    able = [
        (head, answer) for head, answer in facts if sum(other == answer for _, other in facts) > 1
    ]
    rng.shuffle(able)
    cases = []
    for number, (head, answer) in enumerate(able[:PER_RELATION], start=first):
        asked, *others = rng.sample(prefixes(wordings), 1 + PARAPHRASES)
        new = rng.choice([one for one in answers if one != answer])
        beside = [one for one, other in facts if other == answer and one != head]
        neighbours = rng.sample(beside, min(MOST_NEIGHBOURS, len(beside)))
        named = {one: f"the {one}" if one in articles else one for one in (head, *neighbours)}
        cases.append(
            {
                "case_id": number,
                "requested_rewrite": {
                    "prompt": asked.replace("[X]", "{}"),
                    "relation_id": relation,
                    "target_new": {"str": new, "id": ""},
                    "target_true": {"str": answer, "id": ""},
                    "subject": named[head],
                },
                "paraphrase_prompts": [one.replace("[X]", named[head]) for one in others],
                "neighborhood_prompts": [asked.replace("[X]", named[one]) for one in neighbours],
                "attribute_prompts": [],
                "generation_prompts": [],
            }
        )
    return cases


def make_file(name: str, facts: Mapping[str, Facts], wording: Any) -> tuple[Path, list[dict]]:
    """All cases of a sample, relation by relation."""
    cases: list[dict] = []
    for relation in RELATIONS[name]:
        how = wording.PROMPTS[relation], wording.WITH_ARTICLE, len(cases)
        cases += make_cases(relation, facts[relation], *how)
    return FOLDER / f"{name}_counterfact.json", cases


def make() -> tuple[dict[Path, str], str]:
    made = dict(
        (
            make_file("sample", make_sample.load_facts(), sample_wording),
            make_file("world", make_world_sample.load_facts(), world_wording),
        )
    )
    files = {path: make_sample.one_per_line(cases) + "\n" for path, cases in made.items()}
    told = ", ".join(f"{path.name}: {len(cases)} cases" for path, cases in made.items())
    return files, told


if __name__ == "__main__":
    title = __doc__.splitlines()[0]
    sys.exit(make_sample.deliver("make_counterfact_sample.py", title, make))
