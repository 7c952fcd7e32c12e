"""How fast outputs fail to follow an infinitesimal transformation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from molaugerino.equivariance.dual import dual, unpacked
from molaugerino.equivariance.features import Features, MapFeatures
from molaugerino.equivariance.layers import layer_names, outputs
from molaugerino.equivariance.layerwise import evaluating
from molaugerino.equivariance.views import View
from molaugerino.errors import UserError
from molaugerino.groups import Affine, Group
from molaugerino.spaces import Action, Mask


class LayerLie(NamedTuple):
    """sqrt(E |L_k h|^2 / Var h) of a layer per generator, and standard errors over batches; per unit of coordinate."""

    relative: list[float]
    error: list[float]


def lie_derivatives(
    model: nn.Module, x: Any, view: View, group: Group, output: Action[Tensor]
) -> Float[Tensor, "generators rows *more"]:
    """L_k f(x) = d/dt rho_out(exp(-t G_k)) f(rho_in(exp(t G_k)) x) at t = 0, for every generator G_k.

    Exact, by forward-mode differentiation through the network and both actions: zero for every generator if and only
    if f is equivariant under the identity component of the group. Molecules move by w x r; images by the slope of the
    cubic interpolant through their pixels, see `flow`. In the unit of the output per unit of the coordinate: eV per
    radian.

    Args:
        model: f, a network in evaluation mode.
        x: a batch in the layout of the view's input.
        view: `MoleculeView` or `ImageView`.
        group: whose generators are taken.
        output: rho_out.

    Raises:
        UserError: for a network that torch cannot differentiate forward.

    Source: Gruver, Finzi, Goldblum, Wilson, The Lie Derivative for Measuring Learned Equivariance (2023),
    arXiv:2210.02984; there the interpolant of images is bilinear.
    """
    found = []
    for matrix in generators(group, x):
        with forward_ad.dual_level():
            y = _differentiated(model, view.with_tangent(x, matrix))
            if isinstance(output, Mask):
                plain, rate = unpacked(y)
                found.append(rate - MapFeatures().rate(matrix, plain, x))
                continue
            back = Affine(*(_dual(-part, k) for k, part in enumerate((matrix[:-1, :-1], matrix[:-1, -1]))))
            index = view.input.index(x) if output.per_point else None
            found.append(unpacked(output.act(back.expand(view.input.count(x)), y, index))[1])
    return torch.stack(found).detach()


def layer_lie_derivatives(
    model: nn.Module, batches: Iterable[Any], view: View, group: Group, layers: Sequence[str] = ()
) -> dict[str, LayerLie]:
    """sqrt(E |L_k h|^2 / Var h), L_k h = d/dt T'_exp(-t G_k)[h(exp(t G_k) x)] at t = 0, for the output h of each layer.

    The rate at which a layer's output, as a function of the input, fails to follow, as a share of how much it varies
    over examples: dimensionless per unit of the coordinate. It tells what has come about up to that layer; Gruver et
    al. tell what each layer adds, seen at the network's output. One pass per generator does for all layers.

    Args:
        model: f.
        batches: in the layout of the view's input.
        view: `MoleculeView` or `ImageView`.
        group: whose generators are taken.
        layers: paths or patterns, as for `layer_names`.

    Raises:
        UserError: as `lie_derivatives` and `layer_names`.
    """
    names = layer_names(model, layers)
    kinds: dict[str, Features | None] = {}
    rates: dict[str, list[Tensor]] = {}
    moments: dict[str, list[Tensor]] = {}
    with evaluating(model), outputs(model, names) as found:
        for x in batches:
            kinds = kinds or view.features(model, x, names)
            for k, matrix in enumerate(generators(group, x)):
                found.clear()
                with forward_ad.dual_level():
                    _differentiated(model, view.with_tangent(x, matrix))
                    duals = {name: unpacked(found[name]) for name, kind in kinds.items() if kind is not None}
                for name, (h, rate) in duals.items():
                    kind = kinds[name]
                    assert kind is not None  # only those that are not are unpacked
                    left = kind.flat((rate - kind.rate(matrix, h, x)).detach(), x)
                    rates.setdefault(name, []).append(by_channel(left).square().sum(0).mean())
                    if k == 0:
                        flat = by_channel(kind.flat(h.detach(), x))
                        count = torch.full_like(flat[:, 0], flat.shape[1])
                        moments.setdefault(name, []).append(torch.stack([count, flat.sum(1), flat.square().sum(1)]))
    return {name: _shared_out(torch.stack(rates[name]).reshape(-1, group.dim), moments[name]) for name in rates}


def by_channel(flat: Tensor) -> Float[Tensor, "channels values"]:
    """Of (examples, channels) or (examples, channels, places), in double precision."""
    return flat.double().transpose(0, 1).flatten(1)


def _shared_out(squares: Float[Tensor, "batches generators"], moments: list[Tensor]) -> LayerLie:
    """Mean squares by batch over the variance of all values; moments are count, sum and sum of squares per channel."""
    counts = torch.stack([moment[0, 0] for moment in moments])
    share = (counts / counts.sum()).unsqueeze(-1)  # of the values that are in each batch
    count, total, square = torch.stack(moments).sum(0)
    variance = (square / count - (total / count).square()).clamp_min(0).sum()
    least = torch.finfo(torch.float64).tiny
    whole = (share * squares).sum(0)
    root = (whole / variance.clamp_min(least)).sqrt()
    if len(squares) < 2:
        return LayerLie(root.tolist(), [0.0] * len(root))
    several = len(squares) / (len(squares) - 1)
    spread = (several * (share * (squares - whole)).square().sum(0)).sqrt() / variance.clamp_min(least)
    return LayerLie(root.tolist(), torch.where(root > 0, spread / (2 * root).clamp_min(least), 0.0).tolist())


def generators(group: Group, x: Any) -> list[Tensor]:
    """Homogeneous matrices of the coordinates' unit vectors."""
    points = x if isinstance(x, Tensor) else x.pos
    unit = torch.eye(group.dim, dtype=points.dtype, device=points.device)
    return list(group.hat(unit))


def _dual(rate: Tensor, shift: int) -> Tensor:
    """The identity, moving at that rate."""
    still = torch.zeros_like(rate) if shift else torch.eye(len(rate), dtype=rate.dtype, device=rate.device)
    return dual(still, rate)


def _differentiated(model: nn.Module, x: Any) -> Tensor:
    try:
        return model(x)
    except NotImplementedError as error:
        raise UserError(
            f"the Lie derivative needs forward-mode differentiation, which this network refuses ({error}); use "
            "operations that torch can differentiate so, such as attention by matrix products"
        ) from None
