"""The world sample in git: its rules for a decoder, and that its generator still writes it.

pytest tests/unit/test_world_sample.py
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORLD = ROOT / "data" / "WORLD"
RELATIONS = [
    *("P17", "P30", "P36", "P37", "P50", "P101"),
    *("P103", "P106", "P140", "P246", "P495", "P1376"),
]
PROMPTS_PER_FACT = 8
MOST_BYTES = 1_000_000

FACTS = json.loads((WORLD / "world_query_pairs.json").read_text())
PROMPTS = json.loads((WORLD / "world_allbags.json").read_text())
SENTENCES = {
    relation: json.loads((WORLD / f"world_distant_{relation}.json").read_text())
    for relation in RELATIONS
}
LONG_FIRST = sorted({answer for pairs in FACTS.values() for _, answer in pairs}, key=len)[::-1]
ANSWERS = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, LONG_FIRST))})(?!\w)")


def whole(part):
    """A pattern that finds `part` as whole words."""
    return re.compile(rf"(?<!\w){re.escape(part)}(?!\w)")


def answers_in(text, head):
    """The answers of any fact that stand in the text apart from its head."""
    return ANSWERS.findall(whole(head).sub(" ", text))


def test_relations_and_counts():
    assert list(FACTS) == list(PROMPTS) == RELATIONS
    assert {path.name for path in WORLD.glob("world_distant_*")} == {
        f"world_distant_{relation}.json" for relation in RELATIONS
    }
    for relation in RELATIONS:
        assert re.fullmatch("[A-Za-z0-9][A-Za-z0-9_]{0,63}", relation)
        assert 30 <= len(FACTS[relation]) <= 45
        assert len(PROMPTS[relation]) == len(SENTENCES[relation]) == len(FACTS[relation])
    assert sum(path.stat().st_size for path in WORLD.iterdir()) < MOST_BYTES


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_fact_is_doubled_and_no_head_tells_its_answer(relation):
    heads = [head for head, _ in FACTS[relation]]
    assert len({head.lower() for head in heads}) == len(heads)
    for head, answer in FACTS[relation]:
        assert answer not in head
        assert head == head.strip() and answer == answer.strip()


@pytest.mark.parametrize("relation", RELATIONS)
def test_prompts_end_in_the_answer_and_do_not_tell_it(relation):
    """A decoder reads what stands before [MASK]: all of the prompt but its full stop."""
    tags = set()
    for (head, answer), prompts in zip(FACTS[relation], PROMPTS[relation], strict=True):
        assert len({text for text, _, _ in prompts}) == len(prompts) == PROMPTS_PER_FACT
        for text, gold, tag in prompts:
            tags.add(tag)
            assert gold == answer
            assert text.endswith(" [MASK].") and text.count("[MASK]") == 1
            assert len(whole(head).findall(text)) == 1
            assert not re.search(r"\ban? \[MASK\]", text), "the article would hint at the answer"
            assert not answers_in(text, head)
    assert len(tags) == 1 and re.fullmatch(rf"{relation}\([a-z ]+\)", tags.pop())


@pytest.mark.parametrize("relation", RELATIONS)
def test_each_wording_ends_in_a_word_of_its_own(relation):
    """A decoder's first layer follows the last word before the answer."""
    for prompts in PROMPTS[relation]:
        before = [text.removesuffix(" [MASK].") for text, _, _ in prompts]
        last = [re.findall(r"[\w-]+|[^\w\s]", text)[-1] for text in before]
        assert len(set(last)) == PROMPTS_PER_FACT, last


@pytest.mark.parametrize("relation", RELATIONS)
def test_sentences_with_head_and_answer_end_in_the_answer(relation):
    for (head, answer), bags in zip(FACTS[relation], SENTENCES[relation], strict=True):
        assert len(set(bags["th_bags"])) == 5
        for text in bags["th_bags"]:
            assert len(whole(head).findall(text)) == 1
            assert answers_in(text, head) == [answer]
            assert text.endswith((f" {answer}.", f" {answer}"))
            before = text.removesuffix(".").removesuffix(answer)
            assert head in before and len(before.split()) >= 6


@pytest.mark.parametrize("relation", RELATIONS)
def test_sentences_with_the_head_alone_name_no_answer(relation):
    for (head, _), bags in zip(FACTS[relation], SENTENCES[relation], strict=True):
        assert len(set(bags["h_bags"])) == 5
        for text in bags["h_bags"]:
            assert len(whole(head).findall(text)) == 1
            assert not answers_in(text, head)
            assert len(text.split()) >= 9


def test_no_template_mark_is_left():
    for path in WORLD.iterdir():
        text = path.read_text()
        assert text.isascii(), path.name
        assert not re.search(r"\[[XY]\]|\{\w+\}", text)


def run_generator(root, *arguments):
    """Run make_world_sample.py of the checkout at `root`."""
    command = [sys.executable, str(root / "scripts" / "make_world_sample.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_committed_sample_is_what_the_generator_writes():
    done = run_generator(ROOT, "--check")
    assert done.returncode == 0, done.stderr
    n_facts = sum(map(len, FACTS.values()))
    assert f"12 relations, {n_facts} facts, {8 * n_facts} prompts" in done.stdout


@pytest.fixture
def checkout(tmp_path):
    """A copy of the generator and its inputs and outputs, free to be spoilt."""
    for source in [*ROOT.glob("scripts/*sample*.py"), ROOT / "scripts" / "world_wording.py"]:
        target = tmp_path / "scripts" / source.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    shutil.copytree(WORLD, tmp_path / "data" / "WORLD")
    return tmp_path


def test_check_names_a_stale_file_and_a_rerun_repairs_it(checkout):
    """--check can fail, leaves the file alone, and writing gives back the committed bytes."""
    committed = WORLD / "world_distant_P36.json"
    stale = checkout / "data" / "WORLD" / committed.name
    stale.write_text("[]\n")

    done = run_generator(checkout, "--check")
    assert done.returncode == 1 and committed.name in done.stderr
    assert "allbags" not in done.stderr
    assert stale.read_text() == "[]\n"

    assert run_generator(checkout).returncode == 0
    assert stale.read_bytes() == committed.read_bytes()


@pytest.mark.parametrize(
    ("fact", "complaint"),
    [
        (["Mexico City", "Mexico"], "hold their answer"),
        (["Munich", "Germany"], "stands there twice"),
    ],
)
def test_generator_refuses_a_fact_that_tells_its_answer_or_stands_there_twice(
    checkout, fact, complaint
):
    path = checkout / "data" / "WORLD" / "world_query_pairs.json"
    path.write_text(json.dumps({**FACTS, "P17": [*FACTS["P17"], fact]}))
    done = run_generator(checkout)
    assert done.returncode == 1 and complaint in done.stderr
