"""`orthosharp restore`: parse, call, report."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import rasterio
from rasterio.errors import RasterioError

from sr_model import PixelWindow, Restorer, bundled_weights_path, load_weights
from tileserver.cli.exits import DONE, DONE_WITH_FAILURES, run_and_exit
from tileserver.cli.options import job_count, work_options, work_settings
from tileserver.errors import ArchiveError, SettingsError
from tileserver.jobs.area import wanted_area, wanted_bbox
from tileserver.jobs.disk import free_bytes, is_writable
from tileserver.jobs.progress import announce, now, reporter, say_complete, size, summarise
from tileserver.jobs.restore.chips import chips_note, strangers, write_chips
from tileserver.jobs.restore.cog import write_cog
from tileserver.jobs.restore.metatile_folder import Blocks
from tileserver.jobs.restore.run import restore_blocks
from tileserver.jobs.restore.target import Target, make_target, own_view, tms_view
from tileserver.photo.source import Source
from tileserver.render.finish import Finish
from tileserver.render.network_queue import NetworkQueue
from tileserver.render.networks import open_restorer
from tileserver.render.recipe import Recipe
from tileserver.render.renderer import Renderer
from tileserver.settings import Settings
from tileserver.tiling.encode import Extension

# Blocks, a plain TIFF and the COG with its overviews, at what deflate makes of photographs.
_BYTES_PER_PIXEL = 7


@click.command()
@click.argument("source")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--bbox", metavar="W,S,E,N", help="Only this rectangle, in degrees.")
@click.option(
    "--area", type=click.Path(path_type=Path), help="Only this GeoJSON area; around it nothing is shown."
)
@click.option("--tms", help="On this tile matrix set, as WebMercatorQuad: its pixels are those of the tiles.")
@click.option(
    "--chips",
    type=click.IntRange(16, 8192),
    metavar="PX",
    help="Into the folder OUTPUT, as images of this side with world files.",
)
@click.option(
    "--format", type=click.Choice(["png", "jpg"]), default="png", show_default=True, help="Of the chips."
)
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
@work_options
def restore(source: str, output: Path, **options: Any) -> None:
    """Restore SOURCE into OUTPUT, a COG in its own CRS with the pixel size that the network works at.

    Interrupted, run the same command again: it goes on. Exit code 0: done; 1: done but for what is listed in
    a file, or stopped by a full disk; 2: refused; 130: interrupted.
    """
    run_and_exit(lambda: _restore(source, output, options))


@dataclass(frozen=True, eq=False)
class Job:
    """What the command works with.

    Attributes:
        path, source: the photograph.
        restorer: the network.
        target: what to restore.
        output: file, or folder of chips.
        settings: what decides the output's pixels.
        credit: whose photograph it is.
    """

    path: str
    source: Source
    restorer: Restorer
    target: Target
    output: Path
    settings: dict[str, Any]
    credit: str

    @property
    def tags(self) -> dict[str, str]:
        """What the file says about itself."""
        spec, date = self.restorer.spec, now()
        tags = {
            "AI_RESTORED": "yes: a guess by a neural network, not a measurement",
            "MODEL": spec.name,
            "MODEL_DIGEST": self.restorer.digest,
            "DATE": date,
            "SOURCE": self.source.info.name,
            "ORTHOSHARP": json.dumps(self.settings),
            "TIFFTAG_SOFTWARE": f"orthosharp {version('orthosharp')}",
            "TIFFTAG_DATETIME": re.sub(r"(\d+)-(\d+)-(\d+)T([\d:]+).*", r"\1:\2:\3 \4", date),
            "TIFFTAG_IMAGEDESCRIPTION": f"AI-restored by {spec.name} ({self.restorer.digest[:12]})",
        }
        return tags | ({"CREDIT": self.credit, "TIFFTAG_COPYRIGHT": self.credit} if self.credit else {})


def _restore(source: str, output: Path, options: dict[str, Any]) -> int:
    _check_output(output, options)
    settings = work_settings(source, options)
    jobs = job_count(options)
    photograph = Source.open(
        settings.source, bands=settings.bands, rescale=settings.rescale, open_datasets=jobs
    )
    try:
        _check_photograph(photograph, output)
        weights = load_weights(settings.weights or bundled_weights_path())
        weights.spec.check_source_gsd(photograph.info.pixel.gsd_m)
        restorer = open_restorer(weights, settings)
        finish = Finish(settings.contrast, settings.tone)
        job = _make_job(photograph, restorer, settings, finish, output, options)
        if _is_complete(job, options):
            say_complete(str(output), as_json=options["as_json"])
            return DONE
        network = NetworkQueue(
            restorer,
            max_waiting=2 * jobs,
            deadline_s=3600.0,
            batch=settings.batch,
            callers=restorer.callers,
        )
        try:
            return _run(job, Renderer(restorer.spec, network, finish), jobs, options)
        finally:
            network.close()
    finally:
        photograph.close()


def _check_output(output: Path, options: dict[str, Any]) -> None:
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


def _check_photograph(photograph: Source, output: Path) -> None:
    """Refuse to write over the photograph, or over a file that it consists of, such as a mosaic's."""
    if any(
        output.exists() and Path(name).exists() and output.samefile(name) for name in photograph.info.files
    ):
        raise SettingsError(f"{output} is the photograph itself, or a part of it: name another output")


def _make_job(
    source: Source,
    restorer: Restorer,
    settings: Settings,
    finish: Finish,
    output: Path,
    options: dict[str, Any],
) -> Job:
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
        "recipe": Recipe.of(restorer, [source], finish).digest,
    }
    credit = settings.credit if settings.credit is not None else source.info.credit
    return Job(settings.source, source, restorer, target, output, made_of, credit)


def _is_complete(job: Job, options: dict[str, Any]) -> bool:
    """Whether the output is there already, whole and from the same settings.

    Raises:
        ArchiveError: something else is there.
    """
    output, is_begun = job.output, _work_folder(job.output).exists()
    if not output.exists():
        return False
    if options["chips"]:
        note = chips_note(output)
        if note is None and is_begun and not strangers(output):
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
        if options["chips"] and (strangers(output) or (note is None and any(output.iterdir()))):
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


def _run(job: Job, renderer: Renderer, jobs: int, options: dict[str, Any]) -> int:
    target, output = job.target, job.output
    folder = _work_folder(output)
    pixels = target.window.width * target.window.height
    if not is_writable(output.resolve().parent):
        raise SettingsError(f"{output} cannot be written, its folder is read-only: name another output")
    free = free_bytes(output.resolve().parent)
    if not folder.exists() and free < _BYTES_PER_PIXEL * pixels:
        raise SettingsError(
            f"{output} needs about {size(_BYTES_PER_PIXEL * pixels)} while it is made, and its disk has {size(free)}: "
            "make room, or restore a smaller area"
        )
    with closing(Blocks(folder, target)) as blocks:
        blocks.begin(job.settings, overwrite=options["overwrite"])
        return _work(job, blocks, renderer, jobs, options)


def _work(job: Job, blocks: Blocks, renderer: Renderer, jobs: int, options: dict[str, Any]) -> int:
    target, output, as_json = job.target, job.output, options["as_json"]
    started = time.monotonic()
    with reporter(as_json=as_json) as report:
        figures, failed = restore_blocks(target, blocks, renderer, jobs, report)
    announce(str(output), as_json=as_json)
    _list_failures(output, failed)
    if options["chips"]:
        extension: Extension = options["format"]
        nbytes = write_chips(
            target, blocks, output, job.source.info.name, options["chips"], extension, job.tags
        )
    else:
        nodata = None if options["tms"] else _nodata(job.path)
        nbytes = write_cog(target, blocks, output, job.tags, nodata, 256 if options["tms"] else 512)
    window = target.window
    what = f"{window.width} x {window.height} px of {target.gsd_m:.3f} m restored"
    figures = replace(figures, seconds=time.monotonic() - started)
    summarise(str(output), what, figures, nbytes, as_json=as_json)
    if failed:
        return DONE_WITH_FAILURES
    blocks.remove()
    return DONE


def _list_failures(output: Path, failed: dict[PixelWindow, str]) -> None:
    listing = output.with_name(f"{output.name}.failures.txt")
    if not failed:
        listing.unlink(missing_ok=True)
        return
    rows = ["# left,top widthxheight in pixels of the grid, and why\n"]
    rows += [f"{one.x},{one.y} {one.width}x{one.height}\t{reason}\n" for one, reason in failed.items()]
    listing.write_text("".join(rows), encoding="utf-8")
    click.echo(
        f"{len(failed)} metatiles failed, see {listing}; run the same command to try them again", err=True
    )


def _work_folder(output: Path) -> Path:
    return output.with_name(f"{output.name}.restoring")


def _nodata(path: str) -> int | None:
    """The photograph's nodata value where a picture of 8 bits can have it too."""
    with rasterio.open(path) as dataset:
        value = dataset.nodata
    return int(value) if value is not None and 0 <= value <= 255 and value == int(value) else None
