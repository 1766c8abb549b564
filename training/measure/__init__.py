"""How pictures are measured: figures, their intervals, and shifts between pictures."""
