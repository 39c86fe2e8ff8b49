"""Our ids are Hugging Face's on every PARAREL prompt and on 20,000 BINGREL sentences.

python -m pytest tests/integration/test_tokenizer_parity.py

Needs the data beside the project (../shared/data), half a minute, and is skipped without it.
"""

from pathlib import Path

import pytest

from benchmarks.parity import (
    BINGREL_SENTENCES,
    VOCABULARY_SIZES,
    id_mismatches,
    read_prompts,
    read_sentences,
    train_vocabulary,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LITERAL_EVERY = 10  # the character-by-character twin would take a minute on all texts

pytestmark = pytest.mark.skipif(
    not (DATA / "pararel" / "query_pairs.json").is_file(), reason=f"no data in {DATA}"
)


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    return read_prompts(DATA)


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return read_sentences(DATA, BINGREL_SENTENCES)


def test_the_texts_are_all_there_and_hard(prompts, sentences):
    """253,448 prompts with one [MASK] each; sentences with accents, CJK and endless "words".

    BINGREL has three CJK characters and its endless words are addresses, which punctuation splits:
    tests/unit/test_tokenizer.py has harder texts of both kinds.
    """
    assert len(prompts) == 253_448
    assert all(prompt.count("[MASK]") == 1 for prompt in prompts)
    assert len(sentences) == BINGREL_SENTENCES
    characters = set("".join(sentences))
    assert characters >= set("éüñč"), "accents"
    assert any("\uf900" <= character <= "\ufaff" for character in characters), "CJK"
    assert any(len(word) > 100 for sentence in sentences for word in sentence.split())


@pytest.mark.parametrize("lowercase", [False, True], ids=["cased", "uncased"])
def test_ids_are_theirs_on_every_text(prompts, sentences, lowercase):
    """With a vocabulary trained on the prompts no text gets other ids than BertTokenizer gives,
    and every tenth none than the literal twin in tests/reference gives."""
    vocabulary = train_vocabulary(prompts, lowercase, VOCABULARY_SIZES[lowercase])
    assert len(vocabulary) == VOCABULARY_SIZES[lowercase]
    wrong = id_mismatches(prompts + sentences, vocabulary, lowercase, LITERAL_EVERY)
    assert wrong == {"BertTokenizer": [], "literal": []}
