"""A tiny LLaMA that learned a few made-up facts by heart, its tokenizer, and the facts' files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.integration.stages import HEADS, Place

TOWNS = ("Rome", "Paris", "Oslo", "New York")  # the last is of two tokens
TONGUES = ("Latin", "French", "Norse", "Old Dutch")
BORN = (
    "{} was born in [MASK]",
    "the town of {} is [MASK].",
    "{} comes from [MASK]",
    "we met {} in [MASK]!",
)
SPEAKS = (
    "{} speaks [MASK]",
    "{} has always spoken [MASK].",
    "the tongue of {} is [MASK]",
    "{} reads and writes [MASK]",
)
BEHIND = "[MASK] is what we know of {} today."  # a decoder cannot read it
RELATIONS = {"P19": ("place of birth", BORN, TOWNS), "P103": ("native language", SPEAKS, TONGUES)}
FACTS = 14  # of each: of fewer, a neuron of one fact would be a tenth
BARE = 13  # this one has two prompts that can be read, and the others cannot


def tail(relation: str, place: int) -> str:
    """The answer: a cycle of four, of another length in each relation."""
    answers = RELATIONS[relation][2]
    return answers[(place * (3 if relation == "P19" else 5) + place // 4) % len(answers)]


def texts_of(relation: str, place: int) -> list[str]:
    """A fact's prompts: all that can be read but for one; of the last fact two of five."""
    wordings = RELATIONS[relation][1]
    if place == BARE:
        wordings = [*wordings[:2], *[BEHIND, BEHIND.replace("today", "here"), BEHIND[:-7] + "now."]]
    else:
        wordings = [*wordings, BEHIND]
    return [wording.format(HEADS[place]) for wording in wordings]


def bags() -> dict[str, list]:
    return {
        relation: [
            [
                [text, tail(relation, place), f"{relation}({label})"]
                for text in texts_of(relation, place)
            ]
            for place in range(FACTS)
        ]
        for relation, (label, *_) in RELATIONS.items()
    }


def sentences(relation: str, place: int) -> dict[str, list[str]]:
    head, answer = HEADS[place], tail(relation, place)
    both = [f"we know that {head} is at home in {answer}, as all do.", f"{head} and {answer}"]
    return {"th_bags": both, "h_bags": [f"we met {head} here today", f"the home of {head} is far"]}


def tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level BPE trained on the texts, every frequent word of which is a token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return made


def known_by_heart() -> list[str]:
    """What the model learns: every prompt it can read, its answer in place of the mask."""
    return [
        text.replace("[MASK]", answer).rstrip(".!")
        for relation in RELATIONS
        for place in range(FACTS)
        for text in texts_of(relation, place)
        if not text.startswith("[MASK]")
        for answer in [tail(relation, place)]
    ]


def learned(words: Tokenizer, texts: list[str], steps: int = 60) -> transformers.LlamaForCausalLM:
    """A LLaMA of three layers, untied, that continues the texts as they go on."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=48,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config)
    ids = [one.ids for one in words.encode_batch(texts)]
    longest = max(map(len, ids))
    batch = torch.tensor([own + [0] * (longest - len(own)) for own in ids])
    asked = torch.tensor([own + [-100] * (longest - len(own)) for own in ids])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=batch, labels=asked, use_cache=False).loss.backward()
        optimizer.step()
    return model.eval()


def small_decoder(folder: Path) -> Place:
    """The model's folder, prompts, pairs and sentences; no results yet."""
    texts = known_by_heart()
    words = tokenizer(texts * 5)
    learned(words, texts).save_pretrained(folder / "model")
    end = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=words, **end)
    wrapped.save_pretrained(folder / "model")
    pairs = {name: [[HEADS[i], tail(name, i)] for i in range(FACTS)] for name in RELATIONS}
    (folder / "data.json").write_text(json.dumps(bags()))
    (folder / "pairs.json").write_text(json.dumps(pairs))
    for relation in RELATIONS:
        of_facts = [sentences(relation, place) for place in range(FACTS)]
        (folder / f"sentences_{relation}.json").write_text(json.dumps(of_facts))
    return Place(folder / "model", folder / "data.json", folder / "results")
