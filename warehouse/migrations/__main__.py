"""Bring the warehouse of the settings up to date: `python -m warehouse.migrations`."""

import sys

from warehouse.door import WarehouseError
from warehouse.migrations import MigrationError, migrate
from warehouse.settings import SettingsError, load_settings

try:
    for notice in migrate(load_settings().warehouse_url):
        sys.stdout.write(f"{notice}\n")
except (MigrationError, SettingsError, WarehouseError) as error:
    sys.exit(str(error))
