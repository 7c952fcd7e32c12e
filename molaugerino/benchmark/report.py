"""The report of a suite: one page of HTML that needs nothing else, and the same as Markdown."""

from __future__ import annotations

import html
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.findings import answers, claims
from molaugerino.benchmark.pictures import pictures
from molaugerino.benchmark.records import Runs
from molaugerino.benchmark.tables import tables
from molaugerino.benchmark.worlds import SUITES, WORLDS
from molaugerino.files import write_atomic

PAGE, TEXT = "report.html", "report.md"
DIRTY = "-dirty"  # ends the name of a commit where the checkout had changes


def opening(content: Mapping[str, Any]) -> list[str]:
    """What was run, where, and what is missing."""
    suite = SUITES[content["suite"]]
    efforts = {name: WORLDS[name].effort for name in suite.plan if WORLDS[name].effort != 1}
    longer = "".join(f", {effort:g} times as long in {name}" for name, effort in efforts.items())
    own = sum(not CONTESTANTS[run["contestant"]].foreign for run in content["runs"])
    commits = [run["commit"] or run["version"] for run in content["runs"]]
    several, changed = len({c.removesuffix(DIRTY) for c in commits}), sum(c.endswith(DIRTY) for c in commits)
    of = f" Runs are of {several} commits, named under Every run." if several > 1 else ""
    of += f" {changed} of them are of a checkout with changes." if changed else ""
    said = [
        f"Suite {content['suite']}: {own} of {content['planned']} runs are done. Every contestant trains for "
        f"{suite.minutes:g} minutes of one processor core{longer}, counted in steps that were measured once, so that "
        "a seed gives the same figures again; widths are chosen for about equal numbers of parameters. Absolute errors "
        "are minimised, but by evidence and relaxed, whose likelihood is that of squared ones. Learned and conditional "
        "keep a tenth of the training molecules, at most 1,000, to judge their law by, and train on the others; an "
        "update of a law costs them steps, too. Both count in every comparison with them. For this benchmark "
        "only the weight of consistency was tuned, by validation errors of one split.",
        f"{content['command']}; molaugerino {content['version']}, torch {content['torch']}, {content['machine']}.{of}",
    ]
    if content["absent"]:
        said.append(f"Left out, since their files were not found (--data): {', '.join(content['absent'])}.")
    if taken := minutes_taken(content):
        said.append(taken)
    if foreign := [run for run in content["runs"] if CONTESTANTS[run["contestant"]].foreign]:
        sizes = [run["parameters"] for run in foreign]
        ours = [r for r in content["runs"] if r["world"] == foreign[0]["world"] and r not in foreign]
        about = round(statistics.median(r["parameters"] for r in ours), -3) if ours else 0
        usual = f", where ours have about {about:,.0f}" if ours else ""
        steps = [run["steps"] for run in foreign]
        said.append(
            f"{len(foreign)} runs are of networks of other libraries, of {min(sizes):,} to {max(sizes):,} parameters"
            f"{usual}, for the minutes that ours took there, which are {min(steps):,} to {max(steps):,} steps. They "
            "have one common recipe, tuned for none of them: batch 64, AdamW at 1e-3, half a cosine, the best of ten "
            "validations; ours take batches of 32, AdamW at 2e-3 after a warm-up, and the running average of the "
            "weights. This is what they do in so short a time, not what they can do."
        )
    for f in content.get("failed", ()):
        said.append(f"Failed: {f['world']}, {f['contestant']}, split {f['split']}: {f['why']}.")
    return said


def minutes_taken(content: Mapping[str, Any]) -> str:
    """How far the minutes of training were those that were meant, by contestant and world."""
    beside: dict[str, list[float]] = {}
    for run in content["runs"]:
        if not CONTESTANTS[run["contestant"]].foreign:
            meant = SUITES[content["suite"]].minutes * WORLDS[run["world"]].effort
            beside.setdefault(f"{run['contestant']} in {run['world']}", []).append(run["train_minutes"] / meant)
    shares = sorted((statistics.median(found), name) for name, found in beside.items())
    if len(shares) < 2:
        return ""
    (low, least), (high, most) = shares[0], shares[-1]
    return f"Here training took from {low:.2f} ({least}) to {high:.2f} ({most}) times the minutes meant, in the median."


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; margin: 1em 0 2em; }
th, td { border-bottom: 1px solid #ddd; padding: 3px 8px; text-align: left; white-space: nowrap; }
th { background: #f4f4f4; } h2 { margin-top: 2em; } figure { margin: 1em 0; } svg { max-width: 100%; height: auto; }
"""


def write_report(content: Mapping[str, Any], out: Path) -> None:
    """report.html, report.md and its pictures, of what is there so far."""
    title = "Learned against fixed equivariance"
    drawn = pictures(content)
    for name, picture in drawn.items():
        write_atomic(out / f"{name}.svg", picture.svg)
    runs, found = Runs(content["runs"]), tables(content)
    said, kept = answers(runs), claims(runs)
    parts = [f"# {title}", *opening(content)]
    if said:
        parts += ["## In short", *said, "\n".join(f"- {line}" for line in kept)]
    parts += [f"![{p.caption}]({name}.svg)\n\n{p.caption}" for name, p in drawn.items()]
    write_atomic(out / TEXT, "\n\n".join([*parts, *(table.markdown() for table in found)]) + "\n")
    figures = [
        f"<figure>{p.svg[p.svg.index('<svg') :]}<figcaption>{html.escape(p.caption)} "
        '<a href="results.json">results.json</a></figcaption></figure>'
        for p in drawn.values()
    ]
    body = [f"<h1>{title}</h1>", *(f"<p>{html.escape(line)}</p>" for line in opening(content))]
    if said:
        body += ["<h2>In short</h2>", *(f"<p>{html.escape(line)}</p>" for line in said)]
        body += ["<ul>", *(f"<li>{html.escape(line)}</li>" for line in kept), "</ul>"]
    body += [*figures, *(table.html() for table in found)]
    data = json.dumps(content).replace("</", "<\\/")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n"
        f'<script type="application/json" id="results">{data}</script>\n</body></html>\n'
    )
    write_atomic(out / PAGE, page)
