"""How invariant and equivariant the layers of a network are, under finite transformations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from molaugerino.distributions import GroupDistribution
from molaugerino.equivariance.correlation import Correlation, SampleCorrelation, SpatialCorrelation
from molaugerino.equivariance.features import Features
from molaugerino.equivariance.layers import layer_names, outputs
from molaugerino.equivariance.views import View
from molaugerino.errors import UserError
from molaugerino.groups import Affine

SEED = 20230404
Draw = Callable[[int, torch.Generator], Affine]  # (examples, generator) -> one element per example


def fixed(elements: Affine) -> list[Draw]:
    """Each of these elements, for all examples: batch shape (n,) makes n transformations."""
    [count] = elements.batch_shape
    return [lambda examples, _, k=k: elements[k].expand(examples) for k in range(count)]


def drawn(law: GroupDistribution, times: int) -> list[Draw]:
    """So many transformations, each with an element per example, drawn from a law."""
    return [lambda examples, generator: law.sample((examples,), generator).detach()] * times


@torch.no_grad()
def layer_correlations(
    model: nn.Module,
    batches: Iterable[Any],
    view: View,
    transforms: Sequence[Draw],
    layers: Sequence[str] = (),
) -> tuple[dict[str, Correlation], list[str]]:
    """I_c = rho(T'[f_c(x)], f_c(T x)) and E_c = max_c' rho(T'[f_c(x)], f_c'(T x)) for every layer, see `Correlation`.

    One pass over each batch, and one per transformation; what is kept in memory grows with the number of different
    functions among them alone, by a matrix of channels by channels per block. Each batch is a block of the intervals,
    so give 16 or more. The network is in evaluation mode meanwhile.

    Channels are matched for each of the transformations anew, as each may permute them in its own way; where several
    are one and the same function, as `drawn` gives them, they are matched together.

    Args:
        model: any network of such inputs.
        batches: in the layout of the view's input.
        view: `MoleculeView` or `ImageView`.
        transforms: T, see `fixed` and `drawn`; an element for each example.
        layers: paths or patterns, as for `layer_names`.

    Returns:
        The metrics by layer, in the order in which the layers are called; and the names of outputs that are left out:
        examples could not be told from channels in them, or no transformation leaves two places in view.

    Raises:
        UserError: for a pattern that names no layer, no batches or no transformations.

    Source: Bruintjes, Motyka, van Gemert (2023), arXiv:2304.02628.
    """
    names = layer_names(model, layers)
    number = {draw: k for k, draw in enumerate(dict.fromkeys(transforms))}
    generator = torch.Generator().manual_seed(SEED)
    kinds: dict[str, Features | None] = {}
    metrics: dict[str, Correlation] = {}
    with evaluating(model), outputs(model, names) as found:
        for block, x in enumerate(batches):
            kinds = kinds or view.features(model, x, names)
            found.clear()
            model(x)
            plain = dict(found)
            for draw in transforms:
                g = draw(view.input.count(x), generator).to(next(model.parameters(), torch.empty(0)))
                found.clear()
                model(view.input.act(g, x, view.input.index(x)))
                for name, kind in kinds.items():
                    if kind is not None:
                        expected = kind.flat(kind.act(g, plain[name], x), x, g)
                        if kind.spatial and expected.shape[2] < 2:
                            continue  # of a small map this transformation leaves nothing in view
                        if name not in metrics:
                            made = SpatialCorrelation if kind.spatial else SampleCorrelation
                            metrics[name] = made(expected.shape[1], len(number)).to(expected.device)
                        seen = kind.flat(found[name], x, g)
                        metrics[name].update(expected, seen, block=block, transform=number[draw])
    if not metrics:
        raise UserError("there is nothing to measure: no batch, no transformation, or no layer with a known layout")
    return metrics, [name for name in kinds if name not in metrics]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards as it was."""
    was = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in was.items():
            module.training = mode
