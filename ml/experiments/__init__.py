"""Assignment to arms as a pure function, and statistics that tell the truth about what the arms did."""

from ml.experiments.assignment import (
    BUCKETS,
    ExperimentError,
    Split,
    assign,
    bucket,
    buckets,
    holdout_salt,
    is_in_share,
    sql_assign,
    sql_bucket,
    sql_is_in_share,
    uniforms,
)

__all__ = [
    "BUCKETS",
    "ExperimentError",
    "Split",
    "assign",
    "bucket",
    "buckets",
    "holdout_salt",
    "is_in_share",
    "sql_assign",
    "sql_bucket",
    "sql_is_in_share",
    "uniforms",
]
