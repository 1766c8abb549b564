"""Blind comparison: sheets of the same ground by several methods, and their scores by people."""
