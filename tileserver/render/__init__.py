"""From windows of a photograph to finished pixels of every layer."""
