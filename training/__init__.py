"""Pairs of an old and a new photograph of the same ground, to weights."""
