"""Measurement of a photograph: its edges, unsharp mask and grain, and in a small copy its borders and range of values.

Serving asks once for each photograph, training while it ages pictures and while it judges them; both have to get the
same answer, so the measurement lives here. numpy, scipy and shapely only.
"""

from sr_model.measure.edges import (
    Edges,
    EdgeShapes,
    edge_profiles,
    edge_shapes,
    find_edges,
    profile_positions,
)
from sr_model.measure.grain import grain_of
from sr_model.measure.traits import PhotoTraits, estimate_blur_and_halo, visible_edge

__all__ = [
    "EdgeShapes",
    "Edges",
    "PhotoTraits",
    "edge_profiles",
    "edge_shapes",
    "estimate_blur_and_halo",
    "find_edges",
    "grain_of",
    "profile_positions",
    "visible_edge",
]
