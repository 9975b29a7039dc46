"""Landing: every row of a source goes to raw.<table>, or to quarantine.rows with the reason, or repeats another one."""

from warehouse.landing.folder import land_folder, land_source
from warehouse.landing.reports import LandedTable, LandingError, LandingReport

__all__ = ["LandedTable", "LandingError", "LandingReport", "land_folder", "land_source"]
