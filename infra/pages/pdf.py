"""Print a page to PDF with the Chromium of this machine, if there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from royalty.infra.stores.artifacts import StoreError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120
FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--no-pdf-header-footer",
)  # fmt: skip


def print_pdf(page: Path, pdf: Path) -> None:
    """Write a page as PDF, by its print styles.

    Raises:
        StoreError: there is no browser, or it did not write the file.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise StoreError(
            f"a PDF is printed by one of {', '.join(BROWSERS)}, and none is on PATH; install Chromium, or print {page} "
            "from any browser"
        )
    with tempfile.TemporaryDirectory() as profile:
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # Chromium refuses to run as root with it
        command = [browser, *FLAGS, *sandbox, f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", page.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as late:
            raise StoreError(f"{browser} did not print {page} within {SECONDS} s; print it from any browser") from late
    if done.returncode != 0 or not pdf.exists():
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise StoreError(f"{browser} did not print {page}: {reason[0]}; print it from any browser")
