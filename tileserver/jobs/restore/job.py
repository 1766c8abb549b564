"""A restore job: its inputs, and whether its output exists already."""

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
from tileserver.render.recipe import library_versions
from tileserver.settings import Settings


@dataclass(frozen=True, eq=False)
class Job:
    """The inputs of a restore job.

    Attributes:
        pipeline: the photograph with the network that restores it.
        target: the area to restore, and its grid.
        output: the file, or the folder of chips.
        settings: everything that affects the pixels of the output.
        credit: owner of the photograph.
    """

    pipeline: Pipeline
    target: Target
    output: Path
    settings: dict[str, Any]
    credit: str

    @property
    def tags(self) -> dict[str, str]:
        """Metadata of the output."""
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
    """Check the output and the options.

    Raises:
        SettingsError: they are invalid or contradict each other.
    """
    if options["bbox"] and options["area"]:
        raise SettingsError("--bbox and --area are mutually exclusive: give one of them")
    if not options["chips"] and output.suffix.lower() not in (".tif", ".tiff"):
        raise SettingsError(
            f"{output} does not end in .tif: name a TIFF, or give --chips to write images into a folder"
        )
    if options["chips"] and output.exists() and not output.is_dir():
        raise SettingsError(f"{output} is a file: name a folder for the chips")
    if output.name in ("", ".."):
        raise SettingsError(
            f"{output} cannot be the output: give a name, beside which work in progress is kept"
        )
    if not output.resolve().parent.is_dir():
        raise SettingsError(f"the folder {output.resolve().parent} does not exist: create it first")


def check_photograph(photograph: Source, output: Path, source: str | tuple[str, ...] = "") -> None:
    """Refuse to overwrite the photograph, or a file that it refers to, such as a file of a mosaic.

    Args:
        photograph: the photograph.
        output: file or folder to write.
        source: what the user named as the photograph.

    Raises:
        SettingsError: the output is such a file, or would be one of the sheets of the same folder next time.
    """
    if isinstance(source, str) and Path(source).is_dir() and Path(source).samefile(output.resolve().parent):
        raise SettingsError(
            f"{output} would lie among the sheets of {source}: name another folder for the output"
        )
    if any(
        output.exists() and Path(name).exists() and output.samefile(name) for name in photograph.info.files
    ):
        raise SettingsError(f"{output} is the photograph, or a part of it: name another output")


def make_job(pipeline: Pipeline, settings: Settings, output: Path, options: dict[str, Any]) -> Job:
    """Determine which pixels to restore, and everything that affects them.

    Raises:
        SettingsError, OutsideError: the area does not intersect the photograph, or the grid does not cover it.
    """
    source, restorer = pipeline.photograph, pipeline.restorer
    scale = pipeline.appearance.scale
    view = tms_view(source, options["tms"], scale) if options["tms"] else own_view(source, scale)
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
        "reading": source.info.reading,
        "finish": [settings.contrast, settings.colours, settings.colour_strength],
        "grid": options["tms"] or "own",
        "window": [window.x, window.y, window.width, window.height],
        "outline": target.outline.wkt if target.outline is not None else None,
        "chips": [options["chips"], options["format"]] if options["chips"] else None,
        # Code and libraries too: one raster has the bytes of one version throughout.
        "recipe": pipeline.recipe_digest(),
        "libraries": library_versions(),
    }
    credit = settings.credit if settings.credit is not None else source.info.credit
    return Job(pipeline, target, output, made_of, credit)


def is_complete(job: Job, options: dict[str, Any]) -> bool:
    """Return whether the output exists already, complete and made with the same settings.

    Raises:
        ArchiveError: something else exists there, and must not be overwritten.
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
            f"{output} exists and was not made by orthosharp: name another output, or move it away"
        )
    if options["overwrite"]:
        if options["chips"] and (has_foreign_files(output) or (note is None and any(output.iterdir()))):
            raise ArchiveError(f"{output} contains files that orthosharp did not make: name another folder")
        return False
    if options["chips"] and note is None and not any(output.iterdir()):
        return False
    raise ArchiveError(f"{output} exists with other pixels: name another output, or give --overwrite")


def _cog_note(path: Path) -> dict[str, Any] | None:
    """Return the settings that a restored file was made with; None if it is another file."""
    try:
        with rasterio.open(path) as dataset:
            note = json.loads(dataset.tags().get("ORTHOSHARP", "null"))
    except (RasterioError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def work_folder(output: Path) -> Path:
    """Return the folder beside the output in which restored metatiles are kept."""
    return output.with_name(f"{output.name}.restoring")


def nodata_of(photograph: Source) -> int | None:
    """Return the nodata value of the photograph if it fits into 8 bits, else None."""
    value = photograph.info.nodata
    return int(value) if value is not None and 0 <= value <= 255 and value == int(value) else None
