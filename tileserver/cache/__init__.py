"""Caches of finished work in memory and in stores, each with a limit in bytes."""
