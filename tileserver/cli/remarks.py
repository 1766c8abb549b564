"""What the commands say of a photograph when they open it: what was found in it, and what is not well."""

from __future__ import annotations

import click

from tileserver.photo.source import Source


def say_remarks(photograph: Source) -> None:
    """Print the notes and warnings of a photograph to stderr, one line each."""
    info = photograph.info
    for note in info.notes:
        click.echo(f"note: {info.name}: {note}", err=True)
    for warning in info.warnings:
        click.echo(f"warning: {info.name}: {warning}", err=True)
