"""Prediction on a Ray cluster."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from molaugerino.cli.main import main

CLUSTER = """
import os, signal, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster

def workers():
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                yield int(folder.name)
        except OSError:
            pass

def kill_one():
    while not list(Path("out.csv.parts").glob("*.jsonl")):
        time.sleep(0.02)
    os.kill(next(workers()), signal.SIGKILL)
    print("killed one", flush=True)

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    from molaugerino.cli import predict
    from molaugerino.cli.main import main
    from molaugerino.predict import on_ray, predictor
    for module in (predict, on_ray, predictor):
        module.CHUNK = 50
    threading.Thread(target=kill_one, daemon=True).start()
    code = main([*sys.argv[1:], "--engine", "ray", "--out", "out.csv"])
    ray.shutdown()
    cluster.shutdown()
    sys.exit(code)
"""


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="the extra [ray] is installed")
def test_without_ray(trained, capsys):
    assert main(["predict", "C", "--checkpoint", str(trained), "--engine", "ray"]) == 2
    assert "pip install 'molaugerino[ray]'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra [ray] is not installed")
class TestRay:
    def test_a_cluster_of_which_a_worker_dies(self, trained, tmp_path, monkeypatch):
        """Same rows, same values."""
        for module in ("molaugerino.cli.predict", "molaugerino.predict.predictor"):
            monkeypatch.setattr(f"{module}.CHUNK", 50)
        lines = [f"{'C' * (k % 6)}{s}\n" for k, s in enumerate(["CO", "N", "C(F)O", "C#N", "xx"] * 120)]
        (tmp_path / "in.smi").write_text("".join(lines))
        (tmp_path / "program.py").write_text(CLUSTER)
        arguments = ["predict", "in.smi", "--checkpoint", str(trained), "--isomers", "1"]
        monkeypatch.chdir(tmp_path)
        assert main([*arguments, "--out", "local.csv", "--jobs", "1"]) == 0
        run = subprocess.run([sys.executable, "program.py", *arguments], capture_output=True, text=True, timeout=400)
        assert run.returncode == 0, run.stderr
        assert "killed one" in run.stdout
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()

    def test_no_cluster(self, trained, tmp_path):
        command = [sys.executable, "-m", "molaugerino", "predict", "C", "--checkpoint", str(trained), "--engine", "ray"]
        elsewhere = os.environ | {"RAY_TMPDIR": str(tmp_path)}  # no trace of clusters that were
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=elsewhere, timeout=200)
        assert run.returncode == 2
        assert "no Ray cluster" in run.stderr
        assert "Traceback" not in run.stderr
