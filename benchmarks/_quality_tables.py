"""The tables that bench_quality.py writes, from the results that there are."""

import numpy as np
from _common import heading, system_information
from _quality_methods import BITS, HASHING, METHODS
from scipy.stats import rankdata

KINDS = {"pairs": "pairs", "labels": "labels", "outside": "labels, outside reference"}
GAP = "-"


def text(results, data, missing):
    """Return all tables in Markdown, under the date, the command and the versions."""
    ways = {way: by_cell(results, way) for way in ("defaults", "tuned", "bits")}
    sets = list(data)
    tuned_sets = [each for each in sets if any(key[1] == each for key in ways["tuned"])]
    parts = [heading(system_information()), _sizes(data, missing)]
    parts += ["### Defaults", _table(ways["defaults"], sets), _notes(ways["defaults"])]
    parts += ["### Tuned, four candidates and two folds each", _table(ways["tuned"], tuned_sets)]
    parts += [_notes(ways["tuned"]), "### Seconds of a fit by defaults"]
    parts += [_seconds(ways["defaults"], sets), "### Codes of equal length"]
    parts += [_hashing(ways["defaults"] | ways["bits"], sets)]
    return "\n\n".join(part for part in parts if part) + "\n"


def by_cell(results, way):
    """Return the results of a way by method and set, all seeds of each."""
    cells = {}
    for result in results:
        if result["way"] == way:
            cells.setdefault((result["method"], result["data"]), []).append(result)
    return cells


def _sizes(data, missing):
    told = [f"{name} {len(each.test[1])} of {each.n_rows}" for name, each in data.items()]
    told = f"Test rows of training rows: {', '.join(told)}."
    left_out = [f"{name}, {reason}" for name, reason in missing.items()]
    return told + (f" Left out: {'; '.join(left_out)}." if left_out else "")


def _table(cells, sets):
    """Return MAP by method and set, with mean and mean rank over the sets that all methods have."""
    if not cells:
        return "Not run yet: the same command goes on with them."
    shared = shared_sets(cells, sets)
    ranks = mean_ranks(cells, shared)
    lines = [_head(["", "learns from", *sets, "mean", "mean rank"])]
    for name in _names(cells):
        row = [_score(cells.get((name, each), [])) for each in sets]
        mean = f"{np.mean([_mean(cells[name, each]) for each in shared]):.3f}" if shared else GAP
        rank = f"{ranks[name]:.1f}" if shared else GAP
        lines.append(_line([name, KINDS[METHODS[name].kind], *row, mean, rank]))
    over = ", ".join(shared) or "no set, as none has figures of all methods"
    return "\n".join([*lines, "", f"Mean and mean rank are over {over}."])


def shared_sets(cells, sets):
    """Return the sets on which every method that ran has a figure."""
    return [each for each in sets if all(_mean(cells.get((n, each), [])) for n in _names(cells))]


def mean_ranks(cells, sets):
    """Return the rank by MAP, averaged over the sets, of each method."""
    names = _names(cells)
    maps = np.array([[_mean(cells[name, each]) for each in sets] for name in names])
    return dict(zip(names, rankdata(-maps, axis=0).mean(axis=1), strict=True)) if sets else {}


def _names(cells):
    return [name for name in METHODS if any(key[0] == name for key in cells)]


def _mean(results):
    maps = [result["map"] for result in results if not result["note"]]
    return float(np.mean(maps)) if maps else None


def _score(results):
    """Return the mean MAP and, of several seeds, the deviation and their number."""
    maps = [result["map"] for result in results if not result["note"]]
    if not maps:
        return GAP
    spread = f" ± {np.std(maps):.3f} ({len(maps)})" if len(maps) > 1 else ""
    return f"{np.mean(maps):.3f}{spread}"


def _seconds(cells, sets):
    lines = [_head(["", *sets])]
    for name in _names(cells):
        lines.append(_line([name, *(_least(cells.get((name, each), [])) for each in sets)]))
    return "\n".join(lines)


def _least(results):
    seconds = [result["seconds"] for result in results if not result["note"]]
    return f"{min(seconds):.1f}" if seconds else GAP


def _hashing(cells, sets):
    """Return MAP by method and length of the codes, on the sets that have one."""
    lines = [_head(["", "bits", *sets])]
    for name in HASHING:
        for n_bits in BITS:
            row = [_score(cells.get((f"{name}, {n_bits} bits", each), [])) for each in sets]
            if any(cell != GAP for cell in row):
                lines.append(_line([name, str(n_bits), *row]))
    return "\n".join(lines)


def _notes(cells):
    """Return why figures are missing."""
    notes = [
        f"{name} on {each}: {result['note']}"
        for (name, each), results in cells.items()
        for result in results
        if result["note"]
    ]
    return f"{'; '.join(dict.fromkeys(notes))}." if notes else ""


def _head(cells):
    return _line(cells) + "\n|---|" + "---:|" * (len(cells) - 1)


def _line(cells):
    return f"| {' | '.join(cells)} |"
