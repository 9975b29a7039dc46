"""What the tests of the pipelines share."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.ml.pipelines.house import TABLES, House
from warehouse.door import Warehouse
from warehouse.settings import Settings


@pytest.fixture
def house(make_warehouse_url: Callable[[], str], settings: Settings) -> House:
    url = make_warehouse_url()
    warehouse = Warehouse(url)
    warehouse.execute("create schema if not exists features")
    with warehouse.transaction() as connection:
        connection.execute(TABLES)
    return House(warehouse, replace(settings, warehouse_url=url, tracking_uri=""))
