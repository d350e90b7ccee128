"""Printing a page as PDF with Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from forge.core.errors import BenchError, InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_LONGEST = 300  # seconds: printing a large page takes some; a hung browser is ended


def print_pdf(page: Path, target: Path) -> None:
    """Print a page.

    Args:
        page: an HTML file.
        target: the PDF.

    Raises:
        InputError: Chromium is not installed.
        BenchError: it printed nothing.
    """
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise InputError("--format pdf prints with Chromium, which is not installed here; try apt install chromium")
    # A profile of its own: a Chromium that is already open would take the call over and print nothing.
    with tempfile.TemporaryDirectory() as profile:
        # --no-sandbox: in containers Chromium cannot set up its own; the page is a local file of ours
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--no-pdf-header-footer", f"--print-to-pdf={target.resolve()}", page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=False)
    if done.returncode or not target.is_file():  # it may exit with 0 without having printed
        reason = (done.stderr.strip().splitlines() or ["it printed no reason"])[-1]
        raise BenchError(f"{browser} could not print {page}: {reason}")
