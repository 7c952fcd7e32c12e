"""Train on QM9 from a script: one target, one network, one of the community's splits, and the error in its unit.

molaugerino data fetch qm9
python benchmarks/train_qm9.py --target homo --model painn --minutes 10
"""

from __future__ import annotations

import argparse
from pathlib import Path

from molaugerino.config import NetConfig, TrainConfig
from molaugerino.models import BACKBONES
from molaugerino.predict import Predictor
from molaugerino.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["qm9"], help="qm9, or files whose labels are joined")
    parser.add_argument("--target", nargs="+", default=["homo"], help="one label, or several to learn together")
    parser.add_argument("--model", default="auto", choices=["auto", *BACKBONES])
    parser.add_argument("--width", type=int, default=0, help="features per atom (default: the network's own)")
    parser.add_argument("--split", help="dimenet, torchmd, cormorant, graph, scaffold, random, or a .npz file")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()

    config = TrainConfig(
        data=tuple(options.data),
        target=tuple(options.target),
        model=options.model,
        net=NetConfig(width=options.width),
        split=options.split,
        minutes=options.minutes,
        seed=options.seed,
        out=options.out,
    )
    run = train(config)
    if run is None:
        raise SystemExit("interrupted")
    for result in run.results:
        what = f"{result.target} ({result.method}) in {result.frames} frames, {result.copies} passes"
        print(
            f"{what}: MAE {result.mae:.4g} {result.unit} on {result.n} molecules, constant {result.mean_predictor:.4g}"
        )
    for row in Predictor.from_pretrained(run.folder).predict(["CCO", "c1ccccc1"]):
        print(row.smiles, row.status, row.values)


if __name__ == "__main__":
    main()
