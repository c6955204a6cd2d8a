"""Scripts that a worker process would run again, found out before there is one.

A new process imports the script that it was started from. A script that calls `uadbench.run` at its top level, and not
below `if __name__ == "__main__":`, would so begin the same run in each of its workers.
"""

from __future__ import annotations

import ast
import multiprocessing
import sys
import traceback
from pathlib import Path

from ...errors import UserError

_REMEDY = 'put the call below `if __name__ == "__main__":`, or do everything in one process with on="here"'


def require_main_guard() -> None:
    """See that the script that is running can be imported by worker processes without harm.

    A notebook and an interactive session have no such script and pass.

    Raises:
        UserError: it cannot; the sentence names the line.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # so does Python know that a process starts
        raise UserError(f"this script was imported by a worker process and would run itself again; {_REMEDY}")
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    line = _line_at_top_level()
    if file is None or line is None or _is_guarded(Path(file), line):
        return
    raise UserError(f"{file}, line {line}: each worker process imports this script and would run it again; {_REMEDY}")


def _line_at_top_level() -> int | None:
    """The line of the script that is being carried out; None where the call comes from elsewhere, e.g. a thread."""
    names = vars(sys.modules["__main__"]) if "__main__" in sys.modules else None
    frames = [(frame, line) for frame, line in traceback.walk_stack(None) if frame.f_globals is names]
    return next((line for frame, line in reversed(frames) if frame.f_code.co_name == "<module>"), None)


def _is_guarded(file: Path, line: int) -> bool:
    """Whether a line stands below an `if` that asks for `__name__`; also where the text cannot be read."""
    try:
        module = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    around = [node for node in ast.walk(module) if isinstance(node, ast.If) and _spans(node, line)]
    return any(isinstance(part, ast.Name) and part.id == "__name__" for node in around for part in ast.walk(node.test))


def _spans(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)
