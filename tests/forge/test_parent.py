"""A process that ends with the one that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl")

CHILD = """
import os, time
from forge.core.parent import ending_with_parent
with ending_with_parent({parent}):
    if {inside}:
        print("ready", flush=True)
        time.sleep(60)
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), child.pid, flush=True)
child.wait()
"""


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("inside", [True, False])
def test_a_process_ends_with_its_parent_within_the_block_alone(inside):
    command = [sys.executable, "-c", PARENT, CHILD.format(inside=inside, parent="os.getppid()")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    word, child = parent.stdout.readline().split()
    assert word == "ready" and lives(child)
    parent.kill()
    parent.communicate()
    time.sleep(0 if inside else 0.5)
    deadline = time.monotonic() + 5
    while inside and lives(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert lives(child) != inside
    if not inside:
        os.kill(int(child), signal.SIGKILL)


def test_a_process_whose_parent_ended_before_the_block_ends_at_once():
    other = CHILD.format(inside=True, parent="1" if os.getpid() != 1 else "2")
    process = subprocess.run([sys.executable, "-c", other], stdout=subprocess.PIPE, timeout=30)
    assert process.returncode == -signal.SIGKILL and not process.stdout
