"""Stages 1 and 2 in three languages on a small multilingual model, and what the languages share.

Run: pytest tests/integration/test_language_stages.py
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge_neurons import ROOT, KnowledgeNeurons
from knowledge_neurons.networks.checkpoints import from_pretrained
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.layout import Results
from tests.integration.stages import Place, fine, refused
from tests.reference import multilingual

COMPARE = "2_compare_languages.py"
LANGUAGES = multilingual.LANGUAGES


@pytest.fixture(scope="module")
def place(one_thread, tmp_path_factory) -> Place:
    """The model, trained now, and the sample; KN_DATA has {} for the language."""
    folder = tmp_path_factory.mktemp("languages")
    multilingual.write(folder / "model")
    shutil.copytree(ROOT / "data/LANGUAGES", folder / "data")
    return Place(folder / "model", folder / "data/{}_allbags.json", folder / "results")


@pytest.fixture(scope="module")
def found(place) -> Place:
    """Stages 1 and 2 of each language; not to be changed."""
    for language in LANGUAGES:
        for relation in ("P36", "P37"):
            fine(place.score(relation, "--language", language))
        fine(place.here("2_get_kn.py", "--language", language))
    return place


@pytest.fixture
def own(found, tmp_path) -> Place:
    """The same in a folder of one's own."""
    shutil.copytree(found.results, tmp_path / "results")
    shutil.copytree(found.data.parent, tmp_path / "data")
    return replace(found, results=tmp_path / "results", data=tmp_path / "data/{}_allbags.json")


def of(place: Place, language: str) -> Results:
    return Results(place.results).of_language(language)


def sharing_of(place: Place) -> dict:
    return json.loads((place.results / "languages/sharing.json").read_text())


def test_the_model_knows_the_facts_in_every_language(place):
    """Answers of two tokens too; otherwise the tests below would be about noise."""
    known = KnowledgeNeurons.from_pretrained(str(place.model))
    for facts in multilingual.facts().values():
        for fact in facts[::3]:
            assert min(known.probabilities(list(fact.prompts), fact.answer)) > 0.5, fact


def test_each_language_has_its_own_results(found):
    """Prompts of the language, in its folder, and the language in what decides a result."""
    assert sorted(path.name for path in found.results.iterdir()) == ["languages"]
    assert Results(found.results).languages() == list(LANGUAGES)
    for language, country in zip(LANGUAGES, ("Frankreich", "France", "France"), strict=True):
        scores = of(found, language).scores("P36")
        assert country in json.loads(scores.read_text().splitlines()[0])[0][0]["tokens"]
        manifest = json.loads(manifest_path(scores).read_text())
        assert manifest["identity"]["language"] == manifest["arguments"]["language"] == language
        assert manifest["arguments"]["data_path"].endswith(f"/{language}_allbags.json")
        neurons = json.loads(
            manifest_path(of(found, language).fact_neurons("P36", False)).read_text()
        )
        assert neurons["identity"]["scores"]["language"] == language


def test_answers_of_two_tokens_are_asked_with_two_masks(found):
    """Warschau is Warscha ##u: both stand as masks in the prompt."""
    scores = of(found, "de").scores("P36")
    assert json.loads(manifest_path(scores).read_text())["answers_of_several_tokens"]["2"] > 0
    warsaw = json.loads(scores.read_text().splitlines()[-1])
    assert warsaw[0][0]["gold_obj"] == "Warschau"
    assert all(pair[0]["tokens"].count("[MASK]") == 2 for pair in warsaw)
    again = fine(found.score("P36", "--language", "de"))
    assert "P36 is done" in again.out


def test_results_of_two_languages_do_not_mix(own):
    """The prompts of one put in the place of another's are noticed."""
    shutil.copy(own.data.parent / "en_allbags.json", own.data.parent / "fr_allbags.json")
    refused(own.score("P36", "--language", "fr"), "data_sha256", "rm ")
    refused(own.here(COMPARE), "is of other prompts than lie beside")
    moved = of(own, "fr").scores("P36").parent
    shutil.rmtree(moved)
    shutil.copytree(of(own, "en").root, moved)
    shutil.copy(own.data.parent / "en_allbags.json", own.data.parent / "fr_allbags.json")
    refused(own.score("P36", "--language", "fr"), "language is 'en' there and 'fr' now")


def test_what_languages_share(own):
    """More than other facts do, and those more than random neurons: the model says so itself."""
    ended = fine(own.shell("2_run_languages.sh", "--across", "en,fr,de"))
    written = sharing_of(own)
    pairs = written["facts"]["pairs"]
    assert [(pair["first"], pair["second"]) for pair in pairs] == [
        *(("de", "en"), ("de", "fr"), ("en", "fr"))
    ]
    for pair in pairs:
        assert pair["compared"] + pair["left_out"] == 20
        assert pair["shared"]["value"] > pair["shared_other"]["value"]
        low, high = pair["jaccard"]["interval"]
        assert 0 <= low <= pair["jaccard"]["value"] <= high <= 1
    assert written["facts"]["spread"]["facts"] == 20
    assert written["relations"]["spread"]["facts"] == 2
    told = re.findall(r"de, en +20 +(\d\.\d\d) \[", ended.out)
    assert told == [f"{pairs[0]['shared']['value']:.2f}"]
    for suffix in ("pdf", "png"):
        assert (own.results / f"figs/languages.{suffix}").stat().st_size > 1000
    before = (own.results / "languages/sharing.json").read_bytes()
    fine(own.here(COMPARE))  # all languages are the default
    assert (own.results / "languages/sharing.json").read_bytes() == before


def test_averages_can_be_made_from_the_records_of_facts(own):
    """A line for each fact, and its neurons are those of stage 2."""
    fine(own.here(COMPARE, "--share", "0.6"))
    facts = []
    for relation in ("P36", "P37"):
        path = own.results / f"languages/{relation}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        kept = {
            one: json.loads(of(own, one).fact_neurons(relation, False).read_text())
            for one in LANGUAGES
        }
        for index, row in enumerate(rows):
            sets = {one: {tuple(n) for n in kept[one][index]} for one in LANGUAGES}
            counts = [n for own_set in sets.values() for n in own_set]
            assert {tuple(n) for n in row["independent"]} == {
                n for n in counts if counts.count(n) >= 2
            }
            assert row["distinct"] == len(set(counts))
        facts += rows
        assert json.loads(manifest_path(path).read_text())["identity"]["share"] == 0.6
    assert [row["sub_uri"] for row in facts[:2]] == ["Q142", "Q183"]
    spread, specific = (
        sharing_of(own)["facts"]["spread"],
        [sum(map(len, row["specific"].values())) for row in facts],
    )
    assert spread["specific"]["value"] == pytest.approx(sum(specific) / 20)


def test_a_fact_that_one_language_lacks(own):
    """It is joined by who it is, not by its place: the first country is missing in French."""
    for name in ("allbags", "uris"):
        path = own.data.parent / f"fr_{name}.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({relation: rows[1:] for relation, rows in content.items()}))
    shutil.rmtree(of(own, "fr").root)
    for relation in ("P36", "P37"):
        fine(own.score(relation, "--language", "fr"))
    fine(own.here("2_get_kn.py", "--language", "fr"))
    fine(own.here(COMPARE))
    pairs = {(p["first"], p["second"]): p for p in sharing_of(own)["facts"]["pairs"]}
    assert pairs["de", "fr"]["compared"] + pairs["de", "fr"]["left_out"] == 18
    first, second = (
        json.loads(line)
        for line in (own.results / "languages/P36.jsonl").read_text().splitlines()[:2]
    )
    assert first["sub_uri"] == "Q142" and first["asked"] == ["de", "en"]
    assert second["sub_uri"] == "Q183" and second["asked"] == ["de", "en", "fr"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--across", "en,la"), "no neurons of la in"),
        (("--across", "en"), "neurons of 1 languages"),
        (("--data_path", "/d/en_allbags.json"), "the same in every language"),
        (("--data_path", "/d/{}.json"), "name --uris too"),
        (("--relations", "P19"), "none of de, en, fr has neurons of those --relations"),
    ],
)
def test_what_cannot_be_compared(found, flags, said):
    refused(found.here(COMPARE, *flags), said)


def test_neurons_of_another_refinement_or_model_are_not_compared(own):
    fine(own.here("2_get_kn.py", "--language", "fr", "--coarse", "0.3"))
    refused(own.here(COMPARE), "coarse is 0.3 and 0.2", "cannot be compared")
    path = own.data.parent / "fr_uris.json"
    path.write_text(json.dumps({r: rows[1:] for r, rows in json.loads(path.read_text()).items()}))
    refused(own.here(COMPARE), "tells who 9 facts are")


def test_other_stages_take_the_language(own):
    """Stage 3 reads the neurons of its folder; the report of all has the comparison."""
    fine(own.here("3_modify_activation.py", "--language", "fr"))
    assert (of(own, "fr").root / "modify_activation/P36.jsonl").exists()
    fine(own.here(COMPARE))
    fine(own.here("8_plot_report.py"))
    html = (own.results / "report.html").read_text()
    assert 'href="#languages"' in html and "de, en</th>" in html
    assert "Neurons of a fact that two languages share, and by layer" in html
    fine(own.here("8_plot_report.py", "--language", "fr"))
    assert 'id="languages"' not in (of(own, "fr").root / "report.html").read_text()


def test_sentences_of_another_language_are_the_users_own(own, tmp_path):
    """BINGREL's are refused before any work; others are read with the language's pairs."""
    flags = ("--language", "fr")
    ended = own.here("4_check_weights_distant.py", *flags, KN_SENTENCES="", KN_PAIRS="")
    refused(ended, "BINGREL's web sentences are English", "KN_SENTENCES")
    pairs = json.loads((own.data.parent / "fr_query_pairs.json").read_text())
    for relation, facts in pairs.items():
        bags = [
            {"th_bags": [f"Ici {head} : {tail}."], "h_bags": [f"La carte de {head}."]}
            for head, tail in facts
        ]
        (tmp_path / f"{relation}.json").write_text(json.dumps(bags))
    own_files = {
        "KN_SENTENCES": str(tmp_path / "{}.json"),
        "KN_PAIRS": str(own.data.parent / "{}_query_pairs.json"),
    }
    fine(own.here("4_check_weights_distant.py", *flags, **own_files))
    assert (of(own, "fr").root / "distant/summary.json").exists()


def test_the_sample_is_what_its_generator_writes():
    """Twenty facts of two relations in three languages, the same facts in the same order."""
    check = [sys.executable, str(ROOT / "scripts/make_languages_sample.py"), "--check"]
    assert subprocess.run(check, capture_output=True).returncode == 0
    uris = [json.loads((ROOT / f"data/LANGUAGES/{one}_uris.json").read_text()) for one in LANGUAGES]
    assert uris[0] == uris[1] == uris[2] and sum(map(len, uris[0].values())) == 20
    for facts in multilingual.facts().values():
        assert len(facts) == 20 and min(len(fact.prompts) for fact in facts) >= 4


def test_the_model_is_the_same_for_the_same_seed(place):
    """Its words are a vocabulary of all three languages; some answers take two tokens."""
    tokenizer = from_pretrained(place.model).tokenizer
    lengths = {
        fact.answer: len(tokenizer.answer("", fact.answer, ""))
        for facts in multilingual.facts().values()
        for fact in facts
    }
    assert set(lengths.values()) == {1, 2} and lengths["Le Caire"] == lengths["Portuguese"] == 2
    assert Path(place.model, "vocab.txt").read_text().count("\n") == len(tokenizer)
