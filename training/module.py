"""One training step: what is shown to the network, and what is wanted of it."""

from __future__ import annotations

import copy
import math
from typing import Any, cast

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_model.network import ResNetUNet, build
from sr_model.pixels import denormalise_tensor, normalise_tensor
from sr_model.spec import ModelSpec
from training import losses
from training.augment import augment, draw_grain
from training.config import FitConfig

# VGG's features that the discriminator sees: not the first, at full size, which costs more than all others.
_JUDGED = slice(1, 4)

Batch = tuple[Tensor, Tensor, Tensor]


def one_cycle(step: int, steps: int, warm_up: float = 0.1, final: float = 0.02) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine (Smith 2018).

    A function of the step alone, so that a resumed run needs no scheduler's state.
    """
    rise = max(round(steps * warm_up), 1)
    if step < rise:
        return 0.1 + 0.9 * step / rise
    done = min((step - rise) / max(steps - rise, 1), 1.0)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


class RestorationModule(lightning.LightningModule):
    """Network, its moving average, frozen VGG and discriminator, with two optimisers stepped by hand."""

    def __init__(self, config: FitConfig, spec: ModelSpec) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config, self.spec = config, spec
        self.network = build(spec).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.vgg = losses.VggFeatures(config.perceptual, taps=len(config.loss.features))
        self.discriminator = losses.Discriminator(self.vgg.channels[_JUDGED]).to(
            memory_format=torch.channels_last
        )
        self.step = 0

    def configure_optimizers(self) -> Any:
        """AdamW for the network (a pretrained encoder first frozen, then slower) and for the discriminator."""
        encoder = list(self.network.encoder.parameters()) if isinstance(self.network, ResNetUNet) else []
        known = {id(parameter) for parameter in encoder}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        groups = [
            {"params": rest, "scale": 1.0, "frozen_until": 0.0},
            {"params": encoder, "scale": 0.1, "frozen_until": 0.2},
        ]
        judges = {"params": list(self.discriminator.parameters()), "scale": 1.0, "frozen_until": 0.0}
        config = self.config
        return (
            torch.optim.AdamW(
                [g for g in groups if g["params"]], config.lr, (0.9, 0.99), weight_decay=config.weight_decay
            ),
            torch.optim.AdamW([judges], config.lr, (0.5, 0.99), weight_decay=0.0),
        )

    def restore(self, network: nn.Module, old: Tensor, grain: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] and grain [B, 0 or 1, H, W] to the restored picture, not clipped."""
        # Plane by plane: with three channels last, every step on pictures would go in loops of three.
        planes = torch.cat([normalise_tensor(old, self.spec), grain], 1)
        return denormalise_tensor(network(planes).float().contiguous(), self.spec)

    def training_step(self, batch: Batch, _batch_index: int) -> None:
        """One step of the network, then one of the discriminator on the same pictures."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        old, new = augment(batch[0], batch[1], self.config.crop_px, self.config.scale_range, generator)
        # Some crops a second time, at another phase of the network's grid: what differs is its own pattern.
        phase = [int(n) for n in torch.randint(1, self.spec.stride, (2,), generator=generator)]
        grain = draw_grain(old, self.spec.planes - 3, generator)
        some = max(len(old) // 4, 1)
        old_again, grain_again = (x[:some].roll(phase, (-2, -1)) for x in (old, grain))
        both = self.restore(self.network, torch.cat([old, old_again]), torch.cat([grain, grain_again]))
        restored, again = both[: len(old)], both[len(old) :]
        pixels = self._pixel_terms(restored, old, new, batch[2])
        here, there = losses.same_ground(
            restored, again, phase, margin_px=min(self.spec.stride, old.shape[-1] // 4)
        )
        weight = self.config.loss
        pixels["phase"] = weight.phase * F.l1_loss(here, there)
        if weight.grid:
            pixels["grid"] = weight.grid * losses.grid_loss(here, there)
        if weight.spectrum:
            pixels["spectrum"] = weight.spectrum * losses.spectrum_loss(restored, new)
        optimise_network, optimise_discriminator = cast("list[Any]", self.optimizers())
        self._schedule(optimise_network, optimise_discriminator)
        if self.config.loss.pixels_only:
            self._finish(optimise_network, pixels)
            return
        # VGG costs ten times what the network costs: it sees some steps and a share of their batch, which buys
        # many more steps. The discriminator's head on pixels sees them all.
        seen = 0
        if self.step % self.config.perceptual_every == 0:
            seen = max(round(len(old) * self.config.perceptual_share), 1)
        features = self.vgg(restored[:seen]) if seen else []
        with torch.no_grad():
            wanted = self.vgg(new[:seen]) if seen else []

        self.discriminator.requires_grad_(False)
        terms = pixels | (self._feature_terms(features, wanted) if seen else {})
        if self.step >= self.config.adversarial_from * self.config.steps:
            terms["adversarial"] = self._fool(restored, old, features)
        self._finish(optimise_network, terms)

        self.discriminator.requires_grad_(True)
        fake = self.discriminator(restored.detach(), old, [f.detach() for f in features[_JUDGED]])
        judged = losses.discriminator_loss(self.discriminator(new, old, wanted[_JUDGED]), fake)
        self.log("loss/discriminator", judged.detach(), on_step=True)
        self._step(optimise_discriminator, judged, self.discriminator)

    def _finish(self, optimiser: Any, terms: dict[str, Tensor]) -> None:
        """Step the network, its average and the counter."""
        self._step(optimiser, torch.stack(list(terms.values())).sum(), self.network)
        self._average()
        self.step += 1
        self.log_dict({f"loss/{name}": value.detach() for name, value in terms.items()}, on_step=True)

    def _pixel_terms(self, restored: Tensor, old: Tensor, new: Tensor, aged: Tensor) -> dict[str, Tensor]:
        weight = self.config.loss
        exact = aged.view(-1, 1, 1, 1).float()
        difference = (restored - new).abs()
        return {
            "pixel_real": weight.pixel_real * (difference * (1 - exact)).mean(),
            "pixel_aged": weight.pixel_aged * (difference * exact).mean(),
            "colour": weight.colour * losses.colour_loss(restored, new),
            "structure": weight.structure * losses.structure_loss(restored, old),
            "fringe": weight.fringe * losses.fringe_loss(restored, old),
            # Values outside 0..255 would be clipped to blotches.
            "range": 10 * (F.relu(restored - 1) + F.relu(-restored)).mean(),
        }

    def _feature_terms(self, features: list[Tensor], wanted: list[Tensor]) -> dict[str, Tensor]:
        weight = self.config.loss
        return {
            "features": weight.perceptual * losses.feature_loss(features, wanted, weight.features),
            "gram": weight.style * losses.gram_loss(features, wanted, weight.gram),
        }

    def _fool(self, restored: Tensor, old: Tensor, features: list[Tensor]) -> Tensor:
        logits = self.discriminator(restored, old, features[_JUDGED])
        return losses.generator_loss(logits, self.config.loss.adversarial)

    def _schedule(self, *optimisers: Any) -> None:
        factor = one_cycle(self.step, self.config.steps)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                frozen = self.step < group["frozen_until"] * self.config.steps
                group["lr"] = 0.0 if frozen else self.config.lr * factor * group["scale"]

    def _step(self, optimiser: Any, loss: Tensor, module: nn.Module) -> None:
        optimiser.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average, with a shorter memory while the run is young."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
