"""How an error is told on the command line."""

from __future__ import annotations

import click

from ..errors import WtoolsError


def report_error(error: WtoolsError, *, as_json: bool = False) -> None:
    """The error on standard error; with --json also as an object on standard output."""
    click.echo(f"wtools: error: {error}", err=True)
    if as_json:
        from ..render.json import dumps

        click.echo(
            dumps(
                {
                    "schema": "wtools.error/1",
                    "error": error.code,
                    "exit_code": error.exit_code,
                    "path": error.path,
                    "place": error.place,
                    "reason": error.reason,
                    "advice": error.advice,
                }
            )
        )
