"""Valid molecules of one to nine heavy atoms (C, N, O, F), grown atom by atom.

Up to five heavy atoms every constitution is made: `grow_all` attaches an atom to every
molecule of one atom fewer, then closes rings and raises bond orders until nothing new
appears. From six on `grow_random` samples the same moves, starting one time in three
from an aromatic ring. What `is_sensible` refuses is left out of both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from rdkit import Chem, rdBase

HEAVY_ELEMENTS = (6, 7, 8, 9)
ELEMENT_WEIGHTS = (0.66, 0.15, 0.15, 0.04)
VALENCE = {6: 4, 7: 3, 8: 2, 9: 1}
EXHAUSTIVE_SIZE = 5
ATTEMPTS = 200  # per wanted number of rings, so that hard ones are not crowded out by easy ones
RING_COUNT_WEIGHTS = (0.22, 0.38, 0.28, 0.12)
RING_SIZE_WEIGHTS = {3: 0.13, 4: 0.09, 5: 0.24, 6: 0.46, 7: 0.08}

AROMATIC_RINGS = (
    "c1ccccc1", "c1ccccc1", "c1ccccc1", "c1ccncc1", "c1ccncc1", "c1cncnc1", "c1cnccn1", "c1ccnnc1", "c1ncncn1",
    "c1cc[nH]c1", "c1ccoc1", "c1c[nH]cn1", "c1cn[nH]c1", "c1cocn1", "c1cnoc1",
    "c1nnc[nH]1", "c1cn[nH]n1", "c1nnco1", "c1ncno1", "c1nn[nH]n1", "c1conn1", "c1nonc1",
)  # fmt: skip
NITRO = "[N+](=O)[O-]"

# Name -> SMARTS of what is left out: bonds that nobody isolates, and strain beyond reason.
FORBIDDEN = {
    "peroxide or hypofluorite": "[#8]~[#8,F]",
    "fluoroamine or fluorine": "[#7,F]F",
    "aromatic three- or four-ring": "[a;r3,r4]",
    "diazene with a hydrogen": "[NX2H]=[NX2]",
    "ketenimine": "[CX3]=[CX2]=[NX2]",
    "carbon-bound nitroso": "[#6][NX2]=O",
    "nitroalkyne": "C#C[N+](=O)[O-]",
    "alpha-lactone or alpha-lactam": "[#6;r3](=O)[#7,#8;r3]",
    "methylene oxirane or aziridine": "[#6;r3](=[#6;!r3])[#7,#8;r3]",
    "chain of three nitrogens": "[#7;!a]~[#7;!a]~[#7;!a]",
    "chain N-N-O or N-O-N": "[N;!a;+0]-[N;!a]-[O;!a]",
    "N-O-N": "[#7]-[O;!a]-[#7]",
    "O-N-O ester": "[O;!a]-[N;+0;!a]-[O;!a]",
    "geminal diol, aminol or diamine": "[CX4;!$(C(F)(F)F)]([OH,NH2])[OH,NH2]",
    "fluoroalcohol or fluoroamine carbon": "[CX4](F)[OH,NH2]",
    "enol": "[CX3;!a]=[CX3;!a][OH]",
    "ynol or ynamine": "C#C[OH,NH2,NH]",
    "ketene aminal or acetal": "[CX3;!a]=[CX3;!a]([OH,NH2])[OH,NH2]",
    "carbonic or carbamic acid": "[CX3](=O)([OH])[O,N,F]",
    "triple bond in a ring": "[R]#[R]",
    "cumulene in a ring": "[R]=[R]=[R]",
    "long cumulene": "*=*=*=*",
    "exocyclic cumulene": "[R]=[C]=[!O]",
    "cyclobutadiene": "[r4]1=[r4][r4]=[r4]1",
    "unsaturated hetero three-ring": "[#7,#8;r3]1~[r3]=[r3]1",
    "nitrogen imine three-ring": "[r3]1[r3]=[#7;r3]1",
    "two sp2 atoms and a double bond out of a three-ring": "[r3;X3]1(=[!r3])[r3;X3][r3;X3]1",
    "exocyclic double bond on a three-ring other than C=O, C=C": "[r3]=[!#6;!#8;!r3]",
    "three-ring with two heteroatoms": "[#7,#8,#9;r3][#7,#8;r3]",
    "four-ring with neighbouring heteroatoms": "[#7,#8;r4;!a][#7,#8;r4;!a]",
}
_FORBIDDEN = {name: Chem.MolFromSmarts(smarts) for name, smarts in FORBIDDEN.items()}


def is_sensible(mol: Chem.Mol) -> bool:
    """No forbidden group, no strain beyond that of bicyclo[2.1.0]pentane and norbornene."""
    return not any(mol.HasSubstructMatch(query) for query in _FORBIDDEN.values()) and not _is_overstrained(mol)


def _is_overstrained(mol: Chem.Mol) -> bool:
    rings = [set(ring) for ring in mol.GetRingInfo().AtomRings()]
    for i, first in enumerate(rings):
        for second in rings[:i]:
            shared = first & second
            sizes = sorted((len(first), len(second)))
            if sizes[0] <= 4 and len(shared) > 1 and _has_sp2(mol, first | second if sizes[1] <= 4 else shared):
                return True  # small ring fused to another one, with a double bond at the fusion
            if sizes[1] == 3 and shared:
                return True  # bicyclobutane, spiropentane
            if len(shared) > 2 and _has_bridgehead_double_bond(mol, first, second):
                return True  # Bredt's rule
    crowded = (sum(k in ring and len(ring) <= 4 for ring in rings) > 2 for k in range(mol.GetNumAtoms()))
    return any(crowded)


def _has_sp2(mol: Chem.Mol, atoms: set[int]) -> bool:
    sp3 = Chem.HybridizationType.SP3
    carbons = [atom for k in atoms if (atom := mol.GetAtomWithIdx(k)).GetAtomicNum() == 6]
    return any(atom.GetHybridization() != sp3 for atom in carbons)


def _has_bridgehead_double_bond(mol: Chem.Mol, first: set[int], second: set[int]) -> bool:
    """Bridgeheads are the atoms of the shared path that also have a neighbour in each ring alone."""
    for k in first & second:
        atom = mol.GetAtomWithIdx(k)
        around = {neighbour.GetIdx() for neighbour in atom.GetNeighbors()}
        is_bridgehead = around & (first - second) and around & (second - first)
        if is_bridgehead and any(bond.GetBondType() != Chem.BondType.SINGLE for bond in atom.GetBonds()):
            return True
    return False


# --- moves: each takes a molecule and returns a new one, or None where it does not apply


def _free(atom: Chem.Atom) -> int:
    return atom.GetTotalNumHs()


def _finish(mol: Chem.RWMol) -> Chem.Mol | None:
    try:
        Chem.SanitizeMol(mol)
    except ValueError:  # RDKit's valence and kekulisation errors
        return None
    return mol.GetMol()


def _use_hydrogens(atom: Chem.Atom, count: int) -> None:
    if atom.GetNumExplicitHs():  # [nH] keeps its hydrogen explicit
        atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() - count))


def attach(mol: Chem.Mol, site: int, element: int, order: int = 1) -> Chem.Mol | None:
    """Bind a new atom to atom `site` with a bond of the given order."""
    grown = Chem.RWMol(mol)
    atom = grown.GetAtomWithIdx(site)
    if _free(atom) < order or VALENCE[element] < order or (order > 1 and atom.GetIsAromatic()):
        return None
    new = grown.AddAtom(Chem.Atom(element))
    grown.AddBond(site, new, Chem.BondType.values[order])
    _use_hydrogens(atom, order)
    return _finish(grown)


def attach_fragment(mol: Chem.Mol, site: int, fragment: Chem.Mol, anchor: int) -> Chem.Mol | None:
    """Bind atom `anchor` of a fragment to atom `site` with a single bond."""
    if not _free(mol.GetAtomWithIdx(site)):
        return None
    grown = Chem.RWMol(Chem.CombineMols(mol, fragment))
    other = mol.GetNumAtoms() + anchor
    grown.AddBond(site, other, Chem.BondType.SINGLE)
    for k in (site, other):
        _use_hydrogens(grown.GetAtomWithIdx(k), 1)
        grown.GetAtomWithIdx(k).SetNumRadicalElectrons(0)
    return _finish(grown)


def close_ring(mol: Chem.Mol, first: int, second: int) -> Chem.Mol | None:
    """Bind two atoms that are not neighbours with a single bond."""
    grown = Chem.RWMol(mol)
    ends = grown.GetAtomWithIdx(first), grown.GetAtomWithIdx(second)
    if grown.GetBondBetweenAtoms(first, second) or not (_free(ends[0]) and _free(ends[1])):
        return None
    grown.AddBond(first, second, Chem.BondType.SINGLE)
    for atom in ends:
        _use_hydrogens(atom, 1)
    return _finish(grown)


def raise_order(mol: Chem.Mol, bond_index: int) -> Chem.Mol | None:
    """Turn a single bond into a double one, or a double one into a triple one."""
    grown = Chem.RWMol(mol)
    bond = grown.GetBondWithIdx(bond_index)
    if bond.GetIsAromatic() or bond.GetBondTypeAsDouble() > 2:
        return None
    if not (_free(bond.GetBeginAtom()) and _free(bond.GetEndAtom())):
        return None
    bond.SetBondType(Chem.BondType.values[int(bond.GetBondTypeAsDouble()) + 1])
    return _finish(grown)


# --- enumeration


def grow_all(size: int) -> list[str]:
    """Canonical SMILES of every sensible constitution of 1 to `size` heavy atoms, sorted."""
    with rdBase.BlockLogs():
        layer = {Chem.MolToSmiles(_atom(z)) for z in HEAVY_ELEMENTS}
        found = set(layer)
        for _ in range(size - 1):
            attached = {
                Chem.MolToSmiles(grown)
                for smiles in layer
                for mol in [Chem.MolFromSmiles(smiles)]
                for site in range(mol.GetNumAtoms())
                for z in HEAVY_ELEMENTS
                if (grown := attach(mol, site, z)) is not None
            }
            layer = _closure(attached)
            found |= layer
        return sorted(smiles for smiles in found if is_sensible(Chem.MolFromSmiles(smiles)))


def _atom(z: int) -> Chem.Mol:
    mol = Chem.RWMol()
    mol.AddAtom(Chem.Atom(z))
    Chem.SanitizeMol(mol)
    return mol.GetMol()


def _closure(seeds: set[str]) -> set[str]:
    """Everything that closing rings and raising bonds makes of the seeds."""
    done: set[str] = set()
    queue = sorted(seeds)
    while queue:
        smiles = queue.pop()
        if smiles in done:
            continue
        done.add(smiles)
        mol = Chem.MolFromSmiles(smiles)
        count = mol.GetNumAtoms()
        changed = [raise_order(mol, b) for b in range(mol.GetNumBonds())]
        changed += [close_ring(mol, i, j) for i in range(count) for j in range(i)]
        queue += [Chem.MolToSmiles(new) for new in changed if new is not None]
    return done


def grow_random(rng: random.Random, size: int, rings: int) -> str | None:
    """Canonical SMILES of one random constitution of `size` heavy atoms and at least `rings` rings.

    None where growth got stuck or ended in something that is not sensible.
    """
    if rings and rng.random() < 0.3:
        mol = Chem.MolFromSmiles(rng.choice([s for s in AROMATIC_RINGS if Chem.MolFromSmiles(s).GetNumAtoms() <= size]))
    else:
        mol = _atom(rng.choices(HEAVY_ELEMENTS[:3], (0.9, 0.05, 0.05))[0])
    for _ in range(8 * size):
        left = size - mol.GetNumAtoms()
        missing = rings - mol.GetRingInfo().NumRings()
        if left == 0 and missing <= 0 and rng.random() < 0.15:
            break
        grown = _random_move(rng, mol, left, missing)
        mol = mol if grown is None else grown
    complete = mol.GetNumAtoms() == size and mol.GetRingInfo().NumRings() >= rings
    return Chem.MolToSmiles(mol) if complete and is_sensible(mol) else None


def _random_move(rng: random.Random, mol: Chem.Mol, left: int, missing_rings: int) -> Chem.Mol | None:
    site = rng.randrange(mol.GetNumAtoms())
    dice = rng.random()
    if dice < 0.35:
        return _random_ring(rng, mol, site) if missing_rings > 0 else None
    if dice < 0.44:
        return raise_order(mol, rng.randrange(mol.GetNumBonds())) if mol.GetNumBonds() else None
    if dice < 0.45 and left >= 3:
        return attach_fragment(mol, site, Chem.MolFromSmiles(NITRO, sanitize=False), 0)
    if dice < 0.47 and left >= 5:
        ring = Chem.MolFromSmiles(
            rng.choice([s for s in AROMATIC_RINGS if Chem.MolFromSmiles(s).GetNumAtoms() <= left])
        )
        return attach_fragment(mol, site, ring, rng.randrange(ring.GetNumAtoms()))
    if left:
        element = rng.choices(HEAVY_ELEMENTS, ELEMENT_WEIGHTS)[0]
        return attach(mol, site, element, rng.choices((1, 2, 3), (0.85, 0.12, 0.03))[0])
    return None


def _random_ring(rng: random.Random, mol: Chem.Mol, site: int) -> Chem.Mol | None:
    distances = Chem.GetDistanceMatrix(mol)[site]
    size = rng.choices(tuple(RING_SIZE_WEIGHTS), tuple(RING_SIZE_WEIGHTS.values()))[0]
    partners = [k for k, distance in enumerate(distances) if int(distance) == size - 1]
    return close_ring(mol, site, rng.choice(partners)) if partners else None


def constitutions(seed: int, counts: dict[int, int]) -> Iterator[str]:
    """Every small constitution, then distinct random ones until each size has its count.

    Args:
        seed: seed of the random part.
        counts: heavy atoms -> how many constitutions to draw, for sizes above `EXHAUSTIVE_SIZE`.

    Yields:
        Canonical SMILES without stereo, none twice.
    """
    yield from grow_all(EXHAUSTIVE_SIZE)
    rng = random.Random(seed)
    for size, count in sorted(counts.items()):
        seen: set[str] = set()
        while len(seen) < count:
            rings = rng.choices(range(4), RING_COUNT_WEIGHTS)[0]
            with rdBase.BlockLogs():
                attempts = (grow_random(rng, size, rings) for _ in range(ATTEMPTS))
                smiles = next(filter(None, attempts), None)
            if smiles is not None and smiles not in seen:
                seen.add(smiles)
                yield smiles
