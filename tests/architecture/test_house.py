"""The house keeps its rules: rooms, imports, clocks, secrets, sizes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
OWN_PACKAGES = ("dags", "expectations", "local", "ml", "warehouse", "tests")


def tracked_files() -> list[Path]:
    """Files that belong to the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    return [PROJECT / name for name in listed if name and (PROJECT / name).is_file()]


def sources(*suffixes: str) -> list[Path]:
    return [path for path in tracked_files() if path.suffix in suffixes]


def test_rooms_import_only_what_lies_below_them() -> None:
    """import-linter's contracts of pyproject.toml hold."""
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Contracts: 0 kept" not in result.stdout


def test_there_are_no_rooms_named_for_nothing() -> None:
    nameless = [
        path
        for path in tracked_files()
        if re.search(r"(^|/)(utils?|helpers?|common|misc|scripts|src)(/|\.py$)", str(path.relative_to(PROJECT)))
    ]
    assert nameless == []


def test_nothing_reads_the_clock_below_the_top() -> None:
    clock = re.compile(
        r"\b(datetime\.now|date\.today|utcnow|time\.time\(|current_date|current_timestamp|now\(\))", re.IGNORECASE
    )
    below = [path for path in sources(".py", ".sql") if path.relative_to(PROJECT).parts[0] in ("ml", "dbt_project")]
    assert below
    assert [str(path) for path in below if clock.search(path.read_text())] == []


def test_only_settings_read_the_environment() -> None:
    environment = re.compile(
        r"os\.environ\.get|os\.getenv|os\.environ\[[^\]]*\](?!\s*=)|environ\.get|tomllib|load_dotenv"
    )
    below = [
        path
        for path in sources(".py")
        if path.relative_to(PROJECT).parts[0] in ("ml", "warehouse", "expectations", "dags")
        and path.relative_to(PROJECT) != Path("warehouse/settings.py")
    ]
    assert [str(path) for path in below if environment.search(path.read_text())] == []


def test_models_come_to_rest_in_formats_that_run_no_code() -> None:
    code_on_load = re.compile(
        r"^\s*(import|from)\s+(pickle|joblib|dill|cloudpickle)\b|allow_pickle\s*=\s*True", re.MULTILINE
    )
    assert [str(path) for path in sources(".py") if code_on_load.search(path.read_text())] == []


def test_no_exception_is_swallowed() -> None:
    swallowed = re.compile(r"except[^\n]*:\s*\n\s*(pass|continue)\b")
    assert [str(path) for path in sources(".py") if swallowed.search(path.read_text())] == []


def test_no_file_is_large_and_no_machine_is_named() -> None:
    for path in tracked_files():
        assert path.stat().st_size < 1_000_000, f"{path} is larger than a megabyte"
        if (
            path.suffix in {".py", ".sql", ".md", ".yml", ".yaml", ".toml", ".txt", ".in", ".json"}
            or path.name == "Makefile"
        ):
            text = path.read_text()
            assert not re.search(r"(?<![\w.}>])/(work|farm)/", text), f"{path} names a folder of one machine"


def test_the_lock_has_a_hash_for_every_package_and_names_no_registry() -> None:
    lock = (PROJECT / "requirements.txt").read_text()
    packages = re.findall(r"^([A-Za-z0-9_.\-\[\]]+)==(\S+)", lock, flags=re.MULTILINE)
    blocks = re.split(r"^(?=[A-Za-z0-9_.\-\[\]]+==)", lock, flags=re.MULTILINE)[1:]
    assert len(packages) == len(blocks) > 200
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"^--|https?://", lock, flags=re.MULTILINE)


def test_the_lock_answers_the_wishes() -> None:
    """Every requirement of requirements.in is pinned in requirements.txt."""
    wishes = {
        re.split(r"[=<>\[; ]", line.strip(), maxsplit=1)[0].lower()
        for line in (PROJECT / "requirements.in").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    }
    locked = {
        name.lower()
        for name in re.findall(r"^([A-Za-z0-9_.\-]+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    }
    assert wishes - locked == set()


@pytest.mark.parametrize("name", ["dags", "dbt_project", "ml", "expectations", "tests"])
def test_the_rooms_the_user_fixed_are_at_the_top(name: str) -> None:
    assert (PROJECT / name).is_dir()


def test_continuous_integration_calls_the_test_command_of_the_readme() -> None:
    script = (PROJECT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make test" in (PROJECT / "README.md").read_text()


def test_every_yaml_file_parses() -> None:
    files = sources(".yml", ".yaml")
    assert files
    for path in files:
        list(yaml.safe_load_all(path.read_text()))


def test_every_test_that_a_guarantee_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (PROJECT / "docs" / "guarantees.md").read_text())
    assert len(named) > 10
    for file, test in named:
        assert f"def {test}(" in (PROJECT / file).read_text(), f"{file}::{test} is gone"


def test_links_between_documents_lead_somewhere() -> None:
    for document in sources(".md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
