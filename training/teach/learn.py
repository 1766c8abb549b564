"""A small network learns what a teacher made of crops: `orthosharp-train fit --crops`.

Its run's folder is that of `fit`: `last.safetensors`, from which `export` goes on, `progress.safetensors` and
`config.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sr_model.atomic import write_atomic, write_together
from sr_model.network import build
from sr_model.spec import ModelSpec
from sr_model.weights import Weights, load_weights, pack_weights
from training.data.dataset import Item
from training.data.taught import TaughtDataset, check_side, list_crops
from training.errors import DivergedError, RunError, StoppedError
from training.fit.checkpoint import FILE as PROGRESS
from training.fit.checkpoint import load_progress, pack_progress, saved_step
from training.fit.config import CONFIG
from training.fit.divergence import LAST as WEIGHTS
from training.fit.ema import moving_average
from training.fit.losses import luma
from training.fit.module import restore
from training.fit.schedule import one_cycle
from training.locks import only_process_in
from training.measure.feature_distance import EfficientNetJudge, FeatureJudge, layer_distances
from training.progress import ProgressBars
from training.teach.discriminator import TextureDiscriminator, counted

# Steps before the discriminator counts, in which it learns itself, and its rate.
_ADVERSARIAL_FROM: Final = 150
_DISCRIMINATOR_LR: Final = 2e-4
# Kept squares that are looked at when progress is saved.
_LOOKED_AT: Final = 16

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class TaughtWeights:
    """Weight of each term; L1 but for features, whose unit vectors' squared distance counts."""

    luminance: float = 10.0
    gradient: float = 5.0
    chroma: float = 5.0
    features: float = 0.25
    adversarial: float = 0.0


@dataclass(frozen=True)
class LearnConfig:
    """One run.

    Attributes:
        crops: folders made by `crops`.
        steps, batch: of the whole run, and squares in each.
        side_px: of the squares.
        lr, ema: of Adam, and of the moving average.
        seed: of every draw.
        loss: weights of the terms.
    """

    crops: tuple[str, ...]
    steps: int = 5000
    batch: int = 12
    side_px: int = 112
    lr: float = 6e-4
    ema: float = 0.995
    seed: int = 0
    loss: TaughtWeights = field(default_factory=TaughtWeights)

    def document(self) -> dict[str, Any]:
        """As `export` reads it: a run without pairs and without pictures to age."""
        return {"pairs": [], "degrade": [], **json.loads(json.dumps(asdict(self)))}


class Learner:
    """Network, moving average, feature network and discriminator, with two optimisers that take turns."""

    def __init__(self, config: LearnConfig, init: Path | None) -> None:
        torch.manual_seed(config.seed)
        self.config, self.spec = config, ModelSpec.half_scale()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = build(self.spec).to(self.device).to(memory_format=torch.channels_last)
        if init is not None:
            self._start_from(init)
        self.average = moving_average(self.network, config.ema)
        self.discriminator = TextureDiscriminator().to(self.device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), config.lr, (0.9, 0.99))
        self.judge_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), _DISCRIMINATOR_LR, (0.5, 0.99)
        )
        self.features: FeatureJudge | None = None
        if config.loss.features:
            self.features = EfficientNetJudge(self.device)
        self.step = 0

    def _start_from(self, init: Path) -> None:
        start = load_weights(init)
        try:
            self.network.load_state_dict(start.state)
        except RuntimeError as error:
            raise RunError(
                f"--init {init.name} is a {start.spec.architecture} network with {dict(start.spec.config)}, and crops "
                "are learnt by half_scale: start from the bundled weights, or without --init"
            ) from error

    def parts(self) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
        """All that a run resumes from, beside its step."""
        networks = {"network": self.network, "average": self.average, "discriminator": self.discriminator}
        return networks, {"adam_network": self.optimiser, "adam_discriminator": self.judge_optimiser}

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step; returns the terms of its loss, weighted.

        Raises:
            DivergedError: the loss is not finite; nothing was changed.
        """
        old, wanted, woods = (part.to(self.device) for part in batch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * one_cycle(self.step, self.config.steps)
        made = self._restored(self.network, old)
        terms = self.terms(made, wanted)
        judged = self.config.loss.adversarial > 0
        if judged and self.step >= _ADVERSARIAL_FROM:
            self.discriminator.requires_grad_(False)
            says = counted(self.discriminator(luma(made), luma(old)), woods, real=True)
            terms["adversarial"] = self.config.loss.adversarial * says
            self.discriminator.requires_grad_(True)
        loss = torch.stack(list(terms.values())).sum()
        if not math.isfinite(float(loss.detach())):
            raise DivergedError(
                f"the loss of step {self.step} is not finite, and the last saved weights stay: go on from them with "
                f"--init {WEIGHTS} in another folder, and a lower --lr"
            )
        _optimise(self.network, self.optimiser, loss)
        if judged:
            self._judge(made.detach(), wanted, old, woods)
        self.average.update_parameters(self.network)
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}

    def terms(self, made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """What is wanted of pictures [B, 3, H, W], weighted, but for the discriminator's."""
        weight = self.config.loss
        luma_made, luma_wanted = luma(made), luma(wanted)
        difference = luma_made - luma_wanted
        terms = {
            "luminance": weight.luminance * difference.abs().mean(),
            "gradient": weight.gradient
            * (difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()),
            "chroma": weight.chroma * F.l1_loss(made - luma_made, wanted - luma_wanted),
        }
        if self.features is not None:
            apart = layer_distances(self.features.features(made), self.features.features(wanted))
            terms["features"] = weight.features * apart.sum()
        return terms

    @torch.no_grad()
    def look(self, batch: Batch) -> tuple[float, float]:
        """Mean difference in luminance from what is wanted, of the average's pictures and of the photographs."""
        old, wanted, _ = (part.to(self.device) for part in batch)
        made = self._restored(self.average.module, old)
        distances = [float((luma(picture) - luma(wanted)).abs().mean()) for picture in (made, old)]
        return distances[0], distances[1]

    def _restored(self, network: nn.Module, old: Tensor) -> Tensor:
        return restore(network, self.spec, old, old[:, :0])

    def _judge(self, made: Tensor, wanted: Tensor, old: Tensor, woods: Tensor) -> None:
        seen = luma(old)
        real = counted(self.discriminator(luma(wanted), seen), woods, real=True)
        fake = counted(self.discriminator(luma(made), seen), woods, real=False)
        _optimise(self.discriminator, self.judge_optimiser, real + fake)


def _optimise(module: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimiser.step()


def learn(
    config: LearnConfig,
    run: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    every: int = 100,
    workers: int = 0,
) -> Weights:
    """Train, and return the moving average's weights.

    Args:
        config: every choice.
        run: the folder of the run.
        init: weights to start from, of the same architecture.
        resume: go on from the run's saved progress.
        every: steps between two savings.
        workers: processes that read and cut crops; 0 does it between the steps.

    Raises:
        DatasetError: there are no crops, or one is damaged.
        DivergedError: the loss is not finite; what was saved before stays.
        StoppedError: Ctrl+C or SIGTERM; what was saved before stays.
        RunError: another process trains in this folder, `resume` finds no progress or other choices, a fresh run finds
            progress, or `init` is another network's.
    """
    check_side(config.side_px)
    train, kept = (
        list_crops([Path(folder) for folder in config.crops], split) for split in ("train", "validation")
    )
    run.mkdir(parents=True, exist_ok=True)
    with only_process_in(run):
        done = _check(config, run, resume)
        if done < config.steps:
            learner = Learner(config, init)
            if resume:
                learner.step, _ = load_progress(run, *learner.parts())
            write_atomic(run / CONFIG, (json.dumps(config.document(), indent=2) + "\n").encode())
            data, looked_at = TaughtDataset(train, config.seed), TaughtDataset(kept, config.seed + 1)
            shown = next(
                iter(_batches(looked_at, range(1), min(_LOOKED_AT, 2 * len(kept)), config.side_px, 0))
            )
            batches = _batches(data, range(done, config.steps), config.batch, config.side_px, workers)
            _train(learner, run, batches, shown, every)
        return load_weights(run / WEIGHTS)


def _train(learner: Learner, run: Path, batches: Iterator[Batch], shown: Batch, every: int) -> None:
    steps = learner.config.steps
    with ProgressBars() as bars:
        try:
            for batch in batches:
                terms = learner.learn(batch)
                bars("steps", learner.step, steps)
                if learner.step % every == 0 or learner.step == steps:
                    bars.say(_line(learner, terms, shown))
                    _keep(learner, run)
        except KeyboardInterrupt as error:
            # The step that was cut off may have changed some of the weights: what was saved last is whole.
            saved = saved_step(run)
            way_on = f"step {saved} is saved; --resume goes on" if saved else "nothing was saved yet"
            raise StoppedError(f"stopped at step {learner.step}: {way_on}") from error


def _batches(
    data: TaughtDataset, steps: Sequence[int], batch: int, side_px: int, workers: int
) -> Iterator[Batch]:
    """One batch per step, a function of the step alone, so that a resumed run goes on with the next."""
    items = [[Item(step * batch + place, side_px) for place in range(batch)] for step in steps]
    yield from DataLoader(data, batch_sampler=items, num_workers=workers)


def _line(learner: Learner, terms: dict[str, float], shown: Batch) -> str:
    made, photo = learner.look(shown)
    parts = ", ".join(f"{name} {value:.4f}" for name, value in terms.items())
    return f"step {learner.step}: {parts}; kept crops: luminance {made:.4f} from the answer, photographs {photo:.4f}"


def _keep(learner: Learner, run: Path) -> None:
    """Save weights and progress, both or neither."""
    average = learner.average.module.state_dict()
    write_together(
        {
            run / WEIGHTS: pack_weights(learner.spec, average, dtype=torch.float32),
            run / PROGRESS: pack_progress(learner.step, *learner.parts(), {}),
        }
    )


def _check(config: LearnConfig, run: Path, resume: bool) -> int:
    """Steps that are done; refuse what would spoil a run."""
    done = saved_step(run)
    if not resume and (done or (run / WEIGHTS).is_file()):
        raise RunError(f"{run.name} holds a run of {done} steps: go on with --resume, or name another folder")
    if resume and not done:
        raise RunError(f"{run.name} has no saved progress: start it without --resume")
    if resume:
        saved, own = json.loads((run / CONFIG).read_text()), config.document()
        differing = sorted(key for key in own if key != "crops" and saved.get(key) != own[key])
        if differing:
            raise RunError(
                f"{run.name} was begun with other choices of {', '.join(differing)}: resume it with those of its "
                f"{CONFIG}"
            )
    return done
