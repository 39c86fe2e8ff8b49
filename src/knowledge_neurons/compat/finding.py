"""The half of EleutherAI's class that finds neurons: baselines, scores, coarse and refined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from knowledge_neurons.compat import asking, models, refining, scoring
from knowledge_neurons.compat.changing import Scaled, SlotEdits
from knowledge_neurons.compat.scoring import ADAPTIVE, GRADIENTS, Neurons, Scoring, Threshold
from knowledge_neurons.networks.adapted_checkpoints import adapted
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.pretrained import chosen_device
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.types import Edit, Prompt


class Outputs(NamedTuple):
    """What a model returns, as far as the peers read it: logits (B, T, V)."""

    logits: Tensor


class FindsNeurons:
    """A model whose neurons are found by prompts: see `eleuther.KnowledgeNeurons`."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        model_type: str | None = None,
        device: str | torch.device | None = None,
        peer_numbers: bool = False,
    ):
        network: Network
        words: Tokens
        network, words = model, tokenizer
        if not hasattr(model, "through"):
            network, words = adapted(model, tokenizer)
        if model_type is not None:
            models.check_model_type(network, model_type)
        self.model, self.tokenizer = model, tokenizer
        self.model_type = model_type or models.type_of_network(network)
        self.device = chosen_device(None if device is None else str(device))
        self.peer_numbers = peer_numbers
        self._network, self._tokenizer = network.to(self.device), words
        self._scaled: list[Edit] = []  # these and the slots' were left on
        self._slots = SlotEdits(network)

    @property
    def _current(self) -> Network:
        """The network under the activation edits that were left on."""
        return Scaled(self._network, self._scaled) if self._scaled else self._network

    def n_layers(self) -> int:
        """How many layers the model has, L."""
        return self._network.shape.layers

    def intermediate_size(self) -> int:
        """How many neurons each layer has, F."""
        return self._network.shape.neurons

    # --- finding -----------------------------------------------------------------------------

    @torch.no_grad()
    def get_baseline_with_activations(
        self, encoded_input: Mapping[str, Any], layer_idx: int, mask_idx: int
    ) -> tuple[Outputs, Tensor]:
        """One pass: its outputs, and the activations of a layer at a position.

        Edits that were left on apply, those of activations at mask_idx.
        encoded_input: of a `transformers` tokenizer, tensors; mask_idx: from the end if negative.
        Returns outputs with logits (B, T, V), and (B, F): what the neurons are, behind the
        nonlinearity, where the package reads a GPT's before it.
        Raises ValueError for a layer or a position that there is not, padding, a second segment.
        """
        ids = asking.ids_of(encoded_input).to(self.device)  # (B, T)
        layers, tokens = self.n_layers(), ids.shape[1]
        if not (0 <= layer_idx < layers and -tokens <= mask_idx < tokens):
            raise ValueError(
                f"layer {layer_idx}, position {mask_idx}: there are {layers} layers, "
                f"{tokens} tokens"
            )
        at = torch.full((len(ids),), mask_idx % tokens, device=self.device)
        network, found = self._current, None
        x = network.embed(ids)
        for layer in range(layers):
            step = network.through(layer, x, at, only_read=False)
            x, found = step.x, step.activations if layer == layer_idx else found
        return Outputs(network.head(x)), found

    def get_scores(
        self,
        prompt: str,
        ground_truth: str,
        batch_size: int = 10,
        steps: int = 20,
        attribution_method: str = GRADIENTS,
        pbar: bool = True,
    ) -> Tensor:
        """Scores of all neurons for one prompt; of an answer of several tokens their mean.

        attribution_method: "integrated_grads", equation 4, or "max_activations", the activations.
        steps: m, points of the path.
        Returns (L, F), in probability; the activations as they are.
        Raises ValueError for a prompt or an answer that cannot be asked, another method, no steps.
        """
        return self._scores([self._encoded(prompt, ground_truth)], steps, attribution_method)[0]

    def get_scores_for_layer(
        self,
        prompt: str,
        ground_truth: str,
        layer_idx: int,
        batch_size: int = 10,
        steps: int = 20,
        encoded_input: Mapping[str, Any] | None = None,
        attribution_method: str = GRADIENTS,
    ) -> Tensor:
        """Scores of one layer's neurons: (F,), as `get_scores` has them.

        encoded_input: one text, as its tokenizer has it already, in place of the prompt.
        Raises ValueError for a layer that there is not, for an encoded_input of several texts, with
        padding or with masks that do not fit the answer, and as `get_scores` does.
        """
        if not 0 <= layer_idx < self.n_layers():
            raise ValueError(f"layer {layer_idx}: the model has {self.n_layers()}")
        asked = self._encoded(prompt, ground_truth)
        if encoded_input is not None:
            asked = asking.in_ids(self._network, self._tokenizer, asked, encoded_input)
        return self._scores([asked], steps, attribution_method, layer_idx)[0, layer_idx]

    def get_coarse_neurons(
        self,
        prompt: str,
        ground_truth: str,
        batch_size: int = 10,
        steps: int = 20,
        threshold: float | None = None,
        adaptive_threshold: float | None = None,
        percentile: float | None = None,
        attribution_method: str = GRADIENTS,
        pbar: bool = True,
    ) -> Neurons:
        """The neurons of one prompt whose scores exceed exactly one threshold.

        threshold: a score, in its unit; adaptive_threshold: a share of the largest score;
        percentile: of all scores, 0 to 100.  Neurons at it are left out.
        Returns [[layer, index], ...] in that order.
        Raises ValueError unless exactly one threshold is given, and as `get_scores` does.
        """
        above = Threshold(threshold, adaptive_threshold, percentile)
        asked = [self._encoded(prompt, ground_truth)]
        return above.coarse(self._scores(asked, steps, attribution_method)[0])

    def get_refined_neurons(
        self,
        prompts: Sequence[str],
        ground_truth: str,
        negative_examples: Sequence[str] | None = None,
        p: float = 0.5,
        batch_size: int = 10,
        steps: int = 20,
        coarse_adaptive_threshold: float | None = ADAPTIVE,
        coarse_threshold: float | None = None,
        coarse_percentile: float | None = None,
        quiet: bool = False,
    ) -> Neurons:
        """The neurons coarse in more than p of the prompts, and in no negative example.

        The default of coarse_adaptive_threshold gives way to coarse_threshold or
        coarse_percentile.  batch_size: at least 1, otherwise without effect.
        Returns [[layer, index], ...], first seen first.
        Raises ValueError for p out of range, and as `get_coarse_neurons` does.
        """
        above = Threshold.of_refining(
            coarse_threshold, coarse_adaptive_threshold, coarse_percentile
        )
        loaded = self._network, self._tokenizer
        asked = refining.encoded(*loaded, prompts, ground_truth, negative_examples, p, batch_size)
        scores = self._scores(asked, steps, GRADIENTS)
        return refining.refined(scores, above, len(prompts), p, quiet)[0]

    def get_predicate_neurons(
        self,
        prompts: Sequence[Sequence[str]],
        ground_truths: Sequence[str],
        p: float = 0.5,
        predicate_p: float = 0.5,
        quiet: bool = False,
        **options: Any,
    ) -> Neurons:
        """The neurons of a relation (predicate): refined in more than predicate_p of its facts.

        prompts: of each fact its prompts; ground_truths: of each its answer.  p and further
        options: as in `get_refined_neurons`.  Returns [[layer, index], ...], first seen first.
        Raises ValueError for another number of answers than facts, for p and predicate_p out of
        range, and as `get_refined_neurons` does.
        """
        refining.check_share(predicate_p, "predicate_p")
        if len(prompts) != len(ground_truths) or not prompts:
            raise ValueError(
                f"prompts of {len(prompts)} facts, {len(ground_truths)} answers: expected as many, "
                "at least one"
            )
        facts = [
            self.get_refined_neurons(own, answer, p=p, quiet=True, **options)
            for own, answer in zip(prompts, ground_truths, strict=True)
        ]
        found = refining.shared(facts, predicate_p)
        refining.say(
            quiet, f"{len(found)} neurons in more than {predicate_p:g} of {len(facts)} facts"
        )
        return found

    def _encoded(self, prompt: str, ground_truth: str) -> Prompt:
        return asking.encoded(self._network, self._tokenizer, [prompt], ground_truth)[0]

    def _scores(
        self, asked: Sequence[Prompt], steps: int, method: str, layer: int | None = None
    ) -> Tensor:
        """(P, L, F) under the edits that were left on."""
        how = Scoring(steps, self.peer_numbers, method)
        return scoring.of_tokens(self._current, asked, how, layer)
