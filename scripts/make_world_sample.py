"""Write the world sample: facts, prompts and sentences for a really pretrained decoder.

The facts (data/WORLD/world_query_pairs.json) are common knowledge under Wikidata's property names;
the wording (world_wording.py) is this project's own. Out of the two come, in the authors' shapes:

* data/WORLD/world_allbags.json: `{REL: [fact: [[prompt, answer, "REL(label)"], ...]]}`;
* data/WORLD/world_distant_<REL>.json: `[{"th_bags": [...], "h_bags": [...]}]`, fact by fact.

How facts and wordings were chosen, on SmolLM2-135M-Instruct. Well-known facts of 17 relations were
written down; about 20 wordings a relation were tried on a dozen of its facts. Relations that it
hardly knew in any wording were dropped (currencies, inventors, makers, sports), and so was one
whose heads have several kinds (subclass of). Of the wordings those stayed that it mostly answers
and that differ in their last words: its share of right answers is therefore one of chosen
wordings. Facts went where the answer is disputed, the head is plural, an answer stands in a
wording, or the relation had enough. That was done with the first trial's results at hand, so the
facts are no random draw; but 74 of the 419 are answered in fewer than three wordings.
They stay, to be counted and left out when a model is run.

Run it after editing either input; the same inputs always give the same bytes:

    python scripts/make_world_sample.py            # write
    python scripts/make_world_sample.py --check    # write nothing, exit 1 if out of date
"""

import json
import random
import re
import sys
from pathlib import Path

import sample_wording
from make_sample import (
    count_words,
    deliver,
    draw,
    fill,
    one_per_line,
    summarise,
    word_pattern,
)
from world_wording import HEAD_SENTENCES, PROMPTS, SENTENCES, WITH_ARTICLE

WORLD = Path(__file__).resolve().parents[1] / "data" / "WORLD"
FACTS_FILE = WORLD / "world_query_pairs.json"
PROMPTS_FILE = WORLD / "world_allbags.json"
SENTENCES_FILE = "world_distant_{}.json"

SEED = 2022
BOTH_PER_FACT = 5  # sentences with head and answer
HEAD_PER_FACT = 5  # sentences with the head alone
PROMPT_WORDS = range(4, 22)
SENTENCE_WORDS = range(9, 28)
WORDS_BEFORE_TAIL = 6  # at least: a decoder has read these when it comes to the tail
WORDS_AFTER_TAIL = 0  # at most

# Relation -> (Wikidata's label, kind of its heads).
RELATIONS = {
    "P17": ("country", "place"),
    "P30": ("continent", "place"),
    "P36": ("capital", "place"),
    "P37": ("official language", "place"),
    "P50": ("author", "work"),
    "P101": ("field of work", "person"),
    "P103": ("native language", "person"),
    "P106": ("occupation", "person"),
    "P140": ("religion or worldview", "subject"),
    "P246": ("element symbol", "subject"),
    "P495": ("country of origin", "subject"),
    "P1376": ("capital of", "place"),
}
ABOUT_HEAD = {**sample_wording.HEAD_SENTENCES, **HEAD_SENTENCES}

Facts = dict[str, list[tuple[str, str]]]  # relation -> (head, answer) of each fact


def answer_pattern(facts: Facts) -> re.Pattern:
    """A pattern that finds every answer as whole words, capitals as they are (Fe, not fe).

    Long ones come first, so that the F of F. Scott Fitzgerald is not fluorine.
    """
    answers = {answer for pairs in facts.values() for _, answer in pairs}
    words = sorted(answers, key=lambda answer: (-len(answer), answer))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)")


def check_text(text: str, head: str, allowed: list[str], answers: re.Pattern, sizes: range) -> None:
    """Raise ValueError unless the text holds its head once, its `allowed` answer and no other."""
    if len(word_pattern(head).findall(text)) != 1:
        raise ValueError(f"head {head!r} has to occur once in {text!r}")
    if count_words(text) not in sizes:
        raise ValueError(f"{count_words(text)} words, expected {sizes}, in {text!r}")
    if not text[0].isupper():
        raise ValueError(f"expected a capital at the start of {text!r}")
    if (found := answers.findall(word_pattern(head).sub(" ", text))) != allowed:
        raise ValueError(f"answers {found}, expected {allowed}, in {text!r}")


def check_order(text: str, head: str, answer: str) -> None:
    """Raise ValueError unless the head comes first and the answer ends a text long enough."""
    head_at, tail = word_pattern(head).search(text), word_pattern(answer).search(text)
    before, after = count_words(text[: tail.start()]), count_words(text[tail.end() :].strip("."))
    late = before >= WORDS_BEFORE_TAIL and after <= WORDS_AFTER_TAIL
    if not late or head_at.start() > tail.start():
        raise ValueError(f"{head!r} has to come first and {answer!r} last in {text!r}")


def make_prompts(relation: str, facts: Facts) -> list[list[list[str]]]:
    """All prompts of a relation, in the shape of PARAREL's data_all_allbags.json."""
    tag = f"{relation}({RELATIONS[relation][0]})"
    answers = answer_pattern(facts)
    bags = []
    for head, answer in facts[relation]:
        prompts = [fill(text, head, "[MASK]", WITH_ARTICLE) for text in PROMPTS[relation]]
        for prompt in prompts:
            check_text(prompt, head, [], answers, PROMPT_WORDS)
            if not prompt.endswith(" [MASK]."):
                raise ValueError(f"expected [MASK] at the end of {prompt!r}")
        bags.append([[prompt, answer, tag] for prompt in prompts])
    return bags


def make_sentences(relation: str, facts: Facts) -> list[dict[str, list[str]]]:
    """All natural sentences of a relation, in BINGREL's shape.

    Each relation has a generator of its own. Draw order: fact by fact; its th_bags, then its
    h_bags; for each first the templates, then their slots from left to right.
    """
    rng = random.Random(f"{SEED} {relation}")
    answers = answer_pattern(facts)
    bags = []
    for head, answer in facts[relation]:
        with_both = draw(SENTENCES[relation], BOTH_PER_FACT, rng)
        with_head = draw(ABOUT_HEAD[RELATIONS[relation][1]], HEAD_PER_FACT, rng)
        th_bags = [fill(template, head, answer, WITH_ARTICLE) for template in with_both]
        h_bags = [fill(template, head, "", WITH_ARTICLE) for template in with_head]
        for text in th_bags:
            check_text(text, head, [answer], answers, SENTENCE_WORDS)
            check_order(text, head, answer)
        for text in h_bags:
            check_text(text, head, [], answers, SENTENCE_WORDS)
        bags.append({"th_bags": th_bags, "h_bags": h_bags})
    return bags


def render(facts: Facts) -> dict[Path, str]:
    """The text of every output file, by path."""
    bags = [f'"{relation}": {one_per_line(make_prompts(relation, facts))}' for relation in facts]
    files = {PROMPTS_FILE: "{\n" + ",\n".join(bags) + "\n}\n"}
    for relation in facts:
        path = WORLD / SENTENCES_FILE.format(relation)
        files[path] = one_per_line(make_sentences(relation, facts)) + "\n"
    return files


def load_facts() -> Facts:
    """Read the facts; every relation has wording, no fact is doubled, no head holds its answer."""
    facts = json.loads(FACTS_FILE.read_text(encoding="utf-8"))
    if list(facts) != list(RELATIONS):
        raise ValueError(f"{FACTS_FILE}: relations {list(facts)}, expected {list(RELATIONS)}")
    for relation, pairs in facts.items():
        if len({head for head, _ in pairs}) != len(pairs):
            raise ValueError(f"{FACTS_FILE}: a head of {relation} stands there twice")
        if told := [head for head, answer in pairs if answer in head]:
            raise ValueError(f"{FACTS_FILE}: {relation}: heads that hold their answer: {told}")
    return {relation: [(head, answer) for head, answer in facts[relation]] for relation in facts}


def make() -> tuple[dict[Path, str], str]:
    facts = load_facts()
    files = render(facts)
    return files, summarise(facts, files, PROMPTS, BOTH_PER_FACT + HEAD_PER_FACT)


if __name__ == "__main__":
    sys.exit(deliver("make_world_sample.py", __doc__.splitlines()[0], make))
