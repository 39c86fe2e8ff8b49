"""Neurons that EleutherAI published, as results: a small made-up set through every stage.

Run: pytest tests/integration/test_published_neurons.py      (the last test needs ../shared/data,
and is skipped without it)

PARAREL here has 18 facts of P19 and 3 of P36; published are 15 and all 3, and 2 of a relation that
it does not have.  The model is a tiny random BERT with bert-base's 12 layers of 3,072 neurons.
"""

import importlib.util
import json
import shutil
import sys
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from knowledge_neurons import ROOT
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.report import embedding, render
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.adopted import taken
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest
from knowledge_neurons.results.neurons import read_fact_neurons, read_statistics
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from knowledge_neurons.types import Neuron
from tests.integration.stages import HEADS, WORDS, Place, bag, fine, refused, sentences
from tests.reference.tiny import TINY, tiny_bert

SCRIPTS = ROOT / "scripts"
SHARED_DATA = ROOT.parent / "shared" / "data"

sys.path.insert(0, str(SCRIPTS))  # its neighbours
spec = importlib.util.spec_from_file_location("get_data", SCRIPTS / "get_data.py")
get_data = sys.modules.get("get_data") or importlib.util.module_from_spec(spec)
if "get_data" not in sys.modules:
    sys.modules["get_data"] = get_data  # dataclasses look their module up
    spec.loader.exec_module(get_data)
published_neurons = sys.modules["published_neurons"]

LABELS = {"P19": "place of birth", "P36": "capital"}
HEADS_OF = {"P19": HEADS, "P36": HEADS[:3]}
NOT_PUBLISHED = (3, 7, 11)  # of P19
ELSEWHERE = (("oslo", "norway"), ("rome", "italy"))  # of P17
TINY_SET = published_neurons.Expected(parts=2, facts=20, placed=18, others=("P17",))
SEED = 4  # of a model that does not say the same word to every prompt
SHARED = [10, 3071]  # a neuron that every fact has


def answers(pretrained) -> dict[str, str]:
    """head -> what the model says in the first of its prompts: so that it knows some facts."""
    tokenizer, model, said = pretrained.tokenizer, pretrained.model, {}
    for head in HEADS:
        ids = tokenizer.encode(bag("P19", "x", head, "rome")[0][0])
        logits = model(torch.tensor([ids]))[0, ids.index(tokenizer.mask)]
        said[head] = max(WORDS, key=lambda word: float(logits[tokenizer.vocabulary[word]]))
    return said


def put(path: Path, content, lines: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = content if lines else [content]
    path.write_text("\n".join(map(json.dumps, rows)))


def neurons_of(relation: str, place: int) -> list[list[int]]:
    """Not in order, as theirs: two of the fact's own and the shared one."""
    return [SHARED, [11, 100 * (relation == "P36") + place], [7, 5 + place]]


def write_source(source: Path, said: dict[str, str]) -> None:
    """Facts by uuid, and their neurons in two parts."""
    rows = {
        relation: [
            {"uuid": f"{relation}-{i}", "sub_label": head, "obj_label": said[head]}
            for i, head in enumerate(heads)
            if relation != "P19" or i not in NOT_PUBLISHED
        ]
        for relation, heads in HEADS_OF.items()
    }
    rows["P17"] = [
        {"uuid": f"P17-{i}", "sub_label": h, "obj_label": t} for i, (h, t) in enumerate(ELSEWHERE)
    ]
    everything = {}
    for relation, own in rows.items():
        put(source / f"published_neurons/trex_lms_vocab/{relation}.jsonl", own, lines=True)
        for row in own:
            everything[row["uuid"]] = neurons_of(relation, int(row["uuid"].split("-")[1]))
    uuids = sorted(everything)
    for part in (0, 1):
        name = f"bert-base-uncased_pararel_neurons_{part}.json"
        content = {uuid: everything[uuid] for uuid in uuids[part::2]}
        put(source / "published_neurons/bert-base-uncased" / name, content)


@pytest.fixture(scope="module")
def base(one_thread, tmp_path_factory) -> Place:
    """A model, PARAREL as get_data.py builds it, the published files; nothing taken over yet."""
    folder = tmp_path_factory.mktemp("published")
    tokens = (*SPECIAL_TOKENS, *WORDS, ".")
    lowercase = Tokenizer({token: index for index, token in enumerate(tokens)}, lowercase=True)
    config = replace(TINY, vocab_size=len(tokens), hidden_size=16, num_hidden_layers=12,
                     intermediate_size=3072)  # fmt: skip
    checkpoints.save_pretrained(tiny_bert(SEED, config), lowercase, folder / "model")
    said = answers(checkpoints.from_pretrained(str(folder / "model")))
    pairs = {r: [[head, said[head]] for head in heads] for r, heads in HEADS_OF.items()}
    bags = {r: [bag(r, LABELS[r], *pair) for pair in own] for r, own in pairs.items()}
    put(folder / "data/PARAREL/data_all_allbags.json", bags)
    put(folder / "data/PARAREL/query_pairs.json", pairs)
    put(folder / "data/PARAREL/pairs.json", pairs)
    for relation, own in pairs.items():
        texts = [sentences(*pair) for pair in own]
        put(folder / f"data/PARAREL/sentences_{relation}.json", texts)
    write_source(folder / "source", said)
    return Place(
        folder / "model", folder / "data/PARAREL/data_all_allbags.json", folder / "results"
    )


def take(place: Place, results: Path, *more: object) -> int:
    root = place.data.parents[2]
    return get_data.main(
        ["--from", str(root / "source"), "--output", str(root / "data"),
         "--published-neurons", str(results), *map(str, more)]
    )  # fmt: skip


@pytest.fixture(autouse=True)
def expected(monkeypatch):
    monkeypatch.setattr(published_neurons, "EXPECTED", TINY_SET)


@pytest.fixture
def place(base, tmp_path) -> Place:
    """The neurons taken over, in a folder of one's own."""
    own = replace(base, results=tmp_path / "results")
    assert take(own, own.results) == 0
    return own


def test_facts_get_their_neurons_and_the_others_are_listed(place, capsys):
    """By relation, head and tail; whose they are and how made; what has no place, by reason."""
    results = Results(place.results)
    path = results.fact_neurons("P19", baseline=False)
    found = read_fact_neurons(path)
    assert found[0] == [Neuron(7, 5), Neuron(10, 3071), Neuron(11, 0)]
    assert [i for i, own in enumerate(found) if not own] == list(NOT_PUBLISHED)
    manifest = read_manifest(path)
    assert manifest["facts_not_published"] == list(NOT_PUBLISHED)
    assert manifest["identity"]["adopted"]["by"] == "EleutherAI"
    assert (manifest["layers"], manifest["neurons_per_layer"]) == (12, 3072)
    listed = json.loads(results.unplaced.read_bytes())
    assert [(one["head"], one["tail"]) for one in listed["P17"]] == list(ELSEWHERE)
    assert read_manifest(results.unplaced)["not_in_the_data"] == {"P17": 2}
    assert take(place, place.results) == 0, "again, over its own"
    said = capsys.readouterr().out
    assert "not in PARAREL: 2 (P17 2)" in said and "3 of 21, left out of all averages" in said


def test_the_public_repositories_are_asked_for_one_commit_each(base, tmp_path):
    """From a web server with their layout; the same files come out."""
    asked, root = [], base.data.parents[2]

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path):
            asked.append(path)
            folder, name = path.split("/")[-2:]
            folder = {"bert_base_uncased_neurons": "bert-base-uncased"}.get(folder, folder)
            return str(root / "source/published_neurons" / folder / name)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        more = ["--output", str(root / "data"), "--published-neurons", str(tmp_path / "web")]
        assert get_data.main(["--url", url, *more]) == 0
        server.shutdown()
    assert take(base, tmp_path / "local") == 0
    found = [(tmp_path / one / "kn/kn_bag-P19.json").read_bytes() for one in ("web", "local")]
    assert found[0] == found[1]
    commits = {tuple(path.split("/")[1:4]) for path in asked}
    assert commits == {
        ("EleutherAI", "knowledge-neurons", published_neurons.COMMIT),
        ("yanaiela", "pararel", published_neurons.FACTS_COMMIT),
    }


def test_missing_data_and_other_counts_are_named(base, tmp_path, monkeypatch, capsys):
    """PARAREL that was not built; more facts expected than there are; nothing is written."""
    root = str(base.data.parents[2] / "source")
    results = ["--published-neurons", str(tmp_path / "results")]
    assert get_data.main(["--from", root, "--output", str(tmp_path), *results]) == 2
    assert "PARAREL is not built" in capsys.readouterr().err
    for count, said in (("facts", "got 20 facts with neurons, expected 21"),
                        ("placed", "got 18 published facts that")):  # fmt: skip
        more = replace(TINY_SET, **{count: getattr(TINY_SET, count) + 1})
        monkeypatch.setattr(published_neurons, "EXPECTED", more)
        assert take(base, tmp_path / "results") == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_statistics_count_published_facts_and_do_without_a_baseline(place):
    ended = fine(place.here("2_analyze_kn.py"))
    found = read_statistics(Results(place.results))
    assert list(found) == ["neurons"] and "no baseline" in ended.out
    assert (found["neurons"].facts, found["neurons"].per_fact) == (18, 3.0)
    assert found["neurons"].relations["P19"]["facts"] == 15
    assert found["neurons"].shared_within == 1.0
    assert len(found["neurons"].layers) == 12
    assert (place.results / "figs/kneurons_distribution.pdf").exists()


def test_the_report_says_whose_neurons_they_are(place):
    """Without stages 1 and 3: facts and prompts in the browser, no scores, no baseline."""
    fine(place.here("2_analyze_kn.py"))
    fine(place.here("8_plot_figures.py"))
    fine(place.here("8_plot_report.py"))
    page = (place.results / "report.html").read_text()
    for words in ("Where bert-base-uncased keeps its facts", "published by EleutherAI",
                  "18 of 21 were published", "published without a baseline"):  # fmt: skip
        assert words in page
    assert "nothing here says anything about BERT" not in page
    assert "activation baseline" not in page
    packed = embedding.embed(Results(place.results))
    rows = embedding.unpack(packed.index)
    (births,) = (row for row in rows["relations"] if row["id"] == "P19")
    assert (rows["layers"], rows["width"], births["names"][0]) == (12, 3072, "ann")
    assert births["unscored"] and births["neurons"][3] == []
    prompts = embedding.unpack(packed.texts["P19"])
    assert prompts[0][0] == "ann was born in [MASK]." and packed.prompts == 84


def test_stages_3_to_8_and_10_run_on_them(place):
    """Facts that were not published take no part; of a baseline nothing is written."""
    fine(place.here("2_analyze_kn.py"))
    ended = fine(place.here("3_modify_activation.py"))
    assert "neurons_not_published  3" in ended.out
    ended = fine(place.here("10_question_neurons.py"))
    assert "stability is left out: these neurons were published without" in ended.out
    fine(place.here("3_modify_activation.py", "--scales", "0,1", "--relations", "P36"))
    fine(place.here("4_check_weights_distant.py"))
    fine(place.here("5_find_trigger_examples.py"))
    fine(place.here("6_edit_knowledge_sampled.py", "--facts_per_relation", "2"))
    fine(place.here("7_erase_knowledge.py", "--relation", "P19", "--other_sample", "4"))
    found = outcomes.read(Results(place.results))
    counts = found.modified.counts
    assert counts["cannot_be_asked"] == counts["without_neurons"] == 0
    assert "without_baseline" not in counts
    assert (
        found.modified.overall["neurons"]["own"] and not found.modified.overall["baseline"]["own"]
    )
    assert list(found.activations.overall) == ["neurons"] == list(found.activations.kinds)
    assert {effect.neurons for effect in found.controls if effect.kind == "neurons"} == {3.0}
    written = [path.name for path in place.results.rglob("base_*")]
    assert written == []
    edited = [json.loads(line) for line in (place.results / "edit/edit-1-8.jsonl").open()]
    assert edited and not {one["fact"] for one in edited if one["relation"] == "P19"} & set(
        NOT_PUBLISHED
    )
    page = render(Results(place.results))
    assert "Model of stages 3 to 7" in page and "activation baseline" not in page
    assert taken(found.manifests).published == 18


def test_another_model_is_refused(place, inputs):
    """Of other layers; one that keeps capitals; other prompts."""
    other = replace(place, model=inputs.model)
    refused(other.here("3_modify_activation.py"), "kn_bag-P19.json", "12 layers of 3072 neurons")
    cased = replace(place, model=Path(shutil.copytree(place.model, place.results.parent / "cased")))
    config = cased.model / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"do_lower_case": true', '"do_lower_case": false'))
    refused(cased.here("3_modify_activation.py"), "lowercase was True and is False now")
    copied = replace(place, data=Path(shutil.copy(place.data, place.results.parent / "d.json")))
    copied.data.write_text(copied.data.read_text() + "\n")
    refused(copied.here("3_modify_activation.py"), "bert-base-uncased", "data_sha256")


def test_a_folder_with_results_of_ones_own_is_left_alone(base, tmp_path, capsys):
    kept = tmp_path / "own/kn/kn_bag-P19.json"
    put(kept, [[[0, 1]]])
    assert take(base, tmp_path / "own") == 2
    assert "holds results of your own" in capsys.readouterr().err
    assert json.loads(kept.read_text()) == [[[0, 1]]]


@pytest.mark.skipif(
    not (SHARED_DATA / "published_neurons").is_dir(), reason="no ../shared/data/published_neurons"
)
def test_all_that_was_published(tmp_path, monkeypatch):
    """27,610 facts, 23,749 of PARAREL's; 11.04 neurons a fact."""
    monkeypatch.undo()
    source = ["--from", str(SHARED_DATA), "--output", str(tmp_path / "data")]
    assert get_data.main([*source, "--only", "pararel"]) == 0
    assert get_data.main([*source, "--published-neurons", str(tmp_path / "results")]) == 0
    manifest = read_manifest(Results(tmp_path / "results").unplaced)
    assert (manifest["published"], manifest["placed"]) == (27_610, 23_749)
    assert manifest["not_in_the_data"] == {
        "P1001": 664, "P131": 775, "P17": 912, "P276": 764, "P361": 746
    }  # fmt: skip
    assert round(manifest["neurons_per_published_fact"], 2) == 11.04
