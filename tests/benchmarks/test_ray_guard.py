"""What stays of a Ray cluster when the process that started it is killed."""

import signal
import subprocess
import sys
import time

import pytest

from benchmarks.workflow.engines.ray_guard import guarded, users

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

DRIVER = """
import subprocess, sys, time
from pathlib import Path
from benchmarks.workflow.engines.ray_guard import guarded
with guarded(Path(sys.argv[1])):
    agent = [sys.executable, "-S", "-c", "import time; time.sleep(60)  # /ray/"]
    subprocess.Popen(agent, stdout=open(Path(sys.argv[1]) / "log", "w"), start_new_session=True)
    print("begun", flush=True)
    time.sleep(60)
"""


def test_processes_of_the_cluster_of_a_killed_driver_end(tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout.readline() == "begun\n" and len(users(folder)) == 1
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 10
    while (users(folder) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not users(folder) and not folder.exists()


def test_an_end_in_order_leaves_processes_without_files_in_the_folder_alone(tmp_path):
    sleeping = [sys.executable, "-S", "-c", "import time; time.sleep(60)  # /ray/"]
    reading = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    folder = tmp_path / "cluster"
    folder.mkdir()
    with (tmp_path / "cluster-2").open("w") as log:
        others = subprocess.Popen(sleeping, stdout=log)
    with guarded(folder), (folder / "log").open("w") as log:
        left = subprocess.Popen(sleeping, stdout=log)
        reader = subprocess.Popen(reading, stdout=log)  # as another driver, or an editor
        kept = (folder / "of-the-driver").open("w")
    kept.close()
    assert left.wait(10) == -signal.SIGKILL and not folder.exists()
    for process in (others, reader):
        assert process.poll() is None
        process.kill()
        process.wait()
