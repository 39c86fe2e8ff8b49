"""Attribution of an answer of several tokens at once: one path for all its positions.

The target is the product of the probabilities of its k tokens, each at its own position; along the
path the activations of layer l at all k positions are alpha times their own (equation 4 with k
positions in place of one).  A masked model has k masks; a decoder is given the answer and reads at
the k positions before its tokens, which is its probability of the whole answer.

Every position has scores of its own; `sum` over positions keeps completeness, the others are what
peers offer.  Rows are whole prompts here, so a decoder's cost more than one token at a time does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from knowledge_neurons.attribution.quadrature import Rule
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.types import Prompt

# (B, k, L, F) of each position -> (B, L, F).
AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda scores: scores.sum(dim=1),
    "start": lambda scores: scores[:, 0],
    "end": lambda scores: scores[:, -1],
    "mean": lambda scores: scores.mean(dim=1),
    "max": lambda scores: scores.amax(dim=1),
}


@dataclass(frozen=True)
class JointPass:
    """An unedited pass over prompts whose answers have k tokens each, all prompts of one length.

    at, tokens: (B, k) the positions read, and the answers there.  hidden: L of (B, T, D), the
    stream after each layer.  attended: L of (B, k, ...).  activations: (B, k, L, F).
    probability: (B,) of the whole answer.  predicted: (B,) the most probable first token.
    """

    at: Tensor
    tokens: Tensor
    hidden: list[Tensor]
    attended: list[Tensor]
    activations: Tensor
    probability: Tensor
    predicted: Tensor


def group(prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """Places of prompts that can go together: equally long, with as many tokens to answer."""
    alike: dict[tuple[int, int], list[int]] = {}
    for place, prompt in enumerate(prompts):
        alike.setdefault((len(_ids(prompt)), len(prompt.answers)), []).append(place)
    yield from (places for _, places in sorted(alike.items()))


def _ids(prompt: Prompt) -> tuple[int, ...]:
    """Of a decoder with all of the answer but its last token, of a masked model with k masks."""
    last = prompt.later[-1] if prompt.later else prompt
    return last.ids if len(last.ids) > len(prompt.ids) else prompt.ids


@torch.no_grad()
def joint_pass(network: Network, prompts: Sequence[Prompt]) -> JointPass:
    """Run the network once on prompts of one `group`."""
    device, k = network.device, len(prompts[0].answers)
    ids = torch.tensor([_ids(prompt) for prompt in prompts], device=device)  # (B, T)
    first = torch.tensor([prompt.mask_position for prompt in prompts], device=device)
    at = first[:, None] + torch.arange(k, device=device)  # (B, k)
    tokens = torch.tensor([prompt.answers for prompt in prompts], device=device)
    x = network.embed(ids)
    hidden, attended, activations = [], [], []
    for layer in range(network.shape.layers):
        # A layer is read at one position of a row, so each prompt goes up as k rows.
        step = network.through(layer, x.repeat_interleave(k, dim=0), at.flatten(), only_read=False)
        x = step.x[::k]
        hidden.append(x)
        attended.append(step.attended.unflatten(0, (-1, k)))
        activations.append(step.activations.unflatten(0, (-1, k)))
    w = torch.stack(activations, dim=2)  # (B, k, L, F)
    probability = _probability(network, x, at, tokens)
    predicted = network.head(x[torch.arange(len(x), device=device), first]).argmax(dim=-1)
    return JointPass(at, tokens, hidden, attended, w, probability, predicted)


def _probability(network: Network, x: Tensor, at: Tensor, tokens: Tensor) -> Tensor:
    """The product over positions: x (R, T, D), at and tokens (R, k) -> (R,)."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    logits = network.head(x[rows, at])  # (R, k, V)
    chosen = logits.gather(2, tokens[..., None])[..., 0] - logits.logsumexp(dim=-1)  # (R, k)
    return chosen.sum(dim=1).exp()


def joint_gradients(
    network: Network,
    clean: JointPass,
    rule: Rule,
    memory: int | None = None,
    layers: Collection[int] | None = None,
) -> Tensor:
    """Scores of every position's neurons for the probability of the whole answer.

    rule: points and weights in alpha.  memory: bytes that rows going up together may take.
    layers: the only ones to compute; all others' scores are 0.
    Returns (B, k, L, F) in probability.
    """
    scores = torch.zeros_like(clean.activations)
    alphas, weights = (clean.activations.new_tensor(part) for part in rule)  # (M,) each
    B, T, _ = clean.hidden[0].shape
    prompts = torch.arange(B, device=alphas.device).repeat_interleave(len(alphas))  # (R,)
    costs = passes.whole_path_bytes(network, T)
    for layer in range(network.shape.layers) if layers is None else sorted(layers):
        together = len(prompts) if memory is None else max(1, memory // costs[layer])
        found = [
            _gradients(network, clean, layer, some, alpha)
            for some, alpha in zip(
                prompts.split(together), alphas.repeat(B).split(together), strict=True
            )
        ]
        g = torch.cat(found).unflatten(0, (B, -1))  # (B, M, k, D)
        summed = torch.einsum("m,bmkd->bkd", weights, g)
        w = clean.activations[:, :, layer]  # (B, k, F)
        scores[:, :, layer] = w * (summed @ network.value_slots(layer).to(summed.dtype))
    return scores


def _gradients(
    network: Network, clean: JointPass, layer: int, prompts: Tensor, alphas: Tensor
) -> Tensor:
    """d probability/d(FFN output) at every position read, of rows that start in a layer.

    prompts, alphas: (R,).  Returns (R, k, D).
    """
    w, at = clean.activations[:, :, layer], clean.at[prompts]  # (B, k, F), (R, k)
    u = (w @ network.value_slots(layer).to(w.dtype).T)[prompts]  # (R, k, D)
    y = (alphas[:, None, None] * u + network.value_bias(layer)).detach().requires_grad_(True)
    with torch.enable_grad():
        flat, beside = y.flatten(0, 1), clean.attended[layer][prompts].flatten(0, 1)
        read = network.add(layer, flat, beside).unflatten(0, at.shape)  # (R, k, D)
        rows = torch.arange(len(at), device=at.device)[:, None]
        x = clean.hidden[layer][prompts].index_put((rows, at), read)
        for above in range(layer + 1, network.shape.layers):
            x = network.through(above, x, at[:, 0], only_read=False).x
        value = _probability(network, x, at, clean.tokens[prompts])
        return torch.autograd.grad(value.sum(), y)[0]
