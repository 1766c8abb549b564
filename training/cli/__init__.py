"""`orthosharp-train`: each command parses, calls and reports. Nothing happens here at import."""
