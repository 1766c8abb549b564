"""`orthosharp seed`: renders tiles ahead of time, into an archive, a folder or a bucket."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import replace
from typing import Any

import click

from tileserver.archives.metadata import Description
from tileserver.cli.exits import DONE, DONE_WITH_FAILURES, INTERRUPTED, run_and_exit
from tileserver.cli.failures import list_failures
from tileserver.cli.notices import say_findings
from tileserver.cli.options import SettingsCommand, job_count, job_options, job_settings, settings_options
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
from tileserver.service import TileService
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.layer import WEB_MERCATOR

# Memory of one restored metatile with its margin, twice.
_METATILE_BYTES = 9_000_000


class Zooms(click.ParamType):  # type: ignore[type-arg]
    """'12-19' or '17'."""

    name = "zooms"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse one zoom or a range; a usage error if it is neither."""
        found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", str(value))
        if not found:
            self.fail(f"{value!r} is not a range of zooms such as 12-19", param, ctx)
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            self.fail(f"{value!r} ends before it begins: give FIRST-LAST, such as 12-19", param, ctx)
        return first, last


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """'90', '90s', '45m' or '2h'."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a duration into seconds; a usage error if it is not one."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        if not found:
            self.fail(f"{value!r} is not a time such as 90s, 45m or 2h", param, ctx)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


@click.command(cls=SettingsCommand)
@click.argument("source", nargs=-1, required=True)
@click.argument("output")
@settings_options("seed")
@click.option(
    "--zooms",
    type=Zooms(),
    metavar="FIRST-LAST",
    show_default="all up to the network's native zoom",
    help="Zooms to seed.",
)
@click.option(
    "--format", type=click.Choice(list(MEDIA_TYPES)), default="webp", show_default=True, help="Image format."
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    metavar="N",
    show_default="that of the server",
    help="Quality of webp or jpg.",
)
@click.option(
    "--scale",
    type=click.Choice(["1", "2"]),
    default="1",
    show_default=True,
    help="2 makes tiles of 512 px for high-density displays.",
)
@click.option("--tms", default=WEB_MERCATOR, show_default=True, metavar="ID", help="Tile matrix set.")
@click.option("--skip-empty", is_flag=True, help="Leave out tiles without any pixel of the photograph.")
@click.option("--dry-run", is_flag=True, help="Estimate tiles, size and time from a sample; write nothing.")
@click.option(
    "--refresh-before",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Make all tiles again if the existing ones were begun before this date.",
)
@click.option(
    "--changed-only",
    is_flag=True,
    help="Make all tiles again if the photograph or the weights changed; in a folder, rewrite only those that differ.",
)
@click.option(
    "--time-limit",
    type=Seconds(),
    metavar="TIME",
    help="Stop cleanly after 90s, 45m or 2h; the same command continues.",
)
@job_options
def seed(output: str, *, given: dict[str, Any], **options: Any) -> None:
    """Restore SOURCE into tiles in OUTPUT: X.mbtiles, X.pmtiles, a folder, or s3://, gs://, az://.

    If interrupted, run the same command again to continue. Exit codes: 0 done; 1 done except for failures, which are
    listed in a file, or stopped by a full disk; 2 refused; 130 interrupted.
    """
    run_and_exit(lambda: _seed(output, given, options))


def _seed(name: str, given: dict[str, Any], options: dict[str, Any]) -> int:
    request = _seed_request(options)
    jobs = job_count(options)
    service = _open_service(given, jobs, request.scale)
    try:
        say_findings([service.old])
        plan = prepare.make_plan(service, request)
        output = open_output(name, request.format, changed_only=options["changed_only"])
        prepare.check_format(output, request)
        if options["dry_run"]:
            _report_estimate(
                estimate(service, plan, request.encoding, jobs), plan, as_json=options["as_json"]
            )
            return DONE
        return _run(service, plan, request, output, options, jobs)
    finally:
        service.close()


def _run(
    service: TileService,
    plan: SeedPlan,
    request: prepare.SeedRequest,
    output: Output,
    options: dict[str, Any],
    jobs: int,
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
            outcome = Seeder(service, plan, request.encoding, output, journal, jobs).run(
                report, options["time_limit"]
            )
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


def _open_service(given: dict[str, Any], jobs: int, scale: int) -> TileService:
    """The service of the server, with a deadline for batch work and caches sized for the metatiles in progress."""
    limits = {
        "cache_bytes": _METATILE_BYTES * 2 * jobs * scale**2,
        "threads": jobs,
        "queue_size": 2 * jobs,
        "deadline_s": 3600.0,
        "open_datasets": jobs,
    }
    return TileService(job_settings(given, **limits))


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
