"""Slow literal twins: one prompt, one layer, the paper's arithmetic.  Tests compare with them."""
