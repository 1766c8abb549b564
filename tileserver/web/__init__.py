"""HTTP: routes, conditional requests, documents, and the maps that are open together."""
