"""Edits of activations and of value slots."""
