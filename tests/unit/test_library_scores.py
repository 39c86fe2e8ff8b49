"""Scores, sparse and dense, what was kept of them, and thresholds of every kind.

Run: pytest tests/unit/test_library_scores.py
"""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from knowledge_neurons.attribution import adaptive, fact_scores
from knowledge_neurons.attribution.dense import dense_scores
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.library.scores import Kept, Scores
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.types import Neuron, PromptScores, Triplet
from tests.reference import asked
from tests.reference import refine as literal
from tests.reference.asked import DECODER, FRANCE, TINY, demo


@pytest.fixture(scope="module")
def dense() -> Scores:
    return demo().scores(FRANCE, "Paris", dense=True)


@pytest.fixture(scope="module")
def llama():
    return asked.decoder()


# --- dense and sparse ------------------------------------------------------------------------


def test_dense_scores_are_the_whole_of_the_sparse(dense):
    """The same triplets and baseline as without them, each where it belongs, bit for bit; all
    others below what is kept."""
    sparse = demo().scores(FRANCE, "Paris")
    assert list(sparse) == list(dense) and sparse.points == dense.points
    assert dense.dense.shape == (3, 4, 512) and dense.dense.dtype == np.float32
    for place, prompt in enumerate(dense):
        whole, kept = dense.matrix(place), dense.sparse(place).toarray()
        assert prompt.of_answer == literal.triplets(whole.tolist(), 0.1)
        assert ((kept == whole) | (kept == 0)).all() and (kept > 0).sum() == len(prompt.of_answer)
        assert (sparse.sparse(place).toarray() == kept).all()


def test_dense_scores_are_computed_once(monkeypatch):
    """As many points as without them."""
    prepared, evaluated = adaptive.adaptive_gradients, []

    def counted(*asked):
        found = prepared(*asked)
        evaluated.append(int(found.points.sum()))
        return found

    monkeypatch.setattr(adaptive, "adaptive_gradients", counted)
    totals = []
    for whole in (False, True):
        evaluated.clear()
        demo().scores(FRANCE, "Paris", dense=whole)
        totals.append(sum(evaluated))
    assert totals[0] == totals[1] > 0


def test_dense_scores_of_some_layers_and_of_decoders(llama):
    """Layers that are not scored are 0: those not asked for, and a decoder's lowest."""
    for kn, prompts, layers, scored in (
        (asked.bert(), TINY, (1, 1), [1]),
        (llama, DECODER, None, [1, 2]),
        (llama, DECODER, (0, 1), [0, 1]),
    ):
        for answer in ("Paris", "Parisian") if kn is llama else ("Paris", "Pariss"):
            found = kn.scores(prompts, answer, layers=layers, dense=True)
            assert np.flatnonzero(found.dense.any(axis=(0, 2))).tolist() == scored
            assert {one.layer for prompt in found for one in prompt.of_answer} <= {*scored}
            assert list(found) == list(kn.scores(prompts, answer, layers=layers))


@pytest.mark.parametrize("answer", ["Paris", "Pariss"])
def test_scorers_and_noise_are_those_of_the_engine(answer):
    """Sparse and dense alike, by the mean over copies; what is printed says so, in its unit."""
    kn = asked.bert()
    before = fingerprint(kn.model)
    for how, unit in (
        ({"scorer": "zero-out"}, "probability"),
        ({"scorer": "logit", "smooth": 2}, "logit"),
        ({"smooth": 2, "noise": 0.1, "tolerance": None}, "probability"),
    ):
        found = kn.scores(TINY, answer, dense=True, **how)
        assert list(found) == list(kn.scores(TINY, answer, **how))
        smoothing = Smoothing(2, how.get("noise", 0.05)) if "smooth" in how else None
        scorer = how.get("scorer", "ig")
        assert (found.target, found.scorer, found.smoothing) == (unit, scorer, smoothing)
        tolerance = how.get("tolerance", adaptive.TOLERANCE)
        settings = Settings(tolerance=tolerance, scorer=scorer, smoothing=smoothing)
        engine = fact_scores.prepare(kn.model, kn.tokenizer, settings)
        planned = list(fact_scores.batches(engine, kn._encode(TINY, answer)))
        for clean, dense, _ in dense_scores(engine, planned):
            for place, scores in zip(clean.batch.order, dense["of_answer"], strict=True):
                assert np.array_equal(found.matrix(place), scores.numpy())
        said = " ".join(found[:1].notes())
        assert f"in {unit}" in said and (f"by {scorer}" in said) == (scorer != "ig")
        assert (f"noisy copies ({smoothing})" in said) == bool(smoothing)
        assert ("points a layer" in said) == (scorer == "ig")
        assert found.points == (20 if scorer == "ig" else 0)
    assert fingerprint(kn.model) == before


def test_neurons_by_another_scorer_and_under_noise():
    """`find` refines what `scores` gives, negative prompts too; its notes say how."""
    kn = asked.bert()
    how = {"scorer": "gradient-activation", "smooth": 2, "noise": 0.02}
    found = kn.find(TINY, "Paris", coarse=0.3, negative=["the [MASK]"], **how)
    chosen = kn.refine(kn.scores(TINY, "Paris", **how), coarse=0.3)
    assert {*found} | {*found.taken_out} == {*chosen} and chosen
    assert "by gradient-activation, in probability, the mean over noisy copies" in found.notes()[-1]
    (many,) = kn.find_many([(TINY, "Paris")], coarse=0.3, progress=False, **how)
    assert [*many] == chosen
    for wrong, part in (
        ({"scorer": "shapley"}, "scorer 'shapley'"),
        ({"scorer": "logit", "tolerance": None}, "of ig alone"),
        ({"smooth": 0}, "copies is 0"),
        ({"noise": 0.1}, "noise 0.1 without smooth"),
    ):
        for ask in (kn.find, kn.scores):
            with pytest.raises(ValueError, match=part):
                ask(TINY, "Paris", **wrong)


def test_all_scores_are_refused_where_they_were_not_kept(dense):
    for scores in (demo().scores(FRANCE, "Paris"), demo().scores(FRANCE, "Paris")[:2]):
        with pytest.raises(ValueError, match=r"from 0.1 of .*scores\(\.\.\., dense=True\)"):
            scores.matrix()
    assert dense[1:].matrix(0) is not None and (dense[1:].matrix(0) == dense.matrix(1)).all()
    assert dense[1:].texts == tuple(FRANCE[1:]) and dense[::-1].texts == tuple(FRANCE[::-1])
    assert (pickle.loads(pickle.dumps(dense)).matrix(2) == dense.matrix(2)).all()


def test_a_prompt_without_any_positive_score_has_an_empty_matrix():
    """The released code keeps nothing of it."""
    empty = Scores([Kept([], "Paris", "x", "own(own)")], ["a"], "Paris", (2, 3), 8.0, "probability")
    assert empty.sparse().toarray().tolist() == [[0.0] * 3] * 2
    assert demo().refine(empty) == [] and "1 prompt" in str(empty)


# --- what was kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [list, lambda s: s[:2], lambda s: [*s[1:], s[0]], lambda s: s + s, lambda s: s[::-1], tuple],
    ids=["list", "slice", "rearranged", "added", "reversed", "tuple"],
)
def test_scores_that_were_not_kept_are_refused_in_any_list(form):
    """Whatever was done to the list, each prompt knows what was kept of it."""
    kn = demo()
    for keep, enough, less in ((0.5, 0.5, 0.2), (0.1, 0.1, 0.05), (0.02, 0.02, 0.01)):
        scores = form(kn.scores(FRANCE, "Paris", keep=keep))
        assert kn.refine(scores, coarse=enough)
        with pytest.raises(
            ValueError, match=rf"coarse {less:g} by share asks for .*from {keep:g} "
        ):
            kn.refine(scores, coarse=less)


def test_find_and_refine_agree_for_any_coarse():
    """The trap: a coarse below what is kept otherwise gave fewer neurons without a word."""
    kn = demo()
    for coarse in (0.01, 0.05, 0.1, 0.3):
        scores = kn.scores(FRANCE, "Paris", keep=min(coarse, 0.1))
        assert kn.find(FRANCE, "Paris", coarse) == kn.refine(scores, coarse) != []


def test_absolute_and_percentile_thresholds_are_refused_below_what_was_kept():
    kn = demo()
    scores = kn.scores(FRANCE, "Paris")
    with pytest.raises(ValueError, match=r"coarse 1e-05 by absolute asks for .*from 0.1 of"):
        kn.refine(scores, coarse=1e-5, by="absolute")
    with pytest.raises(
        ValueError, match=r"percentile asks for 205 of 2,048 scores, only 14 from 0.1"
    ):
        kn.refine(scores, coarse=90, by="percentile")
    with pytest.raises(ValueError, match="not negative were kept: ask for a higher percentile"):
        kn.refine(kn.scores(FRANCE, "Paris", keep=0), coarse=0.2, by="percentile")


# --- thresholds ------------------------------------------------------------------------------


def above(whole: np.ndarray, thresholds: list[float]) -> set[Neuron]:
    """Neurons that reach the threshold of each prompt in every prompt."""
    reached = [own >= least for own, least in zip(whole, thresholds, strict=True)]
    return {Neuron(*at) for at in np.argwhere(np.logical_and.reduce(reached)).tolist()}


@pytest.mark.parametrize("percentile", [99.99, 99.87, 99.5, 97.3, 90, 100])
def test_percentiles_are_numpys_over_dense_scores(dense, percentile):
    whole = dense.dense
    expected = above(whole, [np.percentile(own, percentile, method="higher") for own in whole])
    found = demo().find(FRANCE, "Paris", percentile, 1.0, by="percentile")
    assert set(found) == expected
    if percentile < 99.9:
        assert expected


def test_percentiles_of_random_numbers_are_numpys():
    """Of any number of scores, also where many are equal; only layers that were scored count."""
    rng, kn = np.random.default_rng(0), asked.bert()
    for total in (1, 2, 7, 100, 1000):
        scores = np.sort(rng.integers(0, 50, total) / 7.0)[::-1]
        triplets = [Triplet(0, i, float(score)) for i, score in enumerate(scores)]
        prompt = Kept([], "Paris", "x", "own(own)", of_answer=triplets, keep=0.0, total=total)
        for t in (*rng.uniform(1, 100, 40), 25, 50, 99, 100):
            least = np.percentile(scores, t, method="higher")
            found = kn.refine([prompt], float(t), by="percentile")
            assert len(found) == (scores >= least).sum(), (total, t)


def test_percentiles_count_only_layers_that_were_scored(llama):
    for place, text in enumerate(DECODER):
        whole = llama.scores([text], "Paris", dense=True).dense[:, 1:]  # not the lowest
        expected = above(whole, [np.percentile(whole, 80, method="higher")])
        found = llama.find([text], "Paris", 80, by="percentile")
        assert expected == {Neuron(layer - 1, index) for layer, index in found}, place
        assert len(found) == 15, "20 % of 74"


def test_absolute_thresholds_are_in_probability(dense):
    for t in (0.05, 0.01, 0.001):
        found = demo().find(FRANCE, "Paris", t, 1.0, by="absolute")
        assert set(found) == above(dense.dense, [t] * 3) != set()
    assert demo().find(FRANCE, "Paris", 0.9, by="absolute") == []


def test_prompts_by_share_and_by_percentile():
    """Counts 1, 1, 2, 3, 4 of four prompts: shares of 4, percentiles of the five."""
    sets = [{1, 3, 4, 5}, {2, 3, 4, 5}, {4, 5}, {5}]
    kn = asked.bert()
    scores = [
        PromptScores([], "x", "x", "own(own)", of_answer=[Triplet(0, i, 1.0) for i in sorted(own)])
        for own in sets
    ]

    def found(p, by):
        return {i for _, i in kn.refine(scores, shared=p, shared_by=by, min_prompts=1)}

    assert found(0.25, "share") == {1, 2, 3, 4, 5} and found(0.26, "share") == {3, 4, 5}
    assert found(75, "percentile") == {4, 5} and found(76, "percentile") == {5}
    assert found(100, "percentile") == {5} and found(10, "percentile") == {1, 2, 3, 4, 5}
    assert kn.refine(scores, shared=75, shared_by="percentile", min_prompts=4) == [Neuron(0, 5)]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 0, -1, 101])
def test_thresholds_out_of_range_are_refused(wrong):
    """NaN among them, by find before any prompt is read, and by refine."""
    kn = demo()
    for by in ("share", "absolute", "percentile"):
        if (by, wrong) == ("absolute", 101):
            continue
        for ask in (
            lambda **own: kn.find(FRANCE, "Paris", **own),
            lambda **own: kn.refine([], **own),
        ):
            with pytest.raises(ValueError, match=f"coarse is {wrong} by {by}"):
                ask(coarse=wrong, by=by)
    for by in ("share", "percentile"):
        with pytest.raises(ValueError, match=f"shared is {wrong} by {by}"):
            kn.find(FRANCE, "Paris", shared=wrong, shared_by=by)


def test_other_numbers_that_are_none_are_refused():
    kn, nan = demo(), float("nan")
    for name in ("keep", "tolerance"):
        with pytest.raises(ValueError, match=f"{name} is nan"):
            kn.scores(FRANCE, "Paris", **{name: nan})
    with pytest.raises(ValueError, match="min_prompts is nan"):
        kn.find(FRANCE, "Paris", min_prompts=nan)
    with pytest.raises(ValueError, match="by 'rank': expected one of share, absolute, percentile"):
        kn.find(FRANCE, "Paris", by="rank")
    with pytest.raises(ValueError, match="layers 2 to 9: the model has 0 to 3"):
        kn.find(FRANCE, "Paris", layers=(2, 9))


def test_a_pruned_prompt_says_what_is_left():
    triplets = [Triplet(0, i, s) for i, s in enumerate((1.0, 0.3, 0.09, 0.08, 0.01))]
    prompt = Kept([], "x", "x", "own(own)", of_answer=triplets, keep=0.0, total=9)
    assert [len(prompt.pruned(most).of_answer) for most in (0, 1, 2, 3, 4)] == [2, 2, 2, 3, 4]
    assert prompt.pruned(3).keep == 0.09 and prompt.pruned(0).keep == 0.1
    assert replace(prompt, keep=0.005).pruned(5).keep == 0.01
    both = Scores([prompt, prompt.pruned(3)], ["a", "b"], "x", (1, 9), 8.0, "probability")
    assert both.keep == 0.09 and both[:1].keep == 0.0, "of every prompt those are there"
