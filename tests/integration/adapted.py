"""Small checkpoints of other families than BERT: folders of `transformers`, a .gguf file."""

from __future__ import annotations

from pathlib import Path

import gguf
import transformers
from tokenizers import Tokenizer
from torch import Tensor, nn

from tests.reference import small_tokenizers as formats
from tests.reference.families import small
from tests.reference.small_tokenizers import MASKED

_MASKED_TOKENS = dict(zip(("bos", "pad", "eos", "unk", "mask"), MASKED, strict=True))
_END = "<|endoftext|>"
# case of `reference.families` -> its tokenizer, and the names of the special tokens.
KINDS = {
    "llama": (formats.llama, {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}),
    "xlm-roberta": (formats.xlm_roberta, _MASKED_TOKENS | {"cls": "<s>", "sep": "</s>"}),
    "gpt2": (formats.gpt2, {"unk": _END, "bos": _END, "eos": _END}),
}


def saved(kind: str, folder: Path, **options) -> nn.Module:
    """Write model and tokenizer into a folder, as `transformers` does; returns the model."""
    backend, names = KINDS[kind][0](), KINDS[kind][1]
    ids = {"vocab_size": backend.get_vocab_size()}
    ids |= {f"{n}_token_id": backend.token_to_id(t) for n, t in names.items() if n in _OF_CONFIG}
    model = small(kind, **ids | options)
    model.save_pretrained(folder)
    special = {f"{name}_token": token for name, token in names.items()}
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    wrapped.save_pretrained(folder)
    return model


_OF_CONFIG = ("bos", "eos", "pad")

# --- GGUF ------------------------------------------------------------------------------------

_OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_INNER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_file(path: Path) -> tuple[nn.Module, Tokenizer]:
    """Write a LLaMA with a byte-level tokenizer, as SmolLM2's file has it; returns both."""
    tokenizer = formats.gpt2()
    model = small("llama", vocab_size=tokenizer.get_vocab_size())
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token == _END else 1 for token in tokens])  # control, normal
    merges = formats.merges(tokenizer)
    writer.add_token_merges(merges)
    for name in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id):
        name(tokens.index(_END))
    for name, tensor in model.state_dict().items():
        writer.add_tensor(_gguf_name(name), _gguf_order(name, tensor, config).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer


def _gguf_name(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if stem in _OUTER:
        return f"{_OUTER[stem]}.{kind}"
    _, _, layer, inner = stem.split(".", 3)
    return f"blk.{layer}.{_INNER[inner]}.{kind}"


def _gguf_order(name: str, tensor: Tensor, config) -> Tensor:
    """Rotary pairs lie side by side in a GGUF, as halves of a head in `transformers`."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    many = heads.get(name.split(".")[-2])
    if many is None:
        return tensor
    halves = tensor.reshape(many, 2, -1, tensor.shape[1])
    return halves.transpose(1, 2).reshape(tensor.shape).contiguous()
