"""What languages share of a fact's neurons, and by chance: by hand, and against slow twins.

Run: pytest tests/unit/test_languages.py
"""

import argparse
import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from knowledge_neurons.neurons import languages as sets
from knowledge_neurons.results.languages import Ways, compare
from knowledge_neurons.stages import arguments, languages
from knowledge_neurons.types import Neuron

WIDTH = 9
WAYS = Ways(share=1.0, width=WIDTH, layers=3, seed=5, done=lambda: None)


def neurons(*pairs) -> frozenset:
    return frozenset(Neuron(*pair) for pair in pairs)


A, B, C, D = ((0, 1), (1, 4), (1, 5), (2, 8))
GROUP = {
    "one": {"en": neurons(A, B), "fr": neurons(A, C), "de": neurons(A, B, D)},
    "two": {"en": neurons(C), "fr": neurons(C, D), "de": neurons()},
    "three": {"en": neurons(B, D), "fr": neurons(B, D)},
    "four": {"de": neurons(A)},
}


def columns(first, second, group=GROUP):
    facts, left_out = sets.in_both(group, first, second)
    rows = sets.sharing(facts, first, second, WIDTH)
    return dict(zip(sets.PAIR_COLUMNS, rows.T, strict=True)), left_out


def test_sharing_of_two_languages_by_hand():
    """Overlaps, Jaccard, and the same of every other fact."""
    found, left_out = columns("en", "fr")
    assert left_out == 0
    assert found["shared"].tolist() == [1, 1, 2]
    assert found["jaccard"].tolist() == [1 / 3, 1 / 2, 1]
    # one's en {A B} with fr of two {C D} and three {B D}: 0 and 1; and so on.
    assert found["shared_other"].tolist() == [(0 + 1) / 2, (1 + 0) / 2, (0 + 1) / 2]
    assert found["jaccard_other"] == pytest.approx([1 / 6, 1 / 4, 1 / 6])


def test_facts_without_neurons_in_one_language_are_counted():
    found, left_out = columns("de", "en")
    assert (len(found["shared"]), left_out) == (1, 1)
    assert np.isnan(found["shared_other"]).all() and found["shared"].tolist() == [2]


def test_chance_of_random_neurons_is_that_of_many_draws():
    """Exact means against 20,000 draws of the same number in each layer."""
    rng = random.Random(1)
    a, b = neurons((0, 1), (0, 2), (0, 3), (1, 4)), neurons((0, 5), (0, 6), (1, 4), (1, 7), (2, 1))
    counts = [sum(n.layer == layer for n in b) for layer in range(3)]
    shared, overlap = [], []
    for _ in range(20_000):
        drawn = {(la, i) for la, n in enumerate(counts) for i in rng.sample(range(WIDTH), n)}
        shared.append(len(a & drawn))
        overlap.append(len(a & drawn) / len(a | drawn))
    found = sets.expected_sharing(sets._layers(a), sets._layers(b), WIDTH)
    assert found == pytest.approx((3 * 2 / 9 + 1 * 2 / 9, np.mean(overlap)), rel=0.02)
    assert found[0] == pytest.approx(np.mean(shared), rel=0.02)


def test_neurons_of_a_fact_by_its_languages():
    """All of three, two of three, one alone; an empty language asked all the same."""
    parts = sets.split(GROUP["one"])
    assert parts.independent == [A] and parts.distinct == 4 and parts.asked == ["de", "en", "fr"]
    assert parts.specific == {"de": [D], "en": [], "fr": [C]}
    assert sets.split(GROUP["one"], 0.6).independent == [A, B]
    assert sets.split(GROUP["two"]).independent == []
    assert sets.split(GROUP["two"], 0.6).independent == [C]


@pytest.mark.parametrize(
    ("share", "asked", "least"), [(1, 3, 3), (0.6, 3, 2), (0.1, 3, 2), (0.7, 10, 7), (1, 46, 46)]
)
def test_enough_languages(share, asked, least):
    """No neuron of one language alone is independent of language, whatever the share."""
    assert sets.enough(share, asked) == least


def test_independence_by_chance_is_that_of_many_draws():
    rng, fact = random.Random(2), {"en": neurons(A, B, C), "fr": neurons(B, C), "de": neurons(A, C)}
    for share, least in ((1.0, 3), (0.6, 2)):
        total = 0
        for _ in range(20_000):
            drawn = [
                {(layer, i) for layer in range(3)
                 for i in rng.sample(range(WIDTH), sum(n.layer == layer for n in own))}
                for own in fact.values()
            ]  # fmt: skip
            every = set().union(*drawn)
            total += sum(sum(n in own for own in drawn) >= least for n in every)
        found = sets.independent_at_random(fact, share, WIDTH)
        assert found == pytest.approx(total / 20_000, rel=0.05)


def test_other_facts_share_what_all_facts_share():
    """A neuron of every fact is found with any shift; one of a single fact with none."""
    everywhere = {
        key: {one: neurons(A, (2, key)) for one in ("en", "fr", "de")} for key in range(5)
    }
    assert sets.independent_of_other_facts(everywhere, 1.0, 7) == [1.0] * 5
    assert sets.independent_of_other_facts({"one": GROUP["one"]}, 1.0, 7) == []


def test_averages_of_all_groups():
    """Of facts, not of relations; a single fact has no others; layers sum to the means."""
    groups = {"P1": GROUP, "P2": {"five": {"en": neurons(A), "fr": neurons(A)}}}
    level = compare(groups, ["de", "en", "fr"], WAYS)
    assert [(p.first, p.second) for p in level.pairs] == list(combinations(["de", "en", "fr"], 2))
    pair = level.pairs[2]
    assert (pair.compared, pair.left_out) == (4, 0)
    assert pair.shared.value == (1 + 1 + 2 + 1) / 4
    assert pair.shared_other.value == 0.5
    assert pair.beyond_other.value == pytest.approx(4 / 3 - 0.5)
    low, high = pair.shared.interval
    assert low <= 1.25 <= high and low < high
    spread = level.spread
    assert spread.facts == 4
    assert spread.independent.value == sum(spread.layers_independent) == (1 + 0 + 2 + 1) / 4
    assert spread.specific.value == sum(spread.layers_specific) == (2 + 1 + 0 + 0) / 4
    assert level == compare(groups, ["de", "en", "fr"], WAYS)


def test_languages_that_no_fact_has_in_common():
    level = compare({"P1": {"a": {"en": neurons(A)}}}, ["en", "fr"], WAYS)
    assert level.pairs == [] and level.spread is None


# --- --language ------------------------------------------------------------------------------


def settings(monkeypatch, *flags, **environment) -> arguments.Settings:
    for name in ("KN_DATA", "KN_PAIRS", "KN_SENTENCES", "KN_LANGUAGE", "KN_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    parser = arguments.of_neurons("for a test")
    if "--sentences" in flags:
        arguments.add_sentences(parser)
        return arguments.settings(arguments.SentenceSettings, parser.parse_args(flags), oov="skip")
    return arguments.settings(arguments.ModelSettings, parser.parse_args(flags))


def test_language_chooses_prompts_and_folder(monkeypatch):
    """mPARAREL's where nothing is named; results never where those of no language are."""
    plain = settings(monkeypatch, "--output_dir", "/r")
    assert "language" not in plain.given and plain.of_language == {}
    french = settings(monkeypatch, "--language", "fr", "--output_dir", "/r")
    assert french.data_path == arguments.ROOT / "data/MPARAREL/fr_allbags.json"
    assert french.results.root == Path("/r/languages/fr")
    assert french.given["language"] == "fr" and french.of_language == {"language": "fr"}
    own = settings(monkeypatch, KN_DATA="/d/{}.json", KN_LANGUAGE="zh-hans", KN_RESULTS="/r")
    assert own.data_path == Path("/d/zh-hans.json")
    assert own.results.root == Path("/r/languages/zh-hans")
    listening = settings(monkeypatch, "--language", "fr", "--sentences", "/s/{}.json")
    assert listening.pairs == arguments.ROOT / "data/MPARAREL/fr_query_pairs.json"
    assert listening.sentences == "/s/{}.json"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--language", "fr", "--data_path", "/d/en.json"), "the same in every language"),
        (("--language", "fr", "--tmp_data_path", "/d/x.json"), "--tmp_data_path is /d/x.json"),
        (("--data_path", "/d/{}.json"), "name the language that stands for {}"),
        (("--language", "fr", "--sentences", str(arguments.SENTENCES)), "sentences are English"),
    ],
)
def test_what_would_mix_languages_is_refused(monkeypatch, flags, said):
    with pytest.raises(ValueError) as error:
        settings(monkeypatch, *flags)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["", "f", "../fr", "fr/x", "fr_FR", "zh-", "français"])
def test_a_name_that_could_not_be_a_folder_is_refused(name):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a name such as fr"):
        languages.name(name)
