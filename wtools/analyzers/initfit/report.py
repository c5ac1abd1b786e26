"""`wtools init`: each tensor's initializer, whether it still looks fresh, and the signal's way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import dtypes
from ...errors import NameNotFoundError, WtoolsError
from ...layers import LayerMap, TensorRole, layer_map
from ...reports import Report, column
from ...sketch.runner import Scan, sketches
from ...tree import Tensor, WeightTree, tie_key
from ..listing import heading, tree_notes
from ..passing import expect
from ..stats import few
from .activations import activations, known
from .advice import advice_on, advice_on_signal
from .candidates import Setting
from .judge import UNTOUCHED, Judgement, judge
from .neighbours import with_neighbours
from .settings import settings
from .signal import ACTIVATIONS, Signal, bars, propagate
from .steps import Measured, steps_of
from .structure import first

FALSE_ALARMS = 0.01  # chance that any tensor of a fresh file is called touched
_LEAST = 10  # tensors that the chance is divided by, if there are fewer
_ASSUMED = "relu"
# a linear model is solved for, or starts from zeros: no initializer drew it
_SKIPPED = frozenset(
    {"buffer", "quantization", "quantized_linear", "normalization", "linear_model"}
)


@dataclass(frozen=True)
class InitRow:
    """One tensor."""

    name: str = column("the tensor's name")
    fit: str = column("the initializer that fits best, the most usual of those tied")
    verdict: str = column("untouched, lightly trained, trained, or not an init")
    p_value: float | None = column(
        "how often a fresh tensor would fit this one initializer as badly", short="p"
    )
    gain: float | None = column("measured over nominal standard deviation")
    runner_up: str = column("the best one that the data tell from the fit", short="runner-up")
    shape: tuple[int, ...] = column("size along each axis")
    count: int = column("number of elements", unit="count")
    kind: str = column("the layer's kind")
    role: str = column("what the tensor is in its layer")
    ties: Sequence[str] = column(
        "initializers that so many elements do not tell from the fit", shown=False
    )
    advice: str = column("a known rule that it breaks", shown=False)
    layer: str = column("the layer's path", shown=False)
    variance_gain: float | None = column(
        "what the layer multiplies the signal's second moment by", shown=False
    )
    signal: float | None = column("second moment after the layer, of an input of 1", shown=False)
    evidence: Mapping[str, Any] = column("the figures behind the verdict", shown=False)


def initfit(
    tree: WeightTree,
    *,
    activation: str | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    scan: Scan = sketches,
) -> Report:
    """A row for each floating-point tensor: what drew it, and does it still look fresh?

    activation: the one after each layer; None for what the file says, else "relu" (see
    `ACTIVATIONS`). threads, progress, scan: as in `stats`.

    A tensor is read once, and where its distribution fits an initializer its first elements (4
    million at most) again, to see whether their places agree. Raises NameNotFoundError for an
    activation that is not known.
    """
    if activation is not None and not known(activation):
        raise NameNotFoundError(activation, ACTIVATIONS, what="activation")
    found = layer_map(tree)
    told = settings(tree, found)
    wanted = [t for t in tree.distinct() if _analysed(t, found)]
    alpha = FALSE_ALARMS / max(_LEAST, len(wanted))
    judged: dict[object, tuple[Judgement, Measured]] = {}
    failures: list[WtoolsError] = []
    for tensor in wanted:
        if tensor.ndim > 1:
            expect(tensor, "first", first)
    for tensor, result in scan(wanted, threads=threads, progress=progress):
        if isinstance(result, WtoolsError):
            failures.append(result)
            continue
        role = found.tensors[tensor.name]
        judgement = judge(tensor, role.meaning, result, told[tensor.name], alpha)
        measured = Measured(result.std, result.rms)
        judged[tie_key(tensor)] = judgement, measured
    names = {t.name: judged[tie_key(t)] for t in tree.values() if tie_key(t) in judged}
    by_layer = with_neighbours(found, {name: pair[0] for name, pair in names.items()})
    measures = {name: pair[1] for name, pair in names.items()}
    return _report(tree, found, told, by_layer, measures, activation, failures, alpha)


def _analysed(tensor: Tensor, found: LayerMap) -> bool:
    kind = dtypes.get(tensor.dtype)
    meaning = found.tensors[tensor.name].meaning
    return (
        kind.kind == "float"
        and tensor.size > 0
        and tensor.quantization is None
        and meaning.kind not in _SKIPPED
        and meaning.role not in ("num_batches", "mask", "power_iteration")
    )


def _report(
    tree: WeightTree,
    found: LayerMap,
    told: Mapping[str, Setting],
    judged: Mapping[str, Judgement],
    measures: Mapping[str, Measured],
    activation: str | None,
    failures: Sequence[WtoolsError],
    alpha: float,
) -> Report:
    stated = {"": known(activation)} if activation else activations(tree, found)
    steps = steps_of(found, told, measures, stated or {"": _ASSUMED})
    signal = propagate(list(steps.values()))
    usual = Counter(s.activation for s in steps.values() if s.activation != "linear")
    main = usual.most_common(1)[0][0] if usual else "linear"
    way = dict(zip(steps, zip(signal.gains, signal.forward, strict=True), strict=True))
    rows = [_row(found.tensors[name], j, way.get(name)) for name, j in judged.items()]
    advice = [
        *advice_on_signal(signal, main, bool(stated), found.tensors, judged),
        *_gathered(rows),
    ]
    return Report(
        schema="wtools.init/1",
        title=f"Initialization of {heading(tree)}",
        row_type=InitRow,
        rows=rows,
        summary=_summary(rows, signal, main, bool(stated)) | {"alpha": alpha},
        notes=[
            *tree.notes,
            *tree_notes(tree),
            *(f"advice: {line}" for line in advice),
            *_notes(tree, rows, failures, bool(stated), bool(steps)),
        ],
        path=tree.path,
        format=tree.format,
        failures=failures,
    )


def _row(role: TensorRole, found: Judgement, way: tuple[float, float] | None) -> InitRow:
    return InitRow(
        name=role.tensor.name,
        fit=found.fit,
        verdict=found.verdict,
        p_value=found.p_value,
        gain=found.gain,
        runner_up=found.runner_up,
        shape=role.tensor.shape,
        count=role.tensor.size,
        kind=role.meaning.kind,
        role=role.meaning.role,
        ties=list(found.ties),
        advice=advice_on(role, found),
        layer=role.layer,
        variance_gain=way[0] if way else None,
        signal=way[1] if way else None,
        evidence=found.evidence,
    )


def _summary(
    rows: Sequence[InitRow], signal: Signal, activation: str, stated: bool
) -> dict[str, Any]:
    verdicts = Counter(row.verdict for row in rows)
    drawn = Counter(row.fit for row in rows if row.verdict == UNTOUCHED)
    summary: dict[str, Any] = {
        "tensors": len(rows),
        "verdicts": dict(verdicts.most_common()),
    }
    if drawn:
        summary["untouched_as"] = dict(drawn.most_common(6))
    if signal.names:
        summary["signal"] = {
            "activation": activation if stated else f"{activation} (assumed)",
            "layers": len(signal.names),
            "forward": signal.total,
            "backward": signal.total_backward,
            "is": signal.word,
        }
        summary["signal_by_layer"] = bars(signal.forward)
    return summary


def _gathered(rows: Sequence[InitRow]) -> Iterator[str]:
    """Each advice once, with the tensors that it is on."""
    on: dict[str, list[str]] = {}
    for row in rows:
        if row.advice:
            on.setdefault(row.advice, []).append(row.name)
    for advice, names in on.items():
        yield f"{few(names, 3)}: {advice}"


def _notes(
    tree: WeightTree,
    rows: Sequence[InitRow],
    failures: Sequence[WtoolsError],
    stated: bool,
    steps: bool,
) -> Iterator[str]:
    left = len(tree) - len(rows) - len(failures)
    if left:
        yield (
            f"{len(rows):,} of {len(tree):,} tensors analysed; {left:,} skipped: integers, "
            "quantized weights, buffers, statistics of data, linear models"
        )
    if failures:
        yield f"{len(failures):,} of {len(tree):,} tensors could not be read"
    if any(row.verdict == UNTOUCHED and row.p_value != 1 for row in rows):
        yield (
            f"in a fresh file the chance that any tensor is called touched is {FALSE_ALARMS:.0%}: "
            "the limit for each is that over their number"
        )
    if steps and not stated:
        yield f"the file names no activation: taken as {_ASSUMED} (--activation)"
