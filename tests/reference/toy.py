"""A small language model of another family than BERT, and its literal twin.

`Toy` is causal and pre-norm, its feed-forward networks are gated, nothing has a bias, and words are
read by another matrix than they are written by.  `ToyNetwork` is how the engine sees it.  The
functions at the end are the twin: they run `Toy.forward` whole, one prompt and one change at a
time, and reach the neurons through hooks on the down projections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from knowledge_neurons.networks.interface import Cost, Shape, Step
from knowledge_neurons.types import Edit, Neuron, Prompt

SHAPE, HEADS, LONGEST, SPREAD = Shape(3, 16, 23, 31), 2, 12, 0.3


def normed(x: Tensor) -> Tensor:
    return x * x.square().mean(-1, keepdim=True).add(1e-6).rsqrt()


class ToyLayer(nn.Module):
    """x + attention(norm x), then x + down(silu(gate norm x) * up(norm x))."""

    def __init__(self):
        super().__init__()
        _, D, width, _ = SHAPE
        self.query, self.key, self.value, self.out = (nn.Linear(D, D, False) for _ in range(4))
        self.gate, self.up = (nn.Linear(D, width, False) for _ in range(2))
        self.down = nn.Linear(width, D, False)

    def attend(self, x: Tensor, context: Tensor, sees: Tensor) -> Tensor:
        """x (B, Q, D), context (B, T, D), sees (B, Q, T) bool -> (B, Q, D)."""
        q, k, v = self.query(normed(x)), self.key(normed(context)), self.value(normed(context))
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=sees[:, None])
        return x + self.out(y.transpose(1, 2).flatten(2))

    def neurons(self, x: Tensor) -> Tensor:
        return F.silu(self.gate(normed(x))) * self.up(normed(x))

    def forward(self, x: Tensor) -> Tensor:
        B, T, _ = x.shape
        x = self.attend(x, x, torch.ones(B, T, T, dtype=torch.bool).tril())
        return x + self.down(self.neurons(x))


class Toy(nn.Module):
    """ids (B, T) -> logits (B, T, V)."""

    def __init__(self, seed: int = 0):
        super().__init__()
        L, D, _, V = SHAPE
        self.word, self.position = nn.Embedding(V, D), nn.Embedding(LONGEST, D)
        self.layers = nn.ModuleList(ToyLayer() for _ in range(L))
        self.unembedding = nn.Linear(D, V, False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data.normal_(std=SPREAD, generator=generator)
        self.double().eval().requires_grad_(False)

    def embed(self, ids: Tensor) -> Tensor:
        return self.word(ids) + self.position.weight[: ids.shape[1]]

    def head(self, x: Tensor) -> Tensor:
        return self.unembedding(normed(x))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class ToyNetwork(Toy):
    """The toy behind `interface.Network`."""

    shape, causal, max_tokens, directions = SHAPE, True, LONGEST, "output"
    cost = Cost(kept=100, widest=100, products=2000)

    @property
    def device(self) -> torch.device:
        return self.words.device

    @property
    def words(self) -> Tensor:
        return self.unembedding.weight

    def value_slots(self, layer: int) -> Tensor:
        return self.layers[layer].down.weight

    def value_bias(self, layer: int) -> Tensor:
        return self.words.new_zeros(SHAPE.width)

    def through(
        self,
        layer: int,
        x: Tensor,
        at: Tensor,
        only_read: bool,
        change: Callable[[Tensor], Tensor] | None = None,
        past: tuple[Tensor, ...] = (),
    ) -> Step:
        part, rows = self.layers[layer], torch.arange(len(x))
        before = (x[:, :-1],)
        if past:
            x, at = torch.cat([*past, x], dim=1), at + past[0].shape[1]
        T = x.shape[1]
        if only_read:
            sees = torch.arange(T)[None, None] <= at[:, None, None]  # (r, 1, T)
            x, at = part.attend(x[rows, at][:, None], x, sees), torch.zeros_like(at)
        else:
            x = part.attend(x, x, torch.ones(len(x), T, T, dtype=torch.bool).tril())
        w = part.neurons(x)
        activations = w[rows, at]
        if change is not None:
            w[rows, at] = activations = change(activations)
        return Step(x + part.down(w), at, activations, x[rows, at], before)

    def ffn_output(self, layer: int, w: Tensor) -> Tensor:
        return self.layers[layer].down(w)

    def add(self, layer: int, y: Tensor, attended: Tensor) -> Tensor:
        return attended + y

    def published_state(self) -> dict[str, Tensor]:
        return self.state_dict()


# --- the literal twin ------------------------------------------------------------------------


@contextmanager
def neurons_changed(
    model: Toy, layer: int, at: int, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Inside a `with`, what a layer's down projection reads at a position is changed (F,) first."""

    def hook(_, arguments):
        (w,) = arguments  # (1, T, F)
        w = w.clone()
        w[0, at] = change(w[0, at])
        return (w,)

    handle = model.layers[layer].down.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def logits(model: Toy, prompt: Prompt, layer: int = 0, change=None) -> Tensor:
    """(V,) at the position read, a layer's neurons there changed."""
    changed = neurons_changed(model, layer, prompt.mask_position, change)
    with changed if change else nullcontext():
        return model(torch.tensor([prompt.ids]))[0, prompt.mask_position]


def activations(model: Toy, prompt: Prompt, layer: int) -> Tensor:
    """(F,) at the position read."""
    seen = []
    logits(model, prompt, layer, lambda w: seen.append(w) or w)
    return seen[0]


def integrated_gradients(
    model: Toy,
    prompt: Prompt,
    target: Callable[[Tensor], Tensor],
    layer: int,
    alphas: Sequence[float],
    weights: Sequence[float],
) -> Tensor:
    """w * sum_j c_j d target(logits)/dw at alpha_j w: (F,)."""
    w = activations(model, prompt, layer)
    total = torch.zeros_like(w)
    for alpha, weight in zip(alphas, weights, strict=True):
        point = (alpha * w).requires_grad_(True)
        value = target(logits(model, prompt, layer, lambda _, p=point: p))
        total += weight * torch.autograd.grad(value, point)[0]
    return w * total


def probabilities(model: Toy, prompt: Prompt, edit: Edit) -> Tensor:
    """(V,) with the edit's neurons scaled, hook by hook."""
    return _scaled(model, prompt, sorted(set(edit.neurons)), edit.factor).softmax(-1)


def _scaled(model: Toy, prompt: Prompt, neurons: Sequence[Neuron], factor: float) -> Tensor:
    if not neurons:
        return logits(model, prompt)
    (layer, index), *rest = neurons
    scale = torch.ones(SHAPE.neurons).index_fill(0, torch.tensor([index]), factor)
    with neurons_changed(model, layer, prompt.mask_position, lambda w: w * scale):
        return _scaled(model, prompt, rest, factor)
