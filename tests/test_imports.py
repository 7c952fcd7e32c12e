"""The import law: folders import downwards only, without cycles, and the top-level import stays light."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import molaugerino

ROOT = Path(molaugerino.__file__).parent
LEVELS = {
    "errors": 0,
    "checks": 0,
    "version": 0,
    "files": 0,
    "config": 0,
    "groups": 0,
    "layers": 1,
    "reductions": 1,
    "distributions": 1,
    "spaces": 1,
    "quadrature": 1,
    "augment": 2,
    "symmetry": 2,
    "forces": 2,
    "paper": 2,
    "laplace": 2,
    "models": 2,
    "vision": 2,
    "datasets": 2,
    "uncertainty": 3,
    "equivariance": 3,
    "tasks": 3,
    "training": 4,
    "predict": 5,
    "discover": 5,
    "measure": 5,
    "discover_images": 6,
    "image_pictures": 6,
    "benchmark": 6,
    "regressor": 6,
    "cli": 7,
}
# networks are built for targets, and say what they predict in their units
SIBLINGS = {("models", "datasets")}


def modules():
    return {".".join(p.relative_to(ROOT.parent).with_suffix("").parts): p for p in ROOT.rglob("*.py")}


def imports(path, known):
    """Modules of the package that a file imports at any depth, type-checking blocks included."""

    def resolve(name):
        return next((full for full in (name, f"{name}.__init__") if full in known), None)

    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [resolve(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:  # a submodule, or a name inside the module
            found = [resolve(f"{node.module}.{alias.name}") or resolve(node.module) for alias in node.names]
        else:
            continue
        yield from filter(None, found)


def part(module):
    return module.split(".")[1]


def graph():
    known = modules()
    return {name: sorted(set(imports(path, known))) for name, path in known.items()}


def test_every_part_has_a_level():
    parts = {part(name) for name in modules()} - {"__init__", "__main__"}
    assert parts == set(LEVELS)


def test_no_upward_edge_and_no_sideways_one():
    wrong = []
    for module, targets in graph().items():
        for target in targets:
            here, there = part(module), part(target)
            if "__init__" in (here, there) or "__main__" in (here, there) or here == there:
                continue
            if LEVELS[there] > LEVELS[here]:
                wrong.append(f"{module} -> {target} goes up")
            sideways = LEVELS[there] == LEVELS[here] and LEVELS[here] > 0 and (here, there) not in SIBLINGS
            if sideways:
                wrong.append(f"{module} -> {target} goes sideways")
    assert not wrong


def test_no_cycle():
    edges, done, path = graph(), set(), []

    def visit(module):
        assert module not in path, "import cycle: " + " -> ".join([*path, module])
        if module in done:
            return
        path.append(module)
        for target in edges[module]:
            visit(target)
        path.pop()
        done.add(module)

    for module in edges:
        visit(module)


def test_import_is_light():
    """`import molaugerino` gives the core and loads neither rdkit nor lightning nor torch_geometric."""
    code = (
        "import sys, molaugerino as ma; ma.groups, ma.distributions, ma.spaces, ma.Augmented;"
        "heavy = {'rdkit', 'lightning', 'torch_geometric', 'scipy', 'matplotlib'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_help_is_light():
    """The list of verbs comes without torch, which takes seconds to load."""
    code = "import sys; from molaugerino.cli.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "molaugerino predict" in result.stdout


def test_the_wheel_holds_every_package():
    """setup.cfg lists them by name; one that is left out is missed only by those who install a wheel."""
    setup = configparser.ConfigParser()
    setup.read(ROOT.parent / "setup.cfg")
    listed = set(setup["options"]["packages"].split()) - {"molaugerino.data", "molaugerino.recipes"}
    assert listed == {".".join(p.parent.relative_to(ROOT.parent).parts) for p in ROOT.rglob("__init__.py")}
