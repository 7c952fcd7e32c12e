"""What all tables are made of."""

from __future__ import annotations

from statistics import mean, pstdev


def spread(values: list[float], digits: int) -> str:
    """Mean +- standard deviation; the mean alone where the digits shown do not differ."""
    deviation = f"{pstdev(values):.{digits}f}"
    return f"{mean(values):.{digits}f}" + (f" +- {deviation}" if float(deviation) else "")


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
