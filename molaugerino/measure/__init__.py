"""How much a trained model depends on how its input is turned, moved or coloured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molaugerino.errors import UserError
from molaugerino.measure.report import EXAMPLES
from molaugerino.measure.report import Measurement as Measurement
from molaugerino.training.checkpoint import is_of_images


def measure(
    run: str | Path, data: Sequence[str] = (), examples: int = EXAMPLES, layers: Sequence[str] = ()
) -> Measurement:
    """The equivariance that a trained model has learned: layers, rates, loss share, curve and worst case.

    Molecules are rotated about their centroids; images as their task's law does. Everything is done on test examples.

    Args:
        run: folder of a trained model.
        data: other data to test on; none takes those of the run.
        examples: how many.
        layers: which to measure, see `molaugerino.equivariance.layer_names`.

    Raises:
        UserError: for a folder without a model, data that do not fit, or a layer that is not there.
    """
    if examples < 2:
        raise UserError(f"`examples` must be at least 2, got {examples}")
    folder = Path(run)
    if is_of_images(folder):
        from molaugerino.measure.images import measure_images

        return measure_images(folder, data, examples, layers)
    from molaugerino.measure.molecules import measure_molecules

    return measure_molecules(folder, data, examples, layers)
