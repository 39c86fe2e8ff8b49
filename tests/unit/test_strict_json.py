"""How values of people's files are shown in messages.

Run: pytest tests/unit/test_strict_json.py
"""

import json

import pytest

from knowledge_neurons.text.strict_json import decode, listed, short


@pytest.mark.parametrize("length", [0, 77, 78])
def test_a_text_of_a_line_is_shown_whole(length):
    """78 characters and two quotes are 80."""
    assert short("x" * length) == f"'{'x' * length}'"


@pytest.mark.parametrize("length", [79, 80, 10**6])
def test_a_longer_text_is_cut_at_80_characters(length):
    shown = short("x" * length)
    assert shown == f"'{'x' * 76}..." and len(shown) == 80


def test_other_values_are_shown_on_one_line():
    """As Python writes them; containers lose their middle."""
    assert short([1, None, "a\nb"]) == "[1, None, 'a\\nb']"
    for large in (list(range(10**5)), 10**4000, {"a": "x" * 10**5}):
        assert "..." in short(large) and len(short(large)) <= 80


def test_forty_names_are_listed():
    names = [f"P{place}" for place in range(42)]
    assert listed(names[:40]) == ", ".join(names[:40])
    assert listed(iter(names[:41])) == ", ".join(names[:40]) + " and 1 more"
    assert listed(names).endswith("P38, P39 and 2 more") and listed([]) == ""


@pytest.mark.parametrize("odd", ["\0", "\ud800"])
def test_an_odd_character_is_shown_with_what_stands_around_it(odd):
    """Thirty characters before it and as many after it; in keys and values alike."""
    text = "a" * 40 + odd + "b" * 40
    for value in ([{"x": [text]}], {text: 1}):
        with pytest.raises(ValueError, match="a NUL or half a character in the text") as error:
            decode(json.dumps(value).encode())
        assert repr(text[10:71]) in str(error.value)
    with pytest.raises(ValueError, match="in the text"):
        decode(json.dumps([odd]).encode())
