"""Blind comparison: sheets of the same ground by several methods, and what the people who saw them say."""
