"""What the paper prints: every number that ours is set beside, with the place where it stands.

Dai et al., "Knowledge Neurons in Pretrained Transformers", ACL 2022, the final version (the first
one on arXiv has other settings and other numbers).  All of bert-base-cased on the full PARAREL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAPER_URL = "https://arxiv.org/abs/2104.08696"
CODE_URL = "https://github.com/Hunter-DDM/knowledge-neurons"


@dataclass(frozen=True)
class Table:
    """Numbers of one table or figure.

    where: its name.  digits: printed after the point.  unit: "%" or nothing.  signed: a change,
    printed with its sign.
    rows: for each quantity the knowledge neurons' number and that of what they are compared with.
    """

    where: str
    digits: int
    unit: str
    rows: Mapping[str, tuple[float, float]]
    signed: bool = False


@dataclass(frozen=True)
class Perplexities:
    """Perplexity before and after an erasure, of the relation's prompts and of all others'."""

    relation: tuple[float, float]
    others: tuple[float, float]


# The second number: the activation baseline.
TABLE_2 = Table(
    "Table 2",
    2,
    "",
    {
        "neurons per fact": (4.13, 3.96),
        "shared, same relation": (1.23, 2.85),
        "shared, other relations": (0.09, 1.92),
    },
)

# Change of the right answer's probability, by the factor on the neurons; of a fact's own prompts.
SUPPRESSED = Table("Figure 4", 2, "%", {"own": (-29.03, -1.47)}, signed=True)
AMPLIFIED = Table("Figure 5", 2, "%", {"own": (31.17, -1.27)}, signed=True)

# Mean activation on sentences with head and tail (T1), with the head (T2), random ones (T3).
TABLE_4 = Table(
    "Table 4", 3, "", {"both": (0.485, 2.472), "head": (0.019, 2.312), "random": (-0.018, 2.244)}
)

# Increase of the perplexity by an erasure: of the relation, of the others.
TABLE_5 = Table(
    "Table 5",
    1,
    "%",
    {"P19": (106.6, 1.1), "P27": (36.7, 4.2), "P106": (128.2, 4.3), "P937": (141.2, 10.1)},
    signed=True,
)
ERASED = {
    "P19": Perplexities((1450.0, 2996.0), (120.3, 121.6)),
    "P27": Perplexities((28.0, 38.3), (143.6, 149.5)),
    "P106": Perplexities((2279.0, 5202.0), (120.1, 125.3)),
    "P937": Perplexities((58.0, 140.0), (138.0, 151.9)),
}

# The second number: as many random neurons.
TABLE_6_RATES = Table("Table 6", 1, "%", {"change": (48.5, 4.7), "success": (34.4, 0.0)})
TABLE_6_PERPLEXITY = Table(
    "Table 6",
    1,
    "",
    {"perplexity, same relation": (8.4, 10.1), "perplexity, other relations": (7.2, 4.3)},
    signed=True,
)

# What all of it was measured on (section 4.1), and its cost on a V100 (appendix).
MODEL, LAYERS = "bert-base-cased", 12
RELATIONS, FACTS, PROMPTS = 34, 27_738, 253_448
# What scripts/get_data.py builds: data_all_allbags.json, query_pairs.json, and all sentences of
# BINGREL, by relation and in data order, a line each.
PROMPTS_SHA256 = "74d93a8ae1e45f8480cc4804917006f959bf6aaef259181d70bc5b5465b6ce63"
PAIRS_SHA256 = "ada5c1530d9554b774614179e57a7e2a9e11c30aadddded1aa6dcca0b0f05f3a"
SENTENCES_SHA256 = "c57a71b8db21b979a745bac27eda969e32c19aaa51f91c580ec4d3fa8a91c692"
# `checkpoints.fingerprint` of the published bert-base-cased; None until somebody has had those
# weights.
MODEL_SHA256: str | None = None
SECONDS_PER_FACT = 13.3
