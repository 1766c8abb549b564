"""`orthosharp-train export`: weights with their halo, lineage, card and ONNX model."""
