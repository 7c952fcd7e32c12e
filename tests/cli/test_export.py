"""molaugerino export, as a user meets it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from molaugerino.cli.main import main
from tests.conftest import archive

GOLDEN = Path(__file__).parent.parent / "golden" / "0.2"

pytestmark = pytest.mark.usefixtures("untyped")


def test_it_says_how_well_the_file_agrees(tmp_path, capsys):
    np.savez(tmp_path / "mine.npz", **archive(count=20))
    data = "--data", str(tmp_path / "mine.npz")
    assert main(["export", str(GOLDEN / "law"), "--out", str(tmp_path / "m.pt2"), *data]) == 0
    out = capsys.readouterr().out
    columns = "gap[eV], dipole_x[debye], dipole_y[debye], dipole_z[debye]"
    assert f"m.pt2: point-transformer for {columns}; on 20 molecules of mine it differs from the model" in out
    [difference] = re.findall(r"by at most (\S+) of the larger of \|value\| and 10 spreads", out)
    assert float(difference) < 1e-6
    model = torch.export.load(tmp_path / "m.pt2").module()
    assert model(torch.tensor([[8, 1, 1]]), torch.rand(1, 3, 3)).shape == (1, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "m.pt2"], "no model 'nowhere'"),
        ([str(GOLDEN / "law"), "--out", "m.onnx"], "--out writes .pt2, got m.onnx"),
        ([str(GOLDEN / "law"), "--out", "mine.pt2"], "mine.pt2 exists already"),
        ([str(GOLDEN / "law"), "--out", "m.pt2", "--data", "none.npz"], "no data file"),
    ],
)
def test_mistakes(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.pt2").write_text("mine")
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["mine.pt2"]
