"""The environment from a lock file, made for real with the two smallest packages of ours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own: our bootstrap and a lock file with uv and one package."""
    (tmp_path / "local").mkdir()
    shutil.copy(PROJECT / "local" / "bootstrap.py", tmp_path / "local" / "bootstrap.py")
    write_lock(tmp_path, "uv", "iniconfig")
    return tmp_path


def write_lock(project: Path, *packages: str) -> None:
    lock = (PROJECT / "requirements.txt").read_text()
    blocks = (re.search(rf"^{name}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL) for name in packages)
    (project / "requirements.txt").write_text("".join(block.group() for block in blocks if block))


def bootstrap(project: Path, *interpreter: str) -> subprocess.CompletedProcess[str]:
    program = [*(interpreter or (sys._base_executable,)), str(project / "local" / "bootstrap.py")]  # type: ignore[attr-defined]
    return subprocess.run(program, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def has(project: Path, module: str) -> bool:
    python = project / ".venv" / "bin" / "python"
    return subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def test_it_installs_what_the_lock_says_and_follows_a_changed_lock(project: Path) -> None:
    first = bootstrap(project)
    assert first.returncode == 0, first.stderr
    assert has(project, "iniconfig")
    assert has(project, "pip")
    assert bootstrap(project).stdout == ""
    write_lock(project, "uv", "pluggy")
    again = bootstrap(project)
    assert again.returncode == 0, again.stderr
    assert has(project, "pluggy")
    assert not has(project, "iniconfig")


def test_a_broken_environment_is_made_anew(project: Path) -> None:
    assert bootstrap(project).returncode == 0
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python3.11")  # as after the interpreter has moved
    again = bootstrap(project)
    assert again.returncode == 0, again.stderr
    assert has(project, "iniconfig")


def test_a_package_with_another_hash_is_refused(project: Path) -> None:
    lock = project / "requirements.txt"
    name, _, rest = lock.read_text().rpartition("iniconfig==")
    lock.write_text(name + "iniconfig==" + re.sub(r"sha256:\w{8}", "sha256:00000000", rest))
    finished = bootstrap(project)
    assert finished.returncode == 1
    assert "the packages could not be installed" in finished.stderr
    assert "Traceback" not in finished.stderr
    # And the next call does not take the half-made environment for a finished one.
    assert bootstrap(project).returncode == 1


def test_another_python_is_refused_with_advice(project: Path) -> None:
    pretend = "import sys, runpy; sys.version_info = (3, 9, 0); runpy.run_path(sys.argv[1], run_name='__main__')"
    finished = bootstrap(project, sys.executable, "-c", pretend)
    assert finished.returncode == 1
    assert "Python 3.11 is needed and this is 3.9" in finished.stderr
    assert not (project / ".venv").exists()
