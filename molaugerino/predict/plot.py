"""Molecules drawn with their predicted values."""

from __future__ import annotations

from typing import Any

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molaugerino.errors import UserError
from molaugerino.predict.outputs import interval, number
from molaugerino.predict.table import Row, Table

PANEL = (320, 300)  # pixels
ACROSS = 3
MOST = 60  # molecules
LINES = 4  # values under a molecule


def plot(table: Table, suffix: str) -> bytes:
    """The molecules of a table with their first values and intervals, as a picture in PNG or SVG.

    Args:
        table: of which at most 60 molecules that have numbers are drawn.
        suffix: .png or .svg.

    Raises:
        UserError: for another suffix, or where no molecule has a number.
    """
    check_suffix(suffix)
    rows = [row for row in table if row.status == "ok"][:MOST]
    mols = [Chem.MolFromSmiles(row.smiles) for row in rows]
    if not rows:
        raise UserError("no molecule has a number to be drawn")
    across = min(len(rows), ACROSS)
    size = PANEL[0] * across, PANEL[1] * -(-len(rows) // across)
    png = suffix.lower() == ".png"
    canvas = (rdMolDraw2D.MolDraw2DCairo if png else rdMolDraw2D.MolDraw2DSVG)(*size, *PANEL)
    options: Any = canvas.drawOptions()
    options.legendFraction = 0.08 * (2 + min(len(table.layout.targets), LINES))
    options.legendFontSize = 14
    canvas.DrawMolecules(mols, legends=[_legend(row, table) for row in rows])
    canvas.FinishDrawing()
    text = canvas.GetDrawingText()
    return text if isinstance(text, bytes) else text.encode()


def check_suffix(suffix: str) -> None:
    """Raise unless pictures of that kind are made; before any work is done for one."""
    if suffix.lower() not in (".png", ".svg"):
        raise UserError(f"--plot writes .png or .svg, got {suffix or 'no suffix'}; name the file so")


def _legend(row: Row, table: Table) -> str:
    lines = [row.input if len(row.input) < 40 else row.input[:37] + "..."]
    for target in table.layout.targets[:LINES]:
        held = interval(row, target.channel)
        value = f"{target.name} {number(row.values[target.channel])} {target.unit}"
        lines.append(f"{value} ({held})" if held else value)
    if row.domain not in ("", "inside"):
        lines.append(f"domain: {row.domain}")
    return "\n".join(lines)
