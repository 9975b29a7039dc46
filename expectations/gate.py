"""The gate: runs the suites of a border in Postgres, records what they found, stops the chain on a critical failure."""

import importlib
import logging
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import uuid4

import pandas as pd

import expectations
from ml.contracts import StageReport
from warehouse.door import Warehouse
from warehouse.settings import Settings


class GateClosedError(ValueError):
    """A critical expectation failed; what lies behind the gate stays as it was."""


@dataclass(frozen=True)
class Finding:
    """What one expectation found."""

    suite: str
    expectation: str
    column: str
    severity: str
    is_met: bool
    observed: str
    because: str

    def sentence(self) -> str:
        """The finding as a person should read it."""
        column = f".{self.column}" if self.column else ""
        relation = self.suite.replace("__", ".", 1)
        return f"{relation}{column}: {self.because} (observed {self.observed})"


def validate_landed(as_of_date: date, settings: Settings) -> StageReport:
    """Check the landed batch as a whole.

    Raises:
        GateClosedError: a critical expectation failed.
    """
    return _validate("validate_landed", ("raw__", "audit__"), as_of_date, settings)


def validate_predictions(as_of_date: date, settings: Settings) -> StageReport:
    """Check the predictions of a date before they are published.

    Raises:
        GateClosedError: a critical expectation failed; the targets published before stay in place.
    """
    return _validate("validate_predictions", ("predictions__",), as_of_date, settings)


def suite_names(prefixes: tuple[str, ...]) -> list[str]:
    """Names of the suites of a border, sorted: a new suite is a new file and nothing else."""
    return sorted(
        module.name for module in pkgutil.iter_modules(expectations.__path__) if module.name.startswith(prefixes)
    )


def _validate(stage: str, prefixes: tuple[str, ...], as_of_date: date, settings: Settings) -> StageReport:
    findings: list[Finding] = []
    rows = 0
    with _postgres_source(settings.warehouse_url) as source:
        for name in suite_names(prefixes):
            found, batch_rows = _run_suite(source, name, as_of_date, settings)
            findings += found
            rows += batch_rows
    _record(findings, as_of_date, Warehouse(settings.warehouse_url))
    failed = [finding for finding in findings if not finding.is_met]
    critical = [finding.sentence() for finding in failed if finding.severity == "critical"]
    if critical:
        raise GateClosedError("The batch is not fit: " + "; ".join(critical))
    return StageReport(
        stage=stage,
        as_of_date=as_of_date,
        rows=rows,
        messages=tuple(finding.sentence() for finding in failed),
        details={"expectations": len(findings), "warnings": len(failed)},
    )


@contextmanager
def _postgres_source(url: str) -> Iterator[Any]:
    # Great Expectations logs every method it does not register, at import, at level info.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    # Usage statistics would leave the company's network.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    scheme, rest = url.split("://", 1)
    source = context.data_sources.add_postgres(
        name=f"warehouse-{uuid4()}", connection_string=f"{scheme}+psycopg://{rest}", create_temp_table=False
    )
    try:
        yield source
    finally:
        source.get_execution_engine().close()


def _run_suite(source: Any, name: str, as_of_date: date, settings: Settings) -> tuple[list[Finding], int]:
    """Validate one suite; returns its findings and the rows of its batch."""
    import great_expectations as gx

    border = expectations.Border(as_of_date, settings)
    suite = importlib.import_module(f"expectations.{name}").suite(border)
    asset = source.add_query_asset(name=name, query=suite.batch_query)
    batch = asset.add_batch_definition_whole_table("batch").get_batch()
    rows = int(Warehouse(settings.warehouse_url).scalar(f"select count(*) from ({suite.batch_query}) as batch"))
    if suite.is_optional and rows == 0:
        return [], 0
    result = batch.validate(gx.ExpectationSuite(name=name, expectations=list(suite.expectations)))
    return [_finding(name, each) for each in result.results], rows


def _finding(suite: str, result: Any) -> Finding:
    if result.exception_info.get("raised_exception") or any(
        isinstance(value, dict) and value.get("raised_exception") for value in result.exception_info.values()
    ):
        raise GateClosedError(f"An expectation of {suite} could not be evaluated: {result.exception_info}")
    config = result.expectation_config
    observed = result.result.get("observed_value")
    share_outside = result.result.get("unexpected_percent")
    if share_outside is not None:
        observed = f"{share_outside:.2f} % outside"
    unexpected = (result.result.get("details") or {}).get("unexpected_rows")
    if not result.success and unexpected:
        observed = "; ".join(", ".join(f"{key}={value}" for key, value in row.items()) for row in unexpected[:3])
    return Finding(
        suite=suite,
        expectation=config.type,
        column=config.kwargs.get("column", ""),
        severity=str(getattr(config.severity, "value", config.severity)),
        is_met=bool(result.success),
        observed=str(observed),
        because=config.meta["because"],
    )


def _record(findings: list[Finding], as_of_date: date, warehouse: Warehouse) -> None:
    """Replace the date's findings of these suites in `audit.expectation_results`."""
    frame = pd.DataFrame(
        {
            "as_of_date": [as_of_date] * len(findings),
            "suite": [finding.suite for finding in findings],
            "expectation": [finding.expectation for finding in findings],
            "column_name": [finding.column for finding in findings],
            "severity": [finding.severity for finding in findings],
            "is_met": [finding.is_met for finding in findings],
            "observed": [finding.observed for finding in findings],
            "because": [finding.because for finding in findings],
        }
    )
    with warehouse.transaction() as connection:
        for suite, rows in frame.groupby("suite", sort=True):
            warehouse.replace_rows(
                connection, "audit.expectation_results", rows, key={"as_of_date": as_of_date, "suite": str(suite)}
            )
