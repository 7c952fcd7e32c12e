"""Prediction on a Ray cluster, by the extra [ray]: chunks of molecules go through actors of Ray Data, in order."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry
from molaugerino.predict.options import Options
from molaugerino.predict.predictor import CHUNK, Predictor
from molaugerino.predict.table import Row
from molaugerino.training.ready import model_files


def stream_on_ray(folder: Path, entries: Iterable[Entry], options: Options) -> Generator[Row]:
    """As `Predictor.stream`, by the workers of a Ray cluster that is there; a chunk whose worker dies is done again.

    The molecules lie in the object store; the model's files go to every worker.

    Args:
        folder: of the model.
        entries: molecules.
        options: how to predict; `jobs` workers of one CPU each, None takes as many as the cluster has.

    Raises:
        UserError: where Ray or its cluster is missing.
    """
    ray = _connected()
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    files = {path.name: path.read_bytes() for path in model_files(folder)}
    workers = options.jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
    strategy = ray.data.ActorPoolStrategy(size=workers)
    items = [{"entries": pickle.dumps(chunk)} for chunk in _chunks(entries)]
    done = ray.data.from_items(items, override_num_blocks=max(1, len(items))).map(
        _OnChunks, fn_constructor_args=(files, options), compute=strategy, num_cpus=1
    )
    for found in done.iter_rows() if items else ():
        yield from pickle.loads(found["rows"])  # made by our own workers


def _connected() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise UserError("--engine ray needs Ray; install it with: pip install 'molaugerino[ray]'") from None
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False)
        except (ConnectionError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster ({error}); start one with `ray start --head`, or name it in RAY_ADDRESS"
            ) from None
    return ray


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    source = iter(entries)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


class _OnChunks:
    """A worker: the model, and a process of its own for geometries, that a molecule may take down."""

    def __init__(self, files: dict[str, bytes], options: Options) -> None:
        import torch

        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in files.items():
                (Path(scratch) / name).write_bytes(content)
            self.predictor = Predictor.from_pretrained(scratch)
        self.options = replace(options, jobs=1)
        self.open = ExitStack()  # the process, for as long as this worker lives
        self.prepared = self.open.enter_context(self.options.preparing())

    def __call__(self, item: dict[str, Any]) -> dict[str, bytes]:
        entries = pickle.loads(item["entries"])
        return {"rows": pickle.dumps(list(self.predictor.rows(entries, self.options, self.prepared)))}
