"""The training step: one loss for the weights and the law."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import AveragedModel

from molaugerino.augment import Augmented
from molaugerino.config import ImageLawConfig, LawConfig, OptimConfig
from molaugerino.datasets import Batch
from molaugerino.distributions import GroupDistribution, HaarBall
from molaugerino.errors import UserError
from molaugerino.groups import SO3, Affine
from molaugerino.training.blocks import Block
from molaugerino.training.evidence import EvidenceSearch
from molaugerino.training.law_evidence import BlockSearch
from molaugerino.training.objective import Losses, Objective, Weights
from molaugerino.training.optimiser import Muon, Together, hidden_matrices
from molaugerino.training.schedule import Schedule

LOST = 0.1  # of the steps between two validations may have gradients that are not finite
NOISE, BUDGET, TURNS, DROPOUT, PROBES = 1, 2, 3, 4, 5  # independent streams of random numbers


def stream(seed: int, purpose: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers as a function of (seed, purpose, step), so that nothing needs to be stored to resume."""
    key = (seed * 1_000_003 + purpose) * 1_000_000_007 + step
    return torch.Generator(device).manual_seed(key % (2**63))


class TrainingModule(pl.LightningModule):
    """loss(h(x), y) + strength * divergence of the law, h with freshly drawn elements.

    Weights and law sit in optimiser groups of their own. The law has its own learning rate,
    no weight decay, waits for the warm-up, and stays out of the running average of weights.

    Args:
        augmented: network and law.
        objective: sets the price of narrowness; None holds the law as it is.
        loss: (prediction, label) -> (examples,), dimensionless.
        metrics: (prediction, label) -> name: (examples,), in physical units.
        budget: gives the batches of measurement k, of molecules kept for the objective.
        schedule: how far the run is, and the learning rate there.
        optim: how the weights are trained.
        law: how the law is trained.
        seed: of the noise.
        consistency: weight of the loss between predictions for a molecule and for the molecule turned at random;
            None leaves it out.
        cost: what a law is measured by, as the loss; None takes the loss.
        evidence: chooses prior precisions of the weights, which then have no weight decay; None leaves that.
        witnesses: the training examples that the evidence is taken from.
    """

    lost: Tensor

    def __init__(
        self,
        augmented: Augmented,
        objective: Objective | None,
        loss: Callable[[Tensor, Tensor], Tensor],
        metrics: Callable[[Tensor, Tensor], dict[str, Tensor]],
        budget: Callable[[int], list[Batch]],
        schedule: Schedule,
        optim: OptimConfig,
        law: LawConfig | ImageLawConfig,
        seed: int,
        consistency: float | None = None,
        cost: Callable[[Tensor, Tensor], Tensor] | None = None,
        evidence: EvidenceSearch | None = None,
        witnesses: Sequence[Batch] = (),
    ) -> None:
        super().__init__()
        self.augmented = augmented
        self.objective = objective
        self.loss, self.metrics, self.budget = loss, metrics, budget
        self.schedule, self.optim, self.law, self.seed = schedule, optim, law, seed
        self.consistency, self.cost = consistency, loss if cost is None else cost
        self.evidence, self.witnesses = evidence, witnesses
        self.averaged = AveragedModel(augmented.model, multi_avg_fn=self._average).requires_grad_(False)
        self.augmented.distribution.requires_grad_(objective is not None)
        self._drawn: tuple[int, Tensor, Affine] | None = None
        self.register_buffer("lost", torch.zeros(()), persistent=False)  # steps, since the last validation
        self.validated = 0  # step of that
        self.drops = any(isinstance(m, nn.modules.dropout._DropoutNd) for m in augmented.model.modules())
        self.moves = objective is not None or any(bool(p.any()) for p in augmented.distribution.parameters())

    @property
    def distribution(self) -> GroupDistribution:
        return self.augmented.distribution

    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        decay = min(self.optim.ema, (1 + int(count)) / (10 + int(count)))  # a short memory at first
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    # --- one step

    def training_step(self, batch: Batch, _: int) -> Tensor:
        objective = self.objective if self._moves_law() else None
        elements, probability = self._elements(batch) if self.moves else self._identity()
        used, share = elements, probability
        if self.objective is not None and self.objective.replaces:
            used, share = elements.detach(), probability.detach()
        each = self._each(batch, used)
        loss = self._weighted(each, batch, share)
        self.log("loss", self._counted(loss.detach(), batch), sync_dist=self.processes > 1)
        if self.consistency is not None:
            apart = self._inconsistency(batch, used, each)
            self.log("inconsistency", apart.detach())
            loss = loss + self.consistency * apart
        if objective is not None:
            loss = loss + objective.penalty(self.distribution, self._losses(batch, elements, probability))
        if self.evidence is not None:
            loss = loss + self.evidence.penalty(self.augmented.model)
        return self._counted(loss, batch)

    def _moves_law(self) -> bool:
        """Whether the objective has its say in this step."""
        if self.evidence is not None:
            return self.evidence.due(self.global_step, self.schedule.progress(self.global_step))
        return self.global_step % self.law.every == 0

    def forward(self, batch: Batch, elements: Affine, probability: Tensor) -> Tensor:
        """sum_k p_k loss(h_k(x), y): elements (branches, copies, examples or 1), probability p (branches,).

        The branches of the discrete part of the law are weighted by their losses, not averaged as predictions are.
        """
        return self._weighted(self._each(batch, elements), batch, probability)

    def _each(self, batch: Batch, elements: Affine) -> Tensor:
        branches, copies, examples = elements.batch_shape
        return self.augmented.each(batch.x, elements.reshape(branches * copies, examples))

    def _weighted(self, each: Tensor, batch: Batch, probability: Tensor) -> Tensor:
        """The loss of predictions (branches * copies, examples, channels)."""
        branches = len(probability)
        parts = torch.chunk(each, branches)
        losses = [self.loss(self.augmented.reduce(part), batch.y).mean() for part in parts]
        return losses[0] if branches == 1 else probability @ torch.stack(losses)

    def _inconsistency(self, batch: Batch, elements: Affine, each: Tensor) -> Tensor:
        """mean loss(rho(g)^-1 f(g x), f(x)), g a Haar-random rotation about the origin, x where the law has put it.

        One more pass of the network; two where `each` (copies, examples, channels), the predictions at the elements,
        has a slope by the law, which must not narrow or widen for this.

        Source: the penalty of REMUL, Elhag, Rusch, Di Giovanni, Bronstein, arXiv:2410.17878.
        """
        first = elements[0][0].detach()
        haar = HaarBall(SO3, width=math.pi).requires_grad_(False).to(first.shift)
        turn = haar.sample((batch.total,), stream(self.seed, TURNS, self.global_step, self.device))
        turn = turn[self._places(batch)]
        still = self.augmented.each(batch.x, first.unsqueeze(0)) if elements.linear.requires_grad else each[:1]
        turned = self.augmented.each(batch.x, (turn @ first).unsqueeze(0))
        return self.loss(turned[0], still[0]).mean()

    def _identity(self) -> tuple[Affine, Tensor]:
        identity = self.augmented.identity().reshape(1, 1, 1)
        return identity, identity.shift.new_ones(1)

    def _losses(self, batch: Batch, elements: Affine, probability: Tensor) -> Losses:
        """The losses that an objective may ask for, with any weights in the network."""
        prefix = "augmented.model."
        weights = {prefix + name: value for name, value in self.augmented.model.named_parameters()}

        def training(given: Weights) -> Tensor:
            return cast(Tensor, functional_call(self, dict(given), (batch, elements, probability)))

        def held_out(given: Weights) -> Tensor:
            kept = [self.transfer_batch_to_device(b, self.device, 0) for b in self.budget(self.global_step)]
            losses = [functional_call(self, dict(given), (batch, *self._identity())) for batch in kept]
            return torch.stack(losses).mean()

        rate = self.optim.lr * self.schedule.weights(self.global_step)

        def block(examples: Batch, copies: int) -> Block:
            return self._block(examples, copies, stream(self.seed, PROBES, self.global_step, self.device))

        return Losses(training, held_out, weights, rate, block, self.global_step, batch.x)

    def _block(self, batch: Batch, copies: int, generator: torch.Generator) -> Block:
        """Examples whose predictions are those of the averaged weights, averaged over the law."""
        batch = self.transfer_batch_to_device(batch, self.device, 0)
        elements = self.distribution.sample((copies, batch.total), generator, batch.x)
        return Block(self.result(), batch, elements, generator.initial_seed())

    def _elements(self, batch: Batch) -> tuple[Affine, Tensor]:
        """Elements (branches, copies, examples) of this step: drawn for `every` at once, the first with a gradient.

        Drawing is many small operations, and a gradient with respect to the law needs one with
        respect to every position: once per update of the law is enough of both. There all
        branches of the discrete part are taken with their probabilities, elsewhere one is drawn.
        """
        law, copies = self.distribution, self.augmented.copies
        cycle, place = divmod(self.global_step, self.law.every)
        if law.conditional:  # one law per molecule of this batch
            noise = law.noise((copies, batch.total), stream(self.seed, NOISE, self.global_step, self.device))
            with torch.set_grad_enabled(place == 0):
                return law.enumerated(noise[:, self._places(batch)], batch.x)
        if self._drawn is None or self._drawn[0] != cycle:
            generator = stream(self.seed, NOISE, cycle, self.device)
            noise = law.noise((self.law.every, copies, self.optim.batch), generator)
            self._drawn = cycle, noise, law.elements(noise)
        _, noise, drawn = self._drawn
        if place == 0 and law.branches > 1:
            elements, probability = law.enumerated(noise[0])
        else:
            elements = drawn[place].unsqueeze(0)
            elements, probability = elements if place == 0 else elements.detach(), elements.shift.new_ones(1)
        places = self._places(batch)
        return Affine(elements.linear[:, :, places], elements.shift[:, :, places]), probability

    # --- a step shared by several processes

    @property
    def processes(self) -> int:
        """How many share a step, each with its part of the molecules."""
        return self.trainer.world_size if self._trainer is not None else 1

    def _places(self, batch: Batch) -> slice:
        """Which of the molecules of all processes are in this batch: noise is drawn for all, and belongs to a place."""
        rank = self.global_rank
        return slice(rank, batch.total, self.processes) if rank < batch.total else slice(1)  # one, counted as none

    def _counted(self, loss: Tensor, batch: Batch) -> Tensor:
        """The mean over this batch, such that the mean of that over the processes is the mean over all molecules."""
        if self.processes == 1:
            return loss
        return loss * (len(range(self.global_rank, batch.total, self.processes)) * self.processes / batch.total)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        spent = self.schedule.elapsed()
        if self.processes > 1 and self.schedule.seconds is not None:  # one clock, or they would stop at different steps
            spent = float(self.trainer.strategy.reduce(torch.tensor(spent, device=self.device), reduce_op="mean"))
        self.schedule.spent = spent
        if self.drops:  # what is dropped is a function of the step, so that nothing needs to be stored to resume
            torch.manual_seed(stream(self.seed + self.global_rank, DROPOUT, self.global_step).initial_seed())

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.averaged.update_parameters(self.augmented.model)
        if self.objective is not None and self.global_step % self.law.refresh == 0:
            self.refresh(self.objective)
        progress = self.schedule.progress(self.global_step)
        steps = self.objective is None  # a law takes the evidence with every step of its own
        if self.evidence is not None and steps and self.evidence.due(self.global_step, progress):
            self.take_evidence(self.evidence)
            for logger in self.loggers:
                logger.log_metrics(self.evidence.report(), self.global_step - 1)
        if progress >= 1:
            self.trainer.should_stop = True

    def refresh(self, objective: Objective) -> None:
        """Let the objective measure what it wants to, and log it with the law."""
        if objective.measures and self.schedule.progress(self.global_step) >= self.schedule.warmup:
            self.measure(objective)  # not before the law may move, or its price would drift meanwhile
        widths = {
            f"law/{line.name.replace(' ', '_')}[{line.unit}]": line.width for line in self.distribution.describe()
        }
        values = {f"objective/{k}": v for k, v in objective.report().items()} | widths
        for logger in self.loggers:
            logger.log_metrics(values, self.global_step - 1)  # as Lightning counts the step just taken

    @torch.no_grad()
    def measure(self, objective: Objective) -> None:
        """Paired losses at the identity and under the law, on examples that never update weights.

        As in evaluation: what a network drops at random while training would hide the difference.
        """
        refresh = self.global_step // self.law.refresh
        generator = stream(self.seed, BUDGET, refresh, self.device)
        pairs = []
        self.augmented.model.eval()
        for batch in self.budget(refresh):
            batch = self.transfer_batch_to_device(batch, self.device, 0)
            n = len(batch.y)
            still = self.augmented.identity().expand(1, n)
            drawn = self.distribution.sample((1, n), generator, batch.x)
            both = Affine(torch.cat([still.linear, drawn.linear]), torch.cat([still.shift, drawn.shift]))
            each = self.augmented.each(batch.x, both)
            pairs.append(torch.stack([self.cost(prediction, batch.y) for prediction in each]))
        self.augmented.model.train()
        objective.refresh(*torch.cat(pairs, 1))

    def take_evidence(self, evidence: EvidenceSearch, learn: bool = True) -> None:
        """The evidence of the averaged weights, on witnesses moved as in training: by the law, once."""
        model = self.averaged.module.eval()
        generator = stream(self.seed, PROBES, 0, self.device)  # the same each time: values are compared
        if isinstance(evidence, BlockSearch):
            (batch,) = self.witnesses
            block = self._block(batch, evidence.settings.copies if self.moves else 1, generator)
            evidence.refresh(model, block.at_leaves()[0], block.seed, learn)
            return
        batches = []
        for batch in self.witnesses:
            batch = self.transfer_batch_to_device(batch, self.device, 0)
            x = batch.x
            if self.moves:
                x = self.augmented.input.act(self.distribution.sample((len(batch.y),), generator), x, None)
            batches.append((x, batch.y))
        evidence.refresh(model, batches, generator.initial_seed(), learn)

    def settle(self) -> None:
        """At the end of a run: weights and precisions of the largest evidence, and the curvature there."""
        if self.evidence is not None:
            self.take_evidence(self.evidence, learn=self.objective is None)
            if self.objective is None and self.evidence.restore(self.averaged.module):
                self.take_evidence(self.evidence, learn=False)

    def validation_step(self, batch: Batch, _: int) -> None:
        prediction = self.averaged.module(batch.x)
        loss = self.loss if self.evidence is None else self.cost  # the other scales with the noise that is learned
        values = {"valid_loss": loss(prediction, batch.y)} | self.metrics(prediction, batch.y)
        for name, value in values.items():
            known = value[~torch.isnan(value)] if name != "valid_loss" else value  # a missing label has no error
            if len(known):
                self.log(name, known.mean(), batch_size=len(known))

    def on_validation_epoch_end(self) -> None:
        lost, since = int(self.lost), self.global_step - self.validated
        self.lost.zero_()
        self.validated = self.global_step
        if lost > max(1, LOST * since) or not torch.isfinite(self.trainer.callback_metrics["valid_loss"]):
            raise UserError(f"training diverged before step {self.global_step}; try again with a lower --optim.lr")

    # --- optimiser

    def configure_optimizers(self) -> dict[str, Any]:
        model, settings = self.augmented.model, self.optim
        hidden = hidden_matrices(model) if settings.method == "muon" else []
        taken = {id(parameter) for parameter in hidden}
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in model.parameters():
            if id(parameter) not in taken:
                (matrices if parameter.dim() > 1 else others).append(parameter)
        decay = settings.weight_decay if self.evidence is None else 0.0
        groups: list[dict[str, Any]] = [
            {"params": matrices, "lr": settings.lr, "weight_decay": decay},
            {"params": others, "lr": settings.lr, "weight_decay": 0.0},
        ]
        weights = lambda step: self.schedule.weights(step)  # noqa: E731  (torch would pickle a method, not a lambda)
        factors: list[Callable[[int], float]] = [weights, weights]
        objective = self.objective
        if objective is not None:
            groups.append({"params": list(self.distribution.parameters()), "lr": self.law.lr, "weight_decay": 0.0})
            factors.append(lambda step: self.schedule.law(step) if objective.open else 0.0)
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
        if hidden:
            muon = Muon(hidden, lr=settings.matrix_lr, weight_decay=decay)
            optimizer = Together([optimizer, muon])
            factors.append(weights)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        finite = nn.utils.clip_grad_norm_(self.augmented.model.parameters(), self.optim.clip).isfinite()
        self.lost += ~finite
        for parameter in self.parameters():  # one overflow costs one step, not the run
            if parameter.grad is not None:
                parameter.grad = torch.where(finite, parameter.grad, 0.0)

    # --- resuming

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.schedule.elapsed()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.schedule.started = time.monotonic() - checkpoint["elapsed"]

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch if batch.y.device == device else batch.to(device)

    # --- the result

    def result(self) -> Augmented:
        """The averaged weights under the law, ready to evaluate."""
        source = self.augmented
        copies, reduce = source.eval_copies, source.reduce
        final = Augmented(
            self.averaged.module, source.distribution, source.input, source.output, eval_copies=copies, reduce=reduce
        )
        return final.eval()
