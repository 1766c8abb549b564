"""Render a whole photograph ahead of time, into an archive or a folder of tiles."""
