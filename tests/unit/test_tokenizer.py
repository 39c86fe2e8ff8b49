"""WordPiece: literal texts to literal tokens, and ids equal to other implementations' ids.

python -m pytest tests/unit/test_tokenizer.py

Three oracles: Hugging Face's BertTokenizer (on the same Rust library as ours), its old pure Python
tokenizer, and the literal twin in tests/reference/wordpiece.py.
"""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, trainers
from transformers import BertTokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.reference import wordpiece as literal

CASED_PIECES = "un aff Paris ##aff ##able ##iz ##é é É . , ! [ ] MASK mask 中 国 ##国 a ##a"
UNCASED_PIECES = "un aff paris ##aff ##able e ##e . , ! [ ] mask i ss ß"
CASED = [*SPECIAL_TOKENS, *CASED_PIECES.split()]
UNCASED = [*SPECIAL_TOKENS, *UNCASED_PIECES.split()]

CASED_TOKENS = {
    "unaffable": "un ##aff ##able",
    "Paris, unaffable!": "Paris , un ##aff ##able !",
    "paris": "[UNK]",  # case matters
    "unaffablx": "[UNK]",  # all of a word or none of it
    "É é": "É é",  # accents matter
    "e\u0301": "[UNK]",  # nothing is composed
    "a中国aa": "a 中 国 a ##a",  # CJK characters are words, so ##国 cannot match
    "a\ta\r\na\u00a0a\u2028a\u3000a": "a a a a a a",  # white space of all kinds
    "a\0a\ufffda\x07a\u200ba": "a ##a ##a ##a ##a",  # control characters vanish
    "a\ue000\xada": "a ##a",  # private use, soft hyphen
    "a\uffffa": "[UNK]",  # unassigned: kept, and in no vocabulary
    "[MASK]": "[MASK]",
    "Paris[MASK].": "Paris [MASK] .",
    "[[MASK]]": "[ [MASK] ]",
    "a [MASK][MASK] a": "a [MASK] [MASK] a",
    "[mask]": "[ mask ]",  # only the exact spelling is special
    "[ MASK ]": "[ MASK ]",
    "[UNK] [PAD]": "[UNK] [PAD]",
    "😀 $": "[UNK] [UNK]",
    "a" * 100: "a" + " ##a" * 99,
    "a" * 101: "[UNK]",  # over-long
    "": "",
    " \n ": "",
}
UNCASED_TOKENS = {
    "UNAFFABLE Paris": "un ##aff ##able paris",
    "É e\u0301 éÉ": "e e e ##e",  # accents are stripped
    "[MASK] [mask] [Mask]": "[MASK] [ mask ] [ mask ]",
    "İ": "i",
    "ß": "ß",  # lower case, not case folding
}


def vocabulary_of(tokens: list[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


@pytest.mark.parametrize("text", CASED_TOKENS)
def test_literal_tokens_cased(text):
    """Text -> tokens, each pair checkable by eye."""
    tokenizer = Tokenizer(vocabulary_of(CASED), lowercase=False)
    expected = f"[CLS] {CASED_TOKENS[text]} [SEP]".split()
    assert tokenizer.tokens(tokenizer.encode(text)) == expected
    assert literal.tokenize(text, tokenizer.vocabulary, False) == expected


@pytest.mark.parametrize("text", UNCASED_TOKENS)
def test_literal_tokens_uncased(text):
    """The uncased model's cleaning: lower case, no accents, special tokens left as they are."""
    tokenizer = Tokenizer(vocabulary_of(UNCASED), lowercase=True)
    expected = f"[CLS] {UNCASED_TOKENS[text]} [SEP]".split()
    assert tokenizer.tokens(tokenizer.encode(text)) == expected
    assert literal.tokenize(text, tokenizer.vocabulary, True) == expected


def test_ids_are_line_numbers(tmp_path):
    """The id of a token is its line in vocab.txt, with Windows line ends and blank ends too."""
    (tmp_path / "unix.txt").write_bytes("\n".join(CASED).encode())
    (tmp_path / "windows.txt").write_bytes("\r\n".join([*CASED, "", ""]).encode())
    for name in ("unix.txt", "windows.txt"):
        tokenizer = Tokenizer.from_vocab_file(tmp_path / name, lowercase=False)
        assert tokenizer.encode("Paris [MASK].") == [2, CASED.index("Paris"), 4, 14, 3]
        assert CASED[14] == "."
        assert len(tokenizer) == len(CASED)


def test_odd_lines_of_a_vocabulary_keep_their_ids(tmp_path):
    """A line separator inside a line, and wide white space as a token, do not shift later ids."""
    lines = [*SPECIAL_TOKENS, "\u2028", "x", "a", "b", "\u3000", "Paris"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.from_vocab_file(tmp_path / "vocab.txt", lowercase=False)
    assert tokenizer.encode("Paris a") == [2, 10, 7, 3]
    assert (
        tokenizer.encode("Paris a")
        == BertTokenizer.from_pretrained(tmp_path, do_lower_case=False)("Paris a").input_ids
    )
    assert len(tokenizer) == 11


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a", "", "b"], "line 7 is empty: a token is lost there"),
        (["a", " ", "b"], "line 7 is empty"),
        (["a", "b", "a"], "lines 6 and 8 are both 'a'"),
        (["[MASK]"], r"lines 5 and 6 are both '\[MASK\]'"),
        (["x" * 10**6, "x" * 10**6], "lines 6 and 7 are both 'x{76}...$"),
    ],
    ids=["empty", "blank", "twice", "special", "long"],
)
def test_line_of_a_vocabulary_that_is_lost_or_stands_twice_is_an_error(tmp_path, lines, message):
    """File, lines and token are named: from there on every id may be another word's."""
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *lines]) + "\n")
    with pytest.raises(ValueError, match=rf"vocab\.txt: {message}"):
        Tokenizer.from_vocab_file(tmp_path / "vocab.txt", lowercase=False)


def test_fingerprint_is_of_all_that_decides_ids(tmp_path):
    """The same for the same tokens wherever they are from; another for any change of them."""
    tokenizer = Tokenizer(vocabulary_of(CASED), lowercase=False)
    assert (
        tokenizer.fingerprint
        == Tokenizer.from_json_file(theirs_as_json(tmp_path, False)).fingerprint
    )
    swapped = list(CASED)
    swapped[7], swapped[8] = swapped[8], swapped[7]
    others = [
        Tokenizer(vocabulary_of(swapped), lowercase=False),
        Tokenizer(vocabulary_of([*CASED, "one more"]), lowercase=False),
        Tokenizer(vocabulary_of(CASED), lowercase=True),
    ]
    assert len({tokenizer.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_a_fingerprint_stays_what_it_is_in_manifests():
    """Results of before name it: computed otherwise, they would all be of another tokenizer."""
    found = Tokenizer(vocabulary_of(CASED), lowercase=False).fingerprint
    assert found == "c7c45242cf99db5d0e577c84a30fa8e52d8852b09731d3439bce6df6aa3bda33"


def test_half_a_character_is_an_error():
    """A lone surrogate has no bytes: a ValueError that shows the text, not a TypeError."""
    tokenizer = Tokenizer(vocabulary_of(CASED), lowercase=False)
    for ask in (
        tokenizer.encode,
        lambda text: tokenizer.answer("", text, ""),
        lambda text: tokenizer.encode_batch([text]),
    ):
        with pytest.raises(ValueError, match=r"half a character in the text 'Pa\\ud800ris'"):
            ask("Pa\ud800ris")


def test_vocabulary_without_special_tokens_is_an_error(tmp_path):
    """The message names the file and each missing special token."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\na\n")
    with pytest.raises(ValueError, match=r"vocab\.txt: .*lacks the special tokens \[SEP\], \[MASK"):
        Tokenizer.from_vocab_file(tmp_path / "vocab.txt", lowercase=False)


def test_answer():
    """The ids of an answer, one token or several; ValueError for nothing and the unknown."""
    tokenizer = Tokenizer(vocabulary_of(CASED), lowercase=False)

    def answer(text: str) -> list[str]:
        return tokenizer.tokens(tokenizer.answer("in ", text, "."))

    assert answer("Paris") == answer(" Paris ") == ["Paris"]
    assert answer("[MASK]") == ["[MASK]"]
    assert answer("unaffable") == ["un", "##aff", "##able"]
    assert answer("Paris Paris") == ["Paris", "Paris"]
    for text in ("paris", "[UNK]", "", " ", "##aff"):
        with pytest.raises(ValueError, match="is not in the model's vocabulary"):
            answer(text)


def test_decode_joins_pieces():
    """Pieces are joined, special tokens left out."""
    tokenizer = Tokenizer(vocabulary_of(CASED), lowercase=False)
    assert tokenizer.decode(tokenizer.encode("unaffable [MASK] Paris")) == "unaffable Paris"


# --- tokenizer.json --------------------------------------------------------------------------


def theirs_as_json(folder, lowercase: bool, **options):
    """A tokenizer.json as Hugging Face writes it; the path."""
    (folder / "vocab.txt").write_text("\n".join(CASED if not lowercase else UNCASED) + "\n")
    tokenizer = BertTokenizer.from_pretrained(folder, do_lower_case=lowercase, **options)
    tokenizer.save_pretrained(folder / "theirs")
    return folder / "theirs" / "tokenizer.json"


@pytest.mark.parametrize("lowercase", [False, True])
def test_json_file_says_whether_case_is_folded(tmp_path, lowercase):
    """The vocabulary and `lowercase` come from the file; an argument overrules it."""
    path = theirs_as_json(tmp_path, lowercase)
    tokenizer = Tokenizer.from_json_file(path)
    assert tokenizer.lowercase is lowercase
    assert tokenizer.vocabulary == vocabulary_of(UNCASED if lowercase else CASED)
    assert Tokenizer.from_json_file(path, not lowercase).lowercase is not lowercase


def test_json_file_of_the_first_years_is_read(tmp_path):
    """Early versions of the library did not write the model's type."""
    path = theirs_as_json(tmp_path, False)
    content = json.loads(path.read_text())
    del content["model"]["type"]
    path.write_text(json.dumps(content))
    assert Tokenizer.from_json_file(path).vocabulary == vocabulary_of(CASED)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"strip_accents": True}, "strip_accents True"), ({"tokenize_chinese_chars": False}, "chin")],
)
def test_json_file_with_other_cleaning_is_an_error(tmp_path, options, message):
    """Options under which our ids would differ silently are refused, naming file and option."""
    path = theirs_as_json(tmp_path, False, **options)
    with pytest.raises(ValueError, match=rf"tokenizer\.json: .*{message}"):
        Tokenizer.from_json_file(path)


def test_json_file_of_another_model_is_an_error(tmp_path):
    """A byte-pair tokenizer, another normalizer, and no tokenizer at all are refused by name."""
    path = tmp_path / "tokenizer.json"
    RawTokenizer(models.BPE()).save(str(path))
    with pytest.raises(ValueError, match=r"tokenizer\.json: expected a WordPiece model"):
        Tokenizer.from_json_file(path)
    RawTokenizer(models.WordPiece(vocabulary_of(CASED), unk_token="[UNK]")).save(str(path))
    with pytest.raises(ValueError, match=r"tokenizer\.json: expected .* BertNormalizer"):
        Tokenizer.from_json_file(path)
    path.write_text('{"model": nothing')
    with pytest.raises(ValueError, match=r"tokenizer\.json: not valid JSON"):
        Tokenizer.from_json_file(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": []}, "expected a WordPiece model"),
        ({"normalizer": None}, "expected .* BertNormalizer"),
        ({"model.vocab": ["a"]}, "expected {"),
        ({"model.vocab": {"a": "0"}}, "the token 'a' has the id '0'"),
        ({"model.vocab": {"a": True}}, "the token 'a' has the id True"),
        ({"model.vocab": {"a": 10**12}}, "the token 'a' has the id 10+"),
        ({"model.vocab": {"a": 2**31}}, "the token 'a' has the id 2147483648"),
        ({"model.vocab": {"a": -1}}, "the token 'a' has the id -1"),
        ({"model.vocab": vocabulary_of(CASED) | {"new": 7}}, "two tokens have the id 7"),
        ({"model.unk_token": "<unk>"}, "unk_token is '<unk>', only '\\[UNK\\]' is supported"),
        ({"model.max_input_chars_per_word": 50}, "max_input_chars_per_word is 50"),
        ({"added_tokens": {"[MASK]": 4}}, "expected {"),
        ({"added_tokens": [7]}, "expected added tokens with id and content, got 7"),
        ({"added_tokens": [{"content": "[MASK]", "id": 9}]}, "'\\[MASK\\]' has two ids, 4 and 9"),
        ({"normalizer.lowercase": "yes"}, "lowercase .*is 'yes', expected true, false or null"),
        ({"normalizer.lowercase": None}, "expected lowercase true or false"),
        ({"normalizer.clean_text": False}, "clean_text true"),
    ],
    ids=str,
)
def test_json_file_of_another_shape_is_an_error(tmp_path, change, message):
    """Each part that is read, of a type or value that it cannot have: file and part named."""
    path = theirs_as_json(tmp_path, False)
    content = json.loads(path.read_text())
    for place, value in change.items():
        *above, name = place.split(".")
        (content[above[0]] if above else content)[name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"tokenizer\.json: .*{message}"):
        Tokenizer.from_json_file(path)


# --- other implementations -------------------------------------------------------------------

TRAINING_TEXT = [
    "The capital of France is Paris, and the capital of Peru is Lima.",
    "Alan Turing worked in the field of computer science (1912–1954).",
    "Le château de l'évêque où naïveté rime avec cœur; ÉTÉ, Zürich, Łódź, São Tomé.",
    "北京是中华人民共和国的首都。東京 は日本の首都です。 서울은 대한민국의 수도이다.",
    "Москва — столица России. Η Αθήνα είναι η πρωτεύουσα της Ελλάδας. القاهرة عاصمة مصر",
    "state-of-the-art e-mail: someone@example.org, 3.14 $5 50% #tag [brackets] <angle> a_b ^ ` ~",
]
HARD_TEXTS = [
    "",
    " ",
    "\n\n\t",
    "The capital of [MASK] is Paris.",
    "[MASK],[MASK];([MASK])'[MASK]'s",
    "x[MASK]y [ MASK ] [mask] [Mask] [MASK [MASK]] [CLS] [SEP] [PAD] [UNK] [unused1]",
    "Zürich Zu\u0308rich ZÜRICH naïve cœur ﬁne ½ ² Ⅷ ǆ",
    "北京[MASK]京東abc中d 서울 ㍿ 〇 々 ｶﾞ \u3000全角\uf900\ufa10 𠀀𪜀𫝀𫠠",
    "null\0byte \ufffd bell\x07 zero\u200bwidth soft\u00adhyphen \u202eright\u202c \ufeffbom",
    "tab\ttab\r\nnew\nline\u0085next\u2028line\u2029par\u000bvt\u000cff\u00a0nbsp\u1680ogham",
    "a" * 100 + " " + "a" * 101 + " " + "é" * 101 + " " + "中" * 101,
    "the" * 33 + "t " + "the" * 34,
    "e\u0301" * 60,  # 120 characters that stripping accents makes 60
    "😀👍🏽👩‍👩‍👧 🇵🇪 ❤️ ™ © € $ ^ ` ~ + < = > |",
    "don't rock-'n'-roll… “quotes” «guillemets» ‘single’ — – ‐ ¿qué? ¡sí!",
    "İstanbul ıI ß ẞ ŁÓDŹ ΑΘΗΝΑ Ё й и\u0306",
    "हिन्दी ไทย עִבְרִית العَرَبِيَّة Tiếng Việt",
    "##capital capital##of ## #",
    "A" * 3000,
    "word " * 600,
]


@pytest.fixture(scope="module", params=[False, True], ids=["cased", "uncased"])
def pair(request, tmp_path_factory):
    """(ours, theirs, their old Python one) on one vocabulary trained on TRAINING_TEXT."""
    lowercase, folder = request.param, tmp_path_factory.mktemp("vocabulary")
    clean = Tokenizer(vocabulary_of(SPECIAL_TOKENS), lowercase)._fast
    trained = RawTokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer, trained.pre_tokenizer = clean.normalizer, clean.pre_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    trained.train_from_iterator(TRAINING_TEXT, trainer)
    vocabulary = trained.get_vocab()
    path = folder / "vocab.txt"
    path.write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n", encoding="utf-8")
    return (
        Tokenizer.from_vocab_file(path, lowercase),
        BertTokenizer.from_pretrained(folder, do_lower_case=lowercase),
        BertTokenizerLegacy(str(path), do_lower_case=lowercase),
    )


@pytest.mark.parametrize("text", TRAINING_TEXT + HARD_TEXTS)
def test_ids_are_hugging_faces(pair, text):
    """Hard texts get BertTokenizer's ids, alone and in a batch, and the literal twin's tokens."""
    ours, theirs, _ = pair
    expected = theirs(text).input_ids
    assert ours.encode(text) == expected
    assert ours.encode_batch(["x", text, ""])[1] == expected
    assert literal.tokenize(text, ours.vocabulary, ours.lowercase) == ours.tokens(expected)


def test_ids_are_those_of_the_old_python_tokenizer(pair):
    """The pure Python tokenizer agrees too, but for what it composes and its final sigma."""
    ours, _, old = pair
    for text in TRAINING_TEXT + HARD_TEXTS:
        if unicodedata.is_normalized("NFC", text) and "ΑΘΗΝΑ" not in text:
            assert ours.encode(text) == old(text).input_ids, text


def agreed(character: str) -> bool:
    """Unchanged since Unicode 3.2: the Rust library's tables and Python's are of different age."""
    then, now = unicodedata.ucd_3_2_0.category(character), unicodedata.category(character)
    return then == now != "Cn" and ord(character) < 0x10000


UNICODE = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
SPRINKLED = st.lists(
    st.one_of(UNICODE, st.sampled_from([*SPECIAL_TOKENS, "capital", " ", "[", "京", "é", "."]))
).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=SPRINKLED)
def test_any_text_gets_hugging_faces_ids(pair, text):
    """Random Unicode with special tokens sprinkled in: BertTokenizer's ids, whatever it is."""
    ours, theirs, _ = pair
    assert ours.encode(text) == theirs(text).input_ids


@settings(max_examples=300, deadline=None)
@given(text=SPRINKLED)
def test_any_text_gets_the_literal_twins_tokens(pair, text):
    """Random Unicode of characters that all tables agree on: the published algorithm's tokens."""
    ours, _, _ = pair
    text = "".join(filter(agreed, text))
    expected = literal.tokenize(text, ours.vocabulary, ours.lowercase)
    assert ours.tokens(ours.encode(text)) == expected
