"""The photograph: where its pixels are, and what it is like."""
