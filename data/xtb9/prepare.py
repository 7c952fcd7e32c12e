"""Make the xtb9 data set from nothing: enumerate, embed, relax with GFN2-xTB, label.

    python data/xtb9/prepare.py [--workers N] [--out data/xtb9/xtb9.npz]

Needs the extra `[xtb]` (tblite, ase, pebble). Every finished molecule is appended to
`--cache` at once, so a killed run continues where it stopped. A molecule that fails is
counted under its reason; the counts go beside the data set into `xtb9.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from importlib.metadata import version
from pathlib import Path

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # one molecule per process; set before tblite loads OpenMP

import numpy as np
from ase.data import covalent_radii
from enumeration import constitutions
from pebble import ProcessExpired, ProcessPool
from rdkit import Chem
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy.spatial.transform import Rotation
from tblite.interface import Calculator

from molaugerino.predict import xtb
from molaugerino.predict.smiles import Conformer, Unpredictable, conformer_seed, embed, parse

HARTREE_TO_EV = 27.211386245988
BOHR_TO_ANGSTROM = 0.529177210903
E_BOHR_TO_DEBYE = 2.541746473
METHOD = "GFN2-xTB"
UNPAIRED = {1: 1, 6: 2, 7: 3, 8: 2, 9: 1}  # ground states of the free atoms
COUNTS = {6: 2600, 7: 5900, 8: 8600, 9: 11200}  # constitutions drawn per number of heavy atoms
FORCE_TOLERANCE = 0.02  # eV/angstrom
RELAXATION_STEPS = 600
BOND_TOLERANCE = 1.25  # atoms are bonded within this times the sum of covalent radii
GRID = 2.0**-14  # positions are multiples of this, 6e-5 angstrom; labels are computed on the grid
SMALLEST_GAP = 0.5  # eV; below, one closed-shell determinant describes the molecule badly
MOLECULE_SECONDS = 120
TARGETS = {"energy": "eV", "atomization_energy": "eV", "homo": "eV", "lumo": "eV", "gap": "eV", "mu": "debye"}


class Rejected(Exception):
    """A molecule left out; the message is the reason it is counted under."""


# --- one molecule


def singlepoint(numbers: np.ndarray, positions: np.ndarray, unpaired: int = 0) -> dict:
    """GFN2-xTB at fixed positions (angstrom), in eV, debye and elementary charges."""
    calculator = Calculator(METHOD, numbers, positions / BOHR_TO_ANGSTROM, 0.0, unpaired)
    calculator.set("verbosity", 0)
    result = calculator.singlepoint()
    orbitals, occupied = result["orbital-energies"] * HARTREE_TO_EV, result["orbital-occupations"] > 1
    return {
        "energy": float(result["energy"]) * HARTREE_TO_EV,
        "homo": float(orbitals[occupied].max()) if occupied.any() else None,
        "lumo": float(orbitals[~occupied].min()) if not occupied.all() else None,
        "dipole": result["dipole"] * E_BOHR_TO_DEBYE,
        "charges": result["charges"],
    }


def free_atom_energies() -> dict[int, float]:
    """GFN2-xTB energies of the free atoms in their ground states, eV."""
    origin = np.zeros((1, 3))
    return {z: singlepoint(np.array([z]), origin, unpaired)["energy"] for z, unpaired in UNPAIRED.items()}


def stereoisomer(smiles: str) -> tuple[Chem.Mol, Conformer]:
    """A random (seeded) stereoisomer of a constitution, the first of the shuffled ones that embeds."""
    options = StereoEnumerationOptions(unique=True, maxIsomers=16, rand=conformer_seed(smiles))
    hydrogenated = Chem.AddHs(Chem.MolFromSmiles(smiles))  # with hydrogens, C=N-H has its two isomers
    isomers = sorted(Chem.MolToSmiles(Chem.RemoveHs(m)) for m in EnumerateStereoisomers(hydrogenated, options))
    random.Random(conformer_seed(smiles)).shuffle(isomers)
    for isomer in isomers[:6]:
        mol = parse(isomer)
        try:
            return mol, embed(mol)
        except Unpredictable as error:
            failure = error
    raise Rejected(failure.status)


def relax(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Positions of the GFN2-xTB minimum next to the given ones, angstrom."""
    try:
        return xtb.relax(numbers, positions, FORCE_TOLERANCE, RELAXATION_STEPS)[0]
    except Unpredictable:
        raise Rejected("relaxation_not_converged") from None


def check_identity(mol: Chem.Mol, start: Conformer, relaxed: np.ndarray) -> None:
    """Raise where bonds or stereochemistry after relaxation are not those of the SMILES."""
    hydrogenated = Chem.AddHs(mol)
    radii = covalent_radii[start.atomic_numbers]
    distances = np.linalg.norm(relaxed[:, None] - relaxed[None], axis=-1)
    close = distances < BOND_TOLERANCE * (radii[:, None] + radii[None])
    np.fill_diagonal(close, False)
    if (close != (Chem.GetAdjacencyMatrix(hydrogenated) > 0)).any():
        raise Rejected("graph_changed")
    if stereo_smiles(hydrogenated, relaxed) != stereo_smiles(hydrogenated, start.positions):
        raise Rejected("stereo_changed")
    if stereo_smiles(hydrogenated, relaxed) != Chem.MolToSmiles(without_nitrogen_stereo(mol)):
        raise Rejected("stereo_changed")
    if (handedness(hydrogenated, relaxed) != handedness(hydrogenated, start.positions)).any():
        raise Rejected("stereo_changed")


def stereo_smiles(hydrogenated: Chem.Mol, positions: np.ndarray) -> str:
    """Isomeric SMILES with the stereochemistry read off the positions (not that of nitrogen)."""
    conformer = Chem.Conformer(len(positions))
    conformer.SetPositions(np.asarray(positions, dtype=float))
    mol = Chem.Mol(hydrogenated)
    mol.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(mol)
    return Chem.MolToSmiles(without_nitrogen_stereo(Chem.RemoveHs(mol)))


def without_nitrogen_stereo(mol: Chem.Mol) -> Chem.Mol:
    """A copy without chiral nitrogens, which RDKit writes and embeds but does not read off 3D."""
    mol = Chem.Mol(mol)
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 7:
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    return Chem.MolFromSmiles(Chem.MolToSmiles(mol))


def handedness(hydrogenated: Chem.Mol, positions: np.ndarray) -> np.ndarray:
    """Sign of the volume that the first three neighbours of each stereocentre span with it."""
    tagged = [a for a in hydrogenated.GetAtoms() if a.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED]
    frames = [positions[[n.GetIdx() for n in a.GetNeighbors()[:3]]] - positions[a.GetIdx()] for a in tagged]
    return np.sign([np.linalg.det(frame) for frame in frames])


def on_grid(positions: np.ndarray) -> np.ndarray:
    """The nearest multiples of `GRID`, exact in float32 (fewer bits, smaller file)."""
    return np.round(positions / GRID) * GRID


def compute(smiles: str) -> dict:
    """Everything stored of one constitution, as JSON types."""
    mol, start = stereoisomer(smiles)
    numbers = start.atomic_numbers
    relaxed = relax(numbers, start.positions)
    check_identity(mol, start, relaxed)
    relaxed = relaxed - relaxed.mean(0)
    with warnings.catch_warnings():  # of a linear molecule any turn about its axis is as good
        warnings.filterwarnings("ignore", "Optimal rotation is not uniquely")
        superpose, _ = Rotation.align_vectors(relaxed, start.positions)
    turn = Rotation.random(rng=np.random.default_rng(conformer_seed(start.smiles, salt=1)))
    positions = on_grid(turn.apply(relaxed))
    labels = singlepoint(numbers, positions)
    if labels["lumo"] - labels["homo"] < SMALLEST_GAP:
        raise Rejected("small_gap")
    return {
        "smiles": start.smiles,
        "numbers": numbers.tolist(),
        "positions": positions.tolist(),
        "positions_mmff": on_grid(turn.apply(superpose.apply(start.positions))).tolist(),
        "energy": labels["energy"],
        "homo": labels["homo"],
        "lumo": labels["lumo"],
        "dipole": labels["dipole"].tolist(),
        "charges": labels["charges"].tolist(),
    }


def record(smiles: str) -> dict:
    """`compute`, with a failure turned into its reason."""
    try:
        return {"constitution": smiles, "status": "ok", **compute(smiles)}
    except Rejected as rejected:
        return {"constitution": smiles, "status": str(rejected)}
    except Unpredictable as failure:
        return {"constitution": smiles, "status": failure.status}
    except RuntimeError as failure:  # tblite: SCF not converged
        return {"constitution": smiles, "status": "scf_failed", "detail": str(failure)[:200]}


# --- all molecules


def read_cache(path: Path) -> Iterator[dict]:
    """Finished records; a last line cut off by a kill is dropped and will be computed again."""
    if path.exists():
        with path.open() as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)


def drop_partial_line(path: Path) -> None:
    if path.exists():
        text = path.read_bytes()
        if text and not text.endswith(b"\n"):
            path.write_bytes(text[: text.rfind(b"\n") + 1])


def run(todo: list[str], cache: Path, workers: int) -> None:
    """Compute what is missing on `workers` processes, appending each result as it comes."""
    columns = (
        TextColumn("GFN2-xTB"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    tally: Counter[str] = Counter()
    with ProcessPool(workers, max_tasks=500) as pool, cache.open("a") as out, Progress(*columns) as progress:
        bar = progress.add_task("", total=len(todo), note="")
        results = pool.map(record, todo, timeout=MOLECULE_SECONDS).result()
        for smiles in todo:
            try:
                result = next(results)
            except FutureTimeout:
                result = {"constitution": smiles, "status": "timeout"}
            except ProcessExpired:
                result = {"constitution": smiles, "status": "crashed"}
            out.write(json.dumps(result) + "\n")
            out.flush()
            tally[result["status"]] += 1
            progress.update(bar, advance=1, note=" ".join(f"{k} {n}" for k, n in tally.most_common()))


def assemble(records: list[dict]) -> dict[str, np.ndarray]:
    """The arrays of the data set, ordered by size and SMILES."""
    atoms = free_atom_energies()
    records = sorted(records, key=lambda r: (sum(z > 1 for z in r["numbers"]), r["smiles"]))
    counts = np.array([len(r["numbers"]) for r in records], dtype=np.int16)
    dipoles = np.array([r["dipole"] for r in records])
    bound = [r["energy"] - sum(atoms[z] for z in r["numbers"]) for r in records]
    columns = {
        "energy": [r["energy"] for r in records],
        "atomization_energy": bound,
        "homo": [r["homo"] for r in records],
        "lumo": [r["lumo"] for r in records],
        "gap": [r["lumo"] - r["homo"] for r in records],
        "mu": np.linalg.norm(dipoles, axis=1),
    }
    return {
        "id": np.arange(1, len(records) + 1, dtype=np.int32),
        "num_atoms": counts,
        "atomic_numbers": np.concatenate([r["numbers"] for r in records]).astype(np.uint8),
        "positions": np.concatenate([r["positions"] for r in records]).astype(np.float32),
        "positions_mmff": np.concatenate([r["positions_mmff"] for r in records]).astype(np.float32),
        "smiles": np.array([r["smiles"] for r in records]),
        "targets": np.round(np.array([columns[name] for name in TARGETS]).T, 6),
        "target_names": np.array(list(TARGETS)),
        "target_units": np.array(list(TARGETS.values())),
        "target_methods": np.array([METHOD] * len(TARGETS)),
        "vector_targets": np.round(dipoles, 5)[:, None].astype(np.float32),
        "vector_target_names": np.array(["dipole"]),
        "vector_target_units": np.array(["debye"]),
        "vector_target_methods": np.array([METHOD]),
        "atom_targets": np.round(np.concatenate([r["charges"] for r in records]), 4).astype(np.float32)[:, None],
        "atom_target_names": np.array(["charge"]),
        "atom_target_units": np.array(["e"]),
        "atom_target_methods": np.array([METHOD]),
    }


def write(arrays: dict[str, np.ndarray], path: Path, report: dict) -> None:
    """Write the archive beside its place and rename it, then the report with its checksum."""
    draft = path.with_suffix(".partial.npz")
    np.savez_compressed(draft, **arrays)
    draft.replace(path)
    report |= {"molecules": len(arrays["id"]), "bytes": path.stat().st_size}
    report |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).parent
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    parser.add_argument("--seed", type=int, default=9, help="seed of the enumeration")
    parser.add_argument("--limit", type=int, help="only this many constitutions, spread over all sizes")
    parser.add_argument("--out", type=Path, default=here / "xtb9.npz", help="archive to write")
    parser.add_argument("--cache", type=Path, default=here / "build" / "records.jsonl", help="finished molecules")
    options = parser.parse_args()

    share = 1.0 if options.limit is None else options.limit / sum(COUNTS.values())
    wanted = list(constitutions(options.seed, {size: math.ceil(share * count) for size, count in COUNTS.items()}))
    wanted = wanted[:: -(-len(wanted) // options.limit)] if options.limit else wanted
    options.cache.parent.mkdir(parents=True, exist_ok=True)
    drop_partial_line(options.cache)
    done = {r["constitution"] for r in read_cache(options.cache)}
    todo = sorted((s for s in wanted if s not in done), key=lambda s: zlib.crc32(s.encode()))
    print(f"{len(wanted)} constitutions, {len(wanted) - len(todo)} already computed")
    run(todo, options.cache, options.workers)

    chosen = set(wanted)
    records = [r for r in read_cache(options.cache) if r["constitution"] in chosen]
    outcomes = dict(Counter(r["status"] for r in records).most_common())
    versions = {name: version(name) for name in ("tblite", "ase", "rdkit", "numpy")}
    report = {
        "method": METHOD,
        "seed": options.seed,
        "constitutions": len(wanted),
        "outcomes": outcomes,
        "versions": versions,
    }
    write(assemble([r for r in records if r["status"] == "ok"]), options.out, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
