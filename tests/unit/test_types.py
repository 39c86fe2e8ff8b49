"""Numbers as files may hold them, at their bounds.  Run: pytest tests/unit/test_types.py"""

import msgspec
import pytest

from knowledge_neurons.results.edits import AskedPrompt, LogP, Rank, Size, Watched
from knowledge_neurons.types import Count, Fact, Index, Layer, Number, Share


@pytest.mark.parametrize(
    ("kind", "inside", "beyond"),
    [
        (Layer, (0, 4095), (-1, 4096)),
        (Index, (0, 2**24 - 1), (-1, 2**24)),
        (Count, (0, 2**40 - 1), (-1, 2**40)),
        (Number, (-1e30, 1e30), (-1.001e30, 1.001e30)),
        (Share, (0.0, 1.0001), (-1e-9, 1.00011)),
        (LogP, (-1e6, 1e-3), (-1e6 - 0.5, 1.1e-3)),
        (Rank, (1, 2**40 - 1), (0, 2**40)),
        (Size, (0.0, 1e30), (-1e-9, 1.001e30)),
    ],
)
def test_bounds_of_numbers_in_files(kind, inside, beyond):
    """Damage is refused at the first number beyond; a float32 may round a certainty above 1."""
    assert msgspec.convert(inside, list[kind]) == list(inside)
    for number in beyond:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(number, kind)


def test_before_and_after_are_two():
    """Of a prompt of an edited fact, and of a fact that watches, of which a prompt is read."""
    prompt = {"p_old": [0.5, 0.1], "p_new": [0.1, 0.5], "rank_old": [1, 2], "rank_new": [2, 1]}
    prompt |= {"predicted": "x"}
    watched = {"fact": ["P1", 0], "prompts": [0], "log_p": [[-1.0], [-2.0]]}
    assert msgspec.convert(prompt, AskedPrompt) == prompt
    assert msgspec.convert(watched, Watched) == watched
    for field in ("p_old", "p_new", "rank_old", "rank_new"):
        for wrong in (prompt[field][:1], [*prompt[field], 1]):
            with pytest.raises(msgspec.ValidationError, match=field):
                msgspec.convert(prompt | {field: wrong}, AskedPrompt)
    for wrong in ([[-1.0]], [[-1.0]] * 3, [[], []]):
        with pytest.raises(msgspec.ValidationError, match="log_p"):
            msgspec.convert(watched | {"log_p": wrong}, Watched)


@pytest.mark.parametrize(
    ("length", "shown"), [(80, "x" * 80), (81, "x" * 77 + "..."), (10**6, "x" * 77 + "...")]
)
def test_a_fact_is_named_by_place_and_answer(length, shown):
    """Answers of more than a line are cut."""
    assert str(Fact("P19", "birth", 7, "x" * length, ())) == f"P19 fact 7 ({shown})"
