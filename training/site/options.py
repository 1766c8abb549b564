"""What the user asks of `orthosharp-train site`. Importing it loads nothing heavy: the command reads defaults here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from training.data.manifest import Bounds
from training.pairs.reading import NOTHING_SAID, Reading

Colours = Literal["photo", "network"]

# Unless told otherwise, a run takes a night at most.
NIGHT_H: Final = 8.0


@dataclass(frozen=True)
class SiteOptions:
    """One run.

    Attributes:
        old, new: the two photographs.
        out: the weights to write.
        run: folder of the run.
        colours: whether the photograph's stay its own, or are translated to the new one's; see `fit`.
        hours: that the whole run shall take, about; None is `NIGHT_H` at most.
        steps: of training; None follows from the time.
        validation: block that is kept, in the new photo's CRS; None is the southern fifth.
        read_old, read_new: how the photographs' files are read.
        judge: a file of VGG16's weights that judges, instead of EfficientNet-lite0.
        provenance, credit: of the weights; empty ones follow from the photographs' names.
        threads: that torch computes with on a processor.
        sheets: blind sheets to draw.
        seed: of every draw.
    """

    old: Path
    new: Path
    out: Path
    run: Path
    colours: Colours = "photo"
    hours: float | None = None
    steps: int | None = None
    validation: Bounds | None = None
    read_old: Reading = NOTHING_SAID
    read_new: Reading = NOTHING_SAID
    judge: Path | None = None
    provenance: str = ""
    credit: str = ""
    threads: int = 0
    sheets: int = 8
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """All that decides a number of the run; a changed photograph is another one."""
        chosen = {
            name: getattr(self, name)
            for name in ("colours", "hours", "steps", "validation", "sheets", "seed")
        }
        return chosen | {
            "old": _identity(self.old),
            "new": _identity(self.new),
            "reading": [asdict(self.read_old), asdict(self.read_new)],
            "judge": None if self.judge is None else self.judge.name,
        }


def _identity(photo: Path) -> list[Any]:
    about = photo.stat()
    return [photo.name, about.st_size, about.st_mtime_ns]
