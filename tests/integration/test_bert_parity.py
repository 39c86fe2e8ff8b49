"""Our logits are Hugging Face's, at the full size of the published base checkpoints.

python -m pytest tests/integration/test_bert_parity.py

The large and the multilingual shapes take gigabytes: see `python -m benchmarks.parity`.
"""

import gc

import pytest

from benchmarks.parity import LOGITS_TOLERANCE, SHAPES, logits_error


@pytest.mark.parametrize("name", ["bert-base-cased", "bert-base-uncased", "bert-base-chinese"])
def test_logits_of_a_full_size_checkpoint(name):
    """A random checkpoint written by Hugging Face, read by us: all logits of an unpadded and of a
    padded batch are BertForMaskedLM's to LOGITS_TOLERANCE of the largest one."""
    errors = logits_error(SHAPES[name])
    gc.collect()  # the two models of half a gigabyte, before the next shape
    assert errors.keys() == {"unpadded", "padded"}
    assert max(errors.values()) <= LOGITS_TOLERANCE, errors
    # Bit-equal logits would mean that we compared their model with itself.
    assert max(errors.values()) > 0
