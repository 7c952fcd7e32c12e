"""The Python of the README runs as it stands there, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tyro

from molaugerino.cli.main import VERBS
from molaugerino.config import ImageConfig

README = (Path(__file__).parent.parent / "README.md").read_text()
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


IDS = ["predict", "other programs", "train and predict", "regressor", "core", "layers"]
SLOW = {"train and predict": pytest.mark.slow}


@pytest.mark.parametrize(
    "script", [pytest.param(s, id=i, marks=SLOW.get(i, ())) for s, i in zip(SCRIPTS, IDS, strict=True)]
)
def test_python_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(script.splitlines()) <= 20
    exec(compile(script, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_verbs_and_flags_exist():
    for verb, config in VERBS.items():
        assert f"molaugerino {verb}" in README
        with pytest.raises(SystemExit):
            tyro.cli(config, args=["--help"])
    flags = set(re.findall(r"`(--[a-z-]+)", README))
    settings = (Path(__file__).parent.parent / "molaugerino" / "config").glob("*.py")
    known = {flag for path in settings for flag in re.findall(r"--[a-z-]+", path.read_text())}
    known |= {f"--{name}" for config in (*VERBS.values(), ImageConfig) for name in config.__dataclass_fields__}
    assert flags <= known | {"--help", "--index-url"}


def test_every_block_of_results_is_filled():
    for name in re.findall(r"<!-- end (\w+) -->", README):
        assert re.search(rf"<!-- {name} -->\n\|.*<!-- end {name} -->", README, re.DOTALL), name
