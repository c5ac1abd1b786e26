"""What is wrong with a model, or may be: every rule's findings, from one pass over the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import NameNotFoundError, WtoolsError
from ..layers import layer_path
from ..reports import Report, column
from ..sketch import Sketch
from ..sketch.runner import Scan, sketches
from ..tree import WeightTree, tie_key
from .listing import heading
from .rules import RULES, SEVERITIES, Finding, Rule, Subject
from .rules.structure import unreadable


@dataclass(frozen=True)
class CheckRow:
    """One finding."""

    tensor: str = column("the tensor that it is about; empty: the model")
    finding: str = column("what was found")
    severity: str = column("error, warning or info")
    rule: str = column("the rule's id, which --ignore takes")
    explanation: str = column("what the rule looks for and why that matters", shown=False)
    evidence: Mapping[str, object] = column("the figures behind the finding", shown=False)
    layer: str = column("the layer that the tensor belongs to", shown=False)
    stored: str = column("the tensor's name exactly as the file has it", shown=False)
    file: str = column("the file that holds it", shown=False)


@dataclass(frozen=True)
class RuleRow:
    """One rule."""

    id: str = column("what --ignore and --only take")
    severity: str = column("of its findings, unless one says otherwise")
    explanation: str = column("what it looks for and why that matters")


@dataclass(frozen=True)
class CheckReport(Report):
    """A report of findings.

    rules: id -> explanation of every rule that was applied. fatal: the severities that make the
    check fail.
    """

    rules: Mapping[str, str] = field(default_factory=dict)
    fatal: frozenset[str] = frozenset({"error"})

    @property
    def failed(self) -> bool:
        return any(row.severity in self.fatal for row in self.rows)


def check(
    tree: WeightTree,
    *,
    only: Sequence[str] = (),
    ignore: Sequence[str] = (),
    like: WeightTree | None = None,
    strict: bool = False,
    damage: Sequence[WtoolsError] = (),
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    scan: Scan = sketches,
) -> CheckReport:
    """A row for each finding, errors first.

    only, ignore: ids of rules (see `RULES`); `like`: a model whose tensors this one should have.
    strict: do warnings make the check fail, as errors do?
    damage: what else is known to be wrong with the file, told as `unreadable`.
    threads, progress, scan: as in `stats`. Raises NameNotFoundError for an id that no rule has.

    A tensor is read once; again only where its figures make it a candidate for equal content or
    for outlier channels.
    """
    rules = chosen(only, ignore)
    found: dict[object, Sketch] = {}
    failures = list(damage)
    subject = Subject(tree, found, failures, like, threads)
    if any(rule.reads for rule in rules):
        tensors = tree.distinct()
        subject.expect(rules, tensors)
        for tensor, result in scan(tensors, threads=threads, progress=progress):
            if isinstance(result, WtoolsError):
                failures.append(result)
            else:
                found[tie_key(tensor)] = result
                subject.look(rules, tensor, result)
    rows = [_row(subject, rule, finding) for rule in rules for finding in rule.find(subject)]
    report = _report(tree, rows, rules)
    return replace(report, fatal=frozenset({"error", "warning"})) if strict else report


def chosen(only: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Rule]:
    """The rules with these ids (all, if none is given) without those to ignore."""
    known = [rule.id for rule in RULES]
    for id in (*only, *ignore):
        if id not in known:
            raise NameNotFoundError(id, known, what="rule")
    return [rule for rule in RULES if rule.id not in ignore and (not only or rule.id in only)]


def rule_list() -> Report:
    """Every rule: id, severity, explanation."""
    rows = [RuleRow(rule.id, rule.severity, rule.explanation) for rule in RULES]
    return Report("wtools.rules/1", "Rules of wtools check", RuleRow, rows)


def not_opened(path: str, error: WtoolsError) -> CheckReport:
    """The report on a file that cannot even be opened."""
    tree = WeightTree([], path=path)
    rule = next(rule for rule in RULES if rule.find is unreadable)
    row = _row(Subject(tree, failures=[error]), rule, Finding(str(error)))
    return _report(tree, [replace(row, file=path)], [rule])


def _row(subject: Subject, rule: Rule, finding: Finding) -> CheckRow:
    tree, tensor = subject.tree, finding.tensor
    storage = tensor.storage if tensor is not None else None
    return CheckRow(
        tensor=tensor.name if tensor is not None else "",
        finding=finding.message,
        severity=finding.severity or rule.severity,
        rule=rule.id,
        explanation=rule.explanation,
        evidence=finding.evidence,
        layer=layer_path(tensor, tree.separator) if tensor is not None else "",
        stored=tensor.stored if tensor is not None else "",
        file=storage.file if storage is not None else tree.path,
    )


def _report(tree: WeightTree, rows: Sequence[CheckRow], rules: Sequence[Rule]) -> CheckReport:
    order: dict[str, int] = {severity: i for i, severity in enumerate(SEVERITIES)}
    rows = sorted(rows, key=lambda row: order[row.severity])
    counts = Counter(row.severity for row in rows)
    tripped = {row.rule for row in rows}
    return CheckReport(
        schema="wtools.check/1",
        title=f"Check of {heading(tree)}",
        row_type=CheckRow,
        rows=rows,
        summary={
            "errors": counts["error"],
            "warnings": counts["warning"],
            "infos": counts["info"],
            "rules": len(rules),
            "rules_passed": sum(rule.id not in tripped for rule in rules),
        },
        notes=list(_notes(tree, rows)),
        path=tree.path,
        format=tree.format,
        rules={rule.id: rule.explanation for rule in rules},
    )


def _notes(tree: WeightTree, rows: Sequence[CheckRow]) -> Iterator[str]:
    told = {row.finding for row in rows}
    yield from (note for note in tree.notes if note not in told)
    for name, below in tree.apart.items():
        yield f"not checked: {len(below):,} tensors of {name!r} (--root {name})"
