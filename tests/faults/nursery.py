"""A process of a portal's that has loaded all of its code, and forks workers and commands on demand.

Starting Python and Django anew costs seconds of CPU, and the matrix starts a worker and an audit in each of its cells.

Reads one JSON object a line: {"arguments", "environment", "output", "log"}; what is said on standard error goes to the
log. Answers with the process's id, or, where "wait" is true, with its exit code once it has ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    import django

    django.setup()
    from django.urls import get_resolver

    from portal.celery import app

    app.loader.import_default_modules()
    assert get_resolver().url_patterns  # imports every view
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if order["wait"] else signal.SIG_IGN)
        pid = os.fork()
        if not pid:
            _be(order)
        _lead_a_group(pid)
        answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if order["wait"] else pid
        print(json.dumps(answer), flush=True)


def _be(order: dict[str, Any]) -> None:
    """The child; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _lead_a_group(0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(order["environment"])
    code = 1
    try:
        _redirect(order["output"], order["log"])
        _run(order["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _lead_a_group(pid: int) -> None:
    """Told by parent and child, so that it is so for both as soon as they go on; one of them comes late."""
    with suppress(OSError):
        os.setpgid(pid, 0)


def _redirect(output: str, log: str) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for target, path in ((1, output), (2, log)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), target)


def _run(arguments: list[str]) -> None:
    if arguments[0] == "worker":
        from portal.celery import app

        app.worker_main(arguments)
    else:
        from django.core.management import execute_from_command_line

        execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main()
