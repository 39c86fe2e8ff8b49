"""BERT as a masked language model: the whole network in one file, torch only.

References
    Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv 1810.04805)
    Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762)
    Dai et al. 2022, "Knowledge Neurons in Pretrained Transformers" (arXiv 2104.08696)

Written to be taken apart.  Attribution and editing need to stop inside a layer, look at the
activations of its feed-forward neurons and go on with other ones, so every part is a function one
can call alone, and nothing here needs a hook:

    x = model.embed(ids)                      # (B, T, D)
    for layer in model.layers:
        x = layer.attend(x)                   # (B, T, D)   attention, residual, LayerNorm
        w = layer.ffn_in(x)                   # (B, T, F)   the neurons' activations
        x = layer.ffn_out(w, x)               # (B, T, D)   value slots, residual, LayerNorm
    logits = model.head(x)                    # (B, T, V)

which is exactly `model(ids)`.  Row i of `layer.intermediate.weight` (F, D) is what neuron i listens
to; column i of `layer.output.weight` (D, F) is its value slot, what it writes.

Shape letters: B prompts, T tokens, D hidden width, H attention heads, L layers, F neurons of a
layer, V vocabulary, P positions.  The model is for inference: it has no dropout.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}
# Far beyond any BERT, near enough that a wrong number in a config costs neither time nor memory.
LARGEST = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 16,
    "num_hidden_layers": 256,
    "num_attention_heads": 1 << 16,
    "intermediate_size": 1 << 20,
    "max_position_embeddings": 1 << 24,
    "type_vocab_size": 1 << 16,
}
LARGEST_EPS = 1e-2


@dataclass(frozen=True)
class BertConfig:
    """The numbers of a checkpoint's config.json (or bert_config.json) that shape the network."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12  # DEVIATION: the released code has 1e-5 built in (difference 4)

    @classmethod
    def from_dict(cls, values: Mapping) -> BertConfig:
        """Read the known keys; ValueError for a model that this file would compute wrongly."""
        required = [f.name for f in fields(cls)][:5]
        missing = [name for name in required if name not in values]
        if missing:
            raise ValueError(f"the config lacks {', '.join(missing)}: is it a BERT config?")
        wrong = {
            key: values[key]
            for key, expected in _ONLY_SUPPORTED.items()
            if values.get(key) not in (expected, None)
        }
        if wrong:
            raise ValueError(
                f"the config asks for {wrong!s:.200}, only {_ONLY_SUPPORTED} is supported"
            )
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    def __post_init__(self):
        for name, largest in LARGEST.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 < value <= largest:  # bool is an int too
                raise ValueError(
                    f"{name} is {value!r:.80}, expected an integer from 1 to {largest}"
                )
        eps = self.layer_norm_eps
        if not isinstance(eps, float) or not 0 < eps <= LARGEST_EPS:
            raise ValueError(
                f"layer_norm_eps is {eps!r:.80}, expected a number over 0 and up to {LARGEST_EPS:g}"
            )
        if not isinstance(self.hidden_act, str) or self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"hidden_act {self.hidden_act!r:.80} is not one of {', '.join(ACTIVATIONS)}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )


_ONLY_SUPPORTED = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "tie_word_embeddings": True,
}


def product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (..., D) times weight (N, D) transposed, plus bias (N,) -> (..., N) in the dtype of x.

    The product is taken in the dtype of the weight: see `Bert.products_in`.
    """
    if weight.dtype == x.dtype:
        return F.linear(x, weight, bias)
    return F.linear(x.to(weight.dtype), weight).to(x.dtype) + bias


class Linear(nn.Linear):
    """A linear map whose product is taken in the dtype of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)


class Embeddings(nn.Module):
    """Token + position + segment embeddings, then LayerNorm."""

    def __init__(self, c: BertConfig):
        super().__init__()
        self.word = nn.Embedding(c.vocab_size, c.hidden_size)
        self.position = nn.Embedding(c.max_position_embeddings, c.hidden_size)
        self.segment = nn.Embedding(c.type_vocab_size, c.hidden_size)
        self.norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T), all of segment 0 -> (B, T, D)."""
        T, P = ids.shape[1], self.position.num_embeddings
        if T > P:
            raise ValueError(f"{T} tokens in a prompt, the model has positions for {P}")
        x = self.word(ids) + self.segment.weight[0]  # (B, T, D)
        return self.norm(x + self.position.weight[:T])


class Layer(nn.Module):
    """One transformer layer: self-attention, then the feed-forward network with its F neurons."""

    def __init__(self, c: BertConfig):
        super().__init__()
        D, FF = c.hidden_size, c.intermediate_size
        self.heads = c.num_attention_heads
        self.activation = ACTIVATIONS[c.hidden_act]
        self.query, self.key, self.value = Linear(D, D), Linear(D, D), Linear(D, D)
        self.attention_output = Linear(D, D)
        self.attention_norm = nn.LayerNorm(D, eps=c.layer_norm_eps)
        self.intermediate = Linear(D, FF)
        self.output = Linear(FF, D)
        self.output_norm = nn.LayerNorm(D, eps=c.layer_norm_eps)

    def attend(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Attention of the tokens x (B, Q, D) over the context, plus residual and LayerNorm.

        context: (B, T, D), x itself by default; give it to ask for a few positions only.
        mask: (B, T) bool, True where the context holds a token; None where there is no padding.
        Returns (B, Q, D).
        """
        context = x if context is None else context
        q, k, v = self.query(x), self.key(context), self.value(context)  # (B, Q|T, D)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        attend_to = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=attend_to)  # (B, H, Q, D/H)
        y = y.transpose(1, 2).flatten(2)  # (B, Q, D)
        return self.attention_norm(x + self.attention_output(y))

    def attend_at(self, x: Tensor, at: Tensor) -> Tensor:
        """`attend` for one position of each row: x (B, T, D), at (B,) -> (B, D)."""
        rows = torch.arange(len(x), device=x.device)
        return self.attend(x[rows, at][:, None], context=x)[:, 0]

    def ffn_in(self, x: Tensor) -> Tensor:
        """The neurons' activations: x (..., D) -> (..., F)."""
        return self.activation(self.intermediate(x))

    def ffn_out(self, w: Tensor, x: Tensor) -> Tensor:
        """What activations w (..., F) write to the stream x (..., D) -> (..., D)."""
        return self.add_ffn(self.output(w), x)

    def add_ffn(self, y: Tensor, x: Tensor) -> Tensor:
        """Residual and LayerNorm for an FFN output y (..., D) computed elsewhere -> (..., D)."""
        return self.output_norm(x + y)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The whole layer: (B, T, D) -> (B, T, D)."""
        x = self.attend(x, mask=mask)
        return self.ffn_out(self.ffn_in(x), x)


class Head(nn.Module):
    """The masked-LM head up to the decoder, whose matrix is the word embedding."""

    def __init__(self, c: BertConfig):
        super().__init__()
        self.activation = ACTIVATIONS[c.hidden_act]
        self.transform = Linear(c.hidden_size, c.hidden_size)
        self.norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(c.vocab_size))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D), ready for the product with the word embedding."""
        return self.norm(self.activation(self.transform(x)))


class Bert(nn.Module):
    """BERT with its masked-LM head.  See the module docstring for the five parts."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.mlm = Head(config)

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) int64 -> (B, T, D)."""
        return self.embeddings(ids)

    def head(self, x: Tensor) -> Tensor:
        """Hidden states (..., D) -> logits (..., V)."""
        return product(self.mlm(x), self.embeddings.word.weight, self.mlm.bias)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of every position.

        ids: (B, T) int64; mask: (B, T) bool, True for tokens, None where there is no padding.
        Returns (B, T, V).
        """
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(x)

    def products_in(self, dtype: torch.dtype) -> Bert:
        """A copy whose matrix products are taken in dtype; all else stays as it is.

        Only weight matrices are stored in dtype (they round the word embeddings too); biases,
        residuals, LayerNorm, softmax and attention's two small products keep the model's dtype.
        """
        model = deepcopy(self)
        matrices = [m for m in model.modules() if isinstance(m, Linear)]
        for module in [*matrices, model.embeddings.word]:
            module.weight.data = module.weight.data.to(dtype)
        return model

    @classmethod
    def from_state(cls, config: BertConfig, state: Mapping[str, Tensor]) -> Bert:
        """A frozen model in eval mode from the tensors of a published checkpoint.

        state: name -> tensor under the published names, today's or the old gamma/beta ones.
        Every tensor must be there with the config's shape, and nothing else but KNOWN_HARMLESS.
        Raises ValueError that names the offending tensors.
        """
        with torch.device("meta"):
            model = cls(config)
        ours = rename_published(state)
        check_state(model, ours)
        model.load_state_dict({name: t.float() for name, t in ours.items()}, assign=True)
        return model.eval().requires_grad_(False)

    def published_state(self) -> dict[str, Tensor]:
        """The tensors under their published names, as Hugging Face's BertForMaskedLM reads them."""
        return {_published_name(name): tensor for name, tensor in self.state_dict().items()}


# --- published names -------------------------------------------------------------------------

# ours -> published, prefix by prefix; "#" stands for the number of a layer.
PUBLISHED_NAMES = {
    "embeddings.word": "bert.embeddings.word_embeddings",
    "embeddings.position": "bert.embeddings.position_embeddings",
    "embeddings.segment": "bert.embeddings.token_type_embeddings",
    "embeddings.norm": "bert.embeddings.LayerNorm",
    "layers.#.query": "bert.encoder.layer.#.attention.self.query",
    "layers.#.key": "bert.encoder.layer.#.attention.self.key",
    "layers.#.value": "bert.encoder.layer.#.attention.self.value",
    "layers.#.attention_output": "bert.encoder.layer.#.attention.output.dense",
    "layers.#.attention_norm": "bert.encoder.layer.#.attention.output.LayerNorm",
    "layers.#.intermediate": "bert.encoder.layer.#.intermediate.dense",
    "layers.#.output": "bert.encoder.layer.#.output.dense",
    "layers.#.output_norm": "bert.encoder.layer.#.output.LayerNorm",
    "mlm.transform": "cls.predictions.transform.dense",
    "mlm.norm": "cls.predictions.transform.LayerNorm",
    "mlm": "cls.predictions",
}
_OUR_NAMES = {published: ours for ours, published in PUBLISHED_NAMES.items()}

# Parts of a pretraining checkpoint that the masked LM does not use.
KNOWN_HARMLESS = ("bert.pooler.", "cls.seq_relationship.", "bert.embeddings.position_ids")
# Second copies of tied tensors: copy -> the tensor it must equal.
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def _translate(name: str, table: Mapping[str, str]) -> str | None:
    """name with its prefix looked up in the table, its layer number and last word kept."""
    prefix, _, leaf = name.rpartition(".")
    number = next((part for part in prefix.split(".") if part.isdigit()), "#")
    found = table.get(prefix.replace(f".{number}.", ".#."))
    return None if found is None else f"{found.replace('#', number)}.{leaf}"


def _published_name(name: str) -> str:
    published = _translate(name, PUBLISHED_NAMES)
    assert published is not None, f"{name} is missing from PUBLISHED_NAMES"
    return published


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names -> ours; harmless tensors and equal copies dropped, unknown ones an error."""
    twice = sorted(name for name in state if _modern(name) != name and _modern(name) in state)
    if twice:
        raise ValueError(f"tensors under their old and today's name at once: {_some(twice)}")
    modern = {_modern(name): tensor for name, tensor in state.items()}
    for copy, original in TIED.items():
        if copy in modern:
            original_tensor = modern.setdefault(original, modern[copy])
            if not torch.equal(modern.pop(copy), original_tensor):
                raise ValueError(f"{copy} differs from {original}: untied heads are not supported")
    kept = {name: t for name, t in modern.items() if not name.startswith(KNOWN_HARMLESS)}
    renamed = {name: _translate(name, _OUR_NAMES) for name in kept}
    unknown = sorted(name for name, ours in renamed.items() if ours is None)
    if unknown:
        raise ValueError(f"unexpected tensors in the checkpoint: {_some(unknown)}")
    return {ours: kept[name] for name, ours in renamed.items()}


def check_state(model: Bert, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless state has the model's tensors, all of them and in their shapes."""
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    missing = sorted(_published_name(name) for name in expected.keys() - state.keys())
    if missing:
        raise ValueError(f"tensors missing from the checkpoint: {_some(missing)}")
    unknown = sorted(_published_name(name) for name in state.keys() - expected.keys())
    if unknown:
        raise ValueError(f"unexpected tensors in the checkpoint: {_some(unknown)}")
    wrong = [
        f"{_published_name(name)} is {tuple(state[name].shape)}, the config says {shape}"
        for name, shape in expected.items()
        if tuple(state[name].shape) != shape
    ]
    if wrong:
        raise ValueError(f"tensors of the wrong shape: {_some(wrong)}")


def _modern(name: str) -> str:
    """TensorFlow-era LayerNorm names (gamma, beta) -> today's."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def _some(items: list[str], at_most: int = 6) -> str:
    rest = len(items) - at_most
    return ", ".join(items[:at_most]) + (f" and {rest} more" if rest > 0 else "")
