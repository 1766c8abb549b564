"""A run of `orthosharp-train site`: every step goes on where a stop left it, and none is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final

from sr_model.atomic import write_atomic
from sr_model.measure import PhotoTraits
from sr_model.names import plain_name
from sr_model.restorer import Restorer
from sr_model.shipped import bundled_weights_path
from sr_model.weights import load_weights
from training.data.ageing import Ageing
from training.data.dataset import load_pairs
from training.data.manifest import read_site
from training.errors import StoppedError
from training.evaluate.judge import ChosenJudge
from training.evaluate.options import EvaluateOptions
from training.evaluate.report import evaluation_page
from training.evaluate.score import check_options, document, grounds_of, score_ground
from training.export.export import export
from training.fit.checkpoint import saved_step
from training.fit.divergence import LAST
from training.fit.run import fit
from training.locks import only_process_in
from training.measure.feature_distance import open_judge
from training.measure.halo import measure_halo
from training.measure.judge_networks import EFFICIENTNET
from training.pairs.make import make_pairs
from training.progress import ProgressBars
from training.site.journal import Journal
from training.site.options import SiteOptions
from training.site.plan import MOST_SCORED, SitePlan, base_config, check_disk, make_plan
from training.site.preview import Preview
from training.site.sheets import OWN, draw_sheets
from training.site.traits import measured_ageing
from training.site.verdict import BUNDLED, compare

Say = Callable[[str], None]

PAIRS, FIT, SCORES, EVALUATION = "pairs", "fit", "scores.json", "evaluation.html"
# Pairs from which the map of colours is found.
_COLOUR_PAIRS: Final = 64
_PAGE_ROWS: Final = 4


def make_site(options: SiteOptions, say: Say) -> dict[str, Any]:
    """Make a network of a site's own; called again with the same options after a stop, it goes on.

    Args:
        options: what is asked for.
        say: called with lines for people.

    Returns:
        The verdict, see `Verdict.as_json`.

    Raises:
        TrainingError: the photographs make no pairs, the folder holds another run or is in use, or the disk is too
            small.
        StoppedError: Ctrl+C or SIGTERM while it trained; what was done is saved.
        DivergedError: the numbers of the training are not finite any more.
    """
    journal = Journal(options.run, options.as_json())
    with only_process_in(options.run):
        return _Run(options, journal, say).all_steps()


class _Run:
    """The steps, in their order."""

    def __init__(self, options: SiteOptions, journal: Journal, say: Say) -> None:
        self._options, self._journal, self._say = options, journal, say
        self._run, self._pairs = options.run, options.run / PAIRS
        self._preview = Preview(options.run, f"{options.old.name} as {options.new.name} would show it")

    def all_steps(self) -> dict[str, Any]:
        """Do what is left, and return the verdict."""
        plan = SitePlan(**self._step("plan", lambda: asdict(make_plan(self._options))))
        sentences: list[str] = []
        check_disk(plan, self._run, lambda line: (self._say(line), sentences.append(line))[0])  # type: ignore[func-returns-value]
        self._preview.tell(
            sentences, {"pairs": plan.pairs_s, "fit": plan.training_s, "evaluation": plan.evaluation_s}
        )
        self._say(f"look at {self._run / 'index.html'}")
        self._step("pairs", lambda: self._make_pairs(plan))
        ageing = _ageing(self._step("ageing", lambda: self._measure_ageing(plan)))
        self._step("fit", lambda: self._fit(plan, ageing))
        verdict = self._step("evaluation", lambda: self._evaluate(ageing))
        self._preview.judge(verdict)
        self._step("sheets", self._draw_sheets)
        # The terms are no part of what decides the numbers of a run: they may be mended after it.
        self._journal.forget_unless("export", terms=self._terms if self._options.out.is_file() else [])
        self._step("export", lambda: self._export(plan, verdict))
        return verdict

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if self._journal.is_done(name):
            self._preview.end(name, "done before")
        else:
            self._preview.begin(name)
        found = self._journal.step(name, work)
        self._preview.end(name)
        return found

    def _make_pairs(self, plan: SitePlan) -> dict[str, Any]:
        options = self._options
        with ProgressBars() as bars:

            def report(stage: str, done: int, total: int) -> None:
                bars(stage, done, total)
                self._preview.report(stage, done, total)

            chips = make_pairs(
                options.old,
                options.new,
                self._pairs,
                progress=report,
                say=bars.say,
                gsd_m=None if plan.gsd_m == plan.new_gsd_m else plan.gsd_m,
                size_px=plan.size_px,
                step_px=plan.step_px,
                max_shift_m=plan.max_shift_m,
                validation=options.validation,
                old=options.read_old,
                new=options.read_new,
            )
        counts = {
            split: sum(chip.split == split for chip in chips) for split in ("train", "validation", "dropped")
        }
        self._say("pairs: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
        for hint in read_site(self._pairs)["hints"]:
            self._say(f"Warning: {hint}")
        return counts

    def _measure_ageing(self, plan: SitePlan) -> dict[str, Any]:
        pairs = load_pairs([self._pairs], "train", _COLOUR_PAIRS)
        ageing = measured_ageing(
            PhotoTraits(**plan.old_traits),
            PhotoTraits(**plan.new_traits),
            (plan.old_gsd_m, plan.new_gsd_m, plan.gsd_m),
            pairs,
        )
        self._say(
            f"ageing: blur of {ageing.blur_px:.2f} px, pixels {ageing.ratio:.2f} times as large, unsharp mask of "
            f"{ageing.halo_amount:.2f}, grain of {ageing.grain:.1f} grey levels"
        )
        return asdict(ageing)

    def _fit(self, plan: SitePlan, ageing: Ageing) -> dict[str, Any]:
        run = self._run / FIT
        config = base_config(
            self._options,
            plan.gsd_m,
            steps=plan.steps,
            batch=plan.batch,
            pairs=(str(self._pairs),),
            ageing=ageing,
            look_every=plan.look_every,
        )
        try:
            trained = fit(
                config,
                run,
                init=bundled_weights_path(),
                resume=saved_step(run) > 0,
                every=plan.every,
                after_step=[self._preview.after_step],
            )
        except StoppedError as stopped:
            raise StoppedError(
                f"step {saved_step(run)} of {plan.steps} saved; the same command goes on"
            ) from stopped
        return {"digest": trained.digest}

    def _networks(self) -> tuple[Restorer, Restorer]:
        """The site's, with the halo that `export` will measure, and the bundled one."""
        trained = load_weights(self._run / FIT / LAST)
        olds = [pair.old for pair in load_pairs([self._pairs], "validation")]
        spec = replace(trained.spec, halo_px=measure_halo(trained, olds))
        return Restorer.from_weights(replace(trained, spec=spec)), Restorer.open(bundled_weights_path())

    def _evaluate(self, ageing: Ageing) -> dict[str, Any]:
        own, bundled = self._networks()
        beside = {BUNDLED: bundled}
        options = EvaluateOptions(seed=self._options.seed, ageing=ageing, most_chips=MOST_SCORED)
        check_options([self._pairs], options, own.spec)
        judge = ChosenJudge(open_judge((), self._options.judge), ())
        grounds = grounds_of(own, self._pairs, options, beside)
        scores = []
        with ProgressBars() as bars:

            def report(stage: str, done: int, total: int) -> None:
                bars(stage, done, total)
                self._preview.report(stage, done, total)

            for ground in grounds:
                scores += score_ground(own, ground, judge, options, report)
        assert judge.features is not None
        verdict = compare(grounds, judge.features, draws=options.draws, seed=options.seed).as_json()
        measured = document(own, scores, options, judge)
        write_atomic(self._run / SCORES, (json.dumps(measured, indent=2, allow_nan=False) + "\n").encode())
        page = evaluation_page(
            own, [self._pairs], scores, options, _PAGE_ROWS, [self._options.credit], judge, beside
        )
        write_atomic(self._run / EVALUATION, page.encode())
        if judge.features.name == EFFICIENTNET:
            self._say(
                f"judged by {EFFICIENTNET}, which the bundled network was trained to please: that favours the bundled "
                "network. --judge names VGG16's weights, which no loss used"
            )
        return verdict

    def _draw_sheets(self) -> dict[str, Any]:
        own, bundled = self._networks()
        files = {
            OWN: self._options.out,
            BUNDLED: bundled_weights_path(),
            "bicubic": self._options.old,
            "new": self._options.new,
        }
        return dict(
            draw_sheets(self._run, own, bundled, self._pairs, files, self._options.sheets, self._options.seed)
        )

    @property
    def _terms(self) -> list[str]:
        return [self._options.out.name, self._options.credit, self._options.provenance]

    def _export(self, plan: SitePlan, verdict: dict[str, Any]) -> dict[str, Any]:
        options, start = self._options, load_weights(bundled_weights_path()).spec
        names = f"{options.old.name} and {options.new.name}"
        provenance = options.provenance or f"{plan.steps} steps from {start.name} on pairs of {names}"
        own_credit = options.credit or f"the owners of {names}"
        options.out.parent.mkdir(parents=True, exist_ok=True)
        exported = export(
            self._run / FIT,
            options.out,
            name=plain_name(options.out.stem),
            provenance=f"{provenance}. {verdict['sentence']}",
            credit=f"{own_credit}; {start.credit}",
            licence=start.licence,
            scores=self._run / SCORES,
        )
        if not options.credit:
            self._say(f"Warning: the weights credit {own_credit}; --credit names them")
        return {
            "files": [path.name for path in exported.files],
            "digest": exported.weights.digest,
            "terms": self._terms,
        }


def _ageing(found: dict[str, Any]) -> Ageing:
    """From JSON, which has no tuples."""
    rows = tuple(tuple(row) for row in found["colours"])
    return Ageing(**(found | {"colours": rows}))
