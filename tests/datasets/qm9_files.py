"""Molecules in the exact form of QM9's files, and archives of them."""

from __future__ import annotations

import bz2
import io
import tarfile
from pathlib import Path

import numpy as np

SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
METHANE = 1.0919 / np.sqrt(3) * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
# A, B, C [GHz], mu [debye], alpha [bohr^3], homo, lumo, gap [hartree], r2 [bohr^2], zpve, U0, U, H, G [hartree],
# Cv [cal/(mol K)]; gap, mu and U0 are methane's
PROPERTIES = "157.7 157.7 157.7 0. 13.2 -0.3877 0.1171 0.5048 35.4 0.0447 -40.47893 -40.4761 -40.4751 -40.4986 6.5"


def xyz(number=1, z=(6, 1, 1, 1, 1), positions=METHANE, properties=PROPERTIES, smiles="C", relaxed=None):
    """One file: tabs between the numbers, Mulliken charges, frequencies, SMILES and InChI of before and after."""
    lines = [str(len(z)), f"gdb {number}\t" + "\t".join(properties.split()) + "\t"]
    for k, (element, position) in enumerate(zip(z, positions, strict=True)):
        lines.append("\t".join([SYMBOLS[element], *(written(x) for x in position), f"{(-1) ** k * 0.1:.6f}"]))
    lines.append("\t".join(f"{1341.3 + 100 * k:.4f}" for k in range(3 * len(z) - 6)))
    lines.append(f"{smiles}\t{relaxed or smiles}\t")
    lines.append("InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4")
    return "\n".join(lines) + "\n"


def written(x):
    """Very small numbers as the files have them: -1.2*^-6."""
    return f"{x:.10f}" if x == 0 or abs(x) >= 1e-4 else f"{x:.1e}".replace("e-0", "*^-")


def archive(path: Path, texts: dict[str, str]) -> Path:
    """A .tar.bz2 of these files, in blocks of 100 kB."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    path.write_bytes(bz2.compress(content.getvalue(), 1))
    return path


def small_archive(path: Path, count: int = 6, seed: int = 0) -> Path:
    """Distorted methanes numbered from 1 on."""
    rng = np.random.default_rng(seed)
    return archive(
        path,
        {
            f"dsgdb9nsd_{k:06d}.xyz": xyz(k, positions=METHANE + rng.normal(0, 0.05, METHANE.shape))
            for k in range(1, count + 1)
        },
    )
