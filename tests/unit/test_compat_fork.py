"""The multilingual fork's three results, decoders, answers of several tokens, types of models.

Run: pytest tests/unit/test_compat_fork.py
"""

import pytest
import torch
import transformers

import knowledge_neurons
from knowledge_neurons import KnowledgeNeurons as Ours
from knowledge_neurons.attribution import joint
from knowledge_neurons.compat import KnowledgeNeurons, asking, models
from knowledge_neurons.compat.scoring import Scoring, jointly, of_tokens
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.text.encoding import asking_after
from tests.integration.checkpoints import tokenizer
from tests.reference import families as twin
from tests.reference import joint as literal_joint
from tests.reference import peers as literal
from tests.reference.families import small
from tests.reference.small_tokenizers import gpt2, xlm_roberta
from tests.reference.tiny import tiny_bert
from tests.unit.test_compat import ANSWER, NEGATIVE, PROMPTS, STEPS, expected, share


def decoder() -> KnowledgeNeurons:
    backend = gpt2()
    end = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **end)
    model = small("gpt2", vocab_size=backend.get_vocab_size())
    return KnowledgeNeurons(model, words, "gpt2", device="cpu")


def test_a_decoders_prompt_ends_where_the_answer_follows():
    """Every layer is scored; of an answer of several tokens the mean, those before it given."""
    kn, text = decoder(), "The capital of France is"
    for answer in (" Paris", " Parisian"):
        ids = gpt2().encode(text).ids
        tokens = gpt2().encode(f"{text}{answer}").ids[len(ids) :]
        asked, points = asking_after(ids, tokens, 64), [j / STEPS for j in range(STEPS)]
        each = [
            twin.integrated_gradients(
                *("gpt2", kn.model, one, lambda x, of=one.answer: x.softmax(-1)[of]),
                *(points, [1 / STEPS] * STEPS),
            )
            for one in (asked, *asked.later)
        ]
        exact = torch.stack(each).mean(dim=0)
        for prompt in (text, f"{text} [MASK]."):
            assert share(kn.get_scores(prompt, answer, steps=STEPS), exact) < 1e-5
    assert len(each) > 1


def masked() -> Ours:
    """A tiny XLM-R whose answers may have several tokens."""
    backend = xlm_roberta()
    special = {f"{n}_token": t for n, t in (("mask", "<mask>"), ("pad", "<pad>"), ("unk", "<unk>"))}
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    return Ours(small("xlm-roberta", vocab_size=backend.get_vocab_size()), words, "roberta")


FRANCE = ["The capital of France is <mask>.", "<mask> is the capital of France."]


@pytest.mark.parametrize("aggregate", list(joint.AGGREGATES))
def test_the_forks_three_results_for_several_tokens(aggregate):
    """One path for all masks to the product, joined as asked; in the fork it is always start."""
    kn, answer = masked(), "Parisian"
    asked = asking.encoded(kn.model, kn.tokenizer, FRANCE, answer)
    k, model = len(asked[0].answers), kn.model.model
    assert k > 1
    matrices = [twin.matrix("xlm-roberta", model, layer) for layer in range(3)]
    sets, likely, said = [], [], []
    for prompt in asked:
        of = literal_joint.asked(lambda ids: model(ids).logits, matrices, prompt, causal=False)
        points = [j / (STEPS - 1) for j in range(STEPS)]
        every = literal_joint.integrated_gradients(of, points, [1 / STEPS] * STEPS)
        exact = joint.AGGREGATES[aggregate](every[None])[0]
        sets.append(literal.above(exact, 0.2 * exact.max().item()))
        likely.append(literal_joint.probability(of).item())
        logits = model(torch.tensor([of.ids])).logits[0, of.at]
        said.append(kn.tokenizer.decode(logits.argmax(-1).tolist()))
    refined, coarse, info = kn.get_refined_neurons(
        [FRANCE[0].replace("<mask>", " ".join(["<mask>"] * k)), FRANCE[1]],
        *(answer, None, 0.5, 10, STEPS, 0.2),
        aggregation_strategy=aggregate,
        quiet=True,
        peer_numbers=True,
    )
    assert coarse == sets and refined == literal.in_more_than(sets, 0.5)
    assert [one["probability"] for one in info] == pytest.approx(likely, rel=1e-4)
    assert [one["pred_label"] for one in info] == said
    assert {one["ground_truth"] for one in info} == {answer} and not info[0]["correct"]
    with pytest.raises(ValueError, match=f"{k + 1} masks"):
        kn.get_refined_neurons([f"{'<mask>' * (k + 1)} is"], answer)


def test_the_forks_results_for_one_token():
    """Those of the package's own way, whatever joins; negative examples have no info."""
    kn = Ours(tiny_bert(), tokenizer())
    sets = [literal.above(s, 0.1 * s.max().item()) for s in map(expected, PROMPTS)]
    asked = {"steps": STEPS, "coarse_adaptive_threshold": 0.1, "quiet": True}
    refined, coarse, info = kn.get_refined_neurons(PROMPTS, ANSWER, **asked)
    assert (refined, coarse) == (literal.in_more_than(sets, 0.5), sets)
    again = kn.get_refined_neurons(PROMPTS, ANSWER, NEGATIVE, aggregation_strategy="max", **asked)
    assert again[1:] == (coarse, info) and len(again[0]) < len(refined)
    assert [list(one) for one in info] == [
        ["prompt", "pred_label", "ground_truth", "correct", "probability"]
    ] * 3
    assert [one["prompt"] for one in info] == PROMPTS
    assert [one["probability"] for one in info] == pytest.approx(
        kn.probabilities(PROMPTS, ANSWER), rel=1e-5
    )
    with pytest.raises(ValueError, match="expected one of sum, start, end, mean, max"):
        kn.get_refined_neurons(PROMPTS, ANSWER, aggregation_strategy="first")


def test_activations_of_several_tokens_are_joined_too():
    kn = masked()
    asked = asking.encoded(kn.model, kn.tokenizer, FRANCE[:1], "Parisian")
    how = Scoring(method="max_activations")
    (end,) = jointly(kn.model, asked, how, "end")
    clean = joint.joint_pass(kn.model, asked)
    assert torch.equal(end.scores, clean.activations[0, -1])
    assert of_tokens(kn.model, asked, how).shape == (1, 3, 37)


# --- models ----------------------------------------------------------------------------------


def test_model_type_is_only_checked():
    """The peers' name or the family's; another is a mistake, and none is the model's own."""
    assert decoder().model_type == "gpt2" and masked()
    network = AdaptedNetwork(small("xlm-roberta"))
    for right in ("roberta", "xlm-roberta"):
        models.check_model_type(network, right)
    assert models.type_of_network(network) == "roberta"
    for wrong in (lambda: Ours(tiny_bert(), tokenizer(), model_type="gpt2"),
                  lambda: KnowledgeNeurons(tiny_bert(), tokenizer(), "roberta")):  # fmt: skip
        with pytest.raises(ValueError, match="but the model is a 'bert'"):
            wrong()


def test_the_device_is_the_stages(monkeypatch):
    """The one asked for, else KN_DEVICE's; one that is not there is said."""
    asked = tiny_bert(), tokenizer()
    monkeypatch.setenv("KN_DEVICE", "nowhere")
    assert KnowledgeNeurons(*asked, device=torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'nowhere' cannot be used here"):
        KnowledgeNeurons(*asked)
    monkeypatch.setenv("KN_DEVICE", "cpu")
    assert KnowledgeNeurons(*asked).device == torch.device("cpu")


def test_names_of_models_that_need_no_network():
    """Of the peers' lists; the package has both functions, and nothing that it lacks."""
    assert knowledge_neurons.model_type is models.model_type
    assert knowledge_neurons.initialize_model_and_tokenizer is models.initialize_model_and_tokenizer
    named = {"bert-base-uncased": "bert", "xlm-roberta-large": "roberta", "gpt2": "gpt2"}
    assert {name: models.model_type(name) for name in named} == named
    with pytest.raises(AttributeError, match="no attribute 'pararel'"):
        _ = knowledge_neurons.pararel
