"""`wtools verify`."""

from __future__ import annotations

import sys

import click

from .options import Output, output_options


@click.command()
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option(
    "--module",
    metavar="FILE[:CLASS]",
    help="Python file with the PyTorch module that takes bare weights; it is executed.",
)
@click.option("--module-b", metavar="FILE[:CLASS]", help="B's, if it is not A's.")
@click.option(
    "--atol", type=click.FloatRange(0), default=1e-5, show_default=True, help="Absolute tolerance."
)
@click.option(
    "--rtol", type=click.FloatRange(0), default=1e-5, show_default=True, help="Relative tolerance."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the inputs.")
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="Batch size; repeatable.  [default: 1, 2 and 5]",
)
@click.option(
    "--length",
    "lengths",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="Size of other free axes; repeatable.  [default: 7 and 12, images 64 and 96]",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SHAPE[:DTYPE]",
    help="?x224x224x3: an input's shape, where neither model says it.",
)
@click.option(
    "--channels-first",
    type=click.Choice(["a", "b"]),
    multiple=True,
    help="That side takes images channels-first, and its file does not say so; repeatable.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="For one load or one run.",
)
@output_options
def command(
    a: str,
    b: str,
    module: str | None,
    module_b: str | None,
    atol: float,
    rtol: float,
    seed: int,
    batches: tuple[int, ...],
    lengths: tuple[int, ...],
    inputs: tuple[str, ...],
    channels_first: tuple[str, ...],
    timeout: float,
    output: Output,
) -> int:
    """Run models A and B in their own frameworks on the same inputs, and compare the outputs.

    A model is a Keras .h5 or .keras, an ONNX or a TorchScript file, an estimator (.skops), or
    weights with --module.
    Each runs in a process of its own. Where they differ, the first layer where they part and the
    likeliest cause are told, and the command ends with code 1.
    """
    from ..verification import verify

    talks = sys.stderr.isatty() and not output.quiet

    def say(text: str) -> None:
        if talks:
            click.echo(f"verify: {text}", err=True)

    report = verify(
        a,
        b,
        module=module,
        module_b=module_b,
        atol=atol,
        rtol=rtol,
        seed=seed,
        batches=batches,
        lengths=lengths,
        inputs=inputs,
        channels_first=channels_first,
        timeout=timeout,
        progress=say,
    )
    output.emit(report)
    return 0 if report.summary["equal"] else 1
