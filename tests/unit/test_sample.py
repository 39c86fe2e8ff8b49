"""The embedded sample in git: its counts, its invariants, and that its generator still writes it.

pytest tests/unit/test_sample.py
"""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARAREL = ROOT / "data" / "PARAREL"
BINGREL = ROOT / "data" / "BINGREL"
RELATIONS = [
    *("P19", "P20", "P27", "P30", "P36", "P37", "P101"),
    *("P103", "P106", "P176", "P178", "P740", "P937", "P1303"),
]
FACTS_PER_RELATION = 42
PROMPTS_PER_FACT = 8
HELD_OUT_PROMPTS = 2

FACTS = json.loads((PARAREL / "sample_query_pairs.json").read_text())
PROMPTS = json.loads((PARAREL / "sample_allbags.json").read_text())
SENTENCES = {
    relation: json.loads((BINGREL / f"sample_distant_{relation}.json").read_text())
    for relation in RELATIONS
}
ANSWERS = {answer.lower() for pairs in FACTS.values() for _, answer in pairs}


def words(text):
    """The lower-cased words of a text."""
    return re.findall(r"\w+", text.lower())


def occurrences(part, text):
    """How often `part` stands in `text` as whole words."""
    return len(re.findall(rf"(?<!\w){re.escape(part)}(?!\w)", text))


def without_head(text, head):
    """The text with its head cut out, for rules about the words around it."""
    return re.sub(rf"(?<!\w){re.escape(head)}(?!\w)", " ", text)


def test_relations_and_counts():
    assert list(FACTS) == list(PROMPTS) == RELATIONS
    assert {p.name for p in BINGREL.glob("sample_distant_*.json")} == {
        f"sample_distant_{relation}.json" for relation in RELATIONS
    }
    for relation in RELATIONS:
        assert len(FACTS[relation]) == FACTS_PER_RELATION
        assert len(PROMPTS[relation]) == len(SENTENCES[relation]) == FACTS_PER_RELATION


@pytest.mark.parametrize("relation", RELATIONS)
def test_facts_have_one_word_answers_that_the_head_does_not_give_away(relation):
    heads = [head for head, _ in FACTS[relation]]
    assert len(set(heads)) == len(heads)
    for head, answer in FACTS[relation]:
        assert re.fullmatch(r"[A-Za-z]+", answer)
        assert re.fullmatch(r"[A-Za-z0-9'.-]+( [A-Za-z0-9'.-]+){0,2}", head)
        assert answer.lower() not in head.lower()


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_answer_of_a_relation_is_worth_guessing(relation):
    counts = Counter(answer for _, answer in FACTS[relation])
    n_distinct, per_answer = {"P30": ((5, 6), (3, 10)), "P36": ((8, 36), (1, 6))}.get(
        relation, ((8, 14), (3, 6))
    )
    assert n_distinct[0] <= len(counts) <= n_distinct[1]
    assert per_answer[0] <= min(counts.values()) and max(counts.values()) <= per_answer[1]


@pytest.mark.parametrize("relation", RELATIONS)
def test_prompts_ask_for_their_fact_and_do_not_tell_it(relation):
    tags = set()
    for (head, answer), prompts in zip(FACTS[relation], PROMPTS[relation], strict=True):
        assert len({text for text, _, _ in prompts}) == PROMPTS_PER_FACT
        for text, gold, tag in prompts:
            tags.add(tag)
            assert gold == answer
            assert occurrences(head, text) == 1 and text.count("[MASK]") == 1
            assert 6 <= len(text.split()) <= 12
            assert not re.search(r"\ban? \[MASK\]", text), "the article would hint at the answer"
            assert not ANSWERS & set(words(without_head(text, head)))
    assert len(tags) == 1 and re.fullmatch(rf"{relation}\([a-z ]+\)", tags.pop())


@pytest.mark.parametrize("relation", RELATIONS)
def test_held_out_prompts_use_only_words_met_elsewhere(relation):
    """A model trained without the last two prompts has seen each of their words all the same."""
    seen, held_out = set(), set()
    facts = zip(FACTS[relation], PROMPTS[relation], SENTENCES[relation], strict=True)
    for (head, _), prompts, bags in facts:
        texts = [without_head(text, head) for text, _, _ in prompts]
        held_out.update(*map(words, texts[-HELD_OUT_PROMPTS:]))
        for text in texts[:-HELD_OUT_PROMPTS] + [without_head(t, head) for t in bags["th_bags"]]:
            seen.update(words(text))
    assert held_out <= seen


@pytest.mark.parametrize("relation", RELATIONS)
def test_sentences_with_head_and_answer_hold_each_once(relation):
    for (head, answer), bags in zip(FACTS[relation], SENTENCES[relation], strict=True):
        assert len(set(bags["th_bags"])) == 6
        for text in bags["th_bags"]:
            assert occurrences(head, text) == 1 and occurrences(answer, text) == 1
            assert [w for w in words(without_head(text, head)) if w in ANSWERS] == [answer.lower()]
            assert 10 <= len(text.split()) <= 25


@pytest.mark.parametrize("relation", RELATIONS)
def test_sentences_with_the_head_alone_name_no_answer(relation):
    for (head, answer), bags in zip(FACTS[relation], SENTENCES[relation], strict=True):
        assert len(set(bags["h_bags"])) == 5
        for text in bags["h_bags"]:
            assert occurrences(head, text) == 1 and occurrences(answer, text) == 0
            assert not ANSWERS & set(words(without_head(text, head)))
            assert 10 <= len(text.split()) <= 25


def test_no_template_mark_is_left():
    for path in [*PARAREL.glob("sample_*.json"), *BINGREL.glob("sample_*.json")]:
        text = path.read_text()
        assert text.isascii(), path.name
        assert not re.search(r"\[[XY]\]|\{(year|month|season|good|book|event|who)\}", text)


def run_generator(root, *arguments):
    """Run make_sample.py of the checkout at `root`."""
    command = [sys.executable, str(root / "scripts" / "make_sample.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_committed_sample_is_what_the_generator_writes():
    done = run_generator(ROOT, "--check")
    assert done.returncode == 0, done.stderr
    assert "14 relations, 588 facts, 4704 prompts, 6468 sentences" in done.stdout


def test_check_names_a_stale_file_and_a_rerun_repairs_it(tmp_path):
    """--check can fail, leaves the file alone, and writing gives back the committed bytes."""
    committed = BINGREL / "sample_distant_P101.json"
    for source in [*ROOT.glob("scripts/*sample*.py"), *ROOT.glob("data/*/sample_*.json")]:
        target = tmp_path / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    stale = tmp_path / "data" / "BINGREL" / committed.name
    stale.write_text("[]\n")

    done = run_generator(tmp_path, "--check")
    assert done.returncode == 1 and committed.name in done.stderr
    assert "sample_allbags" not in done.stderr
    assert stale.read_text() == "[]\n"

    assert run_generator(tmp_path).returncode == 0
    assert stale.read_bytes() == committed.read_bytes()
