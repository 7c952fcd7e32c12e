"""What several label sets of QM9 say of the same molecules, and how far they agree.

    python benchmarks/joining.py FILE ...

The files are joined as by `train --data FILE ...`, which refuses contradictions; every label that two files share is
compared in the joined unit.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

import numpy as np
from record import provenance, write

from molaugerino.datasets import graph_keys, join, open_data
from molaugerino.datasets.names import property_of
from molaugerino.datasets.units import base_unit, factor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    sets = [open_data(file) for file in options.files]
    start = time.perf_counter()
    joined = join(sets)
    seconds = time.perf_counter() - start
    shared = []
    for a, b in itertools.combinations(sets, 2):
        _, i, j = np.intersect1d(a.id, b.id, return_indices=True)
        for c, d in itertools.product(a.columns, b.columns):
            same = (property_of(c.name, c.method), c.method) == (property_of(d.name, d.method), d.method)
            if same and len(i):
                unit = base_unit(c.unit)
                apart = np.abs(factor(c.unit, unit) * c.values[i] - factor(d.unit, unit) * d.values[j]).max()
                shared.append({"label": c.name, "files": [a.name, b.name], "molecules": len(i), "unit": unit})
                shared[-1]["largest_difference"] = float(apart)
                print(shared[-1])
    there = {f"{c.name}@{c.method}": np.isfinite(c.values).reshape(len(joined), -1).all(1) for c in joined.columns}
    facts: dict[str, Any] = {"molecules": len(joined), "graphs": len(np.unique(graph_keys(joined))), "join_s": seconds}
    facts["labels"] = {label: int(rows.sum()) for label, rows in there.items()}
    print(facts)
    write("joining", provenance(0) | facts | {"shared": shared})


if __name__ == "__main__":
    main()
