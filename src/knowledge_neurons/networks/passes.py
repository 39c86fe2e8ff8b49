"""Walking up the layers of a network: what is computed, what is kept, and what that costs.

Only the position read of each prompt is ever asked for.  So in the last layer nothing else is
computed, and in a causal network a row that starts halfway is that one position, which attends to
what the clean pass keeps of the tokens before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from knowledge_neurons.networks.interface import Network, Step
from knowledge_neurons.types import Batch


def up(
    network: Network,
    layer: int,
    x: Tensor,
    at: Tensor,
    change: Callable[[Tensor], Tensor] | None = None,
    leaving: bool = False,
) -> Step:
    """Take rows (r, T, D) up one layer; of those that leave there only the position read, at (r,).

    change: as in `Network.through`.  In the last layer every row leaves.
    """
    only_read = leaving or layer == network.shape.layers - 1
    return network.through(layer, x, at, only_read, change)


def logits(network: Network, batch: Batch) -> Tensor:
    """Logits at the position read alone: (B, V)."""
    x, at = network.embed(batch.ids), batch.mask_positions  # (B, T, D), (B,)
    for layer in range(network.shape.layers):
        x, at, *_ = up(network, layer, x, at)
    return network.head(x[:, 0])


# --- the clean pass, and rows that start in the middle of it ---------------------------------


@dataclass(frozen=True)
class CleanPass:
    """What one unedited pass leaves behind.

    batch: the prompts.
    hidden: L tensors (B, T, D), the stream after each layer; after the last (B, 1, D).
    attended: L tensors (B, ...), what rows that start in each layer have to know.
    past: for each of L layers tensors (B, ...), what a row of a causal network attends to there.
    activations: (B, L, F) neurons at the position read: the paper's baseline score.
    logits: (B, V) at the position read.
    """

    batch: Batch
    hidden: list[Tensor]
    attended: list[Tensor]
    past: list[tuple[Tensor, ...]]
    activations: Tensor
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(B, V) at the position read."""
        return self.logits.softmax(dim=-1)

    @property
    def predicted(self) -> Tensor:
        """(B,) the most probable token at the position read."""
        return self.probabilities.argmax(dim=-1)


@torch.no_grad()
def clean_pass(network: Network, batch: Batch) -> CleanPass:
    """Run the network once, keeping the stream of every layer."""
    x, at = network.embed(batch.ids), batch.mask_positions  # (B, T, D), (B,)
    assert not network.causal or bool((at == x.shape[1] - 1).all()), (
        "prompts end where they are read"
    )
    hidden, attended, past, activations = [], [], [], []
    for layer in range(network.shape.layers):
        step = up(network, layer, x, at)
        x, at = step.x, step.at
        hidden.append(x)
        attended.append(step.attended)
        past.append(step.past)
        activations.append(step.activations)
    w = torch.stack(activations, dim=1)  # (B, L, F)
    return CleanPass(batch, hidden, attended, past, w, network.head(x[:, 0]))


def start(network: Network, clean: CleanPass, layer: int, prompts: Tensor, y: Tensor) -> Tensor:
    """Rows of some prompts (r,) after a layer whose feed-forward output there is y (r, D).

    Returns (r, T, D); (r, 1, D) after the last layer, and in a causal network after every one.
    """
    read = network.add(layer, y, clean.attended[layer][prompts])  # (r, D)
    if network.causal or layer == network.shape.layers - 1:
        return read[:, None]
    return placed(clean.hidden[layer][prompts], clean.batch.mask_positions[prompts], read)


def start_up(network: Network, clean: CleanPass, layer: int, prompts: Tensor, x: Tensor) -> Tensor:
    """Take rows that `start` has begun up one layer; prompts: (r,) whose each is."""
    if network.causal:
        return one_up(network, clean, layer, prompts, x).x
    return up(network, layer, x, clean.batch.mask_positions[prompts]).x


def activations_above(
    network: Network, clean: CleanPass, layer: int, prompts: Tensor, x: Tensor
) -> Tensor:
    """Neurons (r, F) at the position read that rows begun by `start` have in the next layer."""
    if network.causal:
        return one_up(network, clean, layer, prompts, x).activations
    return up(network, layer, x, clean.batch.mask_positions[prompts], leaving=True).activations


def one_up(
    network: Network,
    clean: CleanPass,
    layer: int,
    prompts: Tensor,
    x: Tensor,
    change: Callable[[Tensor], Tensor] | None = None,
) -> Step:
    """Take rows of a causal network that are the position read alone, (r, 1, D), up one layer."""
    past = tuple(part[prompts] for part in clean.past[layer])
    return network.through(layer, x, torch.zeros_like(prompts), True, change, past)


def placed(x: Tensor, at: Tensor, read: Tensor) -> Tensor:
    """x (r, T, D) with read (r, D) at the position read, at (r,)."""
    return x.index_put((torch.arange(len(x), device=x.device), at), read)


# --- costs -----------------------------------------------------------------------------------

FLOAT = 4  # bytes


def pass_bytes(network: Network, tokens: int, rows: int = 1) -> int:
    """Estimate of what rows of T tokens hold at their widest on the way up, without gradients.

    That is a layer's widest point, or the vocabulary before and after softmax and in the result.
    """
    return FLOAT * rows * max(tokens * network.cost.widest, 3 * network.shape.vocabulary)


def path_bytes(network: Network, tokens: int) -> list[int]:
    """Estimate of what a row that comes back down holds, for each layer it may start in.

    In a causal network a row is one token, with the keys and values of those before it.
    """
    if not network.causal:
        return whole_path_bytes(network, tokens)
    L, D, _, _ = network.shape
    keys = [(L - 1 - layer) * 2 * D * tokens for layer in range(L)]  # and values, at most
    one = whole_path_bytes(network, 1)
    return [row + FLOAT * kept for row, kept in zip(one, keys, strict=True)]


def whole_path_bytes(network: Network, tokens: int) -> list[int]:
    """The same of a row that is T tokens all the way.

    Per token, each whole layer above keeps what its backward pass needs; at the widest point one
    layer's temporaries, 4 F, come on top.  The last layer keeps 2 D a token; the head 3 V a row.
    """
    L, D, F, V = network.shape
    costs = []
    for layer in range(L):
        whole = max(L - 2 - layer, 0)
        kept = tokens * (whole * network.cost.kept + (4 * F if whole else 0) + 4 * D)
        costs.append(FLOAT * (kept + 2 * F + 3 * V))
    return costs


def path_products(network: Network, tokens: int) -> float:
    """Multiplications of a row, there and back, averaged over the layer it starts in."""
    rows = 1 if network.causal else tokens
    return 2 * rows * network.cost.products * network.shape.layers / 2


def prompt_bytes(network: Network, tokens: int, points: int) -> int:
    """Estimate of what a prompt of T tokens holds while its rows come and go.

    The clean pass keeps L T D numbers and 2 V; gradients take L M D, scores up to 8 L F.
    """
    L, D, F, V = network.shape
    return FLOAT * (L * ((tokens + points) * D + 8 * F) + 2 * V)
