"""Our scores against captum's integrated gradients of Hugging Face's model: nothing shared.

Run: pytest tests/integration/test_captum.py
"""

import pytest
import torch
from captum.attr import IntegratedGradients
from transformers import BertConfig as HuggingFaceConfig
from transformers import BertForMaskedLM

from custom_bert import BertConfig
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.passes import clean_pass
from knowledge_neurons.types import Prompt

PROMPT = Prompt((2, 17, 30, 4, 21, 9, 3), mask_position=3, answer=25)
STEPS = 12
CLOSE = 1e-4  # of the largest score: two implementations in float32
# captum's names of the rules, which it evaluates at the same points
METHODS = {
    "riemann-left": "riemann_left",
    "riemann-right": "riemann_right",
    "riemann-midpoint": "riemann_middle",
    "gauss-legendre": "gausslegendre",
}


@pytest.fixture(scope="module")
def theirs() -> BertForMaskedLM:
    """A random BERT whose weights are spread enough for its neurons to matter."""
    torch.manual_seed(3)
    config = HuggingFaceConfig(
        vocab_size=40,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=31,
        initializer_range=0.3,
    )
    return BertForMaskedLM(config).eval()


def captum_scores(model: BertForMaskedLM, layer: int, method: str) -> torch.Tensor:
    """Integrated gradients of P(answer) in the activations of one layer at [MASK]: (F,)."""
    ids = torch.tensor([PROMPT.ids])
    intermediate = model.bert.encoder.layer[layer].intermediate

    def probability(activations: torch.Tensor) -> torch.Tensor:
        """P(answer) with the layer's activations at [MASK] replaced: (R, F) -> (R,)."""

        def replace(_module, _inputs, output):
            output = output.clone()
            output[:, PROMPT.mask_position] = activations
            return output

        handle = intermediate.register_forward_hook(replace)
        try:
            logits = model(ids.expand(len(activations), -1)).logits
        finally:
            handle.remove()
        return logits[:, PROMPT.mask_position].softmax(-1)[:, PROMPT.answer]

    seen = {}
    handle = intermediate.register_forward_hook(lambda _m, _i, output: seen.update(w=output))
    with torch.no_grad():
        model(ids)
    handle.remove()
    w = seen["w"][:, PROMPT.mask_position]  # (1, F)
    return IntegratedGradients(probability).attribute(w, n_steps=STEPS, method=method)[0]


@pytest.mark.parametrize("name", METHODS)
def test_scores_equal_captums(theirs, name):
    """Every neuron of every layer, for each rule that captum has too."""
    config = BertConfig.from_dict(theirs.config.to_dict())
    ours = BertNetwork.from_state(config, theirs.state_dict())
    batch = collate([PROMPT], [0])
    scores = integrated_gradients(
        ours, clean_pass(ours, batch), Probability(batch.answers), rule(name, STEPS)
    )[0]
    expected = torch.stack([captum_scores(theirs, layer, METHODS[name]) for layer in range(3)])
    assert (scores - expected).abs().max() < CLOSE * expected.abs().max()
