"""What all tables are made of."""

from __future__ import annotations

from statistics import mean, stdev


def spread(values: list[float], digits: int) -> str:
    """Mean +- standard deviation of a sample; the mean alone where the digits shown do not differ."""
    deviation = f"{stdev(values) if len(values) > 1 else 0.0:.{digits}f}"
    return f"{mean(values):.{digits}f}" + (f" +- {deviation}" if float(deviation) else "")


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
