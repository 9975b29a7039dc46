"""What must be true at a border: Great Expectations suites as code, and the gate that stops a bad batch.

A suite is a file `<schema>__<table>.py` with a function `suite(border)`. Landing has already judged every row; a suite
judges the batch as a whole: volume, freshness, ranges, drift. What our own SQL promises is tested in dbt, not here.
"""

from expectations.suite import Border, Suite

__all__ = ["Border", "Suite"]
