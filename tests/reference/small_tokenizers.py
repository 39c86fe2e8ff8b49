"""Small tokenizers in the formats of real ones, trained on a few sentences in milliseconds.

Words of the sentences are a token each; others fall into pieces, down to bytes or letters.
"""

from __future__ import annotations

import json

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

SENTENCES = [
    "Paris is the capital of France.",
    "Paris (France)",
    "The capital of France is Paris.",
    "Rome is the capital of Italy.",
    "Rome (Italy)",
    "The capital of Italy is Rome.",
    "York is a city, and New York is a city.",
    *("法国", "意大利", "的", "首都", "是", "巴黎", "罗马", "。"),
] * 20
MASKED = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def gpt2() -> Tokenizer:
    """Byte-level BPE with <|endoftext|>, nothing put around a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    return _trained(made, _bytes(["<|endoftext|>"]))


def roberta() -> Tokenizer:
    """Byte-level BPE between <s> and </s>, with the mask that takes the space before it."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made = _trained(made, _bytes(MASKED[:-1]))
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    made.post_processor = processors.RobertaProcessing(
        ("</s>", made.token_to_id("</s>")),
        ("<s>", made.token_to_id("<s>")),
        trim_offsets=True,
        add_prefix_space=False,
    )
    return made


def xlm_roberta() -> Tokenizer:
    """SentencePiece's unigrams over ▁ for spaces, between <s> and </s>."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=MASKED[:-1], unk_token="<unk>", show_progress=False
    )
    made = _trained(made, trainer)
    # Training leaves pieces of one score in any order.
    special, pieces = MASKED[:-1], json.loads(made.to_str())["model"]["vocab"]
    others = [(piece, round(score, 4)) for piece, score in pieces if piece not in special]
    others.sort(key=lambda entry: (-entry[1], entry[0]))
    made.model = models.Unigram([*((token, 0.0) for token in special), *others], 3)
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        special_tokens=[(token, made.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    return made


def llama() -> Tokenizer:
    """LLaMA 2's: BPE over ▁ that a normaliser puts in, bytes for what is unknown, <s> before."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
            pre_tokenizers.Split(Regex("[.,()。]"), "isolated"),  # SentencePiece never joins them
        ]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, limit_alphabet=60, show_progress=False
    )
    learnt = _trained(words, trainer).model
    learnt.unk_token, learnt.byte_fallback, learnt.fuse_unk = "<unk>", True, True
    made = Tokenizer(learnt)
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(special[:3])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    return made


def _bytes(special: list[str]) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )


def _trained(made: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    made.train_from_iterator(SENTENCES, trainer)
    return made


def merges(tokenizer: Tokenizer) -> list[str]:
    """Of a BPE, as files write them: two tokens with a space between."""
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
