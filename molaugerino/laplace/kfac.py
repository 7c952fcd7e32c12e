"""Kronecker-factored curvature of the linear maps of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molaugerino.errors import UserError
from molaugerino.laplace.curvature import Spectra
from molaugerino.laplace.likelihoods import Likelihood
from molaugerino.layers import LinearMap

Maps = (nn.Linear, nn.Conv2d, LinearMap)


@dataclass
class Factors:
    """Of one map: sums over examples and uses of a a^t and g g^t by block, of g g^t alone, and how many there were."""

    inputs: Tensor | None = None  # (blocks, in, in)
    outputs: Tensor | None = None  # (blocks, out, out)
    bias: Tensor | None = None  # (out, out)
    uses: int = 0  # examples times uses of the map by each
    examples: int = 0

    def add(self, a: Float[Tensor, "rows uses blocks inputs"], g: Float[Tensor, "rows uses blocks outputs"]) -> None:
        inputs = torch.einsum("ntki,ntkj->kij", a, a).double()
        outputs = torch.einsum("ntki,ntkj->kij", g, g).double()
        own = g.sum((1, 2)).double()
        bias = own.mT @ own
        self.inputs = inputs if self.inputs is None else self.inputs + inputs
        self.outputs = outputs if self.outputs is None else self.outputs + outputs
        self.bias = bias if self.bias is None else self.bias + bias
        self.uses += a.shape[0] * a.shape[1]
        self.examples += a.shape[0]

    def weight_spectrum(self) -> Tensor:
        """Eigenvalues of (sum a a^t) x (sum g g^t) / uses, all blocks side by side."""
        assert self.inputs is not None  # it was used
        assert self.outputs is not None
        a, g = spectrum(self.inputs), spectrum(self.outputs)
        return (a.unsqueeze(2) * g.unsqueeze(1) / self.uses).flatten()

    def bias_spectrum(self) -> Tensor:
        """Eigenvalues of sum_n g_n g_n^t, g_n summed over the uses: exact for the bias by itself."""
        assert self.bias is not None
        return spectrum(self.bias)


def spectrum(matrix: Float[Tensor, "*more n n"]) -> Float[Tensor, "*more n"]:
    """Eigenvalues of a symmetric matrix that is positive semidefinite up to rounding: none negative.

    Raises:
        UserError: where it is not finite.
    """
    if not bool(torch.isfinite(matrix).all()):
        raise UserError(
            "a curvature is not finite: the network gives numbers that are too large; lower the learning rate"
        )
    try:
        return torch.linalg.eigvalsh(matrix).clamp_min(0)
    except RuntimeError as error:  # torch.linalg.LinAlgError is one
        raise UserError(f"the eigenvalues of a curvature were not found ({error}); lower the learning rate") from None


def kfac(
    model: nn.Module,
    batches: Iterable[Any],
    likelihood: Likelihood,
    count: Callable[[Any], int] = len,
    examples: int | None = None,
    generator: torch.Generator | None = None,
    names: Sequence[str] | None = None,
) -> Spectra:
    """H_l ~ (sum_n a_n a_n^t) x (sum_n g_n g_n^t) / N for every linear map, g = J^t L v, v independent signs.

    E_v g g^t is J^t L L^t J: one backward pass per batch whatever the number of outputs. A map that is used T times by
    an example (the places of a convolution) has sums over N T uses, divided by N T. Of the copies of an average, a is
    the mean and g the sum, so that copies of the same are as one. Weights and biases are blocks of their own. Exact for
    a single linear map without a bias, with Gaussian noise and one output.

    Args:
        model: a network of linear maps, convolutions of torch and `LinearMap`; see `linear_tensors`.
        batches: inputs; a part of the data set will do.
        likelihood: of the labels.
        count: examples of a batch.
        examples: of the data set, where batches are a part of it.
        generator: of the signs.
        names: of the tensors; None takes `linear_tensors`, which also refuses what is not known.

    Raises:
        UserError: for parameters of other modules, a map that is called twice in a pass, or numbers that are not
            finite.
    """
    maps, known = linear_maps(model), set(linear_tensors(model) if names is None else names)
    factors = {name: Factors() for name in maps}
    with watched(maps) as seen:
        for x in batches:
            seen.clear()
            f = model(x)
            signs = torch.randint(2, f.shape, generator=generator, device="cpu").to(f) * 2 - 1
            probe = (likelihood.root(f) @ signs.unsqueeze(2)).squeeze(2).detach()
            names = list(seen)
            slopes = torch.autograd.grad((f * probe).sum(), [seen[name][1] for name in names], allow_unused=True)
            rows = count(x)
            for name, slope in zip(names, slopes, strict=True):
                if slope is not None:
                    a, g = (part.detach() for part in (seen[name][0], slope))
                    factors[name].add(*arranged(maps[name], a, g, rows))
    found = {}
    for name, m in maps.items():
        scale = 1.0 if examples is None or not factors[name].examples else examples / factors[name].examples
        for own, p in m.named_parameters():
            full = f"{name}.{own}" if name else own
            if full in known:
                values = torch.zeros(p.numel(), dtype=torch.float64, device=p.device)  # of a map that nothing used
                if factors[name].uses:
                    values = factors[name].weight_spectrum() if own == "weight" else factors[name].bias_spectrum()
                found[full] = scale * values
    return Spectra(found)


def linear_maps(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that multiply by a weight of their own, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, Maps)}


def linear_tensors(model: nn.Module) -> list[str]:
    """Names of the trained parameters of linear maps; gains and offsets of normalisations are no such.

    Raises:
        UserError: where a matrix belongs to no linear map that is known.
    """
    maps = linear_maps(model)
    for name, m in maps.items():
        if isinstance(m, nn.Conv2d) and (m.groups != 1 or m.padding_mode != "zeros" or isinstance(m.padding, str)):
            raise UserError(
                f"the evidence knows convolutions without groups, padded with zeros, and {name} is none; take another "
                "network"
            )
    own = {id(p) for m in maps.values() for p in m.parameters(recurse=False)}
    found = []
    for name, p in model.named_parameters():
        if p.requires_grad and id(p) in own:
            found.append(name)
        elif p.requires_grad and p.dim() > 1:
            raise UserError(
                f"the evidence knows linear maps, convolutions and relaxed layers, and {name} belongs to none of them; "
                "take another network"
            )
    return found


@contextmanager
def watched(maps: dict[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Inputs and outputs of the maps in the passes made while this is open."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keeping(name: str) -> Any:
        def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in seen:
                raise UserError(f"KFAC knows maps that are called once per pass, and {name} is called again")
            if not output.requires_grad:  # weights that are not trained have slopes, too
                output = output.detach().requires_grad_()
            seen[name] = inputs[0], output
            return output

        return keep

    handles = [m.register_forward_hook(keeping(name)) for name, m in maps.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def arranged(m: nn.Module, a: Tensor, g: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Inputs and slopes as (examples, uses, blocks, numbers); copies come one batch after the other."""
    if isinstance(m, LinearMap):
        a, g = m.seen(a), m.given(g)
    elif isinstance(m, nn.Conv2d):
        padding = cast(tuple[int, int], m.padding)
        a = functional.unfold(a, m.kernel_size, m.dilation, padding, m.stride).mT.unsqueeze(2)
        g = g.flatten(2).mT.unsqueeze(2)
    else:
        a, g = (part.reshape(len(part), -1, 1, part.shape[-1]) for part in (a, g))
    copies = len(a) // rows
    a, g = (part.reshape(copies, rows, *part.shape[1:]) for part in (a, g))
    return a.mean(0), g.sum(0)
