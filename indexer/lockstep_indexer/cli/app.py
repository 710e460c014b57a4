"""The command `lockstep`: its commands, and how a run of one ends."""

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

import lockstep
from lockstep_indexer.cli import (
    advise,
    compare,
    corpus,
    demo,
    doctor,
    errors,
    evaluate,
    gc,
    key,
    mcp,
    mine,
    model,
    pairs,
    plan,
    qrels,
    reindex,
    rollout,
    rollouts,
    search,
    serve,
    status,
    train,
    trial,
    workspace,
)
from lockstep_indexer.cli.options import JsonOption, VerboseOption, WorkspaceOption
from lockstep_indexer.cli.streams import accept_any_text, write_line

app = typer.Typer(
    name="lockstep",
    help="Keeps an embedding model and its search index in lockstep.",
    epilog="Example: [cyan]lockstep demo[/]",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)


def _show_version(asked: bool) -> None:
    if asked:
        write_line(f"lockstep {lockstep.__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Keeps an embedding model and its search index in lockstep."""
    context.obj = {"workspace": workspace, "json": json, "verbose": verbose}


for noun in (
    workspace,
    demo,
    corpus,
    model,
    qrels,
    advise,
    pairs,
    mine,
    train,
    evaluate,
    plan,
    reindex,
    compare,
    trial,
    rollout,
    gc,
    rollouts,
    search,
    serve,
    mcp,
    key,
    status,
    doctor,
):
    noun.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `errors` says what the codes mean."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    accept_any_text()
    as_json = "--json" in flags
    verbose = bool({"-v", "--verbose"} & set(flags))
    if (broken := _not_text(arguments)) is not None:
        return errors.report(errors.of_usage(broken, "lockstep"), as_json=as_json)
    try:
        code = app(arguments, prog_name="lockstep", standalone_mode=False)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else errors.FAILED
    except typer.Abort:
        return errors.report(errors.of_interrupt(), as_json=as_json)
    except BaseException as error:
        if _is_help(error):
            return errors.USAGE
        if verbose and not isinstance(error, KeyboardInterrupt):
            traceback.print_exc()
        return errors.report(_failure(error), as_json=as_json)
    if code == errors.INTERRUPTED:  # Typer turned Ctrl-C into an exit
        return errors.report(errors.of_interrupt(), as_json=as_json)
    return code if isinstance(code, int) else errors.DONE


def _not_text(arguments: Sequence[str]) -> str | None:
    """What is wrong with an argument of bytes that are no UTF-8, which no database takes."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            return f"The argument {argument!a} is not UTF-8; expected text, or a path of text."
    return None


def _failure(error: BaseException) -> errors.Failure:
    if isinstance(error, KeyboardInterrupt):
        return errors.of_interrupt()
    if getattr(error, "exit_code", None) == errors.USAGE:  # a command line that Typer refuses
        context = getattr(error, "ctx", None)
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return errors.of_usage(message, context.command_path if context else "lockstep")
    return errors.failure_of(error)


def _is_help(error: BaseException) -> bool:
    """A command that got nothing at all has printed its help by now."""
    return type(error).__name__ == "NoArgsIsHelpError"
