"""`python -m royalty.infra.processes.supervise [--of FOLDER] COMMAND...`: run a command while standard input is open.

A server started this way ends with the job that started it, even if the job is killed. The temporary folder of the
command is then removed too. A job that ends the command in order writes a byte first, and removes the folder itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading


def main() -> int:
    has_folder = sys.argv[1] == "--of"
    child = subprocess.Popen(sys.argv[3 if has_folder else 1 :], stdin=subprocess.DEVNULL, start_new_session=True)
    orphaned = threading.Event()

    def end_with_parent() -> None:
        if not os.read(0, 1):  # returns when the parent closes its end, or dies
            orphaned.set()
        try:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(8)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    threading.Thread(target=end_with_parent, daemon=True).start()
    code = child.wait()
    if has_folder and orphaned.is_set():
        shutil.rmtree(sys.argv[2], ignore_errors=True)  # the parent is gone, so errors cannot be reported
    return code


if __name__ == "__main__":
    sys.exit(main())
