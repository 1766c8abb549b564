"""Super-resolution models that others trained, as weights for the server."""
