"""One training step: the crops that the network sees, and the terms of its loss."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, nn

from sr_model.binding import bind_colours
from sr_model.network import ResNetUNet, build
from sr_model.network_layers import RestorationNetwork
from sr_model.photo import PhotoContext
from sr_model.pixels import correct, normalise
from sr_model.spec import ModelSpec
from sr_model.tensors import denormalise_tensor, normalise_tensor
from training.data.augment import Share, augment, draw_grain
from training.fit import losses
from training.fit.colours import match_colours
from training.fit.config import FitConfig
from training.fit.ema import moving_average
from training.fit.schedule import crops_at, encoder_cycle, one_cycle

# VGG's features that the discriminator sees: not the first, at full size, which costs more than all others.
_JUDGED = slice(1, 4)
# Left out where two phases of the network's grid are compared.
_EDGE_PX = 16

Batch = tuple[Tensor, Tensor, Tensor]


class Shown(NamedTuple):
    """The pictures that the terms of the loss compare.

    Attributes:
        old, new: [B, 3, H, W] in [0, 1].
        exact: bool [B], whether they lie exactly on each other.
        restored: [B, 3, H, W], not clipped.
        here, there: some of the ground, restored in windows at two phases of the network's grid.
    """

    old: Tensor
    new: Tensor
    exact: Tensor
    restored: Tensor
    here: Tensor
    there: Tensor


def restore(network: nn.Module, spec: ModelSpec, old: Tensor, grain: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1] and grain [B, 0 or 1, H, W] to the restored picture, not clipped."""
    # Plane by plane: with three channels last, every step on pictures would go in loops of three.
    planes = torch.cat([normalise_tensor(old, spec), grain], 1)
    return denormalise_tensor(network(planes).float().contiguous(), spec)


class RestorationModule:
    """Network, its moving average, frozen VGG and discriminator, with two optimisers that take turns."""

    def __init__(self, config: FitConfig, spec: ModelSpec, fabric: Fabric) -> None:
        self.config, self.spec, self._fabric = config, spec, fabric
        self.network = build(spec).to(memory_format=torch.channels_last)
        self.average = moving_average(self.network, config.ema)
        taps = len(config.loss.features)
        self.vgg = None if config.loss.pixels_only else losses.VggFeatures(config.perceptual, taps)
        self.discriminator = losses.Discriminator(losses.VGG_CHANNELS[:taps][_JUDGED]).to(
            memory_format=torch.channels_last
        )
        self.step = 0
        self.terms: dict[str, Tensor] = {}
        """The last step's loss, term by term."""
        self.lost = torch.zeros((), dtype=torch.int64, device=fabric.device)
        """Steps without a finite gradient since the last one that had it; the network did not learn from them."""
        for frozen in (self.average.module, self.vgg):
            if frozen is not None:
                fabric.to_device(frozen)
        # Calls to these are also told to the other devices, whose gradients are averaged; calls to the bare modules
        # are not.
        optimisers = self._make_optimisers()
        self._shared_network, self.optimiser = fabric.setup(self.network, optimisers[0])
        self._shared_discriminator, self.discriminator_optimiser = fabric.setup(
            self.discriminator, optimisers[1]
        )

    def _make_optimisers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """AdamW for the network (a pretrained encoder first frozen, then slower) and for the discriminator."""
        pretrained = isinstance(self.network, ResNetUNet) and self.config.encoder == "imagenet"
        encoder = list(cast("ResNetUNet", self.network).encoder.parameters()) if pretrained else []
        known = {id(parameter) for parameter in encoder}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        groups = [{"params": rest, "cycle": one_cycle}, {"params": encoder, "cycle": encoder_cycle}]
        judges = {"params": list(self.discriminator.parameters()), "cycle": one_cycle}
        config = self.config
        return (
            torch.optim.AdamW(
                [g for g in groups if g["params"]], config.lr, (0.9, 0.99), weight_decay=config.weight_decay
            ),
            torch.optim.AdamW([judges], config.lr, (0.5, 0.99), weight_decay=0.0),
        )

    @torch.inference_mode()
    def restore_photo(self, rgb: npt.NDArray[np.uint8], photo: PhotoContext) -> npt.NDArray[np.uint8]:
        """Restore a chip with the moving average, uint8 [H, W, 3], as a server would; cut to the stride."""
        height, width = (side // self.spec.stride * self.spec.stride for side in rgb.shape[:2])
        seen = rgb[None, :height, :width]
        planes = normalise(seen, self.spec)
        average = cast("RestorationNetwork", self.average.module)
        correction = average.correction(self._fabric.to_device(torch.from_numpy(planes)))
        added = correction.float().cpu().numpy()
        if self.spec.colours == "photo":
            return bind_colours(planes, added, self.spec, [photo], 0).squeeze(0)
        return correct(seen, added, self.spec).squeeze(0)

    def training_step(self, batch: Batch) -> None:
        """One step of the network, then one of the discriminator on the same pictures.

        Args:
            batch: old and new, uint8 [B, 3, S, S], and whether they lie exactly on each other, bool [B]; on the
                device.
        """
        with self._fabric.autocast():
            self._step(self._show(batch))

    def _step(self, shown: Shown) -> None:
        self.schedule()
        terms = self._pixel_terms(shown)
        if self.vgg is None:
            self._finish(terms)
            return
        # VGG costs ten times what the network costs: it sees some steps and a share of their batch, which buys
        # many more steps. The discriminator's head on pixels sees them all.
        seen = self.step % self.config.perceptual_every == 0
        # Evenly spread, so that devices that share a batch choose what one would.
        some = slice(None, None, max(round(1 / self.config.perceptual_share), 1))
        features = self.vgg(shown.restored[some]) if seen else []
        with torch.no_grad():
            wanted = self.vgg(shown.new[some]) if seen else []

        self.discriminator.requires_grad_(False)
        if seen:
            terms |= self._feature_terms(features, wanted)
        logits = self.discriminator(shown.restored, shown.old, features[_JUDGED])
        terms["adversarial"] = losses.generator_loss(logits, self.config.loss.adversarial)
        self._finish(terms)

        self.discriminator.requires_grad_(True)
        # Both kinds in one pass: on a GPU the small layers of this network cost their launch, not their arithmetic.
        logits = self._shared_discriminator(
            torch.cat([shown.new, shown.restored.detach()]),
            torch.cat([shown.old, shown.old]),
            [torch.cat([w, f.detach()]) for w, f in zip(wanted[_JUDGED], features[_JUDGED], strict=True)],
        )
        real, fake = zip(*(head.chunk(2) for head in logits), strict=True)
        judged = losses.discriminator_loss(real, fake)
        self._optimise(self.discriminator, self.discriminator_optimiser, judged)
        self.terms["discriminator"] = judged.detach()

    def _show(self, batch: Batch) -> Shown:
        """Augment and restore; every draw is a function of the seed and the step, on all devices the same."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        share = Share(self._fabric.global_rank, self._fabric.world_size)
        side_px = crops_at(self.step, self.config.steps, self.config.sizes_px, self.config.batch).side_px
        stride = self.spec.stride
        old, new = augment(batch[0], batch[1], side_px, self.config.scale_range, generator, stride, share)
        if self.spec.colours == "photo":
            new = match_colours(new, old)
        # Every fourth crop a second time, at another phase of the network's grid: what differs is its own pattern.
        phase = [int(n) for n in torch.randint(1, stride, (2,), generator=generator)]
        grain = draw_grain(old, self.spec.planes - 3, generator, share)
        old_again, grain_again = (x[::4].roll(phase, (-2, -1)) for x in (old, grain))
        olds, grains = torch.cat([old, old_again]), torch.cat([grain, grain_again])
        both = restore(self._shared_network, self.spec, olds, grains)
        restored, again = both[: len(old)], both[len(old) :]
        # Near the edges, zeros around the crop differ between the two phases.
        margin_px = min(max(stride, _EDGE_PX), old.shape[-1] // 4)
        return Shown(
            old,
            new,
            batch[2],
            restored,
            *losses.same_ground(restored[::4], again, phase, margin_px=margin_px),
        )

    def _pixel_terms(self, shown: Shown) -> dict[str, Tensor]:
        weight, (old, new, _, restored, here, there) = self.config.loss, shown
        exact = shown.exact.view(-1, 1, 1, 1).float()
        difference = (restored - new).abs()
        terms = {
            "pixel_real": weight.pixel_real * (difference * (1 - exact)).mean(),
            "pixel_aged": weight.pixel_aged * (difference * exact).mean(),
            "colour": weight.colour * losses.colour_loss(restored, new),
            "structure": weight.structure * losses.structure_loss(self._of_all(restored), self._of_all(old)),
            "fringe": weight.fringe * losses.fringe_loss(restored, old),
            # Values outside 0..255 would be clipped to blotches.
            "range": 10 * (F.relu(restored - 1) + F.relu(-restored)).mean(),
            "phase": weight.phase * F.l1_loss(here, there),
        }
        if weight.grid and min(here.shape[-2:]) >= losses.GRID_LEAST_PX:
            terms["grid"] = weight.grid * losses.grid_loss(self._of_all(here), self._of_all(there))
        if weight.spectrum:
            terms["spectrum"] = weight.spectrum * losses.spectrum_loss(restored, new)
        return terms

    def _of_all(self, crops: Tensor) -> Tensor:
        """Return the crops of all devices, for a term that is not the mean of what it is of each crop."""
        if self._fabric.world_size == 1:
            return crops
        return cast("Tensor", self._fabric.all_gather(crops.contiguous(), sync_grads=True)).flatten(0, 1)

    def _feature_terms(self, features: list[Tensor], wanted: list[Tensor]) -> dict[str, Tensor]:
        weight = self.config.loss
        return {
            "features": weight.perceptual * losses.feature_loss(features, wanted, weight.features),
            "gram": weight.style * losses.gram_loss(features, wanted, weight.gram),
        }

    @property
    def scales_loss(self) -> bool:
        """Whether the loss is scaled against underflow, as fp16 needs it; a scale that is too large overflows."""
        return bool(self._fabric.strategy.precision.state_dict())

    def schedule(self) -> None:
        """Set the learning rates of the step that is next."""
        for optimiser in (self.optimiser, self.discriminator_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = self.config.lr * group["cycle"](self.step, self.config.steps)

    def _finish(self, terms: dict[str, Tensor]) -> None:
        """Step the network, its average and the counter."""
        self._optimise(self.network, self.optimiser, torch.stack(list(terms.values())).sum())
        self.average.update_parameters(self.network)
        self.step += 1
        self.terms = {name: value.detach() for name, value in terms.items()}

    def _optimise(self, module: nn.Module, optimiser: Any, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        norm = self._fabric.clip_gradients(module, optimiser, max_norm=1.0, error_if_nonfinite=False)
        finite = torch.isfinite(cast("Tensor", norm))
        # One NaN would make all weights NaN, and a number that is not fetched does not make the processor wait.
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.masked_fill_(~finite, 0)
        optimiser.step()
        if module is self.network:
            self.lost = torch.where(finite, 0, self.lost + 1)
