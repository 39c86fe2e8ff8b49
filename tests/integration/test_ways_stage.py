"""Stage 11 as users run it, on the embedded model and facts it knows.

Files are compared without seconds, which lie beside: no two runs take the same.
Run: pytest tests/integration/test_ways_stage.py
"""

import json
import shutil
from dataclasses import replace

import pytest

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.results import scorers, single_prompt
from knowledge_neurons.results.companions import seconds_path
from knowledge_neurons.results.layout import Results
from knowledge_neurons.runs.executor import InThisProcess
from tests.integration.editable import MODEL, SAMPLE
from tests.integration.stages import Ended, Place, fine, refused

SCORERS, ONE_PROMPT = "11_compare_scorers.py", "11_study_one_prompt.py"
FACTS, ASKED = 3, 2
FEW = ("--facts", ASKED, "--wordings", 1, "--scorers", "ig,zero-out,activation")
FEW += ("--candidates", "5:10", "--smoothings", "2:0.05,embeddings:2:0.1")
FILES = {SCORERS: "ways/scorers-P36.jsonl", ONE_PROMPT: "ways/one_prompt-P36.jsonl"}


@pytest.fixture(scope="module")
def compared(one_thread, tmp_path_factory) -> tuple[Place, Ended]:
    """Stages 1, 2 and 11 of a few facts; not to be changed."""
    folder = tmp_path_factory.mktemp("compared")
    sample = json.loads(SAMPLE.read_bytes())
    (folder / "data.json").write_text(json.dumps({"P36": sample["P36"][:FACTS]}))
    place = Place(MODEL, folder / "data.json", folder / "results")
    fine(place.score("P36"))
    fine(place.here("2_get_kn.py"))
    return place, fine(place.shell("11_compare_ways.sh", *FEW))


@pytest.fixture
def own(compared, tmp_path) -> Place:
    """The same results in a folder of one's own."""
    place = replace(compared[0], results=tmp_path / "results")
    shutil.copytree(compared[0].results, place.results)
    return place


def asked_of(place: Place) -> list[tuple[list[str], str]]:
    bags = json.loads(place.data.read_bytes())["P36"][:ASKED]
    return [([prompt[0] for prompt in bag], bag[0][1]) for bag in bags]


def test_scorers_are_those_of_the_library(compared):
    """Every fact and scorer; neurons are stage 2's, curves those of kn.compare_scorers."""
    place, ended = compared
    results, names = Results(place.results), ("ig", "zero-out", "activation")
    found = scorers.read_scorers(results.compared_scorers("P36"))
    assert [(one.fact, one.prompt, one.scorer) for one in found] == [
        (fact, 0, name) for fact in range(ASKED) for name in names
    ]
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    expected = kn.compare_scorers(asked_of(place), names[::2], wordings=1, progress=False).records
    alike = [one for one in found if one.scorer != "zero-out"]
    for one, other in zip(alike, expected, strict=True):
        assert one.deletion == pytest.approx(other.deletion, rel=1e-4)
        assert one.insertion == pytest.approx(other.insertion, rel=1e-4)
        assert one.overlap == pytest.approx(other.overlap) and one.neurons == other.neurons
    assert all(one.seconds > 0 for one in found if one.scorer != "activation")
    summary = scorers.read_scorers_summary(results)
    assert (summary.facts, summary.prompts, summary.neurons) == (ASKED, ASKED, 4 * 512)
    assert summary.scorers == pytest.approx(scorers.summaries_of(found, 42))
    dear = next(one for one in summary.scorers if one.scorer == "zero-out")
    assert summary.seconds_of_all(dear) == pytest.approx(dear.seconds * 2048 / dear.neurons)
    assert f"Scorers on {ASKED} prompts of {ASKED} facts" in ended.out


def test_one_prompt_is_that_of_the_library(compared):
    place, ended = compared
    results = Results(place.results)
    found, alone = single_prompt.read_one_prompt(results.one_prompt("P36"))
    smooth = (Smoothing(2, 0.05), Smoothing(2, 0.1, "embeddings"))
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    expected = kn.single_prompt_study(asked_of(place), smooth, progress=False).records
    assert alone == 0 and len(found) == 6 * ASKED
    for one, other in zip(found, expected, strict=True):
        assert (one.way, one.neurons) == (other.way, other.neurons)
        assert one.precision == pytest.approx(other.precision)
    summary = single_prompt.read_one_prompt_summary(results)
    assert summary.ways == single_prompt.summaries_of(found, 42) and summary.facts == ASKED
    assert summary.chosen.left_out == {}
    manifest = place.manifest(FILES[ONE_PROMPT])
    assert manifest["model_sha256_after"] == manifest["identity"]["model_sha256"]
    assert f"One prompt against the other wordings of {ASKED} facts" in ended.out


@pytest.mark.parametrize("script", FILES)
def test_goes_on_after_an_interruption(own, script):
    """What was whole is kept with its seconds, the rest computed again: the same bytes."""
    path = own.results / FILES[script]
    beside, whole = seconds_path(path), path.read_bytes()
    assert b"seconds" not in whole and len(beside.read_bytes().splitlines()) == ASKED
    before = path.stat().st_mtime_ns
    fine(own.here(script, *FEW))
    assert path.stat().st_mtime_ns == before  # done: left alone
    first = beside.read_bytes().splitlines()[0]
    for one in (path, beside):
        content = one.read_bytes()
        one.unlink()
        one.with_name(f"{one.name}.partial").write_bytes(content[:-5])
    fine(own.here(script, *FEW))
    assert path.read_bytes() == whole and own.manifest(FILES[script])["facts_resumed"] == 1
    assert beside.read_bytes().splitlines()[0] == first


def test_workers_end_with_the_first_script(own, monkeypatch):
    """The second, in the same process, starts workers of its own; Ray would refuse it."""
    ended = []
    monkeypatch.setattr(InThisProcess, "close", lambda self: ended.append(self))
    fine(own.here(SCORERS, *FEW))
    assert len(ended) == 1


def test_facts_that_are_not_known_are_counted(own):
    """And the next ones taken; of a relation of which none is known nothing can be said."""
    shutil.rmtree(own.results / "ways")
    results = Results(own.results)
    texts = [(bag[0][0], bag[0][1]) for bag in json.loads(own.data.read_bytes())["P36"]]
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    p = [kn.probabilities([text], answer)[0] for text, answer in texts]
    least = sorted(p)[1]  # one of three is below
    fine(own.here(SCORERS, *FEW, "--scorers", "logit", "--facts", 9, "--known", least - 1e-4))
    found = scorers.read_scorers(results.compared_scorers("P36"))
    assert [one.fact for one in found] == [place for place, one in enumerate(p) if one >= least]
    chosen = scorers.read_scorers_summary(results).chosen
    assert chosen.left_out == {"not known": 1} and str(chosen) == "1 not known"
    refused(own.here(SCORERS, *FEW, "--known", 1), "no fact of P36 can be asked (3 not known)")


def test_scores_by_other_layers_are_compared_in_those(own):
    """The layers that stage 1 scored, and its calibration, which stays as it is."""
    shutil.rmtree(own.results)
    fine(own.score("P36", "--layers", "2-3"))
    fine(own.here("2_get_kn.py"))
    calibration = Results(own.results).calibration
    before = calibration.read_bytes()
    for script in FILES:
        fine(own.here(script, *FEW))
        assert own.manifest(FILES[script])["identity"]["layers"] == "2-3"
    assert calibration.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--facts", 0), "argument --facts: '0': expected"),
        (("--known", 2), "argument --known: '2': expected"),
        (("--scorers", "ig,x"), "argument --scorers: 'ig,x': expected some of ig,"),
        (("--scorers", ","), "argument --scorers: ',': expected some of ig,"),
        (("--candidates", "5"), "argument --candidates: '5': expected N:M, such as 20:100"),
        (("--candidates", "5:0"), "argument --candidates: '0': expected"),
        (("--smoothings", "8"), "argument --smoothings: '8': expected such as 8:0.05"),
        (("--smoothings", "2:0.1,x:8:0.1"), "'x:8:0.1': expected such as 8:0.05 or embeddings"),
        (("--smoothings", "8:nan"), "argument --smoothings: '8:nan': expected such as 8:0.05"),
        (("--relations", "P9"), "no neurons of P9"),
        ((*FEW, "--seed", 7), "seed is 42 there and 7 now"),
        ((*FEW, "--facts", 3), "chosen is [0, 1] there and [0, 1, 2] now"),
    ],
)
def test_refuses(own, arguments, part):
    refused(own.here(SCORERS, *arguments), part)


def test_stage_8_shows_it(own):
    """The same figures, and both tables in the report."""
    figures = [own.results / f"figs/{name}.png" for name in ("scorers", "one_prompt")]
    before = [path.read_bytes() for path in figures]
    fine(own.here("8_plot_figures.py"))
    assert [path.read_bytes() for path in figures] == before
    fine(own.here("8_plot_report.py"))
    html = (own.results / "report.html").read_text()
    assert '<a href="#ways">' in html and html.count('<section id="ways">') == 1
    assert "Closest to zero-out: ig, " in html and "11 ways compared" in html
    assert "weights x N(1, 0.05^2), 2 copies" in html
