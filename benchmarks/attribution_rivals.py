"""Other ways to the same scores, for benchmarks/attribution.py to race against.

`procedure` is the released 1_analyze_mlm.py as the paper's authors run it, written anew from its
description: layer by layer, all points of a layer as one batch through the whole network, once per
point of the path.  `captum_scores` asks captum's LayerIntegratedGradients.  `Pypi` asks the package
`knowledge-neurons` 0.0.2 in another process.  All give (L, F) scores of one prompt.

Letters: T tokens, L layers, D hidden, F FFN width, M quadrature points.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from torch import Tensor, nn

from custom_bert import Bert
from knowledge_neurons.attribution import quadrature
from knowledge_neurons.attribution.quadrature import Rule
from knowledge_neurons.networks.checkpoints import save_pretrained
from knowledge_neurons.text.tokenizer import Tokenizer
from knowledge_neurons.types import Prompt

STEPS = 20
RULE = quadrature.rule("riemann-left", STEPS)
# What makes the PyPI package's scores differ from the paper's.
PYPI_RULE = quadrature.peer_endpoints(STEPS)
PADDED = 128  # tokens, the released code's --max_seq_length
WORKER = Path(__file__).with_name("pypi_worker.py")


# --- the released procedure ------------------------------------------------------------------


def procedure(model: Bert, prompt: Prompt, pad: int | None = None, rule: Rule = RULE) -> Tensor:
    """Scores of one prompt as the released code computes them, padded to so many tokens (PAD is 0).

    Per layer one forward for the activations w at [MASK], and one batch of M rows through the whole
    network, from the embeddings, with w replaced by alpha_j w; then the gradient in those M rows.
    The released parameters keep requires_grad, so the graph spans the whole network; as only the
    gradient of the rows is asked for, autograd runs neither the layers below nor any product for a
    weight.  The head sees [MASK] only.  Attention is custom_bert's, fused: no slower than theirs.
    Returns (L, F).
    """
    length = len(prompt.ids)
    ids = torch.tensor([prompt.ids + (0,) * ((pad or length) - length)])  # (1, T)
    mask = None if pad is None else torch.arange(pad)[None] < length  # (1, T)
    alphas, weights = (torch.tensor(values, dtype=torch.float32)[:, None] for values in rule)
    scores = []
    with _all_require_grad(model):
        for layer in range(len(model.layers)):
            w = forward(model, ids, prompt, layer, mask=mask)[0].detach()  # (1, F)
            points = (alphas * w).requires_grad_(True)  # (M, F)
            probability = forward(model, ids, prompt, layer, points, mask)[1]  # (M,)
            (gradient,) = torch.autograd.grad(probability.sum(), points)  # (M, F)
            scores.append(w[0] * (weights * gradient).sum(0))
    return torch.stack(scores)


def forward(
    model: Bert,
    ids: Tensor,
    prompt: Prompt,
    layer: int,
    points: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The whole network, with the layer's activations at [MASK] replaced by points (M, F) if given.

    ids: (1, T); mask: (1, T).  Returns the activations (M, F) and P(answer) (M,); M is 1 if none.
    """
    rows = 1 if points is None else len(points)
    mask = None if mask is None else mask.expand(rows, -1)
    x = model.embed(ids.expand(rows, -1))  # (M, T, D)
    for index, block in enumerate(model.layers):
        x = block.attend(x, mask=mask)
        w = block.ffn_in(x)  # (M, T, F)
        if index == layer:
            if points is not None:
                w = w.clone()
                w[:, prompt.mask_position] = points
            seen = w[:, prompt.mask_position]
        x = block.ffn_out(w, x)
    logits = model.head(x[:, prompt.mask_position])  # (M, V)
    return seen, logits.softmax(-1)[:, prompt.answer]


@contextlib.contextmanager
def _all_require_grad(model: Bert) -> Iterator[None]:
    """Parameters as the released code loads them; frozen again afterwards."""
    model.requires_grad_(True)
    try:
        yield
    finally:
        model.requires_grad_(False)


# --- captum ----------------------------------------------------------------------------------


class Dial(nn.Module):
    """A module whose output is s * w: turned from 0 to 1 it is the path from no activation to w.

    LayerIntegratedGradients integrates over a layer's output between two *inputs of the model*, and
    no input silences an FFN.  With the dial as the layer and s as the input it takes eq. 4's path.
    """

    def __init__(self, w: Tensor):
        super().__init__()
        self.w = w

    def forward(self, s: Tensor) -> Tensor:
        return s * self.w  # (M, 1) -> (M, F)


def captum_scores(model: Bert, prompt: Prompt) -> Tensor:
    """captum's LayerIntegratedGradients at [MASK] with the released rule, unpadded.  (L, F)."""
    ids = torch.tensor([prompt.ids])
    scores = []
    for layer in range(len(model.layers)):
        with torch.no_grad():
            dial = Dial(forward(model, ids, prompt, layer)[0])

        def probability(s: Tensor, layer: int = layer, dial: Dial = dial) -> Tensor:
            return forward(model, ids, prompt, layer, dial(s))[1]

        scores.append(
            LayerIntegratedGradients(probability, dial).attribute(
                torch.ones(1, 1), baselines=torch.zeros(1, 1), n_steps=STEPS, method="riemann_left"
            )[0]
        )
    return torch.stack(scores).detach()


# --- the PyPI package ------------------------------------------------------------------------


class Pypi:
    """The package `knowledge-neurons` 0.0.2 behind a pipe, on the same model.

    python: an interpreter that has it.  A context manager: leaving it ends the process.

        with Pypi(python, model, tokenizer, threads=2) as pypi:
            scores, seconds = pypi.scores(prompt)
    """

    def __init__(self, python: str, model: Bert, tokenizer: Tokenizer, threads: int):
        self._tokenizer = tokenizer
        self._folder = tempfile.TemporaryDirectory()
        save_pretrained(model, tokenizer, self._folder.name)
        # Its import name is ours: our source must not be on its path.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, str(WORKER), self._folder.name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Pypi:
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def scores(self, prompt: Prompt) -> tuple[Tensor, float]:
        """Scores (L, F) and the seconds that they took."""
        *words, answer = self._tokenizer.tokens([*prompt.ids[1:-1], prompt.answer])
        return self.call("get_scores", prompt=" ".join(words), ground_truth=answer, pbar=False)

    def call(self, method: str, **arguments: Any) -> tuple[Any, float]:
        """What a method of theirs returns, and the seconds that it took."""
        path = Path(self._folder.name) / "tensor.npy"
        request = {"call": method, "arguments": arguments, "tensor": str(path)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer["result"] is None:
            return torch.from_numpy(np.load(path)), answer["seconds"]
        return answer["result"], answer["seconds"]

    def _answer(self) -> dict[str, Any]:
        """The process's next line; ValueError if it ended instead."""
        line = self._process.stdout.readline()
        if not line:
            raise ValueError(
                f"{self._process.args[0]} ended with {self._process.wait()}, its own error is "
                "above: does it have knowledge-neurons 0.0.2 and what that needs?"
            )
        return json.loads(line)


def timed(score, *arguments) -> tuple[Tensor, float]:
    """What the function returns, and its seconds."""
    start = time.perf_counter()
    result = score(*arguments)
    return result, time.perf_counter() - start
