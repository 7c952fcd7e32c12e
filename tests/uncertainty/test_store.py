"""Calibrations on disk, whole and tampered with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch

from molaugerino.errors import UserError
from molaugerino.uncertainty import Answers, Calibration, Domain, Latent, coverage, load_calibration, save_calibration
from molaugerino.uncertainty.store import FILE, _digest

MODEL = "a" * 64


def answered(n, seed, channels=2):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, channels, generator=generator)
    return Answers(values, values.abs() / 10, torch.randn(n, 3, generator=generator))


@pytest.fixture
def calibration():
    found = answered(300, 0)
    labels = found.values + 0.1 * torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    labels[20:, 1] = torch.nan
    domain = Domain(20, 2.0, 4.0, 0.8, 1.1)
    return Calibration(Latent.of(found.hidden), domain, {}).with_route("mmff", found, labels)


def test_what_is_saved_is_loaded(calibration, tmp_path):
    save_calibration(tmp_path, calibration, MODEL)
    loaded = load_calibration(tmp_path, MODEL, 2)
    assert loaded.domain == calibration.domain
    assert loaded.routes["mmff"][1] is None, "20 labels are too few"
    new = answered(50, 2)
    before, after = (c.half_widths("mmff", new, None, 0.9) for c in (calibration, loaded))
    np.testing.assert_allclose(before, after, rtol=1e-5)
    assert np.isfinite(after[:, 0]).all()
    assert np.isnan(after[:, 1]).all()
    assert np.isnan(loaded.half_widths("given", new, None, 0.9)).all(), "no other route"


def test_coverage_counts_labels(calibration):
    new = answered(400, 3)
    labels = new.values + 0.1 * torch.randn(400, 2, generator=torch.Generator().manual_seed(4))
    labels[:100, 0] = torch.nan
    first, second = coverage(calibration, "mmff", new, labels, 0.9)
    assert second is None
    assert (first.calibrated, first.tested) == (300, 300)
    assert first.standard_error == pytest.approx(np.sqrt(0.09 * 2 / 300))
    assert first.found == pytest.approx(0.9, abs=4 * first.standard_error)
    assert first.width == pytest.approx(2 * calibration.half_widths("mmff", new, None, 0.9)[100:, 0].mean())
    assert coverage(calibration, "xtb", new, labels, 0.9) == [None, None]


def test_none_where_there_is_none(tmp_path):
    assert load_calibration(tmp_path, MODEL, 2) is None


def tampered(path, change):
    """The file with its content changed, and a digest that fits it."""
    with safetensors.safe_open(path, "numpy") as file:
        about, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, about)
    about["digest"] = _digest(tensors, about)
    path.write_bytes(safetensors.numpy.save(tensors, about))


def facts(about, **changes):
    about["facts"] = json.dumps(json.loads(about["facts"]) | changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, a: a.update(schema="2"), "has schema '2', this version reads '1'"),
        (lambda t, a: a.update(model="b" * 64), "belongs to another model"),
        (lambda t, a: t.pop("latent.mean"), "does not hold a calibration"),
        (lambda t, a: t.update({"latent.mean": np.zeros(4, np.float32)}), "have shapes"),
        (lambda t, a: t["latent.mean"].fill(np.nan), "not finite"),
        (lambda t, a: t.update({"0.0.scores": np.zeros(300)}), "not float32"),
        (lambda t, a: t.update({"0.0.coefficients": np.zeros((10, 2), np.float32)}), "interval 0.0 has shapes"),
        (lambda t, a: t["0.0.coefficients"].fill(-1), "interval 0.0 has shapes"),
        (lambda t, a: t["0.0.fold"].fill(200), "interval 0.0 has shapes"),
        (lambda t, a: a.pop("facts"), "does not hold a calibration"),
        (lambda t, a: a.update(facts="[1"), "does not hold a calibration"),
        (lambda t, a: facts(a, routes={"mmff": 3}), "3 intervals for 2 channels"),
        (lambda t, a: facts(a, routes=7), "does not hold a calibration"),
        (lambda t, a: facts(a, domain={"max_atoms": 3}), "does not hold a calibration"),
        (lambda t, a: facts(a, domain=dict.fromkeys(Domain.__dataclass_fields__, "x")), "are no numbers"),
    ],
)
def test_what_is_no_calibration(calibration, tmp_path, change, message):
    save_calibration(tmp_path, calibration, MODEL)
    tampered(tmp_path / FILE, change)
    with pytest.raises(UserError, match=message):
        load_calibration(tmp_path, MODEL, 2)


def test_every_changed_byte_is_noticed(calibration, tmp_path):
    save_calibration(tmp_path, calibration, MODEL)
    content = (tmp_path / FILE).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(content), 60):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / FILE).write_bytes(changed)
        with pytest.raises(UserError, match="calibration"):
            load_calibration(tmp_path, MODEL, 2)


def test_a_pickle_is_not_opened(tmp_path):
    (tmp_path / FILE).write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(UserError, match="not a readable calibration"):
        load_calibration(tmp_path, MODEL, 2)
