"""`wtools verify-bits`."""

from __future__ import annotations

from dataclasses import replace

import click

from .options import Output, output_options
from .progress import progress


@click.command()
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option("--root", metavar="KEY", help="Where in A and B the weights are (see `ls`).")
@output_options
def command(a: str, b: str, root: str | None, output: Output) -> int:
    """Compare every tensor of A and B, of whatever formats, bit for bit.

    Ends with code 1 if any differs in name, dtype, shape or a single bit.
    """
    from .. import formats
    from ..conversion import verify_bits

    with formats.open(a, root=root) as one, formats.open(b, root=root) as other:
        work = max(one.nbytes, other.nbytes)
        with progress("verify-bits", work, quiet=output.quiet) as advance:
            report = verify_bits(one, other, progress=advance)
        if not (output.form or output.file):
            report = replace(report, rows=[row for row in report.rows if not row.equal])
        output.emit(report)
        return 0 if report.summary["equal"] else 1
