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

Letters of shapes: B prompts, T tokens, D hidden width, H attention heads, F neurons of a layer,
V vocabulary, P positions, Q positions asked for.  The model is for inference: no dropout.
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
# Far beyond any BERT; a wrong number in a config then costs neither time nor memory.
LARGEST = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 16,
    "num_hidden_layers": 256,
    "num_attention_heads": 1 << 16,
    "intermediate_size": 1 << 20,
    "max_position_embeddings": 1 << 24,
    "type_vocab_size": 1 << 16,
}
# What this file computes; other values of these keys would be computed wrongly.
SUPPORTED = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "tie_word_embeddings": True,
}


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
        missing = [f.name for f in fields(cls)[:5] if f.name not in values]
        if missing:
            raise ValueError(f"the config lacks {', '.join(missing)}: is it a BERT config?")
        wrong = {k: values[k] for k, v in SUPPORTED.items() if values.get(k) not in (v, None)}
        if wrong:
            raise ValueError(f"the config asks for {wrong!s:.200}, only {SUPPORTED} is supported")
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    def __post_init__(self):
        for name, largest in LARGEST.items():
            got = getattr(self, name)
            if type(got) is not int or not 0 < got <= largest:  # bool is an int too
                raise ValueError(f"{name} is {got!r:.80}, expected an integer from 1 to {largest}")
        eps, act = self.layer_norm_eps, self.hidden_act
        if not isinstance(eps, float) or not 0 < eps <= 0.01:
            raise ValueError(f"layer_norm_eps is {eps!r:.80}, expected a number over 0, up to 0.01")
        if not isinstance(act, str) or act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {act!r:.80} is not one of {', '.join(ACTIVATIONS)}")
        D, H = self.hidden_size, self.num_attention_heads
        if D % H:
            raise ValueError(f"hidden_size {D} is no multiple of num_attention_heads {H}")


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


class Attention(nn.Module):
    """Self-attention of H heads, without its residual."""

    def __init__(self, c: BertConfig):
        super().__init__()
        D = c.hidden_size
        self.heads = c.num_attention_heads
        self.query, self.key, self.value = Linear(D, D), Linear(D, D), Linear(D, D)
        self.output = Linear(D, D)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the tokens x (B, Q, D) read in the context (B, T, D) -> (B, Q, D)."""
        q, k, v = self.query(x), self.key(context), self.value(context)  # (B, Q|T, D)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        attend_to = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=attend_to)  # (B, H, Q, D/H)
        return self.output(y.transpose(1, 2).flatten(2))  # (B, Q, D)


class MLP(nn.Module):
    """The feed-forward network, without its residual: x -> `neurons` -> `output`."""

    def __init__(self, c: BertConfig):
        super().__init__()
        self.activation = ACTIVATIONS[c.hidden_act]
        self.intermediate = Linear(c.hidden_size, c.intermediate_size)
        self.output = Linear(c.intermediate_size, c.hidden_size)

    def neurons(self, x: Tensor) -> Tensor:
        """The F neurons' activations: x (..., D) -> (..., F)."""
        return self.activation(self.intermediate(x))


class Layer(nn.Module):
    """One transformer layer: attention, then MLP, each added to the stream and normalised."""

    def __init__(self, c: BertConfig):
        super().__init__()
        self.attention = Attention(c)
        self.attention_norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)
        self.mlp = MLP(c)
        self.output_norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The whole layer: (B, T, D) -> (B, T, D)."""
        x = self.attention_norm(x + self.attention(x, x, mask))
        w = self.ffn_in(x)  # (B, T, F)
        return self.output_norm(x + self.mlp.output(w))

    # The same in parts.

    def attend(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Attention of x (B, Q, D) over the context, residual and LayerNorm -> (B, Q, D).

        context: (B, T, D), x itself by default; give it to ask for a few positions only.
        mask: (B, T) bool, True where the context holds a token; None where there is no padding.
        """
        return self.attention_norm(x + self.attention(x, x if context is None else context, mask))

    def attend_at(self, x: Tensor, at: Tensor) -> Tensor:
        """`attend` for one position of each row: x (B, T, D), at (B,) -> (B, D)."""
        rows = torch.arange(len(x), device=x.device)
        return self.attend(x[rows, at][:, None], context=x)[:, 0]

    def ffn_in(self, x: Tensor) -> Tensor:
        """The neurons' activations w: x (..., D) -> (..., F)."""
        return self.mlp.neurons(x)

    def ffn_out(self, w: Tensor, x: Tensor) -> Tensor:
        """What activations w (..., F) write to the stream x (..., D) -> (..., D)."""
        return self.add_ffn(self.mlp.output(w), x)

    def add_ffn(self, y: Tensor, x: Tensor) -> Tensor:
        """Residual and LayerNorm for an FFN output y (..., D) computed elsewhere -> (..., D)."""
        return self.output_norm(x + y)

    @property
    def intermediate(self) -> Linear:
        """Its weight's rows (F, D) are what the neurons listen to."""
        return self.mlp.intermediate

    @property
    def output(self) -> Linear:
        """Its weight's columns (D, F) are the value slots."""
        return self.mlp.output


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
        """Logits (B, T, V) of ids (B, T) int64; mask as in `Layer.attend`."""
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
        for module in model.modules():
            if isinstance(module, Linear) or module is model.embeddings.word:
                module.weight.data = module.weight.data.to(dtype)
        return model
