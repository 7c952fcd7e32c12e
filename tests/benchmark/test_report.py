"""The report of a suite, from runs made up here."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.findings import answers, claims
from molaugerino.benchmark.pictures import sizes, style
from molaugerino.benchmark.records import Runs
from molaugerino.benchmark.report import PAGE, TEXT, minutes_taken, opening, write_report
from molaugerino.benchmark.scores import QUADRATURE
from molaugerino.benchmark.tables import tables
from molaugerino.benchmark.worlds import SUITES, WORLDS

BETTER = {"none": 1.5, "fixed": 1.0, "learned": 1.01, "equivariant": 0.6}
WORLD = "small-dipole"
PARTS = {"train": 1000, "law": 100, "valid": 50, "test": 30}
LEARNED = ("learned", "evidence", "conditional")


def run(world: str, contestant: str, split: int, error: float, **changes: object) -> dict[str, object]:
    """What such a run records, as far as the report asks for it."""
    place, who = WORLDS[world], CONTESTANTS[contestant]
    law = {"nats": 0.1, "mean_rotation_rad": 2.1, "mean_tilt_rad": 1.5, "spin_nats": 0.05, "verdict": ""}
    copies = [1, *[16] * who.averaged, *[QUADRATURE] * (not who.exact and not place.placed)]
    frames = "stored" if place.placed else "random"
    errors = [{"frames": frames, "copies": c, "n": 30, "mae": error, "rmse": 2 * error} for c in copies]
    record = {
        "world": world,
        "contestant": contestant,
        "split": split,
        "steps": 100,
        "unit": "debye",
        "mean_predictor": 2.0,
        "errors": errors,
        "error": error,
        "error_name": "MAE, debye",
        "predict_ms": {str(c): 0.5 for c in copies},
        "parameters": 1000,
        "law": law if contestant in LEARNED else None,
        "recovered": True if contestant in LEARNED and place.symmetry != "unknown" else None,
        "checks": {"turned_back": 1e-7} if who.averaged else {},
        "train_minutes": 0.8,
        "cpu_minutes": 1.0,
        "curve": [[0.4, 2 * error], [0.8, error]],
        "commit": "abc",
        "version": "0.2.0",
        "torch": "2",
        "machine": "here",
    }
    if "field" in world:
        names = ("floor_mae", "floor_rmse", "term_mae", "term_rmse", "free_mae", "free_rmse")
        record["field"] = dict(zip(names, (0.9, 1.2, 0.91, 0.3, 0.2, 0.4), strict=True))
    if place.of_images:
        of_image = {"error_name": "share of images named wrongly", "unit": ""}
        record |= of_image | {"errors": [{"frames": "as drawn", "copies": 16, "n": 30, "accuracy": 1 - error}]}
        record |= {"law": {"width_degree": 44.0, "right_degree": 45.0, "verdict": ""} if record["law"] else None}
        record = {k: v for k, v in record.items() if k not in ("mean_predictor", "predict_ms")}
    return record | changes


def content(*runs: dict[str, object], **changes: object) -> dict[str, object]:
    plain = {"suite": "quick", "runs": list(runs), "planned": 24, "absent": [], "failed": [], "command": "molaugerino"}
    return plain | {"version": "0.2.0", "torch": "2", "machine": "here", "commit": "abc"} | changes


@pytest.fixture
def three_splits() -> dict[str, object]:
    noise = {("fixed", 1): 1.01, ("learned", 0): 0.97, ("none", 1): 0.99}
    return content(*(run(WORLD, c, s, b * noise.get((c, s), 1.0)) for c, b in BETTER.items() for s in range(3)))


class Page(HTMLParser):
    """What a page holds: tags that were closed as they were opened, and what they ask to be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.fetched: list[str] = []
        self.tables = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.stack.append(tag)
        self.tables += tag == "table"
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_the_page_needs_nothing_else(three_splits, tmp_path):
    write_report(three_splits, tmp_path)
    text = (tmp_path / PAGE).read_text()
    page = Page()
    page.feed(text)
    assert not page.stack
    assert page.tables == len(tables(three_splits))
    assert {f for f in page.fetched if not f.startswith("#")} == {"results.json"}
    held = re.search(r'<script type="application/json" id="results">(.*?)</script>', text, re.DOTALL)
    assert held is not None
    assert json.loads(held[1]) == three_splits
    for name in re.findall(r"\]\((\w+\.svg)\)", (tmp_path / TEXT).read_text()):
        assert (tmp_path / name).stat().st_size > 1000


def test_the_same_runs_give_the_same_bytes(three_splits, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_report(three_splits, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) >= 5
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_a_world_says(three_splits):
    found = next(t for t in tables(three_splits) if t.title == WORLD)
    rows = [dict(zip(found.head, row, strict=True)) for row in found.rows]
    assert [row["contestant"] for row in rows] == ["equivariant", "learned", "fixed", "none"]
    assert [row["letters"] for row in rows] == ["a", "b", "b", "c"]
    assert rows[1]["symmetry found"] == "3 of 3"
    assert rows[3]["beside fixed"].startswith("1.490 (")
    match, laws, beside_none, beside_equivariant, legend = answers(Runs(three_splits["runs"]))
    assert match.startswith(f"Learned matches fixed in {WORLD} 0.99")
    assert laws == f"Learned found the law that is right in {WORLD} 3 of 3 runs."
    assert beside_none.startswith(f"Beside none, learned beats it in {WORLD} 0.66")
    assert beside_equivariant.startswith(f"Beside equivariant, learned loses to it in {WORLD} 1.66")
    assert "95 % intervals" in legend
    assert said_of(three_splits["runs"]).endswith("times fixed, within 1.05")


@pytest.mark.parametrize(("error", "said"), [(1.3, "loses to"), (0.7, "beats")])
def test_a_difference_is_called_one(error, said):
    better = BETTER | {"learned": error, "told": 0.5}
    runs = [run("small-field", c, s, e + 0.001 * (s == k)) for k, (c, e) in enumerate(better.items()) for s in (0, 1)]
    assert answers(Runs(runs))[0].startswith(f"Learned {said} fixed in small-field ")
    kept, _ = claims(Runs(runs))
    assert kept.endswith("times who is told the true subgroup, above 1.2")


@pytest.mark.parametrize(("able", "others"), [(0.5, "; equivariant did."), (1.99, ", nor did equivariant.")])
def test_a_world_that_nobody_learned_is_no_match(able, others):
    """The mean label errs by 2."""
    blind = {"fixed": 1.98, "learned": 1.981, "equivariant": able}
    runs = [run(WORLD, c, s, e) for c, e in blind.items() for s in (0, 1)]
    [said] = answers(Runs(runs))
    assert not claims(Runs(runs))
    assert said == f"Neither learned nor fixed came more than 5 % below the error of the mean label in {WORLD}{others}"
    one_did = [r if r["contestant"] == "fixed" else run(WORLD, "learned", r["split"], 1.5) for r in runs[:4]]
    assert answers(Runs(one_did))[0].startswith("Learned beats fixed")


def test_an_interval_that_does_not_decide_is_said_not_to(three_splits):
    kept = [r for r in three_splits["runs"] if r["contestant"] != "learned"]
    for worse, sort in (
        (1.3, "within 1.05, but the interval goes beyond"),
        (1.6, "above 1.05, but the interval includes it"),
    ):
        far = [*kept, run(WORLD, "learned", 0, 0.8), run(WORLD, "learned", 1, worse)]
        assert answers(Runs(far))[0].startswith(f"Learned cannot be told from fixed in {WORLD} ")
        assert said_of(far).endswith(f" times fixed, {sort}")


def said_of(runs: list[dict[str, object]]) -> str:
    """The one claim about them."""
    [said] = claims(Runs(runs))
    return said


@pytest.mark.parametrize(("apart", "said"), [(1.02, "matches"), (1.2, "loses to"), (0.8, "beats")])
def test_learned_is_told_from_fixed_by_the_interval_of_their_ratio(apart, said):
    """Whoever else takes part, and however erratic; a difference below a twentieth that is certain is a match."""
    runs = [run(WORLD, "fixed", s, 1.0 + 0.1 * s) for s in range(5)]
    runs += [run(WORLD, "learned", s, apart * (1.0 + 0.1 * s) + 1e-4 * (s == 2)) for s in range(5)]
    runs += [run(WORLD, "none", s, 2.0 + 3.0 * (s % 2)) for s in range(5)]
    first, second, *_ = answers(Runs(runs))
    assert first.startswith(f"Learned {said} fixed in {WORLD} {apart:.1f}")
    assert second.startswith("In no world is it certain") == (said != "matches")


def test_the_claim_is_about_averages_by_quadrature(three_splits):
    """Not about the errors that contestants are ranked by."""
    other = [r | {"error": 3.0} if r["contestant"] == "learned" else r for r in three_splits["runs"]]
    assert said_of(other) == said_of(three_splits["runs"])
    worse = run(WORLD, "learned", 0, 1.0)
    worse["errors"] = [{**e, "mae": 2.0 if e["copies"] == QUADRATURE else 1.0} for e in worse["errors"]]
    assert "learned is 2.000 times fixed" in said_of([run(WORLD, "fixed", 0, 1.0), worse])


def test_what_is_broken_weighs_on_no_comparison(three_splits):
    plain = Runs(three_splits["runs"])
    faulty = Runs([*three_splits["runs"], run(WORLD, "broken", 0, 9.0), run(WORLD, "broken", 1, 0.1)])
    assert faulty.errors(WORLD) == plain.errors(WORLD)
    assert Runs([run(WORLD, "broken", 0, 9.0)]).errors(WORLD) == {}
    shown = next(t for t in tables(content(*faulty.runs)) if t.title == WORLD)
    assert shown.rows[-1][0] == "broken"
    assert shown.rows[-1][2] == ""


def test_no_two_contestants_look_alike_in_pictures():
    styles = {(s["color"], s["linestyle"], s["marker"]) for s in map(style, CONTESTANTS)}
    assert len(styles) == len(CONTESTANTS)
    assert len({(color, marker) for color, _, marker in styles}) == len(CONTESTANTS)  # of pictures without lines


def test_a_legend_lies_within_its_picture():
    names = ["none", "fixed", "learned", "frame-averaging", "equivariant"]
    figure = sizes([run(world, name, 0, 0.3) for world in ("gap-300", "gap-1000") for name in names])
    figure.canvas.draw()
    legend, picture = figure.legends[0].get_window_extent(), figure.bbox
    assert legend.x0 >= picture.x0
    assert legend.x1 <= picture.x1


def test_minutes_that_were_taken_are_said(three_splits):
    long = [r | {"train_minutes": 1.0} if r["contestant"] == "learned" else r for r in three_splits["runs"]]
    assert minutes_taken(content(*long)).startswith("Here training took from 1.60 (")
    assert f"2.00 (learned in {WORLD}) times" in minutes_taken(content(*long))
    assert minutes_taken(content(long[0])) == ""


def test_contestants_are_compared_on_the_splits_that_all_have(three_splits):
    """One more run of one of them, or one that failed for good, costs no letters."""
    more = Runs([*three_splits["runs"], run(WORLD, "none", 3, 1.5), run(WORLD, "fixed", 3, 1.0)])
    assert more.errors(WORLD) == Runs(three_splits["runs"]).errors(WORLD)


def test_readable_after_any_run_of_the_full_suite(tmp_path):
    """At the first run of a world, and at its end."""
    rng = np.random.default_rng(0)
    plan = list(SUITES["full"].runs())
    runs = [run(world, name, split, float(rng.uniform(0.1, 0.5))) for world, name, split in plan]
    new = [k for k in range(1, len(plan)) if plan[k][0] != plan[k - 1][0] and plan[k][2] == 0]
    for k in (*new, *(k + 2 for k in new), len(plan)):
        done = Runs(runs[:k])
        found = [t.title for t in tables(content(*runs[:k], suite="full"))]
        assert [title for title in found if title in WORLDS] == done.worlds
        compared = {world for world in done.worlds if {"learned", "fixed"} <= set(done.contestants(world))}
        assert all(world in " ".join(answers(done)) for world in compared)
    write_report(content(*runs, suite="full"), tmp_path)
    assert (tmp_path / TEXT).read_text().count("\n## ") > len(SUITES["full"].plan)


def test_the_floor_in_a_field():
    """RMSE of the term 0.3 and of the rest 0.4: a network that does not see the field has 0.5, one that does, 0.4."""
    blind, sees = (
        [run("small-field", name, s, error) for s in (0, 1)] for name, error in (("invariant", 0.25), ("none", 0.2))
    )
    seen = [r | {"field": r["field"] | {"free_rmse": 0.5}} for r in sees]
    found = next(t for t in tables(content(*blind, *seen)) if t.title == "The floor in a field")
    sighted, row = [dict(zip(found.head, row, strict=True)) for row in found.rows]
    assert (row["MAE"], row["MAE, theory"], row["MAE of the term"]) == ("0.250 +- 0", "0.900", "0.910")
    assert (row["RMSE"], row["RMSE, theory"], row["RMSE of the term"]) == ("0.500 +- 0", "1.20", "0.300")
    assert (row["RMSE if blind"], row["MAE without the field"], row["seen"]) == ("0.500 +- 0", "0.200 +- 0", "0%")
    assert (sighted["RMSE"], sighted["RMSE if blind"], sighted["seen"]) == ("0.400 +- 0", "", "100%")
    [said] = claims(Runs([*blind, *seen]))
    assert said.endswith("cannot see a field; in random frames they tell of its term: invariant 0%")


def test_what_the_frames_of_a_file_give_away():
    """Predictions that have half of the term besides the rest: seen by half, whatever the network respects."""
    rng = np.random.default_rng(0)
    term, miss = rng.normal(size=4000), 0.3 * rng.normal(size=4000)
    told = 0.5 * term + miss  # beside the label without the term
    square = {"term_rmse": term, "free_rmse": told, "rmse": told - term}
    rms = {name: float(np.sqrt(np.square(values).mean())) for name, values in square.items()}
    placed = run("field-stored", "equivariant", 0, rms["rmse"] / 2)
    placed["field"] = placed["field"] | rms
    [said] = claims(Runs([placed]))
    assert said.endswith("in the frames of the file they tell of its term: equivariant 50%")
    found = next(t for t in tables(content(placed)) if t.title == "The floor in a field")
    assert dict(zip(found.head, found.rows[0], strict=True))["RMSE if blind"] == ""


def test_none_named_wrongly_has_a_bound_and_no_interval():
    """Of an error that is half an image, in place of none."""
    whole = [{"frames": "as drawn", "copies": 16, "n": 30, "accuracy": 1.0}]
    runs = [run("two-icons", name, s, 1 / 60, errors=whole) for name in ("learned", "none") for s in range(3)]
    runs += [run("two-icons", "fixed", s, 0.5) for s in range(3)]
    said = answers(Runs(runs))
    assert said[0] == "Learned beats fixed in two-icons at most 0.033."
    assert not any(line.startswith("Beside none") for line in said)  # neither errs


def test_what_differs_if_all_worlds_are_to_be_right_together():
    """p of 0.046 is enough for the last that is left, and not beside another that is not sure."""
    near, far = [1.10, 1.14, 1.06], [2.0, 2.001, 1.999]
    runs = [run("gap", "fixed", s, 1.0) for s in range(3)] + [run("gap", "learned", s, near[s]) for s in range(3)]
    other = [run("dipole", "fixed", s, 1.0) for s in range(3)] + [run("dipole", "learned", s, far[s]) for s in range(3)]
    assert any(line.endswith("(Holm, 95 %), gap remains.") for line in answers(Runs(runs)))
    assert any(line.endswith("(Holm, 95 %), dipole, gap remain.") for line in answers(Runs([*runs, *other])))
    more = [run("energy", "fixed", s, 1.0) for s in range(3)] + [run("energy", "learned", s, 1.1 + s) for s in range(3)]
    assert any(line.endswith("(Holm, 95 %), dipole remains.") for line in answers(Runs([*runs, *other, *more])))
    match = [run(world, "fixed", s, 1.0) for s in range(3) for world in ("gap", "energy")]
    match += [run("gap", "learned", s, 1.02 + 1e-4 * s) for s in range(3)]  # a difference, and no matter
    match += [run("energy", "learned", s, near[s] + 0.1) for s in range(3)]
    assert any(line.endswith("(Holm, 95 %), energy remains.") for line in answers(Runs(match)))


def test_sizes_are_said():
    [table] = [t for t in tables(content(run(WORLD, "fixed", 0, 1.0, parts=PARTS))) if t.title == WORLD]
    assert "1,100 molecules to train on, 100 of them to judge a law by" in table.note
    assert "50 to validate on, 30 to test on" in table.note


def test_a_law_that_cannot_be_judged_is_counted_apart():
    runs = [run(WORLD, "learned", s, 1.0) for s in (0, 1, 2)]
    runs[1]["law"] = runs[1]["law"] | {"verdict": "undecided: the network has not learned the label"}
    runs[1]["recovered"] = False

    def said(*some: dict[str, object]) -> str:
        return next(t for t in tables(content(*some)) if t.title == "Symmetry found").rows[0][-1]

    assert said(*runs) == "2 of 2, 1 undecided"
    assert said(runs[1]) == "1 undecided"
    assert said(runs[0]) == "1 of 1"


def test_splits_that_a_contestant_lacks(tmp_path):
    """It is shown with its own mean and a mark; the others by the splits that they share."""
    runs = [run(WORLD, "none", s, float(s + 1)) for s in range(3)]
    runs += [run(WORLD, "fixed", s, 2.0) for s in (0, 1)] + [
        run(WORLD, "learned", 0, 0.5, unit="1", error_name="MAE, 1")
    ]
    found = next(t for t in tables(content(*runs)) if t.title == "All worlds")
    row = dict(zip(found.head, found.rows[0], strict=True))
    assert (row["splits"], row["none"], row["learned"]) == ("3", "2.00", "0.500 ?")
    assert row["fixed"] == "2.00 ?"
    apart = [run(WORLD, "fixed", 0, 1.0), run(WORLD, "none", 1, 3.0)]  # nothing in common
    assert "| 3.00 ? | 1.00 ? |" in next(t for t in tables(content(*apart)) if t.title == "All worlds").body()
    single = next(t for t in tables(content(runs[-1])) if t.title == WORLD)
    assert single.head[1] == "MAE, no unit"


def test_commits_are_named(three_splits):
    runs = [r | {"commit": c} for r, c in zip(three_splits["runs"], ["abc", "abc-dirty", "def"] * 3, strict=False)]
    assert (
        "of 2 commits, named under Every run. 3 of them are of a checkout with changes." in opening(content(*runs))[1]
    )
    assert "commits" not in opening(three_splits)[1]


def test_readable_while_running(tmp_path):
    write_report(content(), tmp_path)
    assert "0 of 24 runs" in (tmp_path / TEXT).read_text()
    write_report(content(run(WORLD, "fixed", 0, 1.0), run(WORLD, "pyg-schnet", 0, 1.0)), tmp_path)
    assert "1 of 24 runs are done." in (tmp_path / TEXT).read_text()
    assert "1 runs are of networks of other libraries" in (tmp_path / TEXT).read_text()
    runs = [run(WORLD, "fixed", 0, 1.0), run(WORLD, "learned", 0, 1.1), run(WORLD, "fixed", 1, 1.2)]
    write_report(content(*runs), tmp_path)
    found = next(t for t in tables(content(*runs)) if t.title == WORLD)
    assert [row[0] for row in found.rows] == ["fixed", "learned"]
    assert answers(Runs(runs))[0].startswith(f"The splits are too few to tell in {WORLD} 1.1")


def test_faults_are_exposed():
    runs = [
        run(WORLD, "fixed", 0, 1.0),
        run(WORLD, "broken", 0, 2.2, checks={"turned_back": 1.06}),
        run(WORLD, "equivariant", 0, 1.0, checks={"exact": 0.02}),
        run(WORLD, "none", 0, 1.0, checks={"exact": float("nan")}),
    ]
    found = next(t for t in tables(content(*runs)) if t.title == "Checks")
    said = {(row[1], row[3]) for row in found.rows}
    worse = ("broken", "worse than the mean")
    assert said == {("broken", "turned_back"), worse, ("equivariant", "exact"), ("none", "exact")}


def test_what_failed_and_what_is_missing_is_said(tmp_path):
    failed = [{"world": WORLD, "contestant": "none", "split": 1, "why": "RuntimeError: <b>no</b>"}]
    write_report(content(run(WORLD, "fixed", 0, 1.0), failed=failed, absent=["gap"]), tmp_path)
    text = (tmp_path / PAGE).read_text()
    assert "RuntimeError: &lt;b&gt;no&lt;/b&gt;" in text
    assert "Left out, since their files were not found (--data): gap." in text


def test_every_world_of_the_suites_is_known():
    for suite in SUITES.values():
        assert set(suite.plan) <= set(WORLDS)
        assert len(set(suite.runs())) == sum(len(c) * n for c, n in suite.plan.values())
