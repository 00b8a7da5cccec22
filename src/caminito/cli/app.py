"""The application: its commands, in the order in which a person meets them."""

from __future__ import annotations

from typing import Annotated

import typer

import caminito
from caminito.cli.calibrate import calibrate
from caminito.cli.console import command, out
from caminito.cli.doctor import doctor
from caminito.cli.evaluate import evaluate
from caminito.cli.given import inpaint, upscale
from caminito.cli.inspect import inspect
from caminito.cli.plot import HELP, plot
from caminito.cli.report import report
from caminito.cli.sample import sample
from caminito.cli.table_sample import impute
from caminito.cli.train import train
from caminito.cli.train_classifier import train_classifier

__all__ = ["app"]

app = typer.Typer(
    name="caminito",
    help="Train, understand and sample diffusion models on your own data.",
    epilog="Begin with: caminito train digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS = (
    inspect,
    train,
    sample,
    impute,
    inpaint,
    upscale,
    calibrate,
    train_classifier,
    evaluate,
    plot,
    report,
    doctor,
)

for _function in _COMMANDS:
    app.command(help=HELP if _function is plot else None)(command(_function))


def _version(asked: bool) -> None:
    if asked:
        out.print(f"caminito {caminito.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass
