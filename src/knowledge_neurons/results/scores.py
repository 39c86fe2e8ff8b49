"""Stage 1's scores: a line a fact, in data order, in the authors' shape.

Their words (rlt, ig_gold, base) live only here; the record is `types.PromptScores`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from knowledge_neurons.results.json_files import decode, encode
from knowledge_neurons.results.manifests import check_whole, start_over
from knowledge_neurons.types import Index, PromptScores, Triplet


def encode_fact_scores(prompts: Sequence[PromptScores]) -> bytes:
    """One line of a scores file; a fact that was left out is the empty list."""
    return encode([[_tokens_info(prompt), _res_dict(prompt)] for prompt in prompts])


def _tokens_info(prompt: PromptScores) -> dict[str, Any]:
    info = {
        "tokens": prompt.tokens,
        "relation": prompt.relation,
        "gold_obj": prompt.answer,
        "pred_obj": prompt.predicted,
    }
    return info | {"answer_token": prompt.answer_token} if prompt.answer_token else info


def _res_dict(prompt: PromptScores) -> dict[str, Any]:
    # UPSTREAM: pred is a list of one (1, V) matrix
    # DEVIATION: ig_pred is stored as triplets too; the released code leaves it dense (difference 2)
    return {
        "pred": [[prompt.probabilities]] if prompt.probabilities else [],
        "ig_pred": prompt.of_prediction,
        "ig_gold": prompt.of_answer,
        "base": prompt.baseline,
    }


class _TokensInfo(msgspec.Struct):
    tokens: list[str]
    relation: str
    gold_obj: str
    pred_obj: str
    answer_token: Index = 0


class _Scores(msgspec.Struct):
    """What refining needs; ig_pred and pred are passed over, in whatever shape."""

    ig_gold: list[Triplet]


class _AllScores(_Scores):
    base: list[Triplet]


def read_fact_scores(
    path: Path, baseline: bool = True, answer_token: int = 0
) -> Iterator[list[PromptScores]]:
    """The prompts of each fact, in data order: of_answer and baseline, all that refining needs.

    baseline: False leaves the activations out, which are most of the file.  answer_token: of
    answers of several tokens, the scores for this one.
    Raises ValueError naming file and line of what is broken; after the last for a file that is not
    what its manifest says.
    """
    kind = list[tuple[_TokensInfo, _AllScores if baseline else _Scores]]
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number} (fact {number - 1}), attribution scores"
            yield [
                PromptScores(
                    tokens=info.tokens,
                    answer=info.gold_obj,
                    predicted=info.pred_obj,
                    relation=info.relation,
                    of_answer=scores.ig_gold,
                    baseline=scores.base if baseline else [],
                    answer_token=info.answer_token,
                )
                for info, scores in decode(line, kind, where, start_over(path))
                if info.answer_token == answer_token
            ]
    check_whole(path)
