"""What the runs of a suite say about learned laws, in sentences that have numbers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.records import Runs
from molaugerino.benchmark.scores import QUADRATURE
from molaugerino.benchmark.statistics import Ratio, certain
from molaugerino.benchmark.tables import percent
from molaugerino.benchmark.worlds import WORLDS

SYMMETRIC, SUBGROUP = 1.05, 1.2  # ratios that learned is to keep to
SAME = "cannot be told from"


def answers(runs: Runs) -> list[str]:
    """When does learned match fixed, when does it win, when does it lose: a sentence each; then beside others."""
    asked = [world for world in runs.worlds if runs.ratio(world, "learned", "fixed") is not None]
    unlearnt = [world for world in asked if unlearned(runs, world, "learned", "fixed")]
    learnt = [world for world in asked if world not in unlearnt]
    found = sorts(runs, learnt, "fixed")
    said = [f"Learned {sort} fixed in {'; '.join(some)}." for sort, some in found.items() if sort and some]
    if said and not found["matches"]:
        said.append(f"In no world is it certain that learned matches fixed within a factor of {SYMMETRIC}.")
    if found[""]:
        said.append(f"The splits are too few to tell in {'; '.join(found[''])}.")
    said += [nobody(runs, world) for world in unlearnt]
    if not learnt:
        return said
    if found["beats"] or found["loses to"]:
        sure = remaining(runs, learnt, "fixed")
        rest = f"{', '.join(sure)} {'remains' if len(sure) == 1 else 'remain'}" if sure else "none remains"
        said.append(
            f"Every world has its own interval there; of the differences, if all worlds are to be right together "
            f"(Holm, 95 %), {rest}."
        )
    laws = [(world, runs.verdicts(world, "learned")) for world in learnt]
    judged = "; ".join(f"{world} {counts}" for world, counts in laws if counts)
    if judged:
        said.append(f"Learned found the law that is right in {judged} runs.")
    if "undecided" in judged:
        said[-1] += (
            " Undecided: the network had not learned enough for a law to be judged, which then stays where it began, "
            "near no turns at all."
        )
    said += [line for other in ("none", "equivariant") if (line := against(runs, learnt, other))]
    said.append(
        "Numbers are the error of learned over that of the other, paired over splits, with 95 % intervals of Student's "
        f"t. They match where the interval lies within a factor of {SYMMETRIC}; else learned beats or loses where it "
        "lies on one side of 1. Fixed and learned are averaged over 16 elements of their own law; none and equivariant "
        "predict once. Splits share molecules, so that for molecules of another set the intervals are somewhat too "
        "narrow."
    )
    return said


def against(runs: Runs, worlds: Sequence[str], other: str) -> str:
    """How learned does beside one of the others, with numbers where that is certain; "" where it is nowhere."""
    found = sorts(runs, worlds, other)
    parts = [f"{sort} it in {'; '.join(found[sort])}" for sort in ("matches", "beats", "loses to") if found[sort]]
    if not parts:
        return ""
    if found[SAME]:
        parts.append(f"{SAME} it in {', '.join(told.split(' ')[0] for told in found[SAME])}")
    return f"Beside {other}, learned {'; '.join(parts)}."


def sorts(runs: Runs, worlds: Sequence[str], other: str) -> dict[str, list[str]]:
    """Worlds with their ratios, by how learned does beside another; "" where a single split does not tell."""
    found: dict[str, list[str]] = {"matches": [], "beats": [], "loses to": [], SAME: [], "": []}
    for world in worlds:
        beside = runs.ratio(world, "learned", other)
        if beside is not None:
            found[sort_of(beside)].append(f"{world} {beside}")
    return found


def sort_of(beside: Ratio) -> str:
    if beside.splits < 2:
        return ""
    if beside.bound:
        return "beats"
    if beside.low == beside.high == 1:  # two that never differ, as where neither errs at all
        return SAME
    if beside.low >= 1 / SYMMETRIC and beside.high <= SYMMETRIC:
        return "matches"
    if beside.low <= 1 <= beside.high:
        return SAME
    return "beats" if beside.value < 1 else "loses to"


def remaining(runs: Runs, worlds: Sequence[str], other: str) -> list[str]:
    """The worlds where learned beats another or loses to it, if all of them are to be right together."""
    found = {w: beside for w in worlds if (beside := runs.ratio(w, "learned", other)) is not None}
    sure = certain({world: beside.p for world, beside in found.items()})
    return [world for world in sure if sort_of(found[world]) in ("beats", "loses to")]


def unlearned(runs: Runs, world: str, *names: str) -> bool:
    """Whether the errors of all of these are that of predicting the mean label, within the factor of a match."""
    known = [[r["error"] / r["mean_predictor"] for r in runs.of(world, n) if r.get("mean_predictor")] for n in names]
    return all(shares and statistics.fmean(shares) * SYMMETRIC > 1 for shares in known)


def nobody(runs: Runs, world: str) -> str:
    """Of a world that neither learned nor fixed learn anything of: who does."""
    others = [name for name in runs.contestants(world) if name not in ("learned", "fixed")]
    able = [name for name in others if not unlearned(runs, world, name)]
    unable = [name for name in others if name not in able]
    said = f"Neither learned nor fixed came more than 5 % below the error of the mean label in {world}"
    said += f", nor did {', '.join(unable)}" if unable else ""
    return said + (f"; {', '.join(able)} did." if able else ".")


def kept_to(beside: Ratio, limit: float) -> str:
    """Whether a ratio is within a limit, and whether its interval bears that out."""
    if beside.splits < 2:
        return f"of one split only, beside {limit}"
    if beside.value <= limit:
        return f"within {limit}" if beside.high <= limit else f"within {limit}, but the interval goes beyond"
    return f"above {limit}" if beside.low > limit else f"above {limit}, but the interval includes it"


def claims(runs: Runs) -> list[str]:
    """What learned is to keep to, and whether it does; and what the frames of a file give away."""
    said = []
    for world in runs.worlds:
        if unlearned(runs, world, "learned", "fixed"):
            continue
        beside = runs.ratio(world, "learned", "fixed", QUADRATURE)
        if WORLDS[world].symmetry == "rotations" and beside is not None:
            said.append(
                f"{world}: both averaged by quadrature, learned is {beside} times fixed, {kept_to(beside, SYMMETRIC)}"
            )
        told = runs.ratio(world, "learned", "told")
        if told is not None:
            said.append(f"{world}: learned is {told} times who is told the true subgroup, {kept_to(told, SUBGROUP)}")
        seen = ", ".join(f"{n} {percent(share)}" for n, share in runs.field_seen(world).items() if CONTESTANTS[n].blind)
        if seen:
            frames = "the frames of the file" if WORLDS[world].placed else "random frames"
            said.append(
                f"{world}: networks that respect all rotations, or average over them, cannot see a field; in {frames} "
                f"they tell of its term: {seen}"
            )
    return said
