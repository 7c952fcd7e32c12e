"""What a label is called elsewhere, and the level of theory of well-known files."""

from __future__ import annotations

B3LYP, G4MP2, MP2, HF = "B3LYP/6-31G(2df,p)", "G4MP2", "RI-MP2/def2-TZVP", "HF/def2-TZVP"

UNITS = {  # of the targets of QM9, under torch_geometric's names and in its order
    **{"mu": "debye", "alpha": "bohr^3", "homo": "eV", "lumo": "eV", "gap": "eV", "r2": "bohr^2", "zpve": "eV"},
    **{"U0": "eV", "U": "eV", "H": "eV", "G": "eV", "Cv": "cal/(mol K)"},
    **{"U0_atom": "eV", "U_atom": "eV", "H_atom": "eV", "G_atom": "eV", "A": "GHz", "B": "GHz", "C": "GHz"},
}
TARGETS = tuple(UNITS)

ALIASES = {  # of other libraries, in lower case
    **{"u298": "U", "h298": "H", "g298": "G", "u298_atom": "U_atom", "h298_atom": "H_atom", "g298_atom": "G_atom"},
    **{"dipole_moment": "mu", "isotropic_polarizability": "alpha", "electronic_spatial_extent": "r2"},
    **{"energy_u0": "U0", "energy_u": "U", "enthalpy_h": "H", "free_energy": "G", "heat_capacity": "Cv"},
    **{f"rotational_constant_{name.lower()}": name for name in ("A", "B", "C")},
    **{name.lower(): name for name in TARGETS if name not in ("A", "B", "C")},
}
PREFIXES = ("hf_", "mp2_", "g4mp2_", "b3lyp_")

# Files that state no method, by their stem: of all labels, or by the beginning of the label's name.
METHODS: dict[str, dict[str, str]] = {
    **{f"qm9_b3lyp{end}": {"": B3LYP} for end in ("19", "_gap", "_u0atom_small")},
    **{f"qm9_g4mp2_{shard}": {"": G4MP2} for shard in ("00", "01", "02")},
    "qm9_rimp2": {"hf_": HF, "mp2_": MP2},
}


def property_of(name: str, method: str = "") -> str:
    """The property that a label's name stands for, under torch_geometric's name where it has one.

    A level of theory in front of the name is left out where the method says the same, so that nothing is lost.

    Example:
        >>> property_of("u298"), property_of("energy_U0"), property_of("my_label")
        ('U', 'U0', 'my_label')
        >>> property_of("hf_gap", method="HF/def2-TZVP"), property_of("hf_gap")
        ('gap', 'hf_gap')
    """
    bare = without_level(name) if method else name
    return ALIASES.get(bare.lower(), bare)


def without_level(name: str) -> str:
    """A label's name without the level of theory in front of it."""
    prefix = next((prefix for prefix in PREFIXES if name.lower().startswith(prefix)), "")
    return name[len(prefix) :]


def method_of(stem: str, name: str) -> str:
    """The level of theory of a label in a well-known file that states none, '' elsewhere."""
    for prefix, method in METHODS.get(stem, {}).items():
        if name.startswith(prefix):
            return method
    return ""
