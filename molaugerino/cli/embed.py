"""molaugerino embed"""

from __future__ import annotations

import sys
from collections import Counter

from molaugerino.cli.streams import molecules, on_threads, processes, progress
from molaugerino.config import EmbedConfig
from molaugerino.files import check_new_file, write_atomic
from molaugerino.predict.embed import check_form, gathered, render
from molaugerino.predict.options import Options
from molaugerino.predict.predictor import Predictor

NOT_ALL_OK = 1


def run(config: EmbedConfig) -> int:
    check_form(config.out)
    check_new_file(config.out)
    predictor = Predictor.from_pretrained(config.checkpoint)
    entries, total = molecules(config.input, config.column)
    asked = {name: getattr(config, name) for name in ("geometry", "isomers", "conformers", "weights", "timeout")}
    options = Options(**asked, jobs=processes(config.jobs, total))
    with on_threads(None if options.jobs is None else 1), progress(total, what="embedding") as advance:
        rows = []
        for row in predictor.embedded(entries, options):
            rows.append(row)
            advance(1)
    found = gathered(rows, predictor.width)
    write_atomic(config.out, render(found, config.out.suffix))
    counts = Counter(found.status)
    said = [f"{counts['ok']} of {len(found)} molecules embedded by {predictor.name} in {config.out}"]
    said += [f"{n} {status}" for status, n in counts.items() if status != "ok"]
    print(", ".join(said), file=sys.stderr)
    return NOT_ALL_OK if config.strict and counts["ok"] < len(found) else 0
