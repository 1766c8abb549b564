"""Rendering: from windows of a photograph to the finished pixels of each layer."""
