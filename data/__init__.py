"""Embedded data sets, one folder each; how each was made stands in its prepare.py."""
