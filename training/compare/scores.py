"""Scores of blind sheets: means per candidate and kind of ground, and how often each came last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.compare.ground import KINDS
from training.errors import ComparisonError

ALL: Final = "all"
_MOST: Final = 100.0


@dataclass(frozen=True)
class CandidateScore:
    """Scores of one candidate.

    Attributes:
        name: of the candidate.
        means: by kind of ground, and under `all`; 0 to 100. Each sheet and each judge counts as much as another.
        last: on how many sheets no other candidate got less; ties count for each.
        first: on how many sheets no other got more.
        sheets: how many were scored, once per judge.
    """

    name: str
    means: Mapping[str, float]
    last: int
    first: int
    sheets: int


@dataclass(frozen=True)
class _Sheet:
    kind: str
    scores: Mapping[str, float]


def read_key(path: Path) -> dict[str, Any]:
    """The key's sheets, by name.

    Raises:
        ComparisonError: not a key.
    """
    document = _read(path)
    sheets = document.get("sheets")
    if not isinstance(sheets, dict) or not all(
        isinstance(v, dict) and isinstance(v.get("letters"), dict) for v in sheets.values()
    ):
        raise ComparisonError(f"{path.name} is not a key: name the .key.json that `compare` wrote")
    return sheets


def score_candidates(key: Mapping[str, Any], answers: Sequence[Path]) -> list[CandidateScore]:
    """Join scores with the key.

    Args:
        key: of `read_key`.
        answers: files that the page of the sheets made, one per judge. Sheets without any score are left out.

    Returns:
        Best mean first.

    Raises:
        ComparisonError: an answer does not fit the key, lacks letters of a sheet, or is not from 0 to 100.
    """
    sheets = [sheet for path in answers for sheet in _answered(path, key)]
    if not sheets:
        raise ComparisonError("no sheet was scored: fill in the page's form and save it again")
    names = dict.fromkeys(name for sheet in sheets for name in sheet.scores)
    scored = [_candidate(name, [s for s in sheets if name in s.scores]) for name in names]
    return sorted(scored, key=lambda score: (-score.means[ALL], score.name))


def _candidate(name: str, sheets: Sequence[_Sheet]) -> CandidateScore:
    kinds = [kind for kind in KINDS if any(sheet.kind == kind for sheet in sheets)]
    values = {ALL: [sheet.scores[name] for sheet in sheets]}
    for kind in kinds:
        values[kind] = [sheet.scores[name] for sheet in sheets if sheet.kind == kind]
    return CandidateScore(
        name,
        {kind: float(np.mean(given)) for kind, given in values.items()},
        last=sum(s.scores[name] == min(s.scores.values()) for s in sheets),
        first=sum(s.scores[name] == max(s.scores.values()) for s in sheets),
        sheets=len(sheets),
    )


def _answered(path: Path, key: Mapping[str, Any]) -> Iterable[_Sheet]:
    answers = _read(path).get("sheets")
    if not isinstance(answers, dict):
        raise ComparisonError(f"{path.name} holds no scores: name the file that the sheets' page saved")
    for name, given in answers.items():
        if name not in key:
            raise ComparisonError(f"{path.name} scores a sheet {name!r} that the key lacks: name its own key")
        letters = key[name]["letters"]
        filled = {letter: value for letter, value in given.items() if value is not None}
        if not filled:
            continue
        if filled.keys() != letters.keys():
            raise ComparisonError(
                f"{path.name} scores {', '.join(sorted(filled))} of sheet {name}, which has "
                f"{', '.join(sorted(letters))}: score all of them or none"
            )
        for letter, value in filled.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
                raise ComparisonError(
                    f"{path.name} gives {letter} of sheet {name} {value!r}: give a number from 0 to 100"
                )
        yield _Sheet(key[name].get("kind", ""), {letters[letter]: float(v) for letter, v in filled.items()})


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ComparisonError(f"{path.name} cannot be read as JSON ({error}): save it again") from error
    if not isinstance(document, dict):
        raise ComparisonError(f"{path.name} holds no JSON object: save it again")
    return document


def table(scores: Sequence[CandidateScore]) -> str:
    """Lines to print: a row per candidate, a column per kind of ground."""
    kinds = [kind for kind in (*KINDS, ALL) if any(kind in score.means for score in scores)]
    width = max(len("candidate"), *(len(score.name) for score in scores))
    head = f"{'candidate':{width}}" + "".join(f"{kind:>8}" for kind in kinds) + "    last   first  sheets"
    rows = [
        f"{score.name:{width}}"
        + "".join(f"{score.means[kind]:8.1f}" if kind in score.means else f"{'-':>8}" for kind in kinds)
        + f"{score.last:8d}{score.first:8d}{score.sheets:8d}"
        for score in scores
    ]
    return "\n".join([head, *rows])
