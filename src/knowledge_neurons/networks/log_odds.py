"""Log-odds of an answer, ln(P / (1 - P)) in nats: what P cannot tell where it is near 0 or 1.

From logits, never from P: in float32 a P of 0.99999999 is 1, whatever is done to it afterwards.
Both are finite wherever the logits are: a sum of exponentials of finite numbers is never 0.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def of_tokens(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-odds of a token in each row: its logit less the logsumexp of all others.

    logits: (R, V), tokens: (R,).  Returns (R,), float32 at least.
    """
    own, wide = tokens[:, None], torch.promote_types(logits.dtype, torch.float32)
    logits = logits.to(wide)
    others = logits - logits.gather(1, own)  # (R, V), so that no large number is subtracted later
    return -others.scatter_(1, own, -torch.inf).logsumexp(1)


def of_both(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Log-odds of two tokens together, the other's given the one: of P = p q, elementwise.

    With a, b the log-odds of p, q: 1/P = (1 + e^-a)(1 + e^-b), so the odds against P are

        1/P - 1 = e^-a + e^-b + e^-(a + b)

    a sum of positive terms, which loses nothing at either end.  float64; of infinity, which is
    certain, and b it is b.
    """
    with np.errstate(invalid="ignore"):  # NaN stays NaN, for whoever reads it to refuse
        return -np.logaddexp(np.logaddexp(-one, -other), -one - other)
