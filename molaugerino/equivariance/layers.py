"""The layers of any network, by the paths of its modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from molaugerino.errors import UserError

OUTPUT = "output"  # the name of what the whole network gives


def layer_names(model: nn.Module, wanted: Sequence[str] = ()) -> list[str]:
    """Paths of the modules to measure, in the order in which they are defined.

    Args:
        model: the network.
        wanted: paths or patterns, such as "blocks.*" or "*" for every module. By default the children of the network;
            of lists and sequences of modules among them, the entries.

    Raises:
        UserError: for a pattern that names no module.

    Example:
        >>> layer_names(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        ['0', '1']
    """
    if not wanted:
        found = list(_children(model, ""))
        return found or [""]
    names = [name for name, _ in model.named_modules() if name]
    chosen: set[str] = set()
    for pattern in wanted:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise UserError(f"no layer is called {pattern}; there are {', '.join(names)}")
        chosen |= set(matched)
    return [name for name in names if name in chosen]


def _children(model: nn.Module, prefix: str) -> Iterator[str]:
    for name, child in model.named_children():
        path = f"{prefix}{name}"
        whole = isinstance(child, (nn.ModuleList, nn.ModuleDict)) or (not prefix and isinstance(child, nn.Sequential))
        if whole and len(list(child.children())):
            yield from _children(child, f"{path}.")
        else:
            yield path


@contextmanager
def outputs(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What the named modules give in the passes made while this is open, and are not asked for by hand.

    Of several tensors, those of a tuple are called NAME[0], NAME[1], ... A module that is called more than once per
    pass keeps its last output. Tensors of whole numbers are left out. Clear the dictionary between passes.
    """
    modules, found = dict(model.named_modules()), dict[str, Tensor]()

    def keeping(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            several = isinstance(output, (tuple, list))
            for k, value in enumerate(output if several else (output,)):
                if isinstance(value, Tensor) and value.is_floating_point():
                    found[f"{name}[{k}]" if several else name] = value.clone()  # some next layers work in place

        return keep

    handles = [modules[name].register_forward_hook(keeping(name or OUTPUT)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
