"""scripts/known_facts.py on a tiny LLaMA that knows some of the facts it is asked.

Run: pytest tests/integration/test_known_facts.py
"""

import json
from dataclasses import replace

import pytest

from tests.integration.decoder import BARE, FACTS, RELATIONS, bags, sentences, tail
from tests.integration.stages import HEADS, Place, fine, refused

SCRIPT = "../scripts/known_facts.py"
WRONG, HALF = 2, 5  # a fact asked for another answer, and one in two wordings nobody has learned


def changed() -> dict[str, list]:
    """The facts, of P19 one with a wrong answer and one with strange prompts."""
    made = bags()
    for row in made["P19"][WRONG]:
        row[1] = "Oslo" if tail("P19", WRONG) != "Oslo" else "Rome"
    for row in made["P19"][HALF][2:4]:
        row[0] = f"Oslo Oslo {HEADS[HALF]} Latin Latin French [MASK]"
    return made


@pytest.fixture
def asked(decoder, tmp_path) -> Place:
    """Files of one's own, results beside them."""
    made = changed()
    (tmp_path / "data.json").write_text(json.dumps(made))
    pairs = {
        name: [[HEADS[place], bag[0][1]] for place, bag in enumerate(own)]
        for name, own in made.items()
    }
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    for name in made:
        own = [sentences(name, place) for place in range(FACTS)]
        (tmp_path / f"sentences_{name}.json").write_text(json.dumps(own))
    return Place(decoder.model, tmp_path / "data.json", tmp_path / "results")


def known(place: Place, *flags: object):
    """The script's folder, what it told."""
    folder = place.results / "data"
    ended = fine(place.here(SCRIPT, "--output", folder, *flags))
    return folder, ended, json.loads((folder / "known.json").read_bytes())


def test_counts_and_files(asked):
    """Known in 3 wordings of 4, in fewer, left out; the files have the known facts alone."""
    folder, ended, told = known(asked)
    places = [place for place in range(FACTS) if place not in (WRONG, HALF, BARE)]
    assert told["relations"]["P19"] == {
        "asked": FACTS,
        "left_out": 1,
        "facts": places,
        "right": [4] * len(places),
        "other": 2,
    }
    assert told["relations"]["P103"]["facts"] == list(range(BARE))
    assert told["wordings"] == 3
    assert "11 of 14 asked are known, 2 in fewer wordings" in ended.out
    assert "24 facts known in 3 wordings or more" in ended.out
    written = {path.name for path in folder.iterdir()}
    names = {"allbags.json", "query_pairs.json", "known.json"}
    assert written == names | {f"distant_{name}.json" for name in RELATIONS}
    all_bags, heads, of_facts = (
        json.loads((folder / name).read_bytes())
        for name in ("allbags.json", "query_pairs.json", "distant_P19.json")
    )
    assert all_bags["P19"] == [changed()["P19"][place] for place in places]
    assert heads["P19"] == [[HEADS[place], tail("P19", place)] for place in places]
    assert of_facts == [sentences("P19", place) for place in places]


def test_fewer_wordings_know_more(asked):
    """Two suffice: the fact with strange prompts is known in its other two."""
    _, _, told = known(asked, "--wordings", 2)
    found = told["relations"]["P19"]
    assert dict(zip(found["facts"], found["right"], strict=True))[HALF] == 2
    assert found["other"] == 1 and WRONG not in found["facts"]


def test_the_first_so_many_of_each_relation(asked):
    """No fact behind the last one taken is asked."""
    _, _, told = known(asked, "--per_relation", 4)
    assert told["relations"]["P19"] | {"right": None} == {
        "asked": 5,
        "left_out": 0,
        "facts": [0, 1, 3, 4],
        "right": None,
        "other": 1,
    }


def test_only_the_first_facts_of_the_data(asked):
    """--max_facts: the pairs and sentences are still those of all facts."""
    folder, _, told = known(asked, "--max_facts", 3)
    assert told["relations"]["P19"]["facts"] == [0, 1]
    assert len(json.loads((folder / "distant_P103.json").read_bytes())) == 3


def test_stages_take_the_files(asked):
    """Prompts, pairs and sentences of the known facts belong together, for stages 1 to 5."""
    folder, *_ = known(asked)
    (folder / "known.json").unlink()
    own = replace(asked, data=folder / "allbags.json")
    where = {
        "KN_PAIRS": str(folder / "query_pairs.json"),
        "KN_SENTENCES": str(folder / "distant_{}.json"),
    }
    for relation in RELATIONS:
        fine(own.score(relation, **where))
        assert own.scores_manifest(relation)["skipped_facts"] == []
    fine(own.here("2_get_kn.py"))
    for stage in (3, 4, 5):
        names = ("modify_activation", "check_weights_distant", "find_trigger_examples")
        fine(own.here(f"{stage}_{names[stage - 3]}.py", **where))
    summary = json.loads((own.results / "distant/summary.json").read_bytes())
    assert summary["relations_without_sentences"] == []
    records = (own.results / "modify_activation/P19.jsonl").read_text().splitlines()
    assert len(records) == 11


def test_nothing_known_is_an_error(asked):
    """And leaves no folder behind."""
    folder = asked.results / "data"
    refused(asked.here(SCRIPT, "--output", folder, "--wordings", 6), "no fact of", "6 wordings")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "part"),
    [("pairs.json", "no such file"), ("sentences_P103.json", "no such file")],
)
def test_missing_files_are_named_and_nothing_is_written(asked, name, part):
    (asked.data.parent / name).unlink()
    folder = asked.results / "data"
    refused(asked.here(SCRIPT, "--output", folder), name, part)
    assert not folder.exists()


def test_sentences_of_other_facts_are_refused(asked):
    """One fact fewer: they would go to the wrong facts."""
    path = asked.data.parent / "sentences_P19.json"
    path.write_text(json.dumps(json.loads(path.read_bytes())[1:]))
    folder = asked.results / "data"
    refused(asked.here(SCRIPT, "--output", folder), "sentences_P19.json")
    assert not folder.exists()
