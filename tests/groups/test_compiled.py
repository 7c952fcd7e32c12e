"""Every law and group without waiting for a device, inside torch.compile, and under autocast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from molaugerino import Augmented
from molaugerino.distributions import AlgebraUniform, GroupDistribution, rigid_motions
from molaugerino.groups import SO3, Affine, DirectProduct, MatrixGroup, Scale, aff2, aff3, colours
from molaugerino.groups.jacobi import one_sided_jacobi
from molaugerino.groups.matrix import matrix_exp
from molaugerino.spaces import Colour, Image, Mask, Molecules, Padded, Vector
from tests.distributions.test_laws import LAWS
from tests.groups.test_groups import GROUPS, coordinates

WAITING = {  # operations that ask a CUDA device for a value, or for a size that depends on values
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "_linalg_check_errors"),
    *("_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_matrix_exp", "linalg_cholesky", "linalg_lstsq"),
}
CASES = {f"law {name}": make for name, make in LAWS.items() if not name.endswith(("narrow", "wide", "whole"))}
CASES |= {f"group {g.name}": lambda g=g: g for g in GROUPS}


class Pictures(torch.nn.Module):
    """A law that acts on images, there and back around a network that has no precision to lose."""

    def __init__(self, law, there, back):
        super().__init__()
        self.law, self.averaged = law, Augmented(torch.nn.Tanh(), law, there, back)

    def compute(self, noise, images):
        # a map is seen where its pixels come from the image; what is not is NaN, and left out
        return (self.averaged(images, self.law.elements(noise.unsqueeze(0))).nan_to_num(),)


class Arrows(torch.nn.Module):
    """A vector of each molecule."""

    def forward(self, x):
        return (x.pos.tanh() * x.z.unsqueeze(-1)).sum(1)


class Clouds(Pictures):
    """The same of molecules, whose vectors are turned back."""

    def __init__(self, law):
        super().__init__(law, Padded(), Vector())
        self.averaged.model = Arrows()

    def compute(self, noise, images):
        points = images.flatten(1, 2)[..., :3]
        each = torch.ones_like(points[..., 0], dtype=torch.long)
        return (self.averaged(Molecules(each, points, each > 0), self.law.elements(noise.unsqueeze(0))),)


def plane():
    return AlgebraUniform(aff2(), (0.2, 0.2, 0.5, 0.1, 0.1, 0.1))


def tint():
    return AlgebraUniform(colours(), (0.1, 0.2, 0.3, 0.5))


PICTURES = {
    "images bilinear": lambda: Pictures(plane(), Image(), Mask()),
    "images bicubic": lambda: Pictures(plane(), Image("bicubic", "reflection"), Image("bicubic", "border")),
    "colours": lambda: Pictures(tint(), Colour(), Colour(bounded=False)),
    "molecules": lambda: Clouds(rigid_motions(1.0, 0.5)),
}
CASES |= PICTURES


class NothingWaits(TorchDispatchMode):
    """Fails at the first operation that would, and counts the others."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in WAITING, f"{name} waits for the device"
        self.seen += 1
        return func(*args, **(kwargs or {}))


class Case:
    """What is computed: all that a law, or a group, does to points, as tensors."""

    def __init__(self, made, device="cpu"):
        if isinstance(made, Pictures):
            self.of_pictures(made.to(device), device)
            return
        is_law = isinstance(made, torch.nn.Module)
        self.made = made.to(device) if is_law or isinstance(made, MatrixGroup) else made
        self.compute = self.of_law if is_law else self.of_group
        self.parameters = list(made.parameters()) if is_law else []
        group = made.group if is_law else made
        noise = made.noise((4,), dtype=torch.float32, device=device) if is_law else None
        xi = coordinates(group, 0.8, torch.float32, 4).to(device)
        points = torch.linspace(-1, 1, 4 * 5 * group.space_dim).reshape(4, 5, -1).to(device)
        if is_law:
            self.inputs = noise, points
        else:
            self.inputs = xi.requires_grad_(), points
            self.parameters = [xi]

    def of_pictures(self, made, device):
        self.made, self.compute, self.parameters = made, made.compute, list(made.parameters())
        noise = made.law.noise((4,), dtype=torch.float32, device=device)
        self.inputs = noise, torch.linspace(0, 1, 4 * 3 * 6 * 8, device=device).reshape(4, 3, 6, 8)

    def of_law(self, noise, points):
        moved = self.made.elements(noise)(points)
        if self.made.branches == 1:
            return (moved,)
        g, weights = self.made.enumerated(noise)
        return moved, g(points.expand(len(weights), *points.shape)), weights

    def of_group(self, xi, points):
        group = self.made
        g = group.exp(xi)
        twice = g.compose(g)
        back = twice.inverse()
        return g(points), group.log(g), group.adjoint(g), twice.linear, twice.shift, back.linear, back.shift

    def gradients(self, values):
        total = sum((value * value).sum() for value in values)
        return torch.autograd.grad(total, self.parameters, allow_unused=True, materialize_grads=True)


@pytest.fixture(params=CASES)
def make(request):
    return CASES[request.param]


def close(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= tolerance * (1 + b.abs().max())


class TestNothingWaits:
    def test_on_a_device_without_values(self, make):
        """Tensors on "meta" have shapes only: asking for a number, or for a shape that depends on one, raises."""
        case = Case(make(), "meta")
        values = case.compute(*case.inputs)
        assert all(g.device.type == "meta" for g in (*values, *case.gradients(values)))
        if isinstance(case.made, GroupDistribution):
            assert case.made.sample((4,)).linear.device.type == "meta"

    def test_by_the_operations(self, make, monkeypatch):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # values are checked on the CPU alone
        case = Case(make())
        with NothingWaits() as watch:
            case.gradients(case.compute(*case.inputs))
        assert watch.seen > 10

    @pytest.mark.parametrize("wait", [torch.Tensor.item, torch.Tensor.nonzero, torch.linalg.eigh])
    def test_the_watch_itself(self, wait):
        with NothingWaits(), pytest.raises(AssertionError, match="waits for the device"):
            wait(torch.eye(2) if wait is not torch.Tensor.item else torch.ones(()))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_on_a_gpu(self, make):
        """Under torch's own check, then captured as a CUDA graph and replayed."""
        case = Case(make(), "cuda")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                expected = case.gradients(case.compute(*case.inputs))
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            case.gradients(case.compute(*case.inputs))
            if isinstance(case.made, GroupDistribution):
                case.made.sample((4,), torch.Generator("cuda").manual_seed(0))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = case.gradients(case.compute(*case.inputs))
        graph.replay()
        torch.cuda.synchronize()
        close(captured, expected, 1e-5)

    def test_constants_follow_the_parameters(self):
        law = LAWS["box Aff3"]().to("meta")
        assert law.group.generators.device.type == "meta"
        assert DirectProduct(SO3, MatrixGroup(torch.eye(3)[None])).to("meta").groups[1].generators.is_meta
        assert not aff3().generators.is_meta


def captured(name):
    """What went wrong, if anything, with one graph for forward and backward."""
    torch.compiler.reset()
    torch.manual_seed(0)
    case = Case(CASES[name]())
    compiled = torch.compile(case.compute, fullgraph=True, backend="aot_eager")
    try:
        ours, theirs = compiled(*case.inputs), case.compute(*case.inputs)
        close(ours, theirs, 1e-6)
        close(case.gradients(ours), case.gradients(theirs), 1e-5)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.fixture(scope="module")
def compiler():
    """`captured` of every case, in a process where jaxtyping has not wrapped what the compiler would have to follow."""
    program = "import json, tests.groups.test_compiled as t; print(json.dumps({n: t.captured(n) for n in t.CASES}))"
    root = Path(__file__).parents[2]
    command, threads = [sys.executable, "-c", program], os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=threads, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_captured_whole_by_the_compiler(compiler, name):
    assert compiler[name] == ""


class TestAutocast:
    @pytest.mark.parametrize(
        "device",
        ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
    )
    def test_changes_nothing(self, make, device):
        case = Case(make(), device)
        expected = case.compute(*case.inputs)
        with torch.autocast(device, dtype=torch.bfloat16):
            values = case.compute(*case.inputs)
        close(values, expected, 1e-6)
        close(case.gradients(values), case.gradients(expected), 1e-6)

    @pytest.mark.parametrize("name", ["box SE3", "box Aff3", "gaussian SO3", "rigid"])
    def test_nor_nats(self, name):
        law = LAWS[name]()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            nats = law.divergence()
        assert nats.item() == pytest.approx(law.divergence().item(), rel=1e-6, abs=1e-6)

    def test_the_volume_element(self):
        xi = coordinates(aff3(), 0.8, torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours = aff3().log_jacobian(xi)
        assert torch.equal(ours, aff3().log_jacobian(xi))

    def test_a_vector_answered_in_half_precision_is_turned_in_full(self):
        g = Affine(torch.linalg.qr(torch.randn(4, 3, 3)).Q, torch.zeros(4, 3))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            turned = Vector().act(g, torch.ones(4, 3, dtype=torch.bfloat16))
        assert torch.equal(turned, Vector().act(g, torch.ones(4, 3)))


class TestFixedCounts:
    """The algorithms that need no answer from the device, against those that do."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("kind", ["any", "graded", "rank one", "rank two", "zero", "equal", "pair", "nearly equal"])
    def test_singular_values(self, kind, dtype):
        generator = torch.Generator().manual_seed(0)
        s = 3 * torch.rand(5000, 3, generator=generator, dtype=torch.float64)
        s = {
            "any": s,
            "graded": 10 ** (-3 * s),
            "rank one": s * torch.tensor([1.0, 0, 0]),
            "rank two": s * torch.tensor([1.0, 1, 0]),
            "zero": 0 * s,
            "equal": s[:, :1].expand_as(s),
            "pair": s[:, [0, 1, 0]],
            "nearly equal": s[:, :1] + 1e-7 * s,
        }[kind]
        left, right = (
            torch.linalg.qr(torch.randn(5000, 3, 3, generator=generator, dtype=torch.float64)).Q for _ in "lr"
        )
        a = (left * s.unsqueeze(-2) @ right).to(dtype)
        us, ours, v = one_sided_jacobi(a)
        u, theirs, vh = torch.linalg.svd(a.double())
        assert (ours.sort(-1, descending=True).values - theirs).abs().max() < 1e-12
        assert (us @ v.mT - a).abs().max() < 1e-12
        capped = (us / ours.clamp_min(1).unsqueeze(-2)) @ v.mT
        assert (capped - (u * theirs.clamp_max(1).unsqueeze(-2)) @ vh).abs().max() < 1e-12

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
    @pytest.mark.parametrize("size", [0.0, 1e-8, 1e-2, 1.0, 10.0, 70.0])
    def test_matrix_exponential(self, size, dtype, tolerance):
        m = torch.randn(200, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        m = (size * m / m.abs().sum(-2).amax(-1)[:, None, None]).to(dtype)
        exact = torch.linalg.matrix_exp(m.double())
        error = (matrix_exp(m) - exact).abs().amax((-2, -1)) / (1 + exact.abs().amax((-2, -1)))
        assert error.max() < tolerance * max(1.0, size)


def test_shifts_are_composed_without_products():
    g, h = Scale(3).exp(torch.tensor([[0.3]])), LAWS["translations"]().sample((4, 1))
    points = torch.randn(4, 1, 5, 3)
    assert (h.compose(g)(points) - h(g(points))).abs().max() < 1e-6
    assert (g.compose(h)(points) - g(h(points))).abs().max() < 1e-6
    assert torch.equal(h.inverse().shift, -h.shift)
    assert h.compose(g).linear.shape == (4, 1, 3, 3)
