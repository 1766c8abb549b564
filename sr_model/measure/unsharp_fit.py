"""Blur and unsharp mask of a photograph, fitted to the profiles of its edges.

The model: a step, blurred by a Gaussian of its own sigma (a scene has soft edges, too), then sharpened by the mask
x + k (x - G_r x) that all edges of a photograph share. With P the normal distribution, an edge at distance t is

    a + c ((1 + k) P(t / sigma) - k P(t / hypot(sigma, r))),        clipped to black and white.

The edges show this: the apparent spread is sigma^2 - k r^2, the rings beside it grow with k (1 + k) (r / spread)^4.
So a mask that is narrower than the blur leaves no ring, and no edge can tell it from less blur: where the profiles
leave amount and radius open, priors choose, and the pair (blur, mask) that is found gives the same edge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import ndtr

from sr_model.measure.edges import FloatArray
from sr_model.measure.supersampled import Profiles

# Of the mask: where the search starts, and its bounds.
_STARTS: Final = ((0.3, 1.0), (1.2, 1.2))
MOST_AMOUNT: Final = 3.0
_RADII_PX: Final = (0.5, 2.5)
# No edge is sharper than the pixel that it was averaged in.
_SIGMAS_PX: Final = (0.29, 5.0)
# Priors: deviation of the amount from 0, and of the radius' logarithm from that of 1.1 px.
_AMOUNT_PRIOR: Final = 0.8
_RADIUS_PRIOR: Final = (1.1, 0.3)
# Bins over which the pixels beside an edge are alike: 2 px.
_ALIKE_BINS: Final = 8
# Residuals beyond this share of the step are clutter, and count less (Huber 1964).
_HUBER: Final = 0.04
_ITERATIONS: Final = 40
# Edges from which the start is chosen.
_PART: Final = 60


@dataclass(frozen=True, eq=False)
class Fit:
    """A mask, and every edge under it.

    Attributes:
        amount, radius_px: of the unsharp mask.
        dark, step: float64 [E], plateau and step in grey levels.
        offset_px: float64 [E], of the edge from where it was found.
        sigma_px: float64 [E], its spread before the mask.
        sigma_error: float64 [E], standard error of the logarithm of `sigma_px`.
    """

    amount: float
    radius_px: float
    dark: FloatArray
    step: FloatArray
    offset_px: FloatArray
    sigma_px: FloatArray
    sigma_error: FloatArray

    def sigma_quantile_px(self, deviations: float) -> float:
        """Spread of edges so many standard deviations from the median one.

        The variance that grain adds to the measured spreads is subtracted first.
        """
        logarithm = np.log(self.sigma_px)
        low, middle, high = np.quantile(logarithm, (0.25, 0.5, 0.75))
        seen, error = ((high - low) / 1.349) ** 2, np.median(self.sigma_error) ** 2
        return float(np.exp(middle + deviations * np.sqrt(max(seen - error, 0.0))))


@dataclass(frozen=True, eq=False)
class _Linear:
    """The model at a fit: residuals in shares of the step [E, B], their weights, derivatives by 4 + 2 unknowns."""

    residual: FloatArray
    weight: FloatArray
    own: FloatArray
    common: FloatArray

    def cost(self) -> float:
        """Huber's, summed."""
        size = np.abs(self.residual)
        rho = np.where(size < _HUBER, 0.5 * size**2, _HUBER * (size - 0.5 * _HUBER))
        return float((rho * self.weight).sum())

    def robust_weight(self) -> FloatArray:
        return self.weight * np.minimum(1, _HUBER / np.maximum(np.abs(self.residual), 1e-9))


def fit_mask(profiles: Profiles) -> Fit:
    """Fit mask and edges together: a part of the edges from two starts, then all of them from the better one."""
    some = profiles.take(np.arange(min(len(profiles), _PART)))
    tried = [_fit(some, _start(some, amount, radius)) for amount, radius in _STARTS]
    best = min(tried, key=lambda pair: pair[1])[0]
    return _fit(profiles, _start(profiles, best.amount, best.radius_px))[0]


def _start(profiles: Profiles, amount: float, radius_px: float) -> Fit:
    dark, bright, _ = profiles.plateaus()
    count = len(profiles)
    step = np.maximum(bright - dark, 8.0)
    return Fit(amount, radius_px, dark, step, np.zeros(count), np.full(count, 0.8), np.zeros(count))


def _fit(profiles: Profiles, fit: Fit) -> tuple[Fit, float]:
    """Levenberg and Marquardt's method; the edges' own unknowns are eliminated from the mask's equations."""
    linear = _linearise(profiles, fit)
    prior = _dispersion(linear)
    cost, damping = linear.cost() + prior * _prior(fit), 1e-2
    for _ in range(_ITERATIONS):
        tried = _moved(fit, *_step(linear, fit, prior, damping))
        tried_linear = _linearise(profiles, tried)
        tried_cost = tried_linear.cost() + prior * _prior(tried)
        if tried_cost >= cost:
            damping *= 4
            if damping > 1e4:
                break
            continue
        done = cost - tried_cost < 1e-5 * cost
        fit, linear, cost, damping = tried, tried_linear, tried_cost, max(damping / 4, 1e-5)
        if done:
            break
    return replace(fit, sigma_error=_sigma_error(linear)), cost


def _sigma_error(linear: _Linear) -> FloatArray:
    weighted = linear.own * linear.robust_weight()[..., None]
    own = np.einsum("ebi,ebj->eij", weighted, linear.own) + 1e-9 * np.eye(4)
    return np.sqrt(_dispersion(linear) * np.linalg.inv(own)[:, 3, 3])


def _dispersion(linear: _Linear) -> float:
    """Variance of a pixel around the model, as large as if all pixels were independent; from the median edge.

    Grain is independent from pixel to pixel; the pixels beside an edge are alike over 2 px, and its sums show it.
    """
    edges, bins = linear.residual.shape
    clipped = np.clip(linear.residual, -2 * _HUBER, 2 * _HUBER)
    groups = (edges, bins // _ALIKE_BINS, _ALIKE_BINS)
    sums = (clipped * linear.weight).reshape(groups).sum(2)
    weights = linear.weight.reshape(groups).sum(2)
    per_edge = (sums**2 / np.maximum(weights, 1)).sum(1) / np.maximum((weights > 0).sum(1), 1)
    return float(np.median(per_edge))


def _prior(fit: Fit) -> float:
    centre, deviation = _RADIUS_PRIOR
    return float(
        0.5 * (fit.amount / _AMOUNT_PRIOR) ** 2 + 0.5 * (np.log(fit.radius_px / centre) / deviation) ** 2
    )


def _linearise(profiles: Profiles, fit: Fit) -> _Linear:
    sigma, step = fit.sigma_px[:, None], fit.step[:, None]
    wide = np.hypot(sigma, fit.radius_px)
    t = profiles.distance - fit.offset_px[:, None]
    sharp, soft = ndtr(t / sigma), ndtr(t / wide)
    slope_sharp, slope_soft = _normal(t, sigma), _normal(t, wide)
    k, r = fit.amount, fit.radius_px
    edge = (1 + k) * sharp - k * soft
    residual = (profiles.level - fit.dark[:, None]) / step - edge
    # Of a burnt bin only a model that is not burnt there is wrong.
    beyond = profiles.burnt * residual < 0
    own = np.stack(
        [
            1 / np.broadcast_to(step, t.shape),
            edge / step,
            k * slope_soft - (1 + k) * slope_sharp,
            # By the logarithm of sigma.
            k * slope_soft * t * (sigma / wide) ** 2 - (1 + k) * slope_sharp * t,
        ],
        axis=2,
    )
    common = np.stack([sharp - soft, k * slope_soft * t * (r / wide) ** 2], axis=2)
    return _Linear(residual, np.where(beyond, 0.0, profiles.weight), own, common)


def _normal(t: FloatArray, sigma: FloatArray) -> FloatArray:
    density: FloatArray = np.exp(-0.5 * (t / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
    return density


def _step(linear: _Linear, fit: Fit, prior: float, damping: float) -> tuple[FloatArray, FloatArray]:
    """Changes of the edges' own unknowns, [E, 4], and of amount and log radius, [2]."""
    weight = linear.robust_weight()
    # Products of matrices; einsum takes longer to plan these than to compute them.
    weighted_own = (linear.own * weight[..., None]).swapaxes(1, 2)
    weighted_common = (linear.common * weight[..., None]).reshape(-1, 2).T
    own = weighted_own @ linear.own
    mixed = weighted_own @ linear.common
    own_side = (weighted_own @ linear.residual[..., None])[..., 0]
    common = weighted_common @ linear.common.reshape(-1, 2)
    common_side = weighted_common @ linear.residual.ravel()
    diagonal = np.einsum("eii->ei", own)
    own = own + np.eye(4) * (damping * diagonal + 1e-9 * diagonal.max(1, keepdims=True) + 1e-9)[:, None]
    centre, deviation = _RADIUS_PRIOR
    curvature = prior / np.array([_AMOUNT_PRIOR, deviation]) ** 2
    pull = curvature * np.array([fit.amount, np.log(fit.radius_px / centre)])
    common = common + np.diag(curvature + damping * np.diag(common))
    solved = np.linalg.solve(own, np.concatenate([mixed, own_side[..., None]], axis=2))
    to_mask, alone = solved[..., :2], solved[..., 2]
    reduced = common - np.einsum("eij,eik->jk", mixed, to_mask)
    mask = np.linalg.solve(reduced, common_side - pull - np.einsum("eij,ei->j", mixed, alone))
    return alone - to_mask @ mask, mask


def _moved(fit: Fit, own: FloatArray, mask: FloatArray) -> Fit:
    """The fit after a step, within bounds and never far at once."""
    near = np.clip(mask, -0.5, 0.5)
    sigma = fit.sigma_px * np.exp(np.clip(own[:, 3], -0.5, 0.5))
    return replace(
        fit,
        amount=float(np.clip(fit.amount + near[0], 0, MOST_AMOUNT)),
        radius_px=float(np.clip(fit.radius_px * np.exp(near[1]), *_RADII_PX)),
        dark=fit.dark + own[:, 0],
        step=np.clip(fit.step + own[:, 1], 4.0, 1000.0),
        offset_px=np.clip(fit.offset_px + np.clip(own[:, 2], -0.5, 0.5), -1.5, 1.5),
        sigma_px=np.clip(sigma, *_SIGMAS_PX),
    )
