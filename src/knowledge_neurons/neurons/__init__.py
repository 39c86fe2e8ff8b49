"""Scores -> neurons."""
