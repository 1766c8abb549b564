"""How pictures are measured: metrics, their intervals, and shifts between pictures."""
