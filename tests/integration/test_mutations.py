"""A hundred harmed inputs of benchmarks/mutations.py: each is refused, or does no harm."""

import pytest

from benchmarks.mutations import KINDS, campaign

COUNT = 100


@pytest.fixture(scope="module")
def cases(inputs):
    return list(campaign(inputs, COUNT, seed=1, kinds=KINDS))


@pytest.mark.parametrize("outcome", ["unclear", "traceback", "hang", "silent"])
def test_none_ends_so(cases, outcome):
    assert not [case for case in cases if case.outcome == outcome]


def test_the_campaign_reaches_every_kind_and_refuses_most(cases):
    """Or it would prove nothing."""
    assert len(cases) == COUNT and {case.kind for case in cases} == {kind.name for kind in KINDS}
    assert sum(case.outcome == "clear" for case in cases) > COUNT / 2
