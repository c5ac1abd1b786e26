"""How often `wtools init` is right, on fresh tensors and on trained networks.

python tests/init_accuracy.py        measures, and writes the table of docs/init.md
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import wtools
from wtools.errors import WtoolsError

LEAST = 1000  # elements of a tensor that counts
RESULTS = Path(__file__).parent / "init_accuracy.json"
FRESH, TRAINED = range(100, 110), range(100, 120)


@dataclass
class Score:
    """named: (framework, right?) -> tensors. fresh: verdicts on them. verdicts: "trained" and
    "frozen" -> verdicts; small: the same of tensors below LEAST elements."""

    named: Counter[tuple[str, bool]] = field(default_factory=Counter)
    fresh: Counter[str] = field(default_factory=Counter)
    verdicts: dict[str, Counter[str]] = field(
        default_factory=lambda: {"trained": Counter(), "frozen": Counter()}
    )
    small: dict[str, Counter[str]] = field(
        default_factory=lambda: {"trained": Counter(), "frozen": Counter()}
    )
    p_values: list[float] = field(default_factory=list)
    wrong: list[object] = field(default_factory=list)


def accuracy(fresh: Iterable[int], trained: Iterable[int]) -> Score:
    """On tensors of these seeds."""
    from init_drawn import cases
    from init_trained import trained as networks

    score = Score()
    for case in cases(list(fresh)):
        rows = {row.name: row for row in wtools.init(case.tree).rows}
        for name, names in case.expected.items():
            row = rows[name]
            found = {one.partition(" (fans")[0] for one in (row.fit, *row.ties)}
            right = bool(found & names)
            score.named[case.who, right] += 1
            score.fresh[row.verdict] += 1
            if row.evidence.get("p_values") and not case.again:
                score.p_values.append(row.p_value)
            if not right:
                score.wrong.append((case.what, name, names, row.fit, row.ties, row.verdict))
    for network in networks(list(trained)):
        for row in wtools.init(network.tree).rows:
            if row.role in ("moving_mean", "moving_variance"):
                continue
            frozen = row.layer in network.frozen
            what = "frozen" if frozen else "trained"
            (score.verdicts if row.count >= LEAST else score.small)[what][row.verdict] += 1
            if row.count >= LEAST and frozen != (row.verdict == "untouched"):
                score.wrong.append((network.what, row.name, what, row.fit, row.verdict))
    return score


def kept_apart(fixtures: Path) -> None:
    """Every readable fixture is analysed without an error but the library's own."""
    for path in sorted(fixtures.glob("*/*")):
        if path.is_file() and path.suffix not in (".json", ".py") and path.parent.name != "bad":
            try:
                tree = wtools.open(path)
            except WtoolsError:
                continue
            with tree:
                report = wtools.init(tree)
                assert not report.failures
                report.to_dict()


def measure() -> None:
    """Write what is measured where `table` finds it."""
    from scipy.stats import kstest

    score = accuracy(FRESH, TRAINED)
    found = {
        "named": {
            who: [score.named[who, True], score.named[who, False]]
            for who in ("torch", "timm", "keras", "transformers")
        },
        "fresh": dict(score.fresh),
        "verdicts": {k: dict(v) for k, v in score.verdicts.items()},
        "small": {k: dict(v) for k, v in score.small.items()},
        "p_values": len(score.p_values),
        "kolmogorov_smirnov_p": float(kstest(score.p_values, "uniform").pvalue),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def table() -> str:
    """The measured figures as Markdown."""
    found = json.loads(RESULTS.read_text())
    lines = ["| drawn by | tensors | right answer or in its tie group |", "| --- | --- | --- |"]
    for who, (right, wrong) in found["named"].items():
        lines.append(f"| {who} | {right + wrong:,} | {right / (right + wrong):.2%} |")
    verdicts = ("untouched", "lightly trained", "trained", "not an init")
    lines += ["", f"| what they are | {' | '.join(verdicts)} |", "| --- " * 5 + "|"]
    rows = {
        "fresh": found["fresh"],
        "frozen in a trained network": found["verdicts"]["frozen"],
        "trained 5 to 20 epochs": found["verdicts"]["trained"],
        "frozen, below 1,000 elements": found["small"]["frozen"],
        "trained, below 1,000 elements": found["small"]["trained"],
    }
    for what, counts in rows.items():
        lines.append(f"| {what} | {' | '.join(f'{counts.get(v, 0):,}' for v in verdicts)} |")
    lines += [
        "",
        f"The p-values of {found['p_values']:,} fresh tensors are uniform: a Kolmogorov-Smirnov "
        f"test of them gives p = {found['kolmogorov_smirnov_p']:.2f}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    measure()
    print(table())
