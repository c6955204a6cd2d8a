"""How commands end: errors that the user can mend as one sentence, warnings of ours as one line."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import TextIO

import typer
from typer.core import TyperGroup

from ...errors import UserError
from ...stopping import end_quickly, exit_code

#: What is imported where it is used, because a bare GPU node has none of it.
_LATE_LIBRARIES = frozenset({"matplotlib", "nibabel", "nilearn", "pooch", "pydicom", "SimpleITK", "tabulate", "xlrd"})
#: Of our own warnings, those that tell of nothing wrong.
_NOTES = frozenset({"StoreWarning", "LockWarning", "CodeWarning"})
STOPPED = "Stopped. The same command goes on where it stopped."
_show_as_python_does = warnings.showwarning


class Sentences(TyperGroup):
    """Turns errors that the user can mend into one sentence and exit code 2; Ctrl-C is 130 and SIGTERM 143."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the chosen command."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except EOFError as error:
            traceback.print_exception(error)  # Typer would say "Aborted!" and nothing else
            raise typer.Exit(1) from None
        except BaseException as error:
            code = None if isinstance(error, Exception) else exit_code(error)
            if code is not None:
                end_quickly()
                print(STOPPED, file=sys.stderr)
                raise typer.Exit(code) from None
            sentence = sentence_of(error)
            if sentence is None:
                raise
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            print(f"error: {sentence}", file=sys.stderr)
            raise typer.Exit(2) from None


def sentence_of(error: BaseException) -> str | None:
    """The sentence of an error the user can mend; None for a defect of ours, which deserves its traceback."""
    if not isinstance(error, Exception):  # nobody ends the program but by typer.Exit
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
        return f"{last.filename}, line {last.lineno}, tried to end the program with {words}; mend the code that did"
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in _LATE_LIBRARIES:
        return f"{error.name} is not installed here, and this command needs it; pip install {error.name}"
    if isinstance(error, MemoryError | OSError | RuntimeError | ImportError):  # else PyTorch is imported for nothing
        from ...out_of_memory import is_out_of_memory

        if is_out_of_memory(error):
            words = " ".join(str(error).split())[:300]
            return (
                f"out of memory ({type(error).__name__}{f': {words}' if words else ''}); end other programs, "
                "or take fewer processes (--jobs 1) or the CPU (--device cpu) where the command has them"
            )
    return None


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show our own warnings as one sentence, all others as Python does."""
    if category.__module__.startswith("uadbench."):
        kind = "note" if category.__name__ in _NOTES else "warning"
        print(f"{kind}: {message}", file=sys.stderr)
    else:
        _show_as_python_does(message, category, filename, lineno, file, line)
