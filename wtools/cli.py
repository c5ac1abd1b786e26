"""The command line: a thin skin over the library.

Each command is a module of `wtools.commands` with a click command named `command`; it is imported
when it is run, so that `wtools --help` costs no more than click.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from . import __version__
from .errors import WtoolsError, printable

# name -> (module in wtools.commands, what it does in one line), in the order of `--help`
COMMANDS: dict[str, tuple[str, str]] = {
    "report": ("report", "All that is known of a model, from one pass over its data."),
    "ls": ("ls", "List the tensors of a model: names, dtypes, shapes, sizes."),
    "stats": ("stats", "Statistics of every tensor in one pass over the data."),
    "sparsity": ("sparsity", "Zeros and near-zeros: how many, in what structure, from what cause."),
    "check": ("check", "What is wrong with a model, or may be: rules for people and pipelines."),
    "diff": ("diff", "What differs between two models, and by how much."),
    "init": ("init", "Which initializer drew each tensor, and was it trained since?"),
    "freeze": ("freeze", "What moved in fine-tuning; what to freeze of a model, as code."),
    "layers": ("layers", "What each tensor is: layer kind, role, axes, and the blocks."),
    "merge": ("merge", "Add up the sketches of `stats --sketch-out`, from several files."),
    "convert": ("convert", "Write a model in another format, verified bit for bit."),
    "verify": ("verify", "Run two models in their frameworks and compare what they compute."),
    "verify-bits": ("verify_bits", "Compare two files of any formats bit for bit."),
    "formats": ("formats", "The file formats that are read and written."),
}

INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h: a fault of wtools, not of the input
INTERRUPTED = 130


class Commands(click.Group):
    """The commands, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f".commands.{COMMANDS[name][0]}", "wtools").command
        command.name = name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No command named {printable(args[0])!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.option("--version", is_flag=True, help="Show the version (with -v: of all that is used).")
@click.option("-v", "--verbose", is_flag=True, help="With --version: libraries and compiled core.")
@click.pass_context
def cli(ctx: click.Context, version: bool, verbose: bool) -> None:
    """Inspect, analyze and convert neural-network weight files.

    A PATH is a weights file (Keras, PyTorch, safetensors, ONNX, npz: found by content, not by
    its name), the index of a sharded checkpoint, or a model folder.

    Exit codes: 0 done; 1 a check found something; 2 wrong usage; 3 the input is missing, corrupt,
    unsafe or not understood; 4 the output could not be written.
    """
    if version:
        click.echo(_versions() if verbose else f"wtools {__version__}")
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code. Never shows a traceback for a bad input."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(args))


def run(args: list[str]) -> int:
    """The exit code of one command line."""
    if "_WTOOLS_COMPLETE" in os.environ:
        cli.main(args, prog_name="wtools")
    try:
        with cli.make_context("wtools", list(args)) as context:
            result = cli.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:  # --help
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except WtoolsError as error:
        from .commands.failures import report_error

        report_error(error, as_json="--json" in args)
        return error.exit_code
    except BrokenPipeError:  # `wtools ls model | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        click.echo("wtools: interrupted", err=True)
        return INTERRUPTED
    except MemoryError:
        click.echo("wtools: error: not enough memory for this", err=True)
        return 3
    except OSError as error:
        click.echo(f"wtools: error: {printable(error)}", err=True)
        return 3
    except Exception as error:
        if os.environ.get("WTOOLS_DEBUG"):
            raise
        click.echo(
            f"wtools: internal error: {type(error).__name__}: {printable(error)}\n"
            "This is a fault of wtools: please report it with the output under WTOOLS_DEBUG=1.",
            err=True,
        )
        return INTERNAL_ERROR


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    from .sketch import core

    lines = [
        f"wtools {__version__}",
        f"python {sys.version.split()[0]} on {sys.platform}",
        f"statistics core: {core()}",
    ]
    for package in ("numpy", "h5py", "ml_dtypes", "click", "rich", "torch", "keras", "onnxruntime"):
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} not installed")
    return "\n".join(lines)
