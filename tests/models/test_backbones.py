"""What every network of the registry promises: one table of properties, one row per network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from molaugerino.config import ModelName, NetConfig
from molaugerino.datasets import Target, channel_slices, output_action
from molaugerino.errors import UserError
from molaugerino.groups import SO3, Affine
from molaugerino.models import BACKBONES, FromGraph, make_network
from molaugerino.spaces import Molecules, Padded
from molaugerino.training.checkpoint import load_model, save_model
from molaugerino.training.setup import make_augmented, make_card, make_module, open_run_data

TARGETS = [
    Target("gap", "", "eV"),
    Target("energy", "", "eV", "sum"),
    Target("mu", "", "debye", "norm"),
    Target("r2", "", "bohr^2", "extent"),
    Target("dipole", "", "debye", "mean", "vector"),
]
CHANNELS = 7
SHAPE = {"width": 16, "depth": 2, "heads": 4, "pair": 8}
KEPT = {
    "none": (),
    "translations": ("translation",),
    "proper motions": ("translation", "rotation"),
    "all motions": ("translation", "rotation", "reflection"),
}


def molecules(sizes=(6, 4, 5), seed=0, dtype=torch.float64):
    """Atoms at random: no symmetric shapes."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes).unsqueeze(1)
    z = torch.randint(1, 10, mask.shape, generator=generator) * mask
    pos = 1.3 * torch.randn(*mask.shape, 3, generator=generator, dtype=torch.float64)
    return Molecules(z, (pos * mask.unsqueeze(-1)).to(dtype), mask)


def labels(x, seed=1):
    """At random, with a mean, a size per atom, and none below 0 where a length is wanted."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(len(x.z), CHANNELS, generator=generator, dtype=x.pos.dtype)
    y[:, 1] += x.z.sum(1)
    y[:, 2] = y[:, 2].abs() + 1
    y[:, 3] = 20 + 3 * y[:, 3]
    return y


@pytest.fixture(params=list(BACKBONES))
def name(request):
    return request.param


@pytest.fixture
def net(name):
    """With units, which must not break a symmetry, and weights large enough for a function that varies."""
    torch.manual_seed(0)
    network = make_network(name, TARGETS, **SHAPE).double()
    x = molecules(tuple(range(1, 9)) * 5, seed=7)
    network.readout.fit_scale(x, labels(x))
    for parameter in network.parameters():
        parameter.data *= 2
    return network


def pick(x, rows, atoms):
    return Molecules(x.z[rows][:, atoms], x.pos[rows][:, atoms], x.mask[rows][:, atoms])


def motion(kind, examples):
    generator = torch.Generator().manual_seed(3)
    identity = Affine.identity(3, (examples,), like=torch.zeros((), dtype=torch.float64))
    if kind == "rotation":
        xi = torch.randn(examples, 3, generator=generator, dtype=torch.float64)
        return SO3.exp(xi)
    if kind == "translation":
        shift = torch.randn(examples, 3, generator=generator, dtype=torch.float64)
        return Affine(identity.linear, shift)
    return Affine(identity.linear * torch.tensor([1.0, 1.0, -1.0]).unsqueeze(-1), identity.shift)


def test_the_settings_offer_what_there_is():
    assert get_args(ModelName) == tuple(BACKBONES)
    with pytest.raises(UserError, match=r"no network is called 'shnet'; there are point-transformer, graph, "):
        make_network("shnet", TARGETS)
    with pytest.raises(UserError, match="a network has no widht; it has width, depth"):
        make_network("schnet", TARGETS, widht=3)
    assert all(backbone.name == key and backbone.description for key, backbone in BACKBONES.items())
    assert set(SHAPE) < set(NetConfig.__dataclass_fields__)


def test_the_order_of_atoms_does_not_matter(net):
    x = molecules()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert (net(x)[:1] - net(pick(x, slice(0, 1), order))).abs().max() < 1e-10


def test_a_prediction_does_not_depend_on_company_or_padding(net):
    x = molecules((4, 6, 5))
    littered = x._replace(pos=torch.where(x.mask.unsqueeze(-1), x.pos, 1e3))
    together = net(x)
    assert together.shape == (3, CHANNELS)
    assert (together - net(littered)).abs().max() < 1e-10
    for k, atoms in enumerate((4, 6, 5)):
        alone = net(pick(x, slice(k, k + 1), slice(0, atoms)))
        assert (together[k : k + 1] - alone).abs().max() < 1e-10


def test_padded_and_ragged_are_one(net):
    x = molecules()
    ragged = SimpleNamespace(z=x.z[x.mask], pos=x.pos[x.mask], batch=x.mask.nonzero()[:, 0])
    assert (net(x) - net(ragged)).abs().max() < 1e-10


@pytest.mark.parametrize("kind", ["translation", "rotation", "reflection"])
def test_it_respects_what_it_says_and_nothing_else(name, net, kind):
    x = molecules()
    g = motion(kind, len(x.z))
    turned = output_action(TARGETS).act(g, net(x), None)
    error = (net(Padded().act(g, x)) - turned).abs() / net.readout.scale
    for target, channels in zip(TARGETS, channel_slices(TARGETS), strict=True):
        worst = error[:, channels].max()
        assert worst < 1e-10 if kind in KEPT[BACKBONES[name].symmetry] else worst > 1e-3, target.name


def test_geometry_stays_in_full_precision_under_autocast(name, net):
    """Far from the origin, where bfloat16 tells positions apart by two angstrom."""
    if "translation" not in KEPT[BACKBONES[name].symmetry]:
        pytest.skip("it sees where a molecule is")
    net = net.float()
    x = molecules(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        here, far = net(x), net(x._replace(pos=x.pos + 300))
    assert ((here - far).abs() / (net.readout.scale + here.abs())).max() < 0.1


def test_units_stay_in_full_precision_under_autocast(net):
    """References of ten thousand times what the network adds are not rounded to two digits."""
    net = net.float()
    net.readout.reference[:, 1] += 1e4
    x = molecules(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = net(x)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, net(x))
    assert (coarse - net(x))[:, :2].abs().max() < 1  # of energies of 60,000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_where_atoms_meet_and_for_one_two_and_symmetric_ones(net, dtype):
    """Coincident atoms, a single one, a linear molecule, a square and a tetrahedron."""
    net = net.to(dtype)
    x = molecules((4, 1, 3, 4, 4), dtype=dtype)
    pos = x.pos.clone()
    pos[0, 1] = pos[0, 0]
    pos[2] = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, -1], [0, 0, 0]])
    pos[3] = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    pos[4] = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    z = torch.where(torch.arange(5).unsqueeze(1) > 1, 6, x.z) * x.mask
    pos.requires_grad_()
    y = net(Molecules(z, pos, x.mask))
    y.square().sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(pos.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_slopes_by_position_are_true(net):
    """Against central differences along random directions: a frame moves with its atoms."""
    x = molecules()
    pos = x.pos.clone().requires_grad_()
    weights = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    weights = weights / net.readout.scale
    (slope,) = torch.autograd.grad((net(x._replace(pos=pos)) @ weights).sum(), pos)
    for seed in range(3):
        along = torch.randn(pos.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        along = 1e-5 * along * x.mask.unsqueeze(-1)
        up, down = ((net(x._replace(pos=x.pos + s * along)) @ weights).sum() for s in (1, -1))
        assert (slope * along).sum().item() == pytest.approx((up - down).item() / 2, rel=1e-4, abs=1e-9)


def test_every_weight_is_trained(net):
    x = molecules(tuple(range(1, 9)))
    (net(x) / net.readout.scale).square().sum().backward()
    idle = [key for key, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not idle


@pytest.mark.slow
def test_overfits_a_handful(name):
    torch.manual_seed(0)
    x = molecules(tuple(range(4, 8)) * 8, seed=4, dtype=torch.float32)
    y = labels(x)
    network = make_network(name, TARGETS, width=32, depth=2, heads=4, pair=8)
    network.readout.fit_scale(x, y)
    spread = (y - network.readout.baseline(x)).std(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=300)
    for _ in range(300):
        optimizer.zero_grad()
        loss = ((network(x) - y) / spread).abs().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert loss.item() < 0.2


def test_saved_and_loaded(name, tiny_config, tmp_path):
    config = tiny_config(tmp_path / "run", model=name, target=("gap", "mu", "energy", "dipole"))
    data = open_run_data(config)
    card = make_card(config, data)
    augmented = make_augmented(config, card, data).eval()
    save_model(tmp_path, augmented, card)
    loaded, again = load_model(tmp_path)
    x = data.packed.batch(torch.arange(8)).x
    assert (again.model, again.net) == (name, config.net)
    assert torch.equal(loaded(x), augmented(x))


def test_a_step_of_training(name, tiny_config, tmp_path):
    """The law, too, gets a slope that is finite, where there is something to learn."""
    config = tiny_config(tmp_path / "run", model=name)
    data = open_run_data(config)
    module = make_module(config, make_card(config, data), data).train()
    batch = data.packed.batch(torch.from_numpy(data.split.train[:8]))
    module(batch, *module._elements(batch)).backward()
    assert all(torch.isfinite(p.grad).all() for p in module.augmented.parameters() if p.grad is not None)
    assert all((p.grad is not None) == (config.augment == "learned") for p in module.distribution.parameters())


class TestFromGraph:
    @pytest.fixture
    def wrapped(self):
        return FromGraph(schnet(), TARGETS[:1]).double()

    def test_it_is_the_model_until_it_is_scaled(self, wrapped):
        x = molecules()
        z, pos, batch = x.z[x.mask], x.pos[x.mask], x.mask.nonzero()[:, 0]
        assert torch.equal(wrapped(x), wrapped.model(z, pos, batch))
        assert torch.equal(wrapped(x), wrapped(SimpleNamespace(z=z, pos=pos, batch=batch)))

    def test_symmetry_and_slopes_pass_through(self, wrapped):
        x = molecules()
        for kind in ("rotation", "translation", "reflection"):
            assert (wrapped(x) - wrapped(Padded().act(motion(kind, 3), x))).abs().max() < 1e-10
        pos = x.pos.clone().requires_grad_()
        wrapped(x._replace(pos=pos)).sum().backward()
        assert pos.grad[x.mask].abs().min() > 0
        assert all(bool(p.grad.any()) for p in wrapped.model.parameters() if p.requires_grad)

    def test_scaled_it_starts_near_the_labels_and_learns_them(self):
        torch.manual_seed(0)
        x = molecules(tuple(range(4, 8)) * 8, seed=4, dtype=torch.float32)
        energies = torch.linspace(-200, -20, 10)
        y = (energies[x.z] * x.mask).sum(1, keepdim=True) + labels(x)[:, :1]
        network = FromGraph(schnet(), TARGETS[1:2])
        network.readout.fit_scale(x, y)
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
        losses = []
        for _ in range(100):
            optimizer.zero_grad()
            loss = (network(x) - y).abs().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] < 3
        assert losses[-1] < losses[0] / 2

    def test_another_number_of_channels_is_refused(self):
        with pytest.raises(UserError, match=r"must give shape \(3, 2\) for these targets, got \(3, 1\)"):
            FromGraph(schnet(), TARGETS[:2]).double()(molecules())


def schnet():
    from torch_geometric.nn import SchNet

    from molaugerino.models import AllPairs

    torch.manual_seed(0)
    graph = AllPairs(5.0)
    return SchNet(hidden_channels=16, num_filters=16, num_interactions=2, num_gaussians=8, interaction_graph=graph)
