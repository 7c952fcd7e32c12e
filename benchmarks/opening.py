"""How fast a large prepared set opens, and how much memory its first batch takes.

    python benchmarks/opening.py FILE ...

The files are joined and prepared once; a fresh process opens the folder and draws a batch of 64. Its memory is that
above the interpreter with torch and this package loaded, as Linux counts it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from record import provenance, write

from molaugerino.datasets import BatchStream, PackedData, open_data, open_joined, random_split, save_prepared


def memory(key: str) -> float:
    """Resident megabytes of this process: now (VmRSS), or at most (VmHWM) since the mark was last cleared."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return float(line.split()[1]) * 1024 / 1e6


def measure(folder: str) -> dict[str, float]:
    torch.zeros(1)
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is that of the imports
    before, start = memory("VmRSS"), time.perf_counter()
    molecules = open_data(folder)
    opened = time.perf_counter() - start
    data = PackedData(molecules, [molecules.target(column.name) for column in molecules.columns])
    batch = next(iter(BatchStream(data, random_split(len(data)).train, 64, 0, lambda: 0)))
    seconds = time.perf_counter() - start
    facts = {"molecules": len(data), "atoms": len(molecules.atomic_numbers), "in_batch": len(batch.y)}
    return facts | {"open_s": opened, "first_batch_s": seconds, "megabytes": memory("VmHWM") - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--measure", action="store_true", help="print the figures of one prepared folder")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.files[0])))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "prepared"
        save_prepared(open_joined(options.files), folder)
        command = [sys.executable, __file__, str(folder), "--measure"]
        runs = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(3)]
    for run in runs:
        print(run)
    write("opening", provenance(0) | {"runs": runs})


if __name__ == "__main__":
    main()
