"""Noise on weights and embeddings: what is averaged, and that every bit is put back.

Run: pytest tests/unit/test_smoothing.py
"""

import copy

import pytest
import torch

from knowledge_neurons.attribution.smoothing import EMBEDDINGS, PLACES, Smoothing, noisy, smoothed
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.pretrained import fingerprint
from tests.reference.families import CASES, small
from tests.reference.family_errors import prompts
from tests.reference.tiny import tiny_bert

NAMES = ("bert", "gpt2", "llama tied, biases")


def networks():
    yield "bert", tiny_bert()
    yield from ((name, AdaptedNetwork(small(name))) for name in NAMES)


@pytest.mark.parametrize("place", PLACES)
def test_every_bit_is_put_back(place):
    """After success and after an exception; inside, what the model says is another thing."""
    for name, network in networks():
        before = fingerprint(network)
        batch = collate(prompts("bert" if name not in CASES else name, 6, 1), [0])
        batch.ids.clamp_(max=network.shape.vocabulary - 1)
        plain = passes.logits(network, batch)
        smoothing = Smoothing(1, 0.1, place)
        with noisy(network, smoothing, torch.Generator().manual_seed(1)) as other:
            assert not torch.equal(passes.logits(other, batch), plain)
        with (
            pytest.raises(RuntimeError, match="in the middle"),
            noisy(network, smoothing, torch.Generator().manual_seed(1)),
        ):
            raise RuntimeError("in the middle")
        assert fingerprint(network) == before
        assert torch.equal(passes.logits(network, batch), plain)


def test_the_mean_is_over_copies_whose_weights_are_multiplied():
    """Two copies by hand: each weight times 1 + S n, tied ones once, n drawn in order of names."""
    model = small("llama tied, biases")
    network = AdaptedNetwork(model)
    (prompt,) = prompts("llama tied, biases", 5, 1)
    ids = torch.tensor([prompt.ids])

    def asked(one):
        return passes.logits(one, collate([prompt], [0]))[0]

    expected = []
    for number in range(2):
        twin, noise = copy.deepcopy(model), torch.Generator().manual_seed(3000 + number)
        names = sorted(dict(twin.named_parameters()))
        published = sorted(twin.state_dict())
        first = {twin.state_dict()[name].data_ptr(): name for name in reversed(published)}
        order = [name for name in published if name in first.values()]
        assert len(order) == len(names) == len(published) - 1  # the head is tied
        with torch.no_grad():
            for name in order:
                tensor = twin.state_dict()[name]
                tensor.mul_(1 + 0.05 * torch.randn(tensor.shape, generator=noise))
            expected.append(twin(ids).logits[0, -1])
    found = smoothed(network, Smoothing(2, 0.05, seed=3), asked)
    assert torch.allclose(found, torch.stack(expected).mean(0), atol=1e-6)


def test_a_prompts_embedding_noise_depends_on_no_other_prompt():
    network = AdaptedNetwork(small("gpt2"))
    asked = prompts("gpt2", 5, 3)
    smoothing = Smoothing(1, 0.1, EMBEDDINGS)
    alone, together = (
        smoothed(network, smoothing, lambda one, b=batch: passes.logits(one, b))
        for batch in (collate(asked[:1], [0]), collate(asked, range(3)))
    )
    assert torch.allclose(alone[0], together[0], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"copies": 0, "noise": 0.1}, "copies is 0"),
        ({"copies": 1, "noise": 0.0}, "noise is 0.0"),
        ({"copies": 1, "noise": float("nan")}, "noise is nan"),
        ({"copies": 1, "noise": 0.1, "place": "biases"}, "noise on 'biases'"),
    ],
)
def test_what_is_no_smoothing(options, part):
    with pytest.raises(ValueError, match=part):
        Smoothing(**options)
