"""What the documents of the repository say in code: blocks, commands, flags."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from molaugerino.cli.main import VERBS
from molaugerino.config import EquivarianceConfig, ImageConfig, RecipeConfig

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"(?:^<!-- ([^\n]*?) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ENDS = re.compile(r"\|\||&&|[|;&]|\d?>")  # of a command in a line of a shell


class Block(NamedTuple):
    """A fenced block: the comment right before it ("not run: why"), its language and what stands in it."""

    note: str
    language: str
    body: str


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in FENCED.findall(text)]


def commands(body: str) -> Iterator[list[str]]:
    """What `molaugerino` is called with in a block of shell."""
    for line in body.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "molaugerino" in words:
            words = words[words.index("molaugerino") + 1 :]
            yield words[: next((k for k, word in enumerate(words) if ENDS.fullmatch(word)), None)]


def flags(text: str) -> set[str]:
    """Flags in backticks."""
    return set(re.findall(r"`(--[a-z-]+)", text))


def known_flags() -> set[str]:
    """Those that any verb takes."""
    settings = (ROOT / "molaugerino" / "config").glob("*.py")
    known = {flag for path in settings for flag in re.findall(r"--[a-z-]+", path.read_text())}
    return known | {
        f"--{name}"
        for config in (*VERBS.values(), ImageConfig, RecipeConfig, EquivarianceConfig)
        for name in getattr(config, "__dataclass_fields__", ())
    }
