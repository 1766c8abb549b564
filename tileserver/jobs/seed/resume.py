"""Begin, go on, leave alone, replace or refuse: what is done about the tiles that are there already."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tileserver.archives.identity import Identity, identity_of
from tileserver.archives.metadata import Description
from tileserver.errors import ArchiveError
from tileserver.jobs.seed.archive_output import ArchiveOutput
from tileserver.jobs.seed.journal import Journal
from tileserver.jobs.seed.output import Output


@dataclass(frozen=True)
class OverwritePolicy:
    """What may be made again that is there.

    Attributes:
        overwrite: everything.
        changed_only: everything if photograph or weights are others.
        refresh_before: everything that was begun before this date; empty for never.
    """

    overwrite: bool = False
    changed_only: bool = False
    refresh_before: str = ""


@dataclass(frozen=True)
class ExistingOutput:
    """What tiles that are there say about themselves.

    Attributes:
        identity: what made them; None if they do not say.
        options: which they are, as JSON.
        begun: when, ISO 8601.
    """

    identity: Identity | None
    options: str
    begun: str

    @classmethod
    def of_settings(cls, settings: dict[str, str]) -> ExistingOutput:
        """What a journal notes."""
        identity = identity_of({"orthosharp": settings.get("identity", "")})
        return cls(identity, settings.get("options", ""), settings.get("begun", ""))

    @classmethod
    def of_metadata(cls, metadata: dict[str, Any]) -> ExistingOutput:
        """What a finished output says."""
        options, date = (str(metadata.get(name, "")) for name in ("orthosharp_options", "date"))
        return cls(identity_of(metadata), options, date)

    def differences(self, description: Description) -> list[str]:
        """What they have instead of what is wanted now, for people."""
        if self.identity is None:
            return ["they do not say what made them"]
        before: dict[str, Any] = json.loads(self.options or "{}")
        others = [
            f"{name}: {before.get(name)}, not {value}"
            for name, value in json.loads(description.options).items()
            if before.get(name) != value
        ]
        return description.identity.differences(self.identity) + others

    def is_outdated(self, policy: OverwritePolicy) -> bool:
        """Whether they were begun too long ago."""
        return bool(self.begun) and self.begun < policy.refresh_before

    def may_go(self, description: Description, policy: OverwritePolicy) -> bool:
        """Whether others may take their place."""
        changed = self.identity is not None and self.identity != description.identity
        return policy.overwrite or self.is_outdated(policy) or (policy.changed_only and changed)


def open_journal(
    output: Output,
    description: Description,
    policy: OverwritePolicy,
    check_room: Callable[[], None] = lambda: None,
) -> Journal | None:
    """The journal of the run that begins or goes on; None if all is done.

    Args:
        output: where tiles go.
        description: of the run.
        policy: what may be replaced.
        check_room: called before anything new is begun; raises to prevent it.

    Raises:
        ArchiveError: something else is there, or other tiles.
        OutputError: nothing can be written.
    """
    found = output.metadata()
    is_begun = output.journal_path.exists()
    if is_begun:
        journal, is_complete = _go_on(output, description, policy)
        if journal is not None or is_complete:
            return journal
    if found is not None and _is_complete(ExistingOutput.of_metadata(found), output, description, policy):
        return None
    check_room()
    if is_begun:
        # Only now, since a refusal touches nothing; and not what another process has begun meanwhile.
        output.journal_path.unlink()
    output.journal_path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(output.journal_path)
    settings = {
        "identity": description.identity.to_json(),
        "options": description.options,
        "begun": description.date,
    }
    try:
        journal.create(settings, output.schema)
        _clear(output, journal)
    except BaseException:
        journal.close()
        raise
    return journal


def _go_on(output: Output, description: Description, policy: OverwritePolicy) -> tuple[Journal | None, bool]:
    """A journal to go on with if there is one, and whether nothing is left to do; neither if it may go."""
    journal = Journal(output.journal_path)
    try:
        if journal.is_new or not _is_same(journal, output, description, policy):
            journal.close()
            return None, False
        if journal.is_finished and isinstance(output, ArchiveOutput):
            journal.close()
            output.publish(output.journal_path, again=False)
            return None, True
        if "cleared" not in journal.settings:
            _clear(output, journal)
    except BaseException:
        journal.close()
        raise
    return journal, False


def _is_same(journal: Journal, output: Output, description: Description, policy: OverwritePolicy) -> bool:
    """Whether a journal is of the run that is wanted; else it may go.

    Raises:
        ArchiveError: it may not.
    """
    made = ExistingOutput.of_settings(journal.settings)
    differences = made.differences(description)
    if not differences and not made.is_outdated(policy):
        return True
    if not made.may_go(description, policy):
        raise ArchiveError(_refusal(f"{output.name} was begun with other options", differences))
    return False


def _is_complete(
    made: ExistingOutput, output: Output, description: Description, policy: OverwritePolicy
) -> bool:
    """Whether what is there is what is wanted; else it may go.

    Raises:
        ArchiveError: it may not.
    """
    if made.may_go(description, policy):
        return False
    differences = made.differences(description)
    if differences:
        raise ArchiveError(_refusal(f"{output.name} has other tiles in it", differences))
    return True


def _clear(output: Output, journal: Journal) -> None:
    # Noted, so that a kill in between leaves no tiles of which nobody knows whose they are.
    output.clear()
    journal.note("cleared", "yes")


def _refusal(what: str, differences: list[str]) -> str:
    return f"{what} ({'; '.join(differences)}): name another output, or replace it with --overwrite"
