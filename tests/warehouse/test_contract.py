"""The contract: complete, explained, and dbt's sources in step with it."""

from pathlib import Path

import pytest

from warehouse.contract import ContractError, load_contract, read_table
from warehouse.contract.dbt_sources import SOURCES_FILE, dbt_sources


def test_the_tables_of_the_design_are_there_and_those_referred_to_come_first() -> None:
    names = list(load_contract())
    assert sorted(names) == [
        "consents", "events", "exposures", "friendships", "identities", "interactions", "items", "payments",
        "responses", "sessions", "touches", "users",
    ]  # fmt: skip
    assert names[:2] == ["users", "events"]
    assert [table.name for table in load_contract().values() if table.required] == ["users", "sessions"]


def test_dbt_sources_are_in_step() -> None:
    assert SOURCES_FILE.read_text(encoding="utf-8") == dbt_sources(), "run python -m warehouse.contract"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("table: other", "must be sample"),
        ("table: sample\nrequird: true", "unknown key requird"),
        ("table: sample\ndescription: d\nkey: [a]\ncolumns: {a: {type: txt, description: d}}", "type must be one of"),
        ("table: sample\ndescription: d\nkey: [a]\ncolumns: {a: {type: text}}", "describe the column"),
        ("table: sample\ndescription: d\nkey: [b]\ncolumns: {a: {type: text, description: d}}", "b is named but"),
        ("table: sample\ndescription: d\nkey: [a]\ncolumns: {a: {type: text, description: d}}", "under `without`"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "sample.yml"
    file.write_text(content)
    with pytest.raises(ContractError, match=sentence):
        read_table(file)
