"""Measurement of pictures: metrics, their intervals, shifts between pictures, and the halo of a network."""
