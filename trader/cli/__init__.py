"""The command line: its words, its JSON keys and its exit codes are a contract."""

import io
import os
import sys
from collections.abc import Sequence

import typer

from trader import __version__
from trader.cli import (
    alerts,
    evidence,
    fitting,
    history,
    journal,
    laboratory,
    model,
    money,
    operate,
    read,
    report,
    run,
    simulate,
)
from trader.errors import TraderError

app = typer.Typer(
    name="trader",
    help="Trade Binance USDT-M futures from a forecast, once per candle close.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"trader {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Trade Binance USDT-M futures from a forecast, once per candle close."""


for _module in (
    run,
    read,
    alerts,
    money,
    operate,
    journal,
    history,
    laboratory,
    fitting,
    evidence,
    report,
    model,
    simulate,
):
    _module.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code.

    Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 69 exchange unavailable, 70 internal, 74 journal or output
    not written, 75 try later, 77 not permitted, 78 bad configuration.
    """
    _fill_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a terminal that lacks a sign is no reason to lose what it was to say
        sys.stdout.reconfigure(errors="replace")
    sys.exit(_run(arguments))


def _fill_closed_streams() -> None:
    """Open what was closed: the next file to be opened, a journal maybe, would be taken for that stream."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # the lowest number that is free is the closed one's
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = _ended(arguments)
        # what waits in a buffer is not said yet
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return 1
    except OSError as error:
        sys.stderr.write(f"trader: the output cannot be written ({error.strerror}); send it where there is room.\n")
        _drop_output()
        return 74
    return code


def _drop_output() -> None:
    """Let go of what could not be written, which Python would try once more at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ended(arguments: Sequence[str] | None) -> int:
    try:
        app(args=None if arguments is None else list(arguments), prog_name="trader")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except TraderError as error:
        sys.stderr.write(f"trader: {error}\n")
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError):
            # where it was the output that could not be written, an empty line cannot be either
            sys.stdout.write("\n")
            sys.stdout.flush()
        from trader.log import redact

        sys.stderr.write(redact(f"trader: internal error: {type(error).__name__}: {error}; please report it.\n"))
        return 70
    return 0
