"""Paths of relaxed layers against dense linear algebra; strict layers that become relaxed ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from molaugerino.errors import UserError
from molaugerino.layers import (
    BlockLinear,
    Convolution,
    Dense,
    Factored,
    GroupConvolution,
    LinearMap,
    Pathways,
    SparseConvolution,
    SparseFactored,
    lifted,
    polyphase,
    relaxed,
)
from molaugerino.layers.interpolation import interpolation

C, OUT, SIZE = 3, 2, 8


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def images(count=2, channels=C, side=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=generator, dtype=torch.float64)


def with_biases(module):
    """In double precision, with offsets that are not zero."""
    for name, parameter in module.double().named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return module


def test_dense_is_any_linear_map():
    layer = with_biases(Dense(C, OUT, SIZE, 2))
    x = images()
    weight, bias = layer.map.weight[0].reshape(OUT, 4, 4, C, SIZE, SIZE), layer.map.bias.reshape(OUT, 4, 4)
    expected = torch.einsum("ouvcxy,ncxy->nouv", weight, x) + bias
    torch.testing.assert_close(layer(x), expected)


def test_factored_is_of_rank_one_for_every_pair_of_channels():
    """y[c', x'] = sum_c V[x', c', c] (sum_x U[c', c, x] x[c, x] + a[c']) + b[x'], the offset of a place for all c'."""
    layer = with_biases(Factored(C, OUT, SIZE, 2))
    x = images()
    u, v = layer.gather.weight, layer.spread.weight  # (c, c', x), (c', x', c)
    gathered = torch.einsum("cox,ncx->noc", u, x.flatten(2)) + layer.gather.bias[:, None]
    expected = torch.einsum("oyc,noc->noy", v, gathered) + layer.spread.bias
    torch.testing.assert_close(layer(x), expected.reshape(2, OUT, 4, 4))
    dense = torch.einsum("oyc,cox->oycx", v, u)
    assert torch.linalg.matrix_rank(dense[0, :, 0]) == 1


def test_sparse_factored_is_factored_with_interpolated_weights():
    sparse, full = with_biases(SparseFactored(C, OUT, SIZE, 2)), with_biases(Factored(C, OUT, SIZE, 2))
    with torch.no_grad():
        full.gather.weight.copy_(sparse.gather.weight @ sparse.psi_in)
        full.gather.bias.copy_(sparse.gather.bias)
        full.spread.weight.copy_(sparse.psi_out.mT @ sparse.spread.weight)
        full.spread.bias.zero_()
    torch.testing.assert_close(sparse(images()), full(images()))
    assert sparse.gather.weight.shape == (C, OUT, 32)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolution_is_circular(kernel):
    layer = with_biases(Convolution(C, OUT, kernel))
    x, margin = images(), kernel // 2
    expected = layer.bias[:, None, None] + sum(
        torch.einsum("oc,ncxy->noxy", layer.weight[:, :, i, j], x.roll((margin - i, margin - j), (2, 3)))
        for i in range(kernel)
        for j in range(kernel)
    )
    torch.testing.assert_close(layer(x), expected)


def test_sparse_convolution_is_one_with_interpolated_filters():
    layer = with_biases(SparseConvolution(C, OUT))
    assert layer.weight.shape == (OUT, C, 7)
    full = with_biases(Convolution(C, OUT))
    with torch.no_grad():
        full.weight.copy_((layer.weight @ layer.psi).reshape(OUT, C, 3, 3))
        full.bias.copy_(layer.bias)
    torch.testing.assert_close(layer(images()), full(images()))


STRICT = {
    "convolution": lambda: Convolution(C, OUT),
    "sparse": lambda: SparseConvolution(C, OUT),
    "group": lambda: GroupConvolution(C, OUT),
    "group, apart": lambda: GroupConvolution(C, OUT, mixing=False),
}


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("shift", [(1, 0), (0, 3), (-2, 5)])
def test_strict_paths_commute_with_circular_shifts(name, shift):
    layer = with_biases(STRICT[name]())
    x = images(channels=4 * C if "group" in name else C)
    torch.testing.assert_close(layer(x.roll(shift, (2, 3))), layer(x).roll(shift, (2, 3)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("mixing", [True, False])
def test_group_convolutions_commute_with_quarter_turns(mixing):
    layer = with_biases(GroupConvolution(C, OUT, mixing=mixing))

    def turned(h):
        turns = h.reshape(len(h), -1, 4, *h.shape[2:])
        return turns.rot90(1, (3, 4)).roll(1, 2).flatten(1, 2)

    x = images(channels=4 * C)
    torch.testing.assert_close(layer(turned(x)), turned(layer(x)), rtol=0, atol=1e-13)
    picture = images()
    torch.testing.assert_close(lifted(picture.rot90(1, (2, 3))), turned(lifted(picture)))


MAPS = {
    **{name: (make, 4 * C if "group" in name else C) for name, make in STRICT.items()},
    "linear": (lambda: BlockLinear(1, SIZE, OUT), None),
    "blocks": (lambda: BlockLinear(5, 4, OUT), None),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_say_what_their_weights_multiply(name):
    """given(y) = W seen(x) + b, for every use and every block."""
    make, channels = MAPS[name]
    layer = with_biases(make())
    x = images(channels=channels) if channels else torch.randn(3, *layer.weight.shape[::2], dtype=torch.float64)
    seen, given = layer.seen(x), layer.given(layer(x))
    weight = layer.weight if channels is None else layer.weight.flatten(1).unsqueeze(0)
    expected = torch.einsum("koi,ntki->ntko", weight, seen) + layer.bias
    torch.testing.assert_close(given, expected)
    assert given[0].numel() == layer(x)[0].numel()


def test_polyphase_moves_with_the_image():
    x = images()
    kept = polyphase(x, 2)
    assert kept.shape == (2, C, 4, 4)
    whole = x.reshape(2, C, 4, 2, 4, 2)
    norms = whole.square().sum((1, 2, 4)).flatten(1)
    torch.testing.assert_close(kept.square().sum((1, 2, 3)), norms.max(1).values)
    for shift in ((2, 0), (1, 0), (3, 5)):
        moved = polyphase(x.roll(shift, (2, 3)), 2)
        assert any(
            torch.equal(moved[0], kept[0].roll((i, j), (1, 2))) for i in range(4) for j in range(4)
        )  # the same picture, moved
    assert polyphase(x, 1) is x


def test_what_is_kept_does_not_depend_on_who_shares_the_batch():
    x = images(16)
    torch.testing.assert_close(torch.cat([polyphase(one, 2) for one in x.split(1)]), polyphase(x, 2), rtol=0, atol=0)


@pytest.mark.parametrize("free", [("fc",), ("f-fc",), ("fc", "f-fc"), ()])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_relaxed_layer_begins_as_what_it_was(free, stride):
    strict = with_biases(Convolution(C, OUT))
    layer = relaxed(strict, SIZE, free, stride)
    x = images()
    torch.testing.assert_close(layer(x), polyphase(strict(x), stride))
    before = [p.clone() for p in strict.parameters()]
    layer(x).square().sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, strict.parameters(), strict=True))
    for name in free:  # it learns from the first step on
        assert any(bool(p.grad.any()) for p in layer.paths[name].parameters())


def test_interpolation_is_that_of_a_gaussian_process():
    from scipy.spatial.distance import cdist

    psi = interpolation(5, 0.5, 3).double().numpy()
    assert psi.shape == (12, 25)
    generator = torch.Generator().manual_seed(3)
    z = (4 * torch.rand(12, 2, generator=generator, dtype=torch.float64)).numpy()
    x = np.stack(np.meshgrid(np.arange(5), np.arange(5), indexing="ij"), -1).reshape(-1, 2)

    def kernel(a, b):
        return np.exp(-cdist(a, b, "sqeuclidean") / 2)

    expected = np.linalg.solve(kernel(z, z) + 1e-4 * np.eye(12), kernel(z, x))
    np.testing.assert_allclose(psi, expected, atol=2e-4)


def test_every_path_is_made_of_linear_maps():
    """What has parameters can be seen by the curvature."""
    for path in (
        Dense(C, OUT, SIZE),
        Factored(C, OUT, SIZE),
        SparseFactored(C, OUT, SIZE),
        *(m() for m in STRICT.values()),
    ):
        owned = {id(p) for m in path.modules() if isinstance(m, LinearMap) for p in (m.weight, m.bias) if p is not None}
        assert {id(p) for p in path.parameters()} == owned


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BlockLinear(0, 1, 1), "must be at least 1, got 0, 1, 1"),
        (lambda: Convolution(1, 1, 2), "`kernel` must be odd, got 2"),
        (lambda: Dense(1, 1, 8, 3), "`stride` must divide the side of the input, 8, got 3"),
        (lambda: SparseConvolution(1, 1, 1.5), r"`share` must lie in \(0, 1\], got 1.5"),
        (lambda: Pathways({}), "at least one path, got none"),
        (lambda: relaxed(Convolution(1, 1), 8, ["s-fc"]), "free paths are fc, f-fc, got s-fc"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(UserError, match=match):
        make()


def test_gains():
    """Outputs of every path are as large as sqrt 2 times its inputs, before a ReLU."""
    x = torch.randn(64, 16, 8, 8, dtype=torch.float64)
    for path in (Dense(16, 8, 8), Convolution(16, 8), Factored(16, 8, 8), GroupConvolution(4, 2)):
        size = float(path.double()(x).detach().square().mean().sqrt())
        assert size == pytest.approx(math.sqrt(2), rel=0.3)
