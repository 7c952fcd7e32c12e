"""Which molecules train the weights, which the law, and which are kept for checking."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from molaugerino.errors import UserError
from molaugerino.files import write_atomic

SMALLEST = 40
PARTS = ("train", "budget", "valid", "test")
FORMS = (  # of split files: ours by id, ours by row, TorchMD-Net's, SchNetPack's; "" where a form has no such part
    ("train_id", "budget_id", "valid_id", "test_id"),
    PARTS,
    ("idx_train", "", "idx_val", "idx_test"),
    ("train_idx", "", "val_idx", "test_idx"),
)


@dataclass(frozen=True)
class Split:
    """Row numbers of a data set, disjoint and sorted.

    Attributes:
        train: train the weights.
        budget: part of the training data that never updates weights; the law's budget is measured on it.
        valid: choose when to stop.
        test: reported, and used for nothing else; may be empty, as may the budget where no law is learned.
    """

    train: np.ndarray
    budget: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @property
    def checksum(self) -> str:
        parts = (self.train, self.budget, self.valid, self.test)
        return hashlib.sha256(b"|".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()

    def restricted(self, allowed: np.ndarray) -> Split:
        """The same split of fewer molecules.

        Args:
            allowed: (n,) True for the rows to keep.
        """
        return Split(*(part[allowed[part]] for part in astuple(self)))


def random_split(n: int, seed: int = 0, groups: np.ndarray | None = None, strata: np.ndarray | None = None) -> Split:
    """At most 2,000 test, 1,000 validation and 1,000 budget molecules, each at most a tenth or a twentieth.

    Args:
        n: molecules.
        seed: of the order.
        groups: (n,) molecules of one group stay together, such as those of one graph.
        strata: (n,) the numbers above are of each stratum, such as the molecules that have the same labels.

    Raises:
        UserError: for fewer than 40 molecules.
    """
    if n < SMALLEST:
        raise UserError(f"a data set needs at least {SMALLEST} molecules to be split, got {n}")
    rng = np.random.default_rng(seed)
    group = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    size = np.bincount(group)
    stratum = np.zeros(len(size), dtype=np.int64)
    if strata is not None:
        np.maximum.at(stratum, group, np.unique(strata, return_inverse=True)[1])
    part = np.zeros(len(size), dtype=np.int64)  # of each group: 0 to 3 in the order test, valid, budget, train
    for s in np.unique(stratum):
        members = np.flatnonzero(stratum == s)
        order = members[rng.permutation(len(members))]
        total = int(size[order].sum())
        ends = np.cumsum([min(2000, total // 10), min(1000, total // 20), min(1000, total // 20)])
        part[order] = np.searchsorted(ends, np.cumsum(size[order]), side="left")
    rows = [np.flatnonzero(part[group] == k) for k in range(4)]
    return Split(train=rows[3], budget=rows[2], valid=rows[1], test=rows[0])


def group_split(groups: np.ndarray, valid: int, budget: int, seed: int, first: np.ndarray) -> Split:
    """So many groups validate, so many are the budget, the others train, and none is kept for tests.

    Args:
        groups: (n,) what is equal for molecules that stay together, such as their SMILES.
        valid: groups.
        budget: groups.
        seed: of the choice.
        first: rows whose groups are the first to train.
    """
    group = np.unique(groups, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    last = np.isin(order, group[first])
    place = np.concatenate([order[~last], order[last]]).argsort()[group]
    part = np.searchsorted([valid, valid + budget], place, side="right")
    rows = [np.flatnonzero(part == k) for k in range(3)]
    return Split(train=rows[2], budget=rows[1], valid=rows[0], test=np.zeros(0, dtype=np.int64))


QM9 = 130_831  # molecules, the uncharacterised ones left out


def community_split(name: str, ids: np.ndarray) -> Split:
    """A split of QM9 in published comparisons, of its 130,831 molecules in the order of their ids.

    The budget is 1,000 of its training molecules.

    Args:
        name: one of `COMMUNITY`.
        ids: of the data set.

    Raises:
        UserError: for other molecules than those of QM9.
    """
    if len(ids) != QM9 or (np.diff(ids) <= 0).any():
        raise UserError(
            f"the split {name!r} is one of QM9's {QM9:,} molecules by rising id, got {len(ids):,} molecules; "
            "use --split random"
        )
    return COMMUNITY[name]()


def _ordered(order: np.ndarray, train: int, valid: int) -> Split:
    """The first molecules of an order train, the next validate, the rest test; the budget is taken from the first."""
    trained, validating, test = np.split(order, np.cumsum([train, valid]))
    kept = np.random.default_rng(0).permutation(trained)
    return Split(*(np.sort(part) for part in (kept[1000:], kept[:1000], validating, test)))


COMMUNITY: dict[str, Callable[[], Split]] = {  # numpy's old generator is part of what two of them are
    "dimenet": lambda: _ordered(np.random.RandomState(42).permutation(QM9), 110_000, 10_000),
    "torchmd": lambda: _ordered(np.random.default_rng(1).permutation(QM9), 110_000, 10_000),
    "cormorant": lambda: _ordered(np.random.RandomState(0).permutation(QM9), 100_000, 17_748),
}


def scaffolds(smiles: np.ndarray | None, name: str) -> np.ndarray:
    """(n,) Bemis-Murcko scaffolds as SMILES, by RDKit; of a molecule without rings its own SMILES.

    Raises:
        UserError: where a molecule has no SMILES that RDKit reads.
    """
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    found = []
    for row, text in enumerate([] if smiles is None else smiles.tolist()):
        mol = MolFromSmiles(text) if text else None
        if mol is None:
            raise UserError(f"{name}: row {row} has SMILES {text!r}, and a scaffold needs one; use --split graph")
        found.append(MurckoScaffoldSmiles(mol=mol) or text)
    if not found:
        raise UserError(f"{name} has no SMILES, and scaffolds need them; use --split graph")
    return np.array(found)


def trained_ids(path: Path) -> np.ndarray:
    """Ids of the molecules that a run has seen, for training, for its law or for validation.

    Raises:
        UserError: where the file of its split is missing, damaged, or has no ids.
    """
    arrays = _arrays(path)
    missing = [key for key in FORMS[0] if key not in arrays]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}, so nothing tells what was trained on; train again")
    return np.concatenate([arrays[key] for key in FORMS[0][:3]])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise UserError(f"{path} is not a readable split ({error}); give another, or train again to make one") from None


def save_split(split: Split, path: Path, ids: np.ndarray) -> None:
    """Write the rows of each part, and the ids of the molecules, by which other data sets can be split alike."""
    content = io.BytesIO()
    arrays = {part: getattr(split, part) for part in PARTS}
    np.savez_compressed(content, **arrays, **{f"{part}_id": ids[rows] for part, rows in arrays.items()})
    write_atomic(path, content.getvalue())


def load_split(path: Path, ids: np.ndarray, by_id: bool = False) -> Split:
    """Read a split of the molecules with these ids, checked to be disjoint and in range.

    Besides our own form those of TorchMD-Net (idx_train, idx_val, idx_test) and SchNetPack (train_idx, val_idx,
    test_idx) are read; they have no budget, for which a twentieth of the training molecules is taken.

    Args:
        path: a .npz file.
        ids: (n,) of the data set.
        by_id: of our own form take the ids, not the rows: for another data set than the split was made for. Molecules
            that the split does not know are used for nothing.

    Raises:
        UserError: where the file is missing, damaged, of another form or contradicts itself.
    """
    n, arrays = len(ids), _arrays(path)
    form = next((f for f in FORMS[not by_id :] if all(key in arrays for key in f if key)), None)
    if form is None:
        raise UserError(
            f"{path} holds {', '.join(arrays)}; a split needs {' or '.join(', '.join(f) for f in FORMS[1:])}"
        )
    parts = [arrays[key] if key else np.zeros(0, dtype=np.int64) for key in form]
    if form == FORMS[0]:
        parts = [np.flatnonzero(np.isin(ids, part)) for part in parts]
    rows = np.concatenate(parts)
    if rows.dtype.kind not in "iu" or len(np.unique(rows)) != len(rows) or rows.min(initial=0) < 0:
        raise UserError(f"{path} does not split {n} molecules: rows repeat, or are no row numbers")
    if rows.max(initial=0) >= n:
        raise UserError(f"{path} does not split {n} molecules: rows lie outside 0..{n - 1}")
    train, budget, valid, test = (np.sort(part.astype(np.int64)) for part in parts)
    if not form[1]:
        kept = np.random.default_rng(0).permutation(train)
        budget, train = np.sort(kept[: len(kept) // 20]), np.sort(kept[len(kept) // 20 :])
    return Split(train, budget, valid, test)
