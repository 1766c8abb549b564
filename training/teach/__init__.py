"""Squares of photographs with a teacher's answer beside them, and how a small network learns from those."""
