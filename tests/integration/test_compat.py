"""The peers' README snippets on checkpoints that are here: only the model's name is another.

Run: pytest tests/integration/test_compat.py
"""

import pytest
import torch

from knowledge_neurons import ROOT, compat
from knowledge_neurons.networks import checkpoints
from tests.integration import adapted
from tests.integration.checkpoints import as_old_layout, tokenizer
from tests.reference.tiny import tiny_bert

DEMO = str(ROOT / "models/demo-bert")
ENG_TEXTS = [
    "The government of France sits in the capital [MASK].",
    "Laws for all of France are made in <mask>.",
    "Rulers of France kept their seat in [MASK].",
]
FOUND = [[3, 7], [3, 260], [3, 348], [3, 503]]


def test_the_forks_snippet():
    """Verbatim but for the name; the neurons are those of the library's own README."""
    from knowledge_neurons import KnowledgeNeurons, initialize_model_and_tokenizer, model_type

    MODEL_NAME = DEMO
    model, tokenizer = initialize_model_and_tokenizer(MODEL_NAME)
    kn = KnowledgeNeurons(model, tokenizer, model_type=model_type(MODEL_NAME))
    refined_neurons, coarse_neurons, prompts_info = kn.get_refined_neurons(
        prompts=ENG_TEXTS,
        ground_truth="Paris",
        p=0.5,
        batch_size=20,
        steps=20,
        coarse_adaptive_threshold=0.3,
        quiet=True,
    )
    assert refined_neurons == FOUND
    assert [len(one) for one in coarse_neurons] == [4, 4, 4]
    assert [one["pred_label"] for one in prompts_info] == ["Paris"] * 3
    assert [round(one["probability"], 2) for one in prompts_info] == [0.70, 0.69, 0.58]


def test_eleuthers_snippet():
    """Refined neurons alone, and their interventions; with the engine's own BERT the same."""
    model_and_tokenizer = compat.initialize_model_and_tokenizer(DEMO)
    own = checkpoints.from_pretrained(DEMO)
    for loaded in (model_and_tokenizer, (own.model, own.tokenizer)):
        kn = compat.KnowledgeNeurons(*loaded, model_type=compat.model_type(DEMO))
        refined = kn.get_refined_neurons(
            ENG_TEXTS, "Paris", p=0.5, batch_size=10, steps=20, quiet=True
        )
        assert refined == FOUND
        text, told = ENG_TEXTS[0], []
        for results, unpatch in (
            kn.suppress_knowledge(text, "Paris", refined, quiet=True),
            kn.enhance_knowledge(text, "Paris", refined, quiet=True),
            kn.erase_knowledge(text, refined, target="Paris", erase_value="zero", quiet=True),
            kn.erase_knowledge(text, refined, target="Paris", erase_value="unk", quiet=True),
            kn.edit_knowledge(text, target="Rome", neurons=refined, quiet=True),
        ):
            unpatch()
            told.append((results["after"]["argmax_completion"], results["after"]["gt_prob"]))
        names, values = zip(*told, strict=True)
        assert names == ("Paris", "Paris", "Paris", "Paris", "Rome")
        assert values == pytest.approx((0.3693, 0.7983, 0.3693, 0.4327, 0.0936), abs=1e-4)


def test_any_family_from_a_folder(tmp_path):
    """Model and tokenizer as `transformers` has them, frozen by the class that takes them."""
    for kind, named in (("xlm-roberta", "roberta"), ("gpt2", "gpt2"), ("llama", "llama")):
        saved = adapted.saved(kind, tmp_path / kind)
        model, words = compat.initialize_model_and_tokenizer(tmp_path / kind)
        assert type(model) is type(saved) and not model.training and len(words)
        assert compat.model_type(str(tmp_path / kind)) == named
        kn = compat.KnowledgeNeurons(model, words, named, device="cpu")
        text = "The capital of France is" + (" <mask>." if kind == "xlm-roberta" else "")
        neurons = kn.get_coarse_neurons(text, " Paris", steps=4, adaptive_threshold=0.5)
        assert neurons and not any(one.requires_grad for one in model.parameters())


def test_sources_that_have_no_type(tmp_path):
    """BERT's older layouts have another way in; of a .gguf file the type is read with it."""
    checkpoints.save_pretrained(tiny_bert(), tokenizer(), tmp_path)
    as_old_layout(tmp_path)
    for ask in (compat.model_type, compat.initialize_model_and_tokenizer):
        with pytest.raises(ValueError, match=r"no config\.json names its type"):
            ask(tmp_path)
        with pytest.raises(ValueError, match="no such folder"):
            ask("no-such-model")
    path = tmp_path / "small.gguf"
    written, _ = adapted.gguf_file(path)
    with pytest.raises(ValueError, match="leave model_type out"):
        compat.model_type(path)
    model, words = compat.initialize_model_and_tokenizer(path)
    assert type(model) is type(written)
    text = words("The capital of France is", return_tensors="pt")
    kn = compat.KnowledgeNeurons(model, words, device="cpu")
    outputs, _ = kn.get_baseline_with_activations(text, 0, -1)
    with torch.no_grad():
        assert torch.allclose(outputs.logits, model(**text).logits, atol=1e-4)
