"""From an empty clone to the printed targets: seconds, seconds of the chain alone, and the memory of the whole stack.

    python -m tests.benchmarks.bench_main_job [--keep]

Clones what is committed, into a folder of its own with a state folder of its own, types `make run` and watches. The
package cache of uv is as warm as it is. Everything is stopped and deleted in the end.

Peers: the aims of the product (150 s, 90 s, 4 GB). Memory is the proportional set size, in which a page that n
processes share counts n times a n-th; the sum over all processes is what the machine really gives.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[2]
AIMS = {"seconds to the targets": 150.0, "seconds of the chain": 90.0, "peak memory, GB": 4.0}
# Looking costs a tenth of a second of one core.
SAMPLE_EVERY_SECONDS = 2.0


@dataclass
class MemoryWatch:
    """Adds up the memory of every process that works for a state folder, and keeps the highest sum."""

    state: Path
    root: int
    peak_bytes: int = 0
    is_over: bool = False

    def watch(self) -> None:
        """Look until `is_over`."""
        while not self.is_over:
            self.peak_bytes = max(self.peak_bytes, sum(proportional_bytes(pid) for pid in self.processes()))
            time.sleep(SAMPLE_EVERY_SECONDS)

    def processes(self) -> set[int]:
        """Find the command with its children, what carries our mark, and the database server with its children."""
        found: set[int] = set()
        for process in psutil.process_iter():
            # Processes of others cannot be read, and some end while we look.
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid == self.root or self._works_here(process):
                    found |= {process.pid, *(child.pid for child in process.children(recursive=True))}
        return found

    def _works_here(self, process: psutil.Process) -> bool:
        in_folder = Path(process.cwd()).is_relative_to(self.state)
        return in_folder or process.environ().get("REKINDLE_STATE") == str(self.state)


def proportional_bytes(pid: int) -> int:
    """Return the proportional set size of a process; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def measure(keep: bool) -> dict[str, float]:
    """Run the main job once, from nothing, and return the figures."""
    folder = Path(tempfile.mkdtemp(prefix="rekindle-bench-"))
    folder.chmod(0o755)
    clone, state = folder / "clone", folder / "state"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("WAREHOUSE_URL", "REKINDLE_SOURCE", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV")
    }
    environment["REKINDLE_STATE"] = str(state)
    make = ["make", "-C", str(clone)]
    try:
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        started = time.monotonic()
        with subprocess.Popen(
            [*make, "run"], env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        ) as process:
            watch = MemoryWatch(state.resolve(), process.pid)
            watcher = threading.Thread(target=watch.watch, daemon=True)
            watcher.start()
            said = []
            targets_at = None
            for line in process.stdout or ():
                said.append(line)
                sys.stderr.write(line)
                if targets_at is None and "marketing.targets as of" in line:
                    targets_at = time.monotonic()
        watch.is_over = True
        watcher.join()
        if process.returncode != 0 or targets_at is None:
            raise SystemExit("the main job failed: what it said stands above")
        chain = re.search(r"the chain\s.*?([\d.]+)", "".join(said))
        return {
            "seconds to the targets": targets_at - started,
            "seconds of the chain": float(chain.group(1)) if chain else float("nan"),
            "peak memory, GB": watch.peak_bytes / 1e9,
        }
    finally:
        if keep:
            print(f"kept in {folder}")
        else:
            subprocess.run([*make, "reset"], env=environment, check=False, capture_output=True)
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure once and print each figure beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", action="store_true", help="leave clone, state and processes as they are")
    figures = measure(parser.parse_args().keep)
    for name, figure in figures.items():
        print(f"{name:<26} {figure:8.1f}   aim {AIMS[name]:6.1f}   ratio {figure / AIMS[name]:.2f}")


if __name__ == "__main__":
    main()
