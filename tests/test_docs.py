"""The guides run as they stand, their commands exist, and the reference is made without a warning."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys

import pytest

from molaugerino.cli.main import parse
from tests.documents import FENCED, ROOT, blocks, commands, flags, known_flags

DOCS = ROOT / "docs"
GUIDES = sorted(path for path in DOCS.glob("*.md") if path.name != "README.md")
OTHERS = {"--keep", "--signal", "--out"}  # of gzip, timeout and docs/build.py
each_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)


def test_there_are_guides():
    assert len(GUIDES) >= 3


@each_guide
def test_guide_is_linked(guide):
    assert f"(docs/{guide.name})" in (ROOT / "README.md").read_text()
    assert f"]({guide.name})" in (DOCS / "README.md").read_text()


@each_guide
def test_commands_exist(guide):
    text = guide.read_text()
    called = [call for block in blocks(text) if block.language == "sh" for call in commands(block.body)]
    assert called
    for verb, *rest in called:
        parse(verb, rest)  # exits where it does not take them
    assert flags(text) <= known_flags() | OTHERS


@each_guide
def test_links_lead_somewhere(guide):
    for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]*)?\)", FENCED.sub("", guide.read_text())):
        assert (DOCS / link).exists(), link


@each_guide
def test_blocks_are_of_known_kinds(guide):
    """Whoever adds a block says how it is tested."""
    for block in blocks(guide.read_text()):
        assert block.language in ("sh", "python", "text")
        assert not block.note or block.note.startswith(("not run: ", "digits of one run"))


@pytest.mark.slow
@each_guide
def test_guide_runs(guide, tmp_path, monkeypatch):
    """Its blocks in order, in one folder; what it shows is what comes out."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    program = tmp_path / "molaugerino"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m molaugerino "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    names, printed = {"__name__": "guide"}, ""
    for block in blocks(guide.read_text()):
        if block.note.startswith("not run"):
            continue
        if block.language == "text":
            assert block.note or [line.split() for line in block.body.splitlines()] == shown(block.body, printed)
        elif block.language == "sh":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.body], capture_output=True, text=True)
            assert done.returncode == 0, f"{block.body}\n{done.stderr}"
            printed = done.stdout
        else:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.body, guide.name, "exec"), names)
            printed = out.getvalue()
    if guide.stem == "find-the-symmetry":
        the_slab_is_known(json.loads((folder / "runs/slab/discovery.json").read_text())["findings"])


def shown(body, printed):
    """Of the lines of a block those that were printed, whatever the spaces."""
    lines = [line.split() for line in printed.splitlines()]
    return [line for line in (text.split() for text in body.splitlines()) if line in lines]


def the_slab_is_known(findings):
    """Whatever the digits: nothing true is broken, and what is broken is found, about and along the right axes."""
    verdicts = {(f["kind"], max(range(3), key=lambda k, a=f["axis"]: abs(a[k])) == 2): set() for f in findings}
    for f in findings:
        verdicts[f["kind"], abs(f["axis"][2]) > 0.9].add(f["verdict"])
    assert verdicts["rotation", False] == verdicts["translation", True] == {"broken"}
    assert "broken" not in verdicts["rotation", True] | verdicts["translation", False]


@pytest.mark.slow
def test_reference_is_made(tmp_path):
    done = subprocess.run(
        [sys.executable, str(DOCS / "build.py"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    packages = (path.parent for path in (ROOT / "molaugerino").rglob("__init__.py"))
    assert {f"{path.relative_to(ROOT).as_posix()}.html" for path in packages} <= set(pages)
    assert {f"guides/{guide.stem}.html" for guide in GUIDES} <= set(pages)
    augmented = pages["molaugerino/augment.html"]
    assert "h(x) = mean_j rho_out(g_j)^-1 f(rho_in(g_j) x)" in augmented
    assert "Arguments:" in augmented
    assert "shared by both nn.Module and ScriptModule" not in augmented
    assert "molaugerino/augment.html#Augmented" in pages["molaugerino.html"]
    assert (
        "Uniform unit vectors (*batch, 3) from uniform numbers (*batch, 2)"
        in pages["molaugerino/distributions/haar.html"]
    )
    for name, text in pages.items():
        assert not re.search(r'<(script|link|img)\b[^>]*(src|href)="(https?:)?//', text), name  # offline
    for name in ("index.html", *(f"guides/{guide.stem}.html" for guide in GUIDES)):
        for link in re.findall(r'href="([^"#]+)"', pages[name]):
            assert (tmp_path / name).parent.joinpath(link).is_file(), (name, link)
