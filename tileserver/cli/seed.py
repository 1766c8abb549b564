"""`orthosharp seed`: renders tiles ahead of time, into an archive, a folder or a bucket."""

from __future__ import annotations

import datetime
import json
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from tileserver.archives.metadata import Description
from tileserver.cli.exits import DONE, DONE_WITH_FAILURES, INTERRUPTED
from tileserver.cli.failures import list_failures
from tileserver.cli.notices import say_findings
from tileserver.cli.options import job_count, job_settings
from tileserver.cli.ray_options import need_ray, with_absolute_paths
from tileserver.jobs.pool import Pool, ThreadPool
from tileserver.jobs.progress import (
    WritingReporter,
    announce,
    duration,
    reporter,
    say_complete,
    size,
    summarise,
)
from tileserver.jobs.seed import prepare
from tileserver.jobs.seed.estimate import SeedEstimate, estimate
from tileserver.jobs.seed.open_output import open_output
from tileserver.jobs.seed.output import Output
from tileserver.jobs.seed.plan import SeedPlan
from tileserver.jobs.seed.resume import OverwritePolicy, open_journal
from tileserver.jobs.seed.seeder import Seeder
from tileserver.jobs.seed.units import Unit, UnitMaker
from tileserver.service import TileService
from tileserver.shared import Shared
from tileserver.tiling.extension import Extension
from tileserver.tiling.grid import TileAddress

if TYPE_CHECKING:  # needs the extra `ray`
    from tileserver.cluster.jobs import JobCluster

# Memory of one restored metatile with its margin, twice.
_METATILE_BYTES = 9_000_000


def seed_tiles(name: str, given: dict[str, Any], options: dict[str, Any]) -> int:
    """Make the tiles that `orthosharp seed` was asked for; returns the exit code."""
    request = _seed_request(options)
    jobs = job_count(options)
    with ExitStack() as opened:
        cluster = None
        if options["ray_address"]:
            need_ray()
            from tileserver.cluster.jobs import job_cluster

            cluster = opened.enter_context(job_cluster(options["ray_address"], options["networks"], jobs))
        service = _open_service(given, jobs, request.scale, cluster, opened)
        say_findings([service.old])
        plan = prepare.make_plan(service, request)
        output = open_output(name, request.format, changed_only=options["changed_only"])
        prepare.check_format(output, request)
        if options["dry_run"]:
            _report_estimate(
                estimate(service, plan, request.encoding, jobs), plan, as_json=options["as_json"]
            )
            return DONE
        return _run(service, plan, request, output, options, jobs, cluster)


def _run(
    service: TileService,
    plan: SeedPlan,
    request: prepare.SeedRequest,
    output: Output,
    options: dict[str, Any],
    jobs: int,
    cluster: JobCluster | None,
) -> int:
    description = prepare.describe(service, plan, request)
    before: datetime.datetime | None = options["refresh_before"]
    policy = OverwritePolicy(
        overwrite=options["overwrite"],
        changed_only=options["changed_only"],
        refresh_before=before.date().isoformat() if before else "",
    )

    def check_room() -> None:
        prepare.check_room(output, service, plan, request, jobs)

    journal = open_journal(output, description, policy, check_room)
    if journal is None:
        say_complete(output.name, as_json=options["as_json"])
        _say_what_stays(output.metadata() or {}, description)
        return DONE
    # The date is that of the oldest tiles, which an interrupted run may have made.
    description = replace(description, date=journal.settings["begun"])
    try:
        with reporter(as_json=options["as_json"]) as report:
            units = UnitMaker(service, plan, request.encoding, output.deliver)
            pool: Pool[TileAddress, Unit] = (
                cluster.seed_pool(
                    service, plan, request.encoding, output, changed_only=options["changed_only"]
                )
                if cluster
                else ThreadPool(units.make, jobs, "orthosharp-seed")
            )
            outcome = Seeder(plan, units, output, journal, pool).run(report, options["time_limit"])
        failures = journal.failures()
        list_failures(
            output.failures_path,
            "zoom/column/row of each tile that failed, with all tiles below it, and the reason",
            [f"{z}/{x}/{y}\t{reason}" for z, x, y, reason in failures],
        )
        nbytes = None
        if outcome.finished:
            announce(output.name, as_json=options["as_json"])
            writing = WritingReporter(output.name, as_json=options["as_json"])
            nbytes = output.finish(journal, description, again=bool(failures), report=writing)
    finally:
        journal.close()
    progress = outcome.tally.progress()
    summarise(output.name, f"{progress.tiles} tiles written", progress, nbytes, as_json=options["as_json"])
    if not outcome.finished:
        return INTERRUPTED
    return DONE_WITH_FAILURES if failures else DONE


def _say_what_stays(found: dict[str, Any], description: Description) -> None:
    """Warn that title and credit stay as they are: they do not change tiles, so tiles are not made again."""
    for field, wanted in (("name", description.name), ("credit", description.credit)):
        if found.get(field, wanted) != wanted:
            click.echo(
                f"{field} stays {found[field]!r}: --overwrite makes the output again with {wanted!r}",
                err=True,
            )


def _seed_request(options: dict[str, Any]) -> prepare.SeedRequest:
    extension: Extension = options["format"]
    names = ("zooms", "bbox", "area", "tms", "quality", "skip_empty")
    return prepare.SeedRequest(
        format=extension, scale=int(options["scale"]), **{name: options[name] for name in names}
    )


def _open_service(
    given: dict[str, Any], jobs: int, scale: int, cluster: JobCluster | None, opened: ExitStack
) -> TileService:
    """The service of the server, with a deadline for batch work and caches sized for the metatiles in progress."""
    limits = {
        "cache_bytes": _METATILE_BYTES * 2 * jobs * scale**2,
        "threads": jobs,
        "queue_size": 2 * jobs,
        "deadline_s": 3600.0,
        "open_datasets": jobs,
    }
    settings = job_settings(given, **limits)
    if cluster is None:
        return opened.enter_context(closing(TileService(settings)))
    settings = with_absolute_paths(settings)
    shared = opened.enter_context(closing(Shared(settings, cluster.open_network)))
    return opened.enter_context(closing(TileService(settings, shared)))


def _report_estimate(found: SeedEstimate, plan: SeedPlan, *, as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps(
                {
                    "event": "estimate",
                    "tiles": found.tiles,
                    "metatiles": found.metatiles,
                    "megapixels": round(found.megapixels, 1),
                    "bytes": found.nbytes,
                    "seconds": round(found.seconds, 1),
                }
            )
        )
        return
    click.echo(f"zooms {plan.min_zoom}-{plan.max_zoom}, restored at {plan.pyramid.native_zoom}")
    for zoom, count in found.tiles.items():
        click.echo(f"  {zoom:>2}  {count:>12,} tiles")
    click.echo(
        f"{sum(found.tiles.values()):,} tiles from {found.metatiles:,} metatiles ({found.megapixels:,.0f} megapixels)\n"
        f"about {size(found.nbytes)} and {duration(found.seconds)}, estimated from a sample; identical tiles take less"
    )
