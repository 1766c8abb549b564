"""`orthosharp restore`: writes a restored raster, or chips of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from tileserver.cli.exits import DONE, DONE_WITH_FAILURES
from tileserver.cli.failures import list_failures
from tileserver.cli.notices import say_findings
from tileserver.cli.options import job_count, job_settings
from tileserver.errors import SettingsError
from tileserver.jobs.disk import free_bytes, is_writable
from tileserver.jobs.progress import announce, reporter, say_complete, size, summarise
from tileserver.jobs.restore.chips import write_chips
from tileserver.jobs.restore.cog import write_cog
from tileserver.jobs.restore.job import (
    Job,
    check_output,
    check_photograph,
    is_complete,
    make_job,
    nodata_of,
    work_folder,
)
from tileserver.jobs.restore.metatile_folder import MetatileFolder
from tileserver.jobs.restore.run import restore_metatiles
from tileserver.metrics import Metrics
from tileserver.photo.source import Source
from tileserver.render.networks import Networks
from tileserver.render.pipeline import open_pipeline
from tileserver.tiling.encode import Extension

# Disk space for the metatile folder, a plain TIFF and the COG with overviews; photographs deflated.
_BYTES_PER_PIXEL = 7


def restore_raster(output: Path, given: dict[str, Any], options: dict[str, Any]) -> int:
    """Make the raster that `orthosharp restore` was asked for; returns the exit code."""
    check_output(output, options)
    jobs = job_count(options)
    settings = job_settings(given, queue_size=2 * jobs, deadline_s=3600.0, open_datasets=jobs)
    with closing(Source.of_settings(settings)) as photograph:
        check_photograph(photograph, output, settings.source)
        say_findings([photograph])
        with open_pipeline(photograph, settings, Networks(Metrics())) as pipeline:
            job = make_job(pipeline, settings, output, options)
            if is_complete(job, options):
                say_complete(str(output), as_json=options["as_json"])
                return DONE
            return _run(job, jobs, options)


def _run(job: Job, jobs: int, options: dict[str, Any]) -> int:
    target, output = job.target, job.output
    folder = work_folder(output)
    pixels = target.window.width * target.window.height
    if not is_writable(output.resolve().parent):
        raise SettingsError(
            f"{output} cannot be written because its folder is read-only: name another output"
        )
    free = free_bytes(output.resolve().parent)
    if not folder.exists() and free < _BYTES_PER_PIXEL * pixels:
        raise SettingsError(
            f"{output} needs about {size(_BYTES_PER_PIXEL * pixels)} of disk space while it is made, "
            f"and {size(free)} are free: make room, or restore a smaller area"
        )
    with closing(MetatileFolder(folder, target)) as metatiles:
        metatiles.begin(job.settings, overwrite=options["overwrite"])
        return _work(job, metatiles, jobs, options)


def _work(job: Job, metatiles: MetatileFolder, jobs: int, options: dict[str, Any]) -> int:
    target, output, as_json = job.target, job.output, options["as_json"]
    with reporter(as_json=as_json) as report:
        tally, failed = restore_metatiles(target, metatiles, job.pipeline.renderer, jobs, report)
    announce(str(output), as_json=as_json)
    list_failures(
        output.with_name(f"{output.name}.failures.txt"),
        "left,top widthxheight of each metatile that failed, in pixels of the grid, and the reason",
        [f"{one.x},{one.y} {one.width}x{one.height}\t{reason}" for one, reason in failed.items()],
    )
    if options["chips"]:
        extension: Extension = options["format"]
        nbytes = write_chips(
            target,
            metatiles,
            output,
            job.pipeline.photograph.info.name,
            options["chips"],
            extension,
            job.tags,
            job.pipeline.mark,
        )
    else:
        nodata = None if options["tms"] else nodata_of(job.pipeline.photograph)
        block_px = 256 if options["tms"] else 512
        nbytes = write_cog(target, metatiles, output, job.tags, nodata, block_px, job.pipeline.mark)
    window = target.window
    what = f"{window.width} x {window.height} px of {target.gsd_m:.3f} m restored"
    summarise(str(output), what, tally.progress(), nbytes, as_json=as_json)
    if failed:
        return DONE_WITH_FAILURES
    metatiles.remove()
    return DONE
