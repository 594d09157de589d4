"""`python -m infra.supervise COMMAND...`: run a command for as long as standard input stays open.

A server started this way ends with the job that started it, even when the job is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def end_with_parent() -> None:
        os.read(0, 1)  # returns when the parent closes its end, or dies
        try:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(8)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    threading.Thread(target=end_with_parent, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
