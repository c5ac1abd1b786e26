"""`wtools check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import click

from ..analyzers.check import CheckReport, check, chosen, not_opened, rule_list
from ..errors import CorruptError, UsageError, WtoolsError
from ..files import Source
from ..formats import open as open_tree
from ..formats import zips
from ..tree import WeightTree
from .options import Input, Output, input_options, output_options
from .progress import progress

_FOR_PIPELINES = ("sarif", "junit")


def _list_rules(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        Output().emit(rule_list())
        context.exit()


@click.command()
@input_options
@click.option("--only", multiple=True, metavar="ID", help="Only this rule; repeatable.")
@click.option("--ignore", multiple=True, metavar="ID", help="Not this rule; repeatable.")
@click.option("--like", type=click.Path(), metavar="PATH", help="Has it the tensors of PATH?")
@click.option("--crc", is_flag=True, help="Also hold zip members against their checksums.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option("--sarif", is_flag=True, help="SARIF 2.1.0, for code-scanning services.")
@click.option("--junit", is_flag=True, help="JUnit XML, for build servers.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Default: every core.")
@click.option(
    "--list-rules",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_rules,
    help="Show every rule, and exit.",
)
@output_options
def command(
    source: Input,
    output: Output,
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    like: str | None,
    crc: bool,
    strict: bool,
    sarif: bool,
    junit: bool,
    threads: int | None,
) -> int:
    """What is wrong with PATH, or may be: NaN, zeros, duplicates, unsafe pickles, missing tensors.

    Exits with 1 if a rule found an error (with --strict: a warning). A file that cannot be opened
    is exit code 3; with --sarif or --junit it is a finding as well.
    """
    chosen(only, ignore)  # a wrong id is told before anything is read
    form = "sarif" if sarif else "junit" if junit else output.form
    output = replace(output, form=form)
    try:
        with source.open() as tree:
            report = _checked(tree, output.quiet, only, ignore, like, strict, crc, threads)
    except UsageError:
        raise
    except WtoolsError as error:
        if form in _FOR_PIPELINES:
            output.emit(not_opened(source.path, error))
        raise
    output.emit(report)
    return int(report.failed)


def _checked(
    tree: WeightTree,
    quiet: bool,
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    like: str | None,
    strict: bool,
    crc: bool,
    threads: int | None,
) -> CheckReport:
    other = open_tree(like) if like else None
    try:
        with progress("check", tree.nbytes, quiet=quiet) as advance:
            return check(
                tree,
                only=only,
                ignore=ignore,
                like=other,
                strict=strict,
                damage=list(_damage(tree)) if crc else (),
                threads=threads,
                progress=advance,
            )
    finally:
        if other is not None:
            other.close()


def _damage(tree: WeightTree) -> Iterator[WtoolsError]:
    """The members of the model's zip archives whose data are not what their checksums say."""
    stored = (t.storage.file.partition("!")[0] for t in tree.values() if t.storage)
    for path in dict.fromkeys((tree.path, *stored)):
        with Source(path) as source:
            if source.size < 4 or source.pread(0, 4) != b"PK\x03\x04":
                continue
            archive = zips.directory(source)
            for name in archive:
                try:
                    archive.verify_crc(name)
                except CorruptError as error:
                    yield error
