"""Write the embedded sample: the small PARAREL and BINGREL that are committed in git.

The facts (data/PARAREL/sample_query_pairs.json) were picked by hand among PARAREL's; the wording
(sample_wording.py) is this project's own. Out of the two come, in the authors' shapes:

* data/PARAREL/sample_allbags.json: `{REL: [fact: [[prompt, answer, "REL(label)"], ...]]}`;
* data/BINGREL/sample_distant_<REL>.json: `[{"th_bags": [...], "h_bags": [...]}]`, fact by fact.

Run it after editing either input; the same inputs always give the same bytes:

    python scripts/make_sample.py            # write
    python scripts/make_sample.py --check    # write nothing, exit 1 if the files are out of date
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sample_wording import HEAD_SENTENCES, PROMPTS, SENTENCES, SLOTS, WITH_ARTICLE

DATA = Path(__file__).resolve().parents[1] / "data"
FACTS_FILE = DATA / "PARAREL" / "sample_query_pairs.json"
PROMPTS_FILE = DATA / "PARAREL" / "sample_allbags.json"
SENTENCES_FILE = "BINGREL/sample_distant_{}.json"

SEED = 2022
BOTH_PER_FACT = 6  # sentences with head and answer
HEAD_PER_FACT = 5  # sentences with the head alone
PROMPT_WORDS = range(6, 13)
SENTENCE_WORDS = range(10, 26)

# Relation -> (PARAREL's label, kind of its heads).
RELATIONS = {
    "P19": ("place of birth", "person"),
    "P20": ("place of death", "person"),
    "P27": ("country of citizenship", "person"),
    "P30": ("continent", "place"),
    "P36": ("capital", "place"),
    "P37": ("official language", "place"),
    "P101": ("field of work", "person"),
    "P103": ("native language", "person"),
    "P106": ("occupation", "person"),
    "P176": ("manufacturer", "product"),
    "P178": ("developer", "product"),
    "P740": ("location of formation", "group"),
    "P937": ("work location", "person"),
    "P1303": ("instrument", "person"),
}

Facts = dict[str, list[tuple[str, str]]]  # relation -> (head, answer) of each fact


def word_pattern(text: str) -> re.Pattern:
    """A pattern that finds `text` as whole words."""
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")


def count_words(text: str) -> int:
    """Words as a reader counts them: what white space separates."""
    return len(text.split())


def fill(template: str, head: str, answer: str, with_article: set[str] = WITH_ARTICLE) -> str:
    """Put head and answer into a template, and start it with a capital where the head allows.

    A head that begins the text keeps its own spelling (iTunes), unless it takes an article.
    """
    named = f"the {head}" if head in with_article else head
    text = template.replace("[X]", named).replace("[Y]", answer)
    return text if text.startswith(head) else text[0].upper() + text[1:]


def fill_slots(template: str, rng: random.Random) -> str:
    """Replace each {slot}, from left to right, by one draw from its values."""
    return re.sub(r"\{(\w+)\}", lambda match: rng.choice(SLOTS[match[1]]), template)


def answers_outside_head(text: str, head: str, answers: set[str]) -> list[str]:
    """Each occurrence in `text`, apart from its head, of one of the (lower-cased) answers."""
    rest = word_pattern(head).sub(" ", text).lower()
    return [word for word in re.findall(r"\w+", rest) if word in answers]


def check_sentence(text: str, head: str, allowed: set[str], answers: set[str]) -> None:
    """Raise ValueError unless head and `allowed` answer occur once each, and no other answer.

    Answers of other facts are refused too: a sentence that is meant to say nothing about its
    fact's answer must not prompt another answer of the sample instead.
    """
    if len(word_pattern(head).findall(text)) != 1:
        raise ValueError(f"head {head!r} has to occur once in {text!r}")
    if count_words(text) not in SENTENCE_WORDS:
        raise ValueError(f"{count_words(text)} words, expected 10 to 25, in {text!r}")
    found = answers_outside_head(text, head, answers)
    if sorted(found) != sorted(allowed):
        raise ValueError(f"answers {found}, expected {sorted(allowed)}, in {text!r}")


def draw(templates: list[str], count: int, rng: random.Random) -> list[str]:
    """Draw `count` different templates, then their slots."""
    return [fill_slots(template, rng) for template in rng.sample(templates, count)]


def make_prompts(relation: str, facts: Facts) -> list[list[list[str]]]:
    """All prompts of a relation, in the shape of PARAREL's data_all_allbags.json."""
    tag = f"{relation}({RELATIONS[relation][0]})"
    bags = []
    for head, answer in facts[relation]:
        prompts = [fill(template, head, "[MASK]") for template in PROMPTS[relation]]
        for prompt in prompts:
            if count_words(prompt) not in PROMPT_WORDS:
                raise ValueError(f"{relation}: {count_words(prompt)} words in {prompt!r}")
        bags.append([[prompt, answer, tag] for prompt in prompts])
    return bags


def make_sentences(relation: str, facts: Facts) -> list[dict[str, list[str]]]:
    """All natural sentences of a relation, in BINGREL's shape.

    Each relation has a generator of its own, so that an edit to one relation leaves the others'
    files alone. Draw order: fact by fact; its th_bags, then its h_bags; for each first the
    templates, then their slots from left to right.
    """
    rng = random.Random(f"{SEED} {relation}")
    answers = {answer.lower() for pairs in facts.values() for _, answer in pairs}
    about_head = HEAD_SENTENCES[RELATIONS[relation][1]]
    bags = []
    for head, answer in facts[relation]:
        with_both = draw(SENTENCES[relation], BOTH_PER_FACT, rng)
        with_head = draw(about_head, HEAD_PER_FACT, rng)
        th_bags = [fill(template, head, answer) for template in with_both]
        h_bags = [fill(template, head, "") for template in with_head]
        for text in th_bags:
            check_sentence(text, head, {answer.lower()}, answers)
        for text in h_bags:
            check_sentence(text, head, set(), answers)
        bags.append({"th_bags": th_bags, "h_bags": h_bags})
    return bags


def one_per_line(items: list) -> str:
    """A JSON list with one item a line: readable, and a diff shows which fact changed."""
    return "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"


def render(facts: Facts) -> dict[Path, str]:
    """The text of every output file, by path."""
    bags = [f'"{relation}": {one_per_line(make_prompts(relation, facts))}' for relation in facts]
    files = {PROMPTS_FILE: "{\n" + ",\n".join(bags) + "\n}\n"}
    for relation in facts:
        path = DATA / SENTENCES_FILE.format(relation)
        files[path] = one_per_line(make_sentences(relation, facts)) + "\n"
    return files


def write_atomically(path: Path, text: str) -> None:
    """Write beside `path`, then rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)  # mkstemp gives 0600; these files are for everybody
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_facts() -> Facts:
    """Read the hand-picked facts; every relation must be one this script has wording for."""
    facts = json.loads(FACTS_FILE.read_text(encoding="utf-8"))
    if list(facts) != list(RELATIONS):
        raise ValueError(f"{FACTS_FILE}: relations {list(facts)}, expected {list(RELATIONS)}")
    return {relation: [(head, answer) for head, answer in facts[relation]] for relation in facts}


def out_of_date(files: dict[Path, str]) -> list[Path]:
    """The files that are missing or differ from what would be written."""
    return [p for p, text in files.items() if not p.is_file() or p.read_bytes() != text.encode()]


def summarise(facts: Facts, files: dict[Path, str], prompts: dict, sentences: int) -> str:
    """One line of counts.  prompts: wordings of each relation; sentences: of a fact."""
    n_facts = sum(map(len, facts.values()))
    n_prompts = sum(len(facts[relation]) * len(prompts[relation]) for relation in facts)
    n_bytes = sum(len(text.encode()) for text in files.values())
    return (
        f"{len(facts)} relations, {n_facts} facts, {n_prompts} prompts, "
        f"{n_facts * sentences} sentences, {n_bytes:,} bytes in {len(files)} files"
    )


def deliver(script: str, title: str, make: Callable[[], tuple[dict[Path, str], str]]) -> int:
    """Write a sample, or with --check compare it with what is on disk; returns the exit code.

    make: the text of every file, by path, and a line of counts.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check_only = parser.parse_args().check
    files, told = make()
    if not check_only:
        for path, text in files.items():
            write_atomically(path, text)
    elif stale := out_of_date(files):
        names = ", ".join(str(path.relative_to(DATA.parent)) for path in stale)
        print(f"out of date: {names}; run: python scripts/{script}", file=sys.stderr)
        return 1
    print(told)
    return 0


def make() -> tuple[dict[Path, str], str]:
    facts = load_facts()
    files = render(facts)
    return files, summarise(facts, files, PROMPTS, BOTH_PER_FACT + HEAD_PER_FACT)


if __name__ == "__main__":
    sys.exit(deliver("make_sample.py", __doc__.splitlines()[0], make))
