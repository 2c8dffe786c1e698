"""The command line: one module per verb, options to plain arguments, values to text or JSON.

Not here: the work itself: each verb calls one function of a package below.

:mod:`options` has the options that verbs share, :mod:`source` finds the spec that they name,
:mod:`owner` lets root act as another user, :mod:`output` and :mod:`progress` print.
"""

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from appliance.cli.output import print_error
from appliance.errors import PyindexError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# The module and attribute of each verb and its summary, in the order of `pyindex --help`.
_VERBS = {
    "serve": ("serve:serve", "serve an index and watch its packages directories"),
    "watch": ("watch:watch", "watch the packages directories and publish changes"),
    "status": ("status:status", "show projects, rejected files and problems"),
    "log": ("log:log", "show who changed what and when"),
    "who": ("who:who", "show who fetched a file, from the access logs"),
    "rebuild": ("rebuild:rebuild", "rebuild the catalog and all pages from the package files"),
    "backup": ("backup:backup", "copy the catalog into the backup directory"),
    "restore": ("backup:restore", "replace the catalog with a backup"),
    "verify": ("verify:verify", "compare every file and page with the catalog"),
    "gc": ("gc:gc", "delete old trash, catalogs, journal entries and builds"),
    "bundle": ("bundle:bundle", "write the files of an index into an archive, for another index"),
    "bundle-key": ("bundle:bundle_key", "make a key that signs bundles"),
    "load": ("load:load", "load a bundle, or a directory of files, into an index"),
    "state": ("load:state", "print what an index has, for the next bundle to leave it out"),
    "take-over": ("takeover:take_over", "take the files of another index server into an index"),
    "promote": ("promote:promote", "copy a release with its history to another index"),
    "receipts": ("load:receipts", "list the receipts of loads"),
    "yank": ("decide:yank", "yank files: installers skip them unless pinned (PEP 592)"),
    "unyank": ("decide:unyank", "undo a yank"),
    "remove": ("decide:remove", "move files from the packages directory to the trash"),
    "trash": ("trash:trash", "list removed files, or return them to their index"),
    "confirm-deletions": ("confirm:confirm_deletions", "confirm that missing files were deleted"),
    "status-set": ("decide:status_set", "set the status of a project (PEP 792)"),
    "token": ("token:token", "create, list and revoke API tokens"),
    "mirror": ("mirror:mirror", "fetch what requirements need on given Pythons and platforms"),
    "prove": ("prove:prove", "check whether requirements install from an index alone"),
    "targets": ("targets:targets", "show the Pythons and platforms that files are collected for"),
    "lock": ("lock:lock", "rewrite the URLs of locks to this index and back"),
    "client": ("client:client", "print or write the settings of pip, uv, Poetry, PDM or conda"),
    "doctor": ("doctor:doctor", "check that this machine installs from an index alone"),
    "render": ("render:render", "render the files of a host from a spec"),
    "appliance": ("appliance:appliance", "build or check the pack for a host"),
    "certificates": ("certificates:certificates", "make and renew certificates by a private CA"),
    "host": ("host:host", "place files, switch releases, or remove the appliance of this host"),
    "init": ("spec:init", "write a commented spec to start from"),
    "spec": ("spec:spec", "check a spec, or print its JSON Schema"),
}
_COMPLETE = "_PYINDEX_COMPLETE"


class _Verbs(click.Group):
    """The group of all verbs. The module of a verb is imported when its command is used: to import
    all of them takes longer than most commands do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, _, attribute = _VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"appliance.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in _VERBS.items()
            if name.startswith(incomplete)
        ]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]


@click.command("pyindex", cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pyindex", prog_name="pyindex", message="%(prog)s %(version)s")
def commands() -> None:
    """A private Python package index."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 1 for a failure that can be explained, 2 for wrong usage, 130 for
    an interrupt."""
    if argv is None:
        argv = sys.argv[1:]
        # No process that this one starts imports modules from the current directory.
        os.environ["PYTHONSAFEPATH"] = "1"
        # Python would collect the garbage of all modules at its end, for a fifth of a second.
        atexit.register(gc.freeze)

    try:
        return _run(argv)
    except click.UsageError as error:
        _print_usage_error(error)
        return error.exit_code
    except PyindexError as error:
        print_error(str(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has ended
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print_error(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        return 130
    return 1


def _run(argv: Sequence[str]) -> int:
    """Run a command, or answer a shell that completes one; returns the exit code."""
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(commands, {}, "pyindex", _COMPLETE, instruction)
    try:
        with commands.make_context("pyindex", list(argv)) as context:
            return commands.invoke(context) or 0
    except click.exceptions.Exit as error:  # --help and --version
        return error.exit_code


def _print_usage_error(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    command = error.ctx.command_path if error.ctx else "pyindex"
    text = error.format_message().removesuffix(".")
    print_error(f"{text[:1].lower()}{text[1:]}; see `{command} --help`")
