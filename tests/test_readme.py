"""The Python of the README runs as it stands there, and its commands exist."""

from __future__ import annotations

import re

import pytest
import tyro

from molaugerino.cli.main import VERBS, main
from tests.documents import ROOT, blocks, commands, flags, known_flags

README = (ROOT / "README.md").read_text()
SCRIPTS = [block.body for block in blocks(README) if block.language == "python"]


IDS = ["predict", "other programs", "train and predict", "regressor", "core", "layers"]
SLOW = dict.fromkeys(("train and predict", "regressor"), pytest.mark.slow)


@pytest.mark.parametrize(
    "script", [pytest.param(s, id=i, marks=SLOW.get(i, ())) for s, i in zip(SCRIPTS, IDS, strict=True)]
)
def test_python_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(script.splitlines()) <= 20
    exec(compile(script, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_the_first_command_gives_what_stands_below_it(capsys):
    """To a hundredth: the last digits are those of one computer."""
    command, shown = blocks(README)[:2]
    [called] = commands(command.body.replace(".venv/bin/molaugerino", "molaugerino"))
    assert main(called) == 0
    given, told = capsys.readouterr().out.split(), shown.body.split()
    assert len(given) == len(told)
    for mine, theirs in zip(given, told, strict=True):
        assert mine == theirs or float(mine) == pytest.approx(float(theirs), abs=0.01)


def test_verbs_and_flags_exist():
    for verb, config in VERBS.items():
        assert f"molaugerino {verb}" in README
        with pytest.raises(SystemExit):
            tyro.cli(config, args=["--help"])
    assert flags(README) <= known_flags() | {"--help", "--index-url"}


def test_every_block_of_results_is_filled():
    for name in re.findall(r"<!-- end (\w+) -->", README):
        block = README.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end {name} -->")[0]
        assert any(line.startswith("| ") for line in block.splitlines()), name
