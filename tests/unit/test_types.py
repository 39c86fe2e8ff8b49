"""Numbers as files may hold them, at their bounds.  Run: pytest tests/unit/test_types.py"""

import msgspec
import pytest

from knowledge_neurons.results.edits import LogP, Rank, Size
from knowledge_neurons.types import Count, Fact, Index, Layer, Number, Share


@pytest.mark.parametrize(
    ("kind", "inside", "beyond"),
    [
        (Layer, (0, 4095), (-1, 4096)),
        (Index, (0, 2**24 - 1), (-1, 2**24)),
        (Count, (0, 2**40 - 1), (-1, 2**40)),
        (Number, (-1e30, 1e30), (-1.001e30, 1.001e30)),
        (Share, (0.0, 1.0001), (-1e-9, 1.00011)),
        (LogP, (-1e6, 1e-3), (-1.001e6, 1.1e-3)),
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


@pytest.mark.parametrize(
    ("length", "shown"), [(80, "x" * 80), (81, "x" * 77 + "..."), (10**6, "x" * 77 + "...")]
)
def test_a_fact_is_named_by_place_and_answer(length, shown):
    """Answers of more than a line are cut."""
    assert str(Fact("P19", "birth", 7, "x" * length, ())) == f"P19 fact 7 ({shown})"
