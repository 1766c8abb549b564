"""Decide whether to begin a seed run, resume, replace or refuse, given the output that exists."""

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
    """When existing output may be replaced.

    Attributes:
        overwrite: always.
        changed_only: if photograph or weights have changed.
        refresh_before: if it was begun before this date; empty for never.
    """

    overwrite: bool = False
    changed_only: bool = False
    refresh_before: str = ""


@dataclass(frozen=True)
class ExistingOutput:
    """The provenance of existing tiles.

    Attributes:
        identity: identity of the tiles; None if it is unknown.
        options: which tiles were requested, as JSON.
        begun: when the run began, in ISO 8601.
    """

    identity: Identity | None
    options: str
    begun: str

    @classmethod
    def of_settings(cls, settings: dict[str, str]) -> ExistingOutput:
        """Read it from the settings of a journal."""
        identity = identity_of({"orthosharp": settings.get("identity", "")})
        return cls(identity, settings.get("options", ""), settings.get("begun", ""))

    @classmethod
    def of_metadata(cls, metadata: dict[str, Any]) -> ExistingOutput:
        """Read it from the metadata of a complete output."""
        options, date = (str(metadata.get(name, "")) for name in ("orthosharp_options", "date"))
        return cls(identity_of(metadata), options, date)

    def differences(self, description: Description) -> list[str]:
        """Describe how the existing tiles differ from the requested ones, for a message."""
        if self.identity is None:
            return ["their provenance is unknown"]
        before: dict[str, Any] = json.loads(self.options or "{}")
        others = [
            f"{name}: {before.get(name)}, not {value}"
            for name, value in json.loads(description.options).items()
            if before.get(name) != value
        ]
        return description.identity.differences(self.identity) + others

    def is_outdated(self, policy: OverwritePolicy) -> bool:
        """Return whether the run began before the date in the policy."""
        return bool(self.begun) and self.begun < policy.refresh_before

    def may_replace(self, description: Description, policy: OverwritePolicy) -> bool:
        """Return whether the tiles may be replaced."""
        changed = self.identity is not None and self.identity != description.identity
        return policy.overwrite or self.is_outdated(policy) or (policy.changed_only and changed)


def open_journal(
    output: Output,
    description: Description,
    policy: OverwritePolicy,
    check_room: Callable[[], None] = lambda: None,
) -> Journal | None:
    """Open the journal of a new or resumed run; None if the output is complete already.

    Args:
        output: destination of the tiles.
        description: metadata of the run.
        policy: when existing output may be replaced.
        check_room: called before a new run begins; raises to prevent it.

    Raises:
        ArchiveError: the output exists with other tiles, or orthosharp did not make it.
        OutputError: the output cannot be written.
    """
    found = output.metadata()
    is_begun = output.journal_path.exists()
    if is_begun:
        journal, is_complete = _resume(output, description, policy)
        if journal is not None or is_complete:
            return journal
    if found is not None and _is_complete(ExistingOutput.of_metadata(found), output, description, policy):
        return None
    check_room()
    if is_begun:
        # Only now: a refused run must not change anything, nor delete what another process has just begun.
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


def _resume(output: Output, description: Description, policy: OverwritePolicy) -> tuple[Journal | None, bool]:
    """Return the journal to resume, if any, and whether the run is complete; (None, False) to start over."""
    journal = Journal(output.journal_path)
    try:
        if journal.is_new or not _is_requested_run(journal, output, description, policy):
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


def _is_requested_run(
    journal: Journal, output: Output, description: Description, policy: OverwritePolicy
) -> bool:
    """Return whether a journal belongs to the requested run; if not, it may be replaced.

    Raises:
        ArchiveError: it must not be replaced.
    """
    made = ExistingOutput.of_settings(journal.settings)
    differences = made.differences(description)
    if not differences and not made.is_outdated(policy):
        return True
    if not made.may_replace(description, policy):
        raise ArchiveError(_refusal(f"{output.name} was started with other options", differences))
    return False


def _is_complete(
    made: ExistingOutput, output: Output, description: Description, policy: OverwritePolicy
) -> bool:
    """Return whether the existing output is the requested one; if not, it may be replaced.

    Raises:
        ArchiveError: it must not be replaced.
    """
    if made.may_replace(description, policy):
        return False
    differences = made.differences(description)
    if differences:
        raise ArchiveError(_refusal(f"{output.name} contains other tiles", differences))
    return True


def _clear(output: Output, journal: Journal) -> None:
    # Noted, so that the next run clears the output again after a kill in between.
    output.clear()
    journal.note("cleared", "yes")


def _refusal(what: str, differences: list[str]) -> str:
    return f"{what} ({'; '.join(differences)}): name another output, or replace it with --overwrite"
