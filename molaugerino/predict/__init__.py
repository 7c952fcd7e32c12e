"""SMILES in, properties out."""
