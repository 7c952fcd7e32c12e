"""Cost of the law: ratios of interleaved repetitions within one run.

    python benchmarks/speed.py [--repetitions 200]

1. The training steps of `molaugerino train` between two updates of the law, with the learned SE(3) law
   against without; and the same with the share of a measurement of the loss budget that falls to them.
2. exp of 4,096 rotations, forward and backward, beside torch.linalg.matrix_exp and the single
   Runge-Kutta step of the published molecular code (a degree-four Taylor polynomial).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from record import provenance, write
from timing import SEED, interleaved, ratio
from torch import Tensor

from molaugerino.config import TrainConfig
from molaugerino.datasets import Batch
from molaugerino.groups import SO3
from molaugerino.training.defaults import resolved
from molaugerino.training.module import TrainingModule
from molaugerino.training.objective import Objective
from molaugerino.training.setup import make_card, make_module, open_run_data


class Stepper(TrainingModule):
    """The module of a run, stepped by hand: what `molaugerino train` computes, without Lightning around it."""

    taken = 0

    @property
    def global_step(self) -> int:
        return self.taken

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to log to."""

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        self.training_step(batch, 0).backward()
        self.configure_gradient_clipping(optimizer)
        optimizer.step()
        self.averaged.update_parameters(self.augmented.model)
        self.taken += 1


def training_steps() -> dict[str, Callable[[], None]]:
    """The default run of `molaugerino train`, as many steps as lie between two updates of the law."""

    def stepper(augment: Literal["learned", "none"]) -> tuple[Stepper, Batch]:
        config = resolved(TrainConfig(augment=augment))
        torch.manual_seed(SEED)
        data = open_run_data(config)
        module = make_module(config, make_card(config, data), data).train()
        module.__class__ = Stepper
        return cast(Stepper, module), data.packed.batch(torch.from_numpy(data.split.train[: config.optim.batch]))

    def cycle(augment: Literal["learned", "none"]) -> Callable[[], None]:
        module, batch = stepper(augment)
        optimizer = module.configure_optimizers()["optimizer"]
        if module.objective is not None:  # as once the network has learned something: the law takes its gradient
            module.objective.refresh(torch.full((2,), 1e-3), torch.full((2,), 1e-3))

        def run() -> None:
            for _ in range(module.law.every):
                module.step(batch, optimizer)

        return run

    def measurement() -> Callable[[], None]:
        module, _ = stepper("learned")
        return lambda: module.measure(cast(Objective, module.objective))

    return {"with the law": cycle("learned"), "without": cycle("none"), "measurement": measurement()}


def exponentials() -> dict[str, Callable[[], None]]:
    """Forward and backward through 4,096 rotations."""
    xi = torch.randn(4096, 3, generator=torch.manual_seed(SEED)).requires_grad_()
    weights = torch.randn(4096, 3, 3)

    def runge_kutta(a: Tensor) -> Tensor:
        """One step from 0 to 1 of dR/dt = a R, R(0) = I."""
        start = torch.eye(3).expand_as(a)
        k1 = a @ start
        k2 = a @ (start + k1 / 2)
        k3 = a @ (start + k2 / 2)
        k4 = a @ (start + k3)
        return start + (k1 + 2 * k2 + 2 * k3 + k4) / 6

    def job(exp: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            xi.grad = None
            (exp(xi) * weights).sum().backward()

        return run

    return {
        "closed form": job(lambda v: SO3.exp(v).linear),
        "matrix_exp": job(lambda v: torch.linalg.matrix_exp(SO3.hat(v)[:, :3, :3])),
        "one Runge-Kutta step": job(lambda v: runge_kutta(SO3.hat(v)[:, :3, :3])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions = parser.parse_args().repetitions
    steps = interleaved(training_steps(), repetitions)
    exps = interleaved(exponentials(), repetitions)
    config = TrainConfig().law
    measured = steps["with the law"] + config.every / config.refresh * steps["measurement"]
    content: dict[str, Any] = {
        **provenance(SEED),
        "repetitions": repetitions,
        "training step, with the law / without": ratio(steps["with the law"], steps["without"]),
        "the same, loss budget measured": ratio(measured, steps["without"]),
        "exp of 4096 rotations, matrix_exp / closed form": ratio(exps["matrix_exp"], exps["closed form"]),
        "exp of 4096 rotations, one Runge-Kutta step / closed form": ratio(
            exps["one Runge-Kutta step"], exps["closed form"]
        ),
    }
    for name, value in content.items():
        if isinstance(value, dict) and "ratio" in value:
            print(f"{name}: {value['ratio']:.3f} (95 % interval {value['low']:.3f} to {value['high']:.3f})")
    print(f"written to {write('speed', content)}")


if __name__ == "__main__":
    main()
