"""The bars of a long command on a real terminal, and Ctrl-C in the middle of it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rlscale.analysis.curves.synthetic import SyntheticSweep

SWEEP = SyntheticSweep(sizes=(1e4, 2e4, 4e4, 8e4), points=30, noise=0.02)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "curves.csv"
    SWEEP.curves(np.random.default_rng(0)).to_pandas().to_csv(path, index=False)
    return path


def on_a_terminal(folder: Path, *words: str, until: bytes = b"") -> tuple[int, str, str]:
    """Exit status, standard output and what a terminal shows of standard error; Ctrl-C after ``until``."""
    terminal, error = pty.openpty()
    command = [sys.executable, "-m", "rlscale", *words]
    env = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=error) as process:
        os.close(error)
        shown, wanted = b"", until
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
            if wanted and wanted in shown:
                process.send_signal(signal.SIGINT)
                wanted = b""
        assert process.stdout is not None
        printed = process.stdout.read().decode()
    os.close(terminal)
    return process.returncode, printed, shown.decode()


def test_a_fit_shows_its_progress_and_the_time_left_on_standard_error_alone(table):
    words = ("fit", "curves.csv", "--bootstrap", "20", "--workers", "1")
    status, printed, shown = on_a_terminal(table.parent, *words)
    assert status == 0
    assert "fits of resampled runs" in shown
    assert "left" in shown
    assert "━" not in printed
    assert "Identified" in printed
    piped = subprocess.run(
        [sys.executable, "-m", "rlscale", *words], cwd=table.parent, capture_output=True, text=True
    )
    assert piped.stdout == printed
    assert "resampled runs" not in piped.stderr


def test_ctrl_c_says_where_the_work_was_and_what_is_not_written(table):
    words = ("fit", "curves.csv", "--bootstrap", "2000", "--workers", "1", "--json", "fit.json")
    status, printed, shown = on_a_terminal(table.parent, *words, until=b"resampled runs")
    assert status == 130
    assert printed == ""
    assert "rlscale: stopped at 0% of fits of resampled runs; not written: fit.json." in shown
    assert "Traceback" not in shown
    assert not (table.parent / "fit.json").exists()
