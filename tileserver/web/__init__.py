"""HTTP: the application, its routes and middleware, TileJSON and WMTS, and reloading of maps."""
