"""Put the model before the champion in charge again: `python -m ml.pipelines.rollback`."""

import argparse
import sys

from ml.pipelines.model import MODEL_NAME, mirror_models, open_registry
from ml.registry import ModelVersion, RegistryError
from warehouse.door import Warehouse
from warehouse.settings import Settings, load_settings

__all__ = ["main", "roll_back_model"]


def roll_back_model(settings: Settings) -> ModelVersion:
    """Demote the champion and promote its predecessor; what is scored from now on carries that version.

    Raises:
        RegistryError: there is no earlier version, or its file cannot be trusted (then nothing is changed).
    """
    registry = open_registry(Warehouse(settings.warehouse_url), settings)
    return registry.roll_back(MODEL_NAME)


def main() -> int:
    """Roll back and say which version is in charge; 1 if it cannot be done."""
    argparse.ArgumentParser(prog="python -m ml.pipelines.rollback", description=__doc__).parse_args()
    settings = load_settings()
    try:
        version = roll_back_model(settings)
    except RegistryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for late in mirror_models(open_registry(Warehouse(settings.warehouse_url), settings)):
        sys.stderr.write(f"{late}\n")
    sys.stdout.write(f"Version {version.version} of {version.as_of_date} is in charge again. Score the date again.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
