"""molaugerino discover"""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from molaugerino.config import DiscoverConfig
from molaugerino.discover import Discovery, discover
from molaugerino.discover_images import discover_images
from molaugerino.errors import UserError
from molaugerino.files import make_folder, write_atomic
from molaugerino.image_pictures import draw_law
from molaugerino.training.checkpoint import is_of_images
from molaugerino.training.image_scores import open_run

SHORT = {"degree": "deg", "angstrom": "A"}  # so that a line fits a terminal of 80 columns
JSON, PICTURE, LAW = "discovery.json", "discovery.png", "law.png"


def run(config: DiscoverConfig) -> int:
    out = config.run if config.out is None else config.out
    opened = None
    if is_of_images(config.run):
        if config.method:
            raise UserError(f"images have no level of theory, got --method {' '.join(config.method)}; leave it out")
        opened = open_run(config.run, config.data)
        found = discover_images(opened, config.molecules)
    else:
        found = discover(config.run, config.data, config.molecules, config.method)
    make_folder(out)
    write_atomic(out / JSON, found.to_json() + "\n")
    found.picture(out / PICTURE)
    written = [JSON, PICTURE]
    if opened is not None:
        draw_law(opened.augmented, opened.card, opened.data, out / LAW)
        written.append(LAW)
    if config.format == "json":
        print(found.to_json())
    else:
        print_discovery(found)
    print(f"written to {' and '.join(str(out / name) for name in written)}", file=sys.stderr)
    return 0


def print_discovery(found: Discovery) -> None:
    console = Console()
    levels = f"loss {found.identity_loss:.3g} at the identity, constant {found.constant_loss:.3g}"
    title = f"{', '.join(found.targets)}: {levels}"
    table = Table(box=box.SIMPLE, padding=0, collapse_padding=True, title=title, title_justify="left")
    for name in ("generator", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("extent", "nats", "gained", "rise"):  # what else there is, the reasons below and the file say
        table.add_column(name, justify="right", no_wrap=True)
    for f in found.findings:
        numbers = f"{f.extent:.3g} {SHORT.get(f.unit, f.unit)}", f"{f.nats:.2f}", f"{f.gained:.2f}"
        table.add_row(f.name, f.verdict, *numbers, f"{f.rise:.1g}")
    console.print(table)
    for f in found.findings:
        console.print(f"{f.name}: {f.verdict}: {f.reason}", soft_wrap=True, highlight=False)
