"""`sr_model.binding` and `sr_model.texture` as torch tensors on a GPU; the same steps, in whole maps, not strips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sr_model.binding import CELL_PX, FINE_PX, SMOOTHING, FilterRadii
from sr_model.photo import PhotoContext
from sr_model.pixels import LUMA
from sr_model.spec import ModelSpec
from sr_model.texture import NOTHING, TEXTURED, TextureRadii, directed_limits


def bind_colours(
    planes: Tensor, correction: Tensor, spec: ModelSpec, photos: Sequence[PhotoContext], trim_px: int
) -> tuple[Tensor, Tensor]:
    """See `sr_model.binding.bind_colours`; and whether all values were finite, as a tensor."""
    batch, _, height, width = planes.shape
    cut = (height - correction.shape[2]) // 2
    shape = (batch, height - 2 * trim_px, width - 2 * trim_px, 3)
    bound = torch.empty(shape, dtype=torch.uint8, device=planes.device)
    scale = torch.tensor(spec.std, device=planes.device).view(3, 1, 1) * 255
    mean = torch.tensor(spec.mean, device=planes.device).view(3, 1, 1) * 255
    change = correction.float() * scale
    finite = torch.isfinite(change.sum())
    seen = planes[:, :3] * scale + mean
    for photo in set(photos):
        alike = [number for number, other in enumerate(photos) if other == photo]
        added = change[alike]
        if spec.keeps_texture:
            own = own_texture_share(seen[alike], spec, photo.ratio)
            added *= _enlarge(1 - own, CELL_PX, cut)
        made = _inner(seen[alike], cut) + added
        draw = _grey if photo.grey else _colours
        drawn = draw(made, added, FilterRadii.of(spec, photo.ratio), trim_px - cut)
        bound[alike] = drawn.add_(0.5).permute(0, 2, 3, 1).to(torch.uint8)
    return bound, finite


def own_texture_share(seen: Tensor, spec: ModelSpec, ratio: float) -> Tensor:
    """See `sr_model.texture.own_texture_share`; from grey levels [B, 3, H, W] to [B, 1, H / 4, W / 4]."""
    ratio = spec.trained_ratio(ratio)
    radii = TextureRadii.of(ratio)
    gradients = _gradients(_luma(F.avg_pool2d(seen, FINE_PX)))
    right, down = gradients[:, :1], gradients[:, 1:]
    products = F.avg_pool2d(torch.cat([right * right, down * down, right * down], 1), CELL_PX // FINE_PX)
    energy = products[:, :1] + products[:, 1:2]
    across, along, both = _two_boxes(products, radii.tensor).chunk(3, 1)
    directed = torch.hypot(across - along, 2 * both) / (across + along + NOTHING)
    energy, directed = _two_boxes(torch.cat([energy, energy * directed], 1), radii.area).chunk(2, 1)
    directed = directed / (energy + NOTHING)
    undirected = 1 - _smooth_step(directed, directed_limits(ratio))
    woods = _smooth_step(energy.sqrt(), TEXTURED) * undirected
    return (woods * spec.own_texture_in_woods).clamp_min(spec.own_texture)


def _gradients(luma: Tensor) -> Tensor:
    """[B, 1, h, w] in blocks of 2 px to [B, 2, h, w], right and down, per pixel, by Sobel's operator."""
    # Sums instead of a convolution, whose inputs a GPU may round to ten bits.
    around = F.pad(luma, (1, 1, 1, 1), mode="replicate")
    rows = around[..., :-2, :] + 2 * around[..., 1:-1, :] + around[..., 2:, :]
    columns = around[..., :-2] + 2 * around[..., 1:-1] + around[..., 2:]
    right = rows[..., 2:] - rows[..., :-2]
    down = columns[..., 2:, :] - columns[..., :-2, :]
    return torch.cat([right, down], 1) / 16


def _smooth_step(values: Tensor, limits: tuple[float, float]) -> Tensor:
    share = ((values - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _luma(bands: Tensor) -> Tensor:
    """[B, 3, h, w] to [B, 1, h, w]."""
    return bands[:, :1] * LUMA[0] + bands[:, 1:2] * LUMA[1] + bands[:, 2:] * LUMA[2]


def _box_means(maps: Tensor, radius: int) -> Tensor:
    around = F.pad(maps, (radius,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(around, (2 * radius + 1, 1), 1), (1, 2 * radius + 1), 1)


def _two_boxes(maps: Tensor, radii: tuple[int, int]) -> Tensor:
    return _box_means(_box_means(maps, radii[0]), radii[1])


def _enlarge(maps: Tensor, factor: int, cut: int = 0) -> Tensor:
    enlarged = F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
    return _inner(enlarged, cut)


def _inner(maps: Tensor, cut: int) -> Tensor:
    return maps[..., cut : maps.shape[-2] - cut, cut : maps.shape[-1] - cut]


def _grey(made: Tensor, change: Tensor, radii: FilterRadii, cut: int) -> Tensor:
    """Float [B, 3, h - 2 cut, w - 2 cut] of 0 to 255, three times luminance."""
    drift = _two_boxes(_luma(F.avg_pool2d(change, CELL_PX)), radii.lowpass)
    luma = _inner(_luma(made), cut) - _enlarge(drift, CELL_PX, cut)
    return luma.clamp_(0, 255).repeat(1, 3, 1, 1)


def _colours(made: Tensor, change: Tensor, radii: FilterRadii, cut: int) -> Tensor:
    """Float [B, 3, h - 2 cut, w - 2 cut] of 0 to 255."""
    drift, slopes, offsets = _colour_maps(made, change, radii)
    luma = _inner(_luma(made), cut) - _enlarge(drift, CELL_PX, cut)
    outer = _enlarge(slopes, CELL_PX, cut) * luma + _enlarge(offsets, CELL_PX, cut)
    # Chroma has no luminance: the third band follows from the others.
    green = (outer[:, :1] * LUMA[0] + outer[:, 1:] * LUMA[2]) / -LUMA[1]
    chroma = torch.cat([outer[:, :1], green, outer[:, 1:]], 1)
    # A band that was clipped alone would leave a tint: chroma shrinks instead.
    luma = luma.clamp(0, 255)
    above = chroma.amax(1, keepdim=True).clamp_min(1e-6)
    below = chroma.amin(1, keepdim=True).neg().clamp_min(1e-6)
    share = torch.minimum((255 - luma) / above, luma / below).clamp_max(1)
    return torch.addcmul(luma, share, chroma).clamp_(0, 255)


def _colour_maps(made: Tensor, change: Tensor, radii: FilterRadii) -> tuple[Tensor, Tensor, Tensor]:
    """See `sr_model.binding`: drift of luminance [B, 1, h / 4, w / 4]; slopes and offsets [B, 2, h / 4, w / 4]."""
    cells, fine = F.avg_pool2d(change, CELL_PX), F.avg_pool2d(made, FINE_PX)
    drift_luma, luma = _luma(cells), _luma(fine)
    drifts = _two_boxes(torch.cat([drift_luma, cells[:, ::2] - drift_luma], 1), radii.lowpass)
    factor = CELL_PX // FINE_PX
    terms = torch.cat([luma, fine[:, ::2] - luma], 1) - _enlarge(drifts, factor)
    # About middle grey, where squares lose the least to rounding.
    terms[:, :1] -= 128
    means = _box_means(F.avg_pool2d(torch.cat([terms, terms[:, :1] * terms], 1), factor), radii.guided)
    guide, chroma = means[:, :1], means[:, 1:3]
    slopes = (means[:, 4:] - guide * chroma) / (means[:, 3:4] - guide * guide + SMOOTHING)
    offsets = chroma - slopes * (guide + 128)
    smooth = _box_means(torch.cat([slopes, offsets], 1), radii.guided)
    return drifts[:, :1], smooth[:, :2], smooth[:, 2:]
