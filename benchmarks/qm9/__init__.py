"""Recipes for QM9 and what others have published, as package `molaugerino.recipes`."""
