"""What a restoration works with, and whether its output is there already."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from tileserver.errors import ArchiveError, SettingsError
from tileserver.jobs.area import wanted_area, wanted_bbox
from tileserver.jobs.progress import now
from tileserver.jobs.restore.chips import chips_note, has_foreign_files
from tileserver.jobs.restore.target import Target, make_target, own_view, tms_view
from tileserver.photo.source import Source
from tileserver.render.pipeline import Pipeline
from tileserver.settings import Settings


@dataclass(frozen=True, eq=False)
class Job:
    """What the command works with.

    Attributes:
        path: what GDAL opens as the photograph.
        pipeline: restores it.
        target: what to restore.
        output: file, or folder of chips.
        settings: what decides the output's pixels.
        credit: whose photograph it is.
    """

    path: str
    pipeline: Pipeline
    target: Target
    output: Path
    settings: dict[str, Any]
    credit: str

    @property
    def tags(self) -> dict[str, str]:
        """What the file says about itself."""
        restorer, date = self.pipeline.restorer, now()
        tags = {
            "AI_RESTORED": "yes: a guess by a neural network, not a measurement",
            "MODEL": restorer.spec.name,
            "MODEL_DIGEST": restorer.digest,
            "DATE": date,
            "SOURCE": self.pipeline.photograph.info.name,
            "ORTHOSHARP": json.dumps(self.settings),
            "TIFFTAG_SOFTWARE": f"orthosharp {version('orthosharp')}",
            "TIFFTAG_DATETIME": re.sub(r"(\d+)-(\d+)-(\d+)T([\d:]+).*", r"\1:\2:\3 \4", date),
            "TIFFTAG_IMAGEDESCRIPTION": f"AI-restored by {restorer.spec.name} ({restorer.digest[:12]})",
        }
        return tags | ({"CREDIT": self.credit, "TIFFTAG_COPYRIGHT": self.credit} if self.credit else {})


def check_output(output: Path, options: dict[str, Any]) -> None:
    """Refuse an output, or options, that make no sense.

    Raises:
        SettingsError: with the way out.
    """
    if options["bbox"] and options["area"]:
        raise SettingsError("--bbox and --area say the same: give one of them")
    if not options["chips"] and output.suffix.lower() not in (".tif", ".tiff"):
        raise SettingsError(
            f"{output} does not end in .tif: name a TIFF, or give --chips to write images into a folder"
        )
    if options["chips"] and output.exists() and not output.is_dir():
        raise SettingsError(f"{output} is a file: name a folder for the chips")
    if output.name in ("", ".."):
        raise SettingsError(f"{output} is no name for an output: the work lies beside it, under its name")
    if not output.resolve().parent.is_dir():
        raise SettingsError(f"there is no folder {output.resolve().parent}: make it first")


def check_photograph(photograph: Source, output: Path) -> None:
    """Refuse to write over the photograph, or over a file that it consists of, such as a mosaic's."""
    if any(
        output.exists() and Path(name).exists() and output.samefile(name) for name in photograph.info.files
    ):
        raise SettingsError(f"{output} is the photograph itself, or a part of it: name another output")


def make_job(pipeline: Pipeline, settings: Settings, output: Path, options: dict[str, Any]) -> Job:
    """Work out which pixels are wanted, and everything that decides them.

    Raises:
        SettingsError, OutsideError: no pixel of the photograph is wanted.
    """
    source, restorer = pipeline.photograph, pipeline.restorer
    gsd_m = restorer.spec.gsd_m
    view = tms_view(source, options["tms"], gsd_m) if options["tms"] else own_view(source, gsd_m)
    wanted = None
    if options["bbox"]:
        wanted = wanted_bbox(options["bbox"], view.crs)
    elif options["area"]:
        wanted = wanted_area(options["area"], view.crs)
    target = make_target(view, wanted, cut=bool(options["area"]), whole_tiles=bool(options["tms"]))
    window = target.window
    made_of = {
        "source": source.info.fingerprint,
        "model": restorer.spec.name,
        "weights": restorer.digest,
        "runtime": restorer.runtime,
        "bands": list(source.info.bands),
        "rescale": list(source.info.rescale),
        "finish": [settings.contrast, settings.tone],
        "grid": options["tms"] or "own",
        "window": [window.x, window.y, window.width, window.height],
        "outline": target.outline.wkt if target.outline is not None else None,
        "chips": [options["chips"], options["format"]] if options["chips"] else None,
        # The code and the libraries too: half a picture of each would have seams.
        "recipe": pipeline.recipe_digest(),
    }
    credit = settings.credit if settings.credit is not None else source.info.credit
    return Job(settings.source, pipeline, target, output, made_of, credit)


def is_complete(job: Job, options: dict[str, Any]) -> bool:
    """Whether the output is there already, whole and from the same settings.

    Raises:
        ArchiveError: something else is there.
    """
    output, is_begun = job.output, work_folder(job.output).exists()
    if not output.exists():
        return False
    if options["chips"]:
        note = chips_note(output)
        if note is None and is_begun and not has_foreign_files(output):
            return False
    else:
        note = _cog_note(output)
    if note == job.settings:
        return not (is_begun or options["overwrite"])
    if note is None and not options["chips"]:
        raise ArchiveError(
            f"{output} is there already, and not of our making: name another output, or move it away"
        )
    if options["overwrite"]:
        if options["chips"] and (has_foreign_files(output) or (note is None and any(output.iterdir()))):
            raise ArchiveError(f"{output} has files in it that are no chips of ours: name another folder")
        return False
    if options["chips"] and note is None and not any(output.iterdir()):
        return False
    raise ArchiveError(
        f"{output} is there already, with other pixels: name another output, or give --overwrite"
    )


def _cog_note(path: Path) -> dict[str, Any] | None:
    """Settings of the restored file at a path; None if it is something else."""
    try:
        with rasterio.open(path) as dataset:
            note = json.loads(dataset.tags().get("ORTHOSHARP", "null"))
    except (RasterioError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def work_folder(output: Path) -> Path:
    """Folder beside the output in which restored metatiles wait."""
    return output.with_name(f"{output.name}.restoring")


def nodata_of(path: str) -> int | None:
    """The photograph's nodata value where a picture of 8 bits can have it too."""
    with rasterio.open(path) as dataset:
        value = dataset.nodata
    return int(value) if value is not None and 0 <= value <= 255 and value == int(value) else None
