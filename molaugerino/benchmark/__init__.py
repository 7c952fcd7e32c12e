"""Recipes that anybody can repeat, and the benchmark of learned against fixed equivariance."""
