"""`wtools diff`."""

from __future__ import annotations

import click

from ..analyzers.diff import diff
from ..errors import NameNotFoundError
from ..formats import open as open_tree
from ..tree import WeightTree
from .failures import report_error
from .options import Output, output_options
from .progress import progress


@click.command()
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option("--root", metavar="KEY", help="Where in A and B the weights are (see `ls`).")
@click.option("--root-b", metavar="KEY", help="Where in B, if not where they are in A.")
@click.option("--match", multiple=True, metavar="GLOB", help="Only tensors of these names.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=0.0,
    metavar="X",
    help="Relative L2 change up to which a tensor is close.",
)
@click.option("--all", "everything", is_flag=True, help="Show identical and close tensors too.")
@click.option("--dequantize", is_flag=True, help="Compare what quantized integers stand for.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: every core.")
@output_options
def command(
    a: str,
    b: str,
    output: Output,
    root: str | None,
    root_b: str | None,
    match: tuple[str, ...],
    tolerance: float,
    everything: bool,
    dequantize: bool,
    exit_code: bool,
    threads: int | None,
) -> int:
    """What differs between models A and B: added, removed, renamed, reshaped, retyped and changed
    tensors, with the size of each change; what matters most first.

    Tensors are matched by name, across formats too; those left over by content.
    """
    with open_tree(a, root=root) as left, open_tree(b, root=root_b or root) as right:
        left, right = selected(left, right, match)
        with progress("diff", left.nbytes, quiet=output.quiet) as advance:
            report = diff(
                left,
                right,
                tolerance=tolerance,
                everything=everything,
                dequantize=dequantize,
                threads=threads,
                progress=advance,
            )
        output.emit(report)
    for failure in report.failures:
        report_error(failure)
    worst = max((failure.exit_code for failure in report.failures), default=0)
    return worst or int(exit_code and bool(report.summary["differ"]))


def selected(a: WeightTree, b: WeightTree, match: tuple[str, ...]) -> tuple[WeightTree, WeightTree]:
    """Of both the tensors that match; a pattern has to match something on one side only."""
    if not match:
        return a, b
    kept_a: set[str] = set()
    kept_b: set[str] = set()
    for pattern in match:
        found = []
        for tree, kept in ((a, kept_a), (b, kept_b)):
            try:
                kept.update(tree.select(pattern))
                found.append(True)
            except NameNotFoundError as error:
                missing = error
        if not found:
            raise missing
    return (
        a.replace(t for t in a.values() if t.name in kept_a),
        b.replace(t for t in b.values() if t.name in kept_b),
    )
