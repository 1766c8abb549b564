"""What a user should know about a photograph that can be served all the same."""

from __future__ import annotations

from typing import Final

# Code of a warning that was made as plain text.
PLAIN: Final = "photograph"


class Notice(str):
    """The text of a warning, with a code that programs can rely on.

    Attributes:
        code: words joined by hyphens, such as `no-overviews`; stays the same when the text is improved.
        command: shell command that mends it, with the names of the user's own files; may be empty.
    """

    code: str
    command: str

    def __new__(cls, code: str, text: str, command: str = "") -> Notice:
        """Return the text with its code."""
        notice = super().__new__(cls, text)
        notice.code, notice.command = code, command
        return notice


def code_of(warning: str) -> str:
    """Return the code of a warning."""
    return warning.code if isinstance(warning, Notice) else PLAIN


def command_of(warning: str) -> str:
    """Return the command that mends what a warning is about; empty if there is none."""
    return warning.command if isinstance(warning, Notice) else ""
