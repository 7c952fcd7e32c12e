"""Does the ready model xtb9 know what it does not know? Molecules larger than any it was trained on, newly labelled.

    python benchmarks/domain.py [--molecules 500] [--workers 2]

Draws constitutions of 10 to 12 heavy atoms, labels them with GFN2-xTB as data/xtb9/prepare.py did (finished ones are
kept in runs/domain.jsonl), adds as many ordinary test molecules of xtb9, predicts all from their SMILES, and asks how
well the width of the gap's interval separates the worst tenth of the errors from the rest (area under the ROC curve).
Needs the extra [xtb].
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # one molecule per process; set before tblite loads OpenMP

import numpy as np
from record import RESULTS, provenance, write
from scipy.stats import mannwhitneyu

from molaugerino.datasets import load_split, open_data
from molaugerino.predict import Predictor
from molaugerino.training.folder import SPLITS
from molaugerino.training.ready import ready_models

sys.path.insert(0, str(RESULTS.parent.parent / "data" / "xtb9"))
import prepare
from enumeration import EXHAUSTIVE_SIZE, constitutions
from rdkit import Chem

SEED = 12  # that of xtb9 is 9
SIZES = (10, 11, 12)
WORST = 0.1


def labelled(wanted: int, workers: int) -> list[tuple[str, float]]:
    """SMILES and GFN2-xTB gaps of new molecules, an equal number of each size."""
    cache = Path("runs/domain.jsonl")
    cache.parent.mkdir(exist_ok=True)
    prepare.drop_partial_line(cache)
    drawn = [s for s in constitutions(SEED, dict.fromkeys(SIZES, wanted)) if heavy(s) > EXHAUSTIVE_SIZE]
    drawn = [s for k in range(wanted) for s in drawn[k::wanted]]  # the sizes in turn
    done = {r["constitution"]: r for r in prepare.read_cache(cache)}
    while sum(r["status"] == "ok" for r in done.values()) < wanted:
        short = wanted - sum(r["status"] == "ok" for r in done.values())
        prepare.run([s for s in drawn if s not in done][:short], cache, workers)
        done = {r["constitution"]: r for r in prepare.read_cache(cache)}
    found = [done[s] for s in drawn if s in done and done[s]["status"] == "ok"][:wanted]
    return [(r["smiles"], r["lumo"] - r["homo"]) for r in found]


def heavy(smiles: str) -> int:
    return Chem.MolFromSmiles(smiles).GetNumAtoms()


def separation(score: np.ndarray, errors: np.ndarray) -> float:
    """Probability that one of the worst errors has a higher score than one of the others."""
    worst = errors >= np.quantile(errors, 1 - WORST)
    return float(mannwhitneyu(score[worst], score[~worst]).statistic / (worst.sum() * (~worst).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=500)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    data = open_data("xtb9")
    test = load_split(ready_models()["xtb9"] / SPLITS, data.id).test
    rows = np.random.default_rng(SEED).permutation(test)[: options.molecules]
    gaps = next(c.values for c in data.columns if c.name == "gap")
    ordinary = [(str(data.smiles[k]), float(gaps[k])) for k in rows]
    pairs = labelled(options.molecules, options.workers) + ordinary
    table = Predictor.from_pretrained("xtb9").predict([smiles for smiles, _ in pairs], targets=["gap"], isomers=1)
    [gap] = table.targets
    kept = [k for k, row in enumerate(table) if row.status == "ok"]
    value, high = (np.array([getattr(table[k], part)[gap.channel] for k in kept]) for part in ("values", "hi"))
    errors, score = np.abs(value - np.array([pairs[k][1] for k in kept])), high - value
    new = np.array(kept) < options.molecules
    states = np.array([table[k].domain for k in kept])
    order = {"inside": 0, "edge": 1, "outside": 2}  # by state first, then by the width of the interval
    ranked = np.array([order[state] for state in states]) * (1 + score.max()) + score
    groups = {"new": new, "ordinary": ~new} | {state: states == state for state in ("inside", "edge", "outside")}
    found = {
        "auroc": separation(ranked, errors),
        "auroc_width": separation(score, errors),
        "auroc_width_ordinary": separation(score[~new], errors[~new]),
        "predicted": len(kept),
        "molecules": len(pairs),
        "groups": {
            name: {
                "molecules": int(of.sum()),
                "mae": float(errors[of].mean()) if of.any() else None,
                "covered": float((errors[of] <= score[of]).mean()) if of.any() else None,
            }
            for name, of in groups.items()
        },
        "states_of_new": {state: int((states[new] == state).sum()) for state in ("inside", "edge", "outside")},
    }
    write("domain", provenance(SEED) | found)
    print(found)


if __name__ == "__main__":
    main()
