"""The data dictionary says what the contract, the catalogue and dbt say."""

from pathlib import Path

import pytest

from local.dictionary import DICTIONARY, data_dictionary
from warehouse.contract import load_contract
from warehouse.door import Warehouse

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def dictionary(warehouse: Warehouse) -> str:
    return data_dictionary(warehouse, PROJECT / "dbt_project")


def test_the_committed_dictionary_is_in_step(dictionary: str) -> None:
    assert (PROJECT / DICTIONARY).read_text(encoding="utf-8") == dictionary, "run `python -m local.dictionary`"


def test_every_table_that_comes_in_or_goes_out_is_described(dictionary: str) -> None:
    for table in load_contract():
        assert f"### {table}\n" in dictionary
    for relation in ("marketing.targets", "marketing.top_users", "predictions.decisions", "quarantine.rows"):
        section = dictionary.split(f"### {relation}\n")[1].split("\n### ")[0]
        assert section.strip().splitlines()[0].strip(), f"{relation} has no description"
    assert "### features.feat_user_behaviour" in dictionary


def test_no_column_goes_undescribed(dictionary: str) -> None:
    bare = [line for line in dictionary.splitlines() if line.startswith("| `") and line.rstrip().endswith("|  |")]
    documented = [line for line in bare if line.count("|") == 4]
    assert documented == []
