"""Prior precisions chosen while the weights train, by the marginal likelihood of the training data."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from molaugerino.config import EvidenceConfig
from molaugerino.errors import UserError
from molaugerino.files import write_atomic
from molaugerino.laplace import IDLE, Gaussian, Likelihood, Mode, Priors, kfac, linear_tensors, raise_evidence

EVIDENCE = "evidence.json"


@dataclass(frozen=True)
class TensorShare:
    """One parameter tensor, as the evidence sees it.

    Attributes:
        layer: path of the layer it belongs to.
        path: of the layer, by name; "" where the layer has but one.
        name: of the tensor.
        size: how many numbers it has.
        precision: delta of its prior.
        effective: gamma = sum_k lambda_k / (lambda_k + delta), of `size` at most: how many the data determine.
    """

    layer: str
    path: str
    name: str
    size: int
    precision: float
    effective: float


@dataclass(frozen=True)
class ReadOut:
    """What the evidence found.

    Attributes:
        log_evidence: nats per training example.
        noise: standard deviation of the label about the prediction, for numbers; where there are several, in units of
            their own standard deviations; None for classes.
        examples: for training.
        tensors: all that have a prior.
    """

    log_evidence: float
    noise: float | None
    examples: int
    tensors: list[TensorShare]

    def content(self) -> dict[str, Any]:
        """All of it as plain numbers, the shares among them; null where a layer has none."""
        shares = {
            layer: {p: None if math.isnan(s) else s for p, s in own.items()} for layer, own in self.shares().items()
        }
        return asdict(self) | {"shares": shares}

    def idle(self) -> list[str]:
        """Tensors of which the data determine nothing: no curvature, or a precision that has diverged."""
        return [tensor.name for tensor in self.tensors if tensor.effective <= IDLE]

    def shares(self) -> dict[str, dict[str, float]]:
        """gamma_path / sum over the paths, of every layer with several, by layer and path; NaN where all are zero.

        The share of the free path is how far the layer is from being equivariant.
        """
        sums: dict[str, dict[str, float]] = {}
        for tensor in self.tensors:
            if tensor.path:
                own = sums.setdefault(tensor.layer, {})
                own[tensor.path] = own.get(tensor.path, 0.0) + tensor.effective
        found = {}
        for layer, own in sums.items():
            total = sum(own.values())
            found[layer] = {path: value / total if total > 0 else math.nan for path, value in own.items()}
        return found


def placed(name: str) -> tuple[str, str]:
    """The layer and the path that a parameter belongs to: "layers.0.paths.conv.weight" -> ("layers.0", "conv")."""
    layer, several, rest = name.partition(".paths.")
    return (layer, rest.partition(".")[0]) if several else (name.rpartition(".")[0], "")


def save_evidence(folder: Path, found: ReadOut) -> None:
    write_atomic(folder / EVIDENCE, json.dumps(found.content(), indent=1) + "\n")


def load_evidence(folder: Path) -> ReadOut | None:
    """What a run's evidence found; None where it had another objective.

    Raises:
        UserError: for a damaged file.
    """
    path = folder / EVIDENCE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        tensors = [TensorShare(**each) for each in content["tensors"]]
        return ReadOut(content["log_evidence"], content["noise"], content["examples"], tensors)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path} is not what training wrote there ({error}); remove it or train again") from None


class EvidenceSearch(nn.Module):
    """max over delta of log q(D | delta), the weights staying near their mode: a few steps every now and then.

    The weights are trained on mean -log p(y | f) + 1/2N sum_l delta_l |theta_l|^2. After the burn-in, every so many
    steps, the curvature of the averaged weights is taken from a fixed part of the training data, and Adam raises the
    evidence in log delta (see `raise_evidence`). The weights with the largest evidence are kept.

    Where a curvature cannot be taken, the precisions stay as they are and a warning says so.

    Args:
        model: the network.
        likelihood: of the labels.
        examples: N, of the training data.
        settings: of the schedule.
        names: of the tensors that have a precision; None takes those of its linear maps.

    Source: van der Ouderaa, Immer, van der Wilk (2023), arXiv:2310.06131; the schedule, the trust region and the kept
    weights are choices made here.
    """

    best: Tensor

    def __init__(
        self,
        model: nn.Module,
        likelihood: Likelihood,
        examples: int,
        settings: EvidenceConfig,
        names: Iterable[str] | None = None,
    ) -> None:
        super().__init__()
        self.priors = Priors(model, linear_tensors(model) if names is None else names, settings.precision)
        self.likelihood, self.examples = likelihood, examples
        self.settings = settings.settled(kernel=False, law=False)
        self.sizes = {name: p.numel() for name, p in model.named_parameters()}
        self.mode: Mode | None = None
        self.value = math.nan  # nats per example
        self.kept: dict[str, Tensor] = {}
        self.register_buffer("best", torch.tensor(-math.inf, dtype=torch.float64))
        self.requires_grad_(False)

    def get_extra_state(self) -> dict[str, Tensor]:
        return self.kept

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        self.kept = state

    def rows(self, train: np.ndarray, seed: int) -> np.ndarray:
        """Which training examples the curvature is taken from: the same all along, so that values can be compared."""
        count = min(self.settings.examples, len(train))
        return np.sort(np.random.default_rng((seed, 1)).permutation(train)[:count])

    def penalty(self, model: nn.Module) -> Tensor:
        """Added to the mean loss."""
        return self.priors.penalty(model) / self.examples

    def due(self, step: int, progress: float) -> bool:
        """Whether the precisions are to be updated after this step."""
        return self.settings.burn_in < 1 and progress >= self.settings.burn_in and step % self.settings.every == 0

    @torch.enable_grad()
    def refresh(self, model: nn.Module, subject: Any, seed: int, learn: bool = True) -> None:
        """Take the evidence at the weights of a network, and raise it.

        Args:
            model: in evaluation mode.
            subject: the part of the data that stands for all: batches of inputs and labels.
            seed: of the probes; the same all along, so that values can be compared.
            learn: whether the precisions may move; not where the burn-in is the whole run.
        """
        try:
            with torch.autocast(self.best.device.type, enabled=False):
                self.take(self._mode(model, subject, seed), self.settings.trust if learn else 0.0)
        except UserError as error:
            warnings.warn(f"{error}; the prior precisions stay as they are", stacklevel=1)
            return
        if self.value > float(self.best):
            self.best.fill_(self.value)
            self.kept = {f"model.{name}": t.detach().clone() for name, t in model.state_dict().items()}
            self.kept |= {f"own.{name}": p.detach().clone() for name, p in self.named_parameters()}

    def take(self, mode: Mode, trust: float) -> None:
        """Raise the evidence of a mode, as far as the precisions may move, and keep it to be read out.

        Raises:
            UserError: where it is not finite.
        """
        self.requires_grad_(True)
        try:
            value = raise_evidence(mode, self.likelihood, self.priors, trust if self.settings.burn_in < 1 else 0.0)
        finally:
            self.requires_grad_(False)
        self.mode, self.value = mode, value / self.examples

    def _mode(self, model: nn.Module, subject: Any, seed: int) -> Mode:
        batches = list(subject)
        with torch.no_grad():
            parts = [self.likelihood.statistics(model(x), y).double() for x, y in batches]
        scale = self.examples / sum(len(y) for _, y in batches)
        generator = torch.Generator().manual_seed(seed)
        inputs = (x for x, _ in batches)
        curvature = kfac(model, inputs, self.likelihood, len, self.examples, generator, self.priors.names)
        return Mode(scale * torch.stack(parts).sum(0), self.priors.squares(model), curvature)

    def restore(self, model: nn.Module) -> bool:
        """Bring back the weights and precisions of the largest evidence; False where none was taken."""
        if not self.kept:
            return False
        self.mode = None  # that of other weights
        model.load_state_dict({n[6:]: t for n, t in self.kept.items() if n.startswith("model.")})
        with torch.no_grad():
            for name, p in self.named_parameters():
                p.copy_(self.kept[f"own.{name}"])
        return True

    def read_out(self) -> ReadOut | None:
        """What was found, by the curvature that was taken last; None where none could be taken."""
        if self.mode is None:
            return None
        effective = self.mode.effective(self.likelihood, self.priors)
        precisions = {name: float(d) for name, d in self.priors.precisions().items()}
        tensors = [
            TensorShare(*placed(name), name, self.sizes[name], precisions[name], effective[name])
            for name in self.priors.names
        ]
        noise = None
        if isinstance(self.likelihood, Gaussian):
            unit = self.likelihood.unit
            noise = float(self.likelihood.log_noise.exp()) * (unit.item() if len(unit) == 1 else 1.0)
        return ReadOut(self.value, noise, self.examples, tensors)

    def report(self) -> dict[str, float]:
        """What is logged."""
        read_out = self.read_out()
        if read_out is None:
            return {}
        found = {"evidence/log": self.value}
        for layer, shares in read_out.shares().items():
            found |= {f"evidence/{layer}/{path}": share for path, share in shares.items()}
        return found
