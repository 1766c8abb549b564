"""`orthosharp restore`: writes a restored raster, or chips of it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_model import PixelWindow
from tileserver.cli.exits import DONE, DONE_WITH_FAILURES
from tileserver.cli.failures import list_failures
from tileserver.cli.notices import say_findings
from tileserver.cli.options import job_count, job_settings
from tileserver.cli.ray_options import need_ray, with_absolute_paths
from tileserver.errors import SettingsError
from tileserver.jobs.disk import free_bytes, is_writable
from tileserver.jobs.pool import Pool
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
from tileserver.jobs.restore.run import metatile_threads, restore_metatiles
from tileserver.metrics import Metrics
from tileserver.photo.source import Source
from tileserver.render.networks import Networks, open_here
from tileserver.render.pipeline import open_pipeline
from tileserver.settings import Settings
from tileserver.tiling.encode import Extension

if TYPE_CHECKING:  # needs the extra `ray`
    from tileserver.cluster.jobs import JobCluster

# Disk space for the metatile folder, a plain TIFF and the COG with overviews; photographs deflated.
_BYTES_PER_PIXEL = 7


def restore_raster(output: Path, given: dict[str, Any], options: dict[str, Any]) -> int:
    """Make the raster that `orthosharp restore` was asked for; returns the exit code."""
    check_output(output, options)
    jobs = job_count(options)
    settings = job_settings(given, queue_size=2 * jobs, deadline_s=3600.0, open_datasets=jobs)
    with ExitStack() as opened:
        cluster = None
        if options["ray_address"]:
            need_ray()
            from tileserver.cluster.jobs import job_cluster

            cluster = opened.enter_context(job_cluster(options["ray_address"], options["networks"], jobs))
            settings = with_absolute_paths(settings)
        photograph = opened.enter_context(closing(Source.of_settings(settings)))
        check_photograph(photograph, output, settings.source)
        say_findings([photograph])
        networks = Networks(Metrics(), cluster.open_network if cluster else open_here)
        pipeline = opened.enter_context(open_pipeline(photograph, settings, networks))
        job = make_job(pipeline, settings, output, options)
        if is_complete(job, options):
            say_complete(str(output), as_json=options["as_json"])
            return DONE
        return _run(job, settings, jobs, options, cluster)


def _run(job: Job, settings: Settings, jobs: int, options: dict[str, Any], cluster: JobCluster | None) -> int:
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
        if cluster:
            pool = cluster.restore_pool(job, settings, metatiles, options)
        else:
            pool = metatile_threads(job.target, metatiles, job.pipeline.renderer, jobs)
        return _work(job, metatiles, pool, options)


def _work(job: Job, metatiles: MetatileFolder, pool: Pool[PixelWindow, str], options: dict[str, Any]) -> int:
    target, output, as_json = job.target, job.output, options["as_json"]
    with reporter(as_json=as_json) as report:
        tally, failed = restore_metatiles(target, metatiles, pool, report)
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
