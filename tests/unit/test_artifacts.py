"""Scores and neurons on disk: the authors' shapes, to the letter, both ways.

Run: pytest tests/unit/test_artifacts.py
"""

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge_neurons.results.erasures import ErasureRecord
from knowledge_neurons.results.json_files import encode
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records
from knowledge_neurons.results.neurons import read_fact_neurons, write_neurons
from knowledge_neurons.results.scores import encode_fact_scores, read_fact_scores
from knowledge_neurons.types import Neuron, PromptScores, Triplet

# --- scores in the authors' shape ------------------------------------------------------------

# Written by hand after the released 1_analyze_mlm.py: a fact of two prompts; `ig_pred` is dense
# there, `pred` and what was not asked for are empty lists.
AUTHORS_LINE = (
    '[[{"tokens": ["[CLS]", "Ann", "lives", "in", "[MASK]", ".", "[SEP]"], '
    '"relation": "P551(residence)", "gold_obj": "Rome", "pred_obj": "Paris"}, '
    '{"pred": [], "ig_pred": [[0.1, 0.2], [0.0, -0.3]], '
    '"ig_gold": [[0, 1, 0.25], [1, 0, 0.125]], "base": [[1, 1, 2.5]]}], '
    '[{"tokens": ["[CLS]", "[MASK]", "[SEP]"], '
    '"relation": "P551(residence)", "gold_obj": "Rome", "pred_obj": "Rome"}, '
    '{"pred": [], "ig_pred": [], "ig_gold": [[1, 0, 1e-06]], "base": []}]]'
)
AUTHORS_FACT = [
    PromptScores(
        ["[CLS]", "Ann", "lives", "in", "[MASK]", ".", "[SEP]"],
        "Rome",
        "Paris",
        "P551(residence)",
        of_answer=[Triplet(0, 1, 0.25), Triplet(1, 0, 0.125)],
        baseline=[Triplet(1, 1, 2.5)],
    ),
    PromptScores(
        ["[CLS]", "[MASK]", "[SEP]"],
        "Rome",
        "Rome",
        "P551(residence)",
        of_answer=[Triplet(1, 0, 1e-6)],
    ),
]


def test_a_line_of_the_authors_is_read(tmp_path):
    """Their file feeds our stage 2: two facts, the second without prompts."""
    path = tmp_path / "TREx-all-P551.rlt.jsonl"
    path.write_text(f"{AUTHORS_LINE}\n[]\n")
    assert list(read_fact_scores(path)) == [AUTHORS_FACT, []]


def test_activations_can_be_left_out(tmp_path):
    """Most of the file, which the report does not need: the rest is the same."""
    path = tmp_path / "TREx-all-P551.rlt.jsonl"
    path.write_text(f"{AUTHORS_LINE}\n")
    (fact,) = read_fact_scores(path, baseline=False)
    assert fact == [replace(prompt, baseline=[]) for prompt in AUTHORS_FACT]


def test_a_written_line_has_the_authors_shape_to_the_letter():
    """Keys, their order, triplets as [layer, index, score], `pred` as [[[V]]], the rest []."""
    scores = PromptScores(
        ["[CLS]", "[MASK]", "[SEP]"],
        "Rome",
        "Paris",
        "P551(residence)",
        of_answer=[Triplet(0, 1, 0.25), Triplet(11, 3071, 0.5)],
        of_prediction=[Triplet(2, 3, 0.75)],
        baseline=[Triplet(1, 1, 2.5)],
        probabilities=[0.25, 0.75],
    )
    info = (
        b'{"tokens":["[CLS]","[MASK]","[SEP]"],"relation":"P551(residence)",'
        b'"gold_obj":"Rome","pred_obj":"Paris"}'
    )
    full = (
        b'{"pred":[[[0.25,0.75]]],"ig_pred":[[2,3,0.75]],'
        b'"ig_gold":[[0,1,0.25],[11,3071,0.5]],"base":[[1,1,2.5]]}'
    )
    assert encode_fact_scores([scores]) == b"[[" + info + b"," + full + b"]]"
    nothing = PromptScores(scores.tokens, "Rome", "Paris", "P551(residence)")
    empty = b'{"pred":[],"ig_pred":[],"ig_gold":[],"base":[]}'
    assert encode_fact_scores([nothing]) == b"[[" + info + b"," + empty + b"]]"
    assert encode_fact_scores([]) == b"[]"


def test_tokens_of_an_answer_are_kept_apart(tmp_path):
    """The first has the authors' keys alone, further ones their number; each is read by it."""
    first = AUTHORS_FACT
    later = [replace(prompt, answer_token=1, baseline=[]) for prompt in AUTHORS_FACT]
    last = replace(AUTHORS_FACT[0], answer_token=2)
    fact = [first[0], later[0], last, first[1], later[1]]
    line = encode_fact_scores(fact)
    infos = [info for info, _ in json.loads(line)]
    assert [info.get("answer_token") for info in infos] == [None, 1, 2, None, 1]
    path = tmp_path / "TREx-all-P551.rlt.jsonl"
    path.write_bytes(line + b"\n[]\n")
    for token, expected in ((0, first), (1, later), (2, [last]), (3, [])):
        assert list(read_fact_scores(path, answer_token=token)) == [expected, []]


TRIPLETS = st.lists(
    st.builds(Triplet, st.integers(0, 23), st.integers(0, 4095), st.floats(0, 1, width=32)),
    max_size=4,
)
PROMPT = st.builds(
    PromptScores,
    tokens=st.lists(st.text(st.characters(codec="utf-8")), max_size=4),
    answer=st.text(st.characters(codec="utf-8")),
    predicted=st.sampled_from(["Rome", "##é", "\u2028"]),
    relation=st.just("P19(place of birth)"),
    of_answer=TRIPLETS,
    baseline=TRIPLETS,
)


@given(facts=st.lists(st.lists(PROMPT, max_size=3), max_size=3))
def test_scores_round_trip(facts):
    """What is written is read back to the last bit, whatever the tokens hold: a line per fact."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.jsonl"
        path.write_bytes(b"".join(encode_fact_scores(f) + b"\n" for f in facts))
        assert list(read_fact_scores(path)) == facts


GOOD = AUTHORS_LINE.encode()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(GOOD[:-30], id="cut off"),
        pytest.param(b"", id="empty line"),
        pytest.param(b"\x00" * 20, id="zeros, as after a power cut"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="an object"),
        pytest.param(b"[1, 2]", id="numbers"),
        pytest.param(b'[[{"tokens": []}]]', id="one of a pair"),
        pytest.param(GOOD.replace(b'"gold_obj"', b'"gold"'), id="missing key of tokens_info"),
        pytest.param(GOOD.replace(b'"ig_gold"', b'"ig"'), id="missing key of res_dict"),
        pytest.param(GOOD.replace(b"[0, 1, 0.25]", b"[0, 1]"), id="a pair for a triplet"),
        pytest.param(GOOD.replace(b"[0, 1, 0.25]", b"0.25"), id="dense scores"),
    ],
)
def test_a_broken_line_is_named_by_file_and_line(tmp_path, bad):
    """Facts before it are still read; then file, line, fact, and what to do."""
    path = tmp_path / "TREx-all-P551.rlt.jsonl"
    path.write_bytes(GOOD + b"\n[]\n" + bad + b"\n" + GOOD + b"\n")
    facts = read_fact_scores(path)
    assert [next(facts), next(facts)] == [AUTHORS_FACT, []]
    with pytest.raises(ValueError, match=r"line 3 \(fact 2\)") as error:
        next(facts)
    assert str(path) in str(error.value) and "run the stage that wrote it again" in str(error.value)


# --- neurons ---------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", [False, True])
def test_neurons_round_trip(tmp_path, baseline):
    """Facts with and without neurons, in order; the files hold plain pairs."""
    facts, shared = [[Neuron(0, 5), Neuron(11, 3071)], [], [Neuron(0, 5)]], [Neuron(0, 5)]
    results = Results(tmp_path)
    written = write_neurons(results, "P19", baseline, facts, shared)
    assert written == [
        results.fact_neurons("P19", baseline),
        results.relation_neurons("P19", baseline),
    ]
    assert read_fact_neurons(written[0]) == facts
    assert json.loads(written[0].read_bytes()) == [[[0, 5], [11, 3071]], [], [[0, 5]]]
    assert json.loads(written[1].read_bytes()) == [[0, 5]]


@pytest.mark.parametrize("content", ["[[[0, 5, 1]]]", "[[5]]", "[5]", "5", '{"a": 1', None])
def test_broken_neurons_name_the_file(tmp_path, content):
    """Triplets, flat lists, numbers, bad JSON, no file."""
    path = tmp_path / "kn_bag-P19.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_fact_neurons(path)


def test_a_neuron_named_twice_is_refused(tmp_path):
    """File and fact; the same neuron of two facts is fine."""
    path = tmp_path / "kn_bag-P19.json"
    path.write_text("[[[0, 5], [1, 5]], [[0, 5]], [[0, 6], [1, 2], [0, 6]]]")
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: fact 2 has a neuron .* twice"):
        read_fact_neurons(path)
    path.write_text("[[[0, 5], [1, 5]], [[0, 5]]]")
    assert len(read_fact_neurons(path)) == 2


# --- records ---------------------------------------------------------------------------------


def test_records_round_trip_and_a_broken_line_is_named(tmp_path):
    record = ErasureRecord("P1", 3, [0, 2], {"before": [-0.5, -1.0]}, {"before": [1, 2]})
    path = tmp_path / "records.jsonl"
    line = encode(record) + b"\n"
    path.write_bytes(line * 2)
    assert list(read_records(path, ErasureRecord)) == [record, record]
    for broken in (b'{"relation": "P1"', b'{"relation": "P1"}\n', b"3\n"):
        path.write_bytes(line + broken)
        with pytest.raises(ValueError, match=r"records\.jsonl, line 2: "):
            list(read_records(path, ErasureRecord))
