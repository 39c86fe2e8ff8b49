"""Scores: integrated gradients of what a model answers."""
