"""The one place that reads `rekindle.toml` and the environment.

Nothing is cached: a long-running process that calls `load_settings` again follows a changed file or source.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from warehouse.settings_checks import Between, Flag, SettingsError, Worded, as_fields, checked, merged, missing_key

__all__ = [
    "Alerts",
    "Caps",
    "Inactivity",
    "Settings",
    "SettingsError",
    "SourceSchema",
    "ValueWeights",
    "find_source_schema",
    "load_settings",
]

PROJECT_FOLDER = Path(__file__).resolve().parents[1]
FILE_NAME = "rekindle.toml"
SAMPLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
SCHEMA_PREFIX = "schema:"

Days = Annotated[int, Between(1, 3650)]
Share = Annotated[float, Between(0, 1)]
Name = Annotated[str, Worded(r"\S(.*\S)?", "a name")]
# Parts of an address that dbt's profile names itself.
_OF_THE_PROFILE = ("host", "port", "user", "password", "dbname", "sslmode", "connect_timeout", "application_name")
AttributeNames = Annotated[
    tuple[str, ...],
    Worded(
        "[A-Za-z][A-Za-z0-9_ -]{0,49}",
        "names of attributes such as loyalty_tier: a letter, then at most 49 letters, digits, spaces, _ or -",
    ),
]


@dataclass(frozen=True)
class Caps:
    """How often a user may be contacted: at most `contacts_per_user` times within `days` days."""

    contacts_per_user: Annotated[int, Between(1, 1000)]
    days: Days


@dataclass(frozen=True)
class Inactivity:
    """Who counts as inactive: by `inactive_after_days`, by the user's own rhythm, or by the chance of being alive."""

    definition: Annotated[str, Worded("fixed|rhythm|p_alive", "fixed, rhythm or p_alive")]
    late_after: Share
    alive_below: Share


@dataclass(frozen=True)
class ValueWeights:
    """How much value beyond the horizon counts when users are chosen, each from 0 to 1."""

    lifetime_value: Share
    social_influence: Share


@dataclass(frozen=True)
class BusinessRule:
    """The business's own way to choose, as an arm of every campaign: the first in an order get an event.

    `share` of the eligible users are chosen by it; `top_share` of them, the first by the feature `order_by`, are
    invited, to the cheapest open event or to one of the type that `event` names.
    """

    share: Share
    top_share: Share
    order_by: Annotated[str, Worded(r"[a-z][a-z0-9_]*", "the name of a feature column")]
    descending: Annotated[bool, Flag()]
    event: Name


@dataclass(frozen=True)
class ExperimentDesign:
    """How campaigns are read: see ml.experiments.Design."""

    design: Annotated[str, Worded("fixed|always-valid|group-sequential", "fixed, always-valid or group-sequential")]
    alpha: Annotated[float, Between(0, 1)]
    tuning: Annotated[int, Between(10, 10**9)]
    looks: Annotated[int, Between(1, 50)]
    correction: Annotated[str, Worded("holm|benjamini-hochberg", "holm or benjamini-hochberg")]
    revenue_quantile: Annotated[float, Between(0, 1)]


@dataclass(frozen=True)
class EventRules:
    """Limits of every event of a type; None is no limit.

    `minimum` users and `budget` (expected money) hold for each event and plan. With `countries` only users known to be
    there may be invited; with `minimum_age` or `maximum_age` only those whose year of birth leaves no doubt.
    """

    minimum: Annotated[int | None, Between(0, 10**9)] = None
    budget: Annotated[Decimal | None, Between(0, 10**15)] = None
    minimum_age: Annotated[int | None, Between(0, 150)] = None
    maximum_age: Annotated[int | None, Between(0, 150)] = None
    countries: Annotated[tuple[str, ...] | None, Worded("[A-Z]{2}", "ISO codes of countries such as DE")] = None


@dataclass(frozen=True)
class SegmentRules:
    """Least and largest share of those whom the models choose that a segment may make up; None is no limit."""

    minimum_share: Annotated[float | None, Between(0, 1)] = None
    maximum_share: Annotated[float | None, Between(0, 1)] = None


@dataclass(frozen=True)
class Alerts:
    """Limits beyond which somebody is warned, or the chain stops before anything is built on the batch."""

    warn_quarantined_share: Share
    maximum_quarantined_share: Share
    stale_after_days: Days
    stop_when_stale_after_days: Days
    minimum_volume_ratio: Share
    warn_psi: Annotated[float, Between(0, 100)]
    maximum_psi: Annotated[float, Between(0, 100)]
    maximum_drifted_share: Share
    maximum_calibration_error: Share


@dataclass(frozen=True)
class SourceSchema:
    """A Postgres schema whose tables are named and shaped as the source contract says."""

    url: str = field(repr=False)
    schema: str

    @property
    def title(self) -> str:
        """What a person may read: no user and no password."""
        address = connection_parameters(self.url)
        return f"the schema {self.schema} of {address.get('dbname', '?')} on {address.get('host', 'localhost')}"


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on besides the data and its as_of_date.

    The first group are the keys of rekindle.toml, where each is explained; `budget` is None where there is no limit.
    `source` is the path of a data folder, the name of a sample, `schema:<name>` for a schema of the warehouse, or the
    address of another Postgres with `?schema=<name>`. `warehouse_url`, `tracking_uri` and `source` are
    empty as long as nothing is set up; `is_warehouse_given` says that the address came with WAREHOUSE_URL.
    """

    inactive_after_days: Days
    return_window_days: Days
    conversion_window_days: Days
    value_horizon_days: Days
    event_lookahead_days: Annotated[int, Between(0, 3650)]
    retrain_after_days: Days
    tuning_trials: Annotated[int, Between(0, 1000)]
    tuning_seconds: Annotated[int, Between(0, 86_400)]
    user_attributes: AttributeNames
    numeric_user_attributes: AttributeNames
    budget: Annotated[Decimal | None, Between(0, 10**15)]
    holdout_share: Share
    control_share: Share
    exploration_share: Share
    holdout_renewal_days: Days
    seed: Annotated[int, Between(0, 2**31 - 1)]
    caps: Caps
    inactivity: Inactivity
    value_weights: ValueWeights
    business_rule: BusinessRule
    experiments: ExperimentDesign
    alerts: Alerts
    events: dict[str, EventRules]
    segments: dict[str, SegmentRules]

    project_folder: Path
    state_folder: Path
    # Both may hold a password: never in a log line that prints the settings.
    warehouse_url: str = field(repr=False)
    is_warehouse_given: bool
    tracking_uri: str = field(repr=False)
    source: str = field(repr=False)

    def attribute_columns(self) -> tuple[dict[str, str], dict[str, str]]:
        """The names of `user_attributes` and of `numeric_user_attributes`, by the columns of features they become.

        Raises:
            SettingsError: two names would become the same column.
        """
        known: dict[str, str] = {}
        for name in (*self.user_attributes, *self.numeric_user_attributes):
            column = _attribute_column(name)
            if column in known:
                raise SettingsError(
                    f"user_attributes, numeric_user_attributes: {known[column]!r} and {name!r} would both become the "
                    f"feature {column}; keep one of them."
                )
            known[column] = name
        texts, numbers = (
            {_attribute_column(name): name for name in names}
            for names in (self.user_attributes, self.numeric_user_attributes)
        )
        return texts, numbers

    @property
    def source_folder(self) -> Path:
        """The folder whose files are landed: the source itself, or where the sample of that name is written.

        Raises:
            SettingsError: no source is set up, or it is a schema.
        """
        if self.source_schema is not None:
            raise SettingsError(f"The source is {self.source_schema.title} and no folder.")
        if not self.source:
            raise SettingsError("No source is set up yet: type `make run`, or set REKINDLE_SOURCE to a data folder.")
        if SAMPLE_NAME.fullmatch(self.source):
            return self.state_folder / "samples" / self.source
        return Path(self.source).expanduser()

    @property
    def source_schema(self) -> SourceSchema | None:
        """The schema whose tables are landed; None where the source is a folder or a sample.

        Raises:
            SettingsError: it is in the warehouse and no warehouse is known, or its address cannot be read.
        """
        return find_source_schema(self.source, self.warehouse_url)

    @property
    def activity_relation(self) -> str:
        """The relation whose column is_inactive (by user_id and as_of_date) says who is scored and may be invited."""
        is_fixed = self.inactivity.definition == "fixed"
        return "features.feat_user_behaviour" if is_fixed else "predictions.user_activity"

    def dbt_vars(self, as_of_date: date) -> dict[str, int | str | dict[str, str]]:
        """Return the variables every dbt command gets: what SQL needs of the settings, and the date as YYYY-MM-DD."""
        texts, numbers = self.attribute_columns()
        return {
            "as_of_date": as_of_date.isoformat(),
            "inactive_after_days": self.inactive_after_days,
            "return_window_days": self.return_window_days,
            "conversion_window_days": self.conversion_window_days,
            "value_horizon_days": self.value_horizon_days,
            "event_lookahead_days": self.event_lookahead_days,
            "revenue_quantile": str(self.experiments.revenue_quantile),
            "inactivity_definition": self.inactivity.definition,
            "user_attributes": texts,
            "numeric_user_attributes": numbers,
        }

    def dbt_environment(self) -> dict[str, str]:
        """Return what dbt_project/profiles.yml reads from the environment.

        Raises:
            SettingsError: no warehouse is known, or its address cannot be read.
        """
        address = connection_parameters(self.warehouse_url)
        return {
            "REKINDLE_DBT_HOST": str(address.get("host", "localhost")),
            "REKINDLE_DBT_PORT": str(address.get("port", 5432)),
            "REKINDLE_DBT_USER": str(address.get("user", "postgres")),
            "REKINDLE_DBT_DATABASE": str(address.get("dbname", address.get("user", "postgres"))),
            "REKINDLE_DBT_SSLMODE": str(address.get("sslmode", "prefer")),
            # dbt keeps variables with this prefix out of its logs.
            "DBT_ENV_SECRET_PASSWORD": str(address.get("password", "")),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            # What the profile has no key for (certificates, options) reaches dbt's driver as it reaches any client.
            **{
                option.envvar.decode(): str(address[keyword])
                for option in Conninfo.get_defaults()
                if (keyword := option.keyword.decode()) in address and keyword not in _OF_THE_PROFILE and option.envvar
            },
        }


def load_settings(data_folder: Path | None = None) -> Settings:
    """Read the settings of this moment.

    Args:
        data_folder: the source folder, where it is not the one that was set up (`REKINDLE_SOURCE` or the state
            folder's file `source`).

    Raises:
        SettingsError: a file cannot be read, a key is unknown or missing, or a value is not allowed.
    """
    state_folder = Path(os.environ.get("REKINDLE_STATE") or PROJECT_FOLDER / ".rekindle").expanduser().absolute()
    surroundings: dict[str, Any] = {
        "project_folder": PROJECT_FOLDER,
        "state_folder": state_folder,
        "warehouse_url": normalised_url(_first_known("WAREHOUSE_URL", state_folder / "warehouse.url")),
        "is_warehouse_given": bool(os.environ.get("WAREHOUSE_URL", "").strip()),
        "tracking_uri": _first_known("MLFLOW_TRACKING_URI", state_folder / "mlflow.url"),
        "source": str(data_folder) if data_folder else _first_known("REKINDLE_SOURCE", state_folder / "source"),
    }
    top_file = PROJECT_FOLDER / FILE_NAME
    values = _read_file(top_file)
    missing = missing_key(values, Settings)
    if missing is not None:
        raise SettingsError(f"{top_file}: the key {missing} is missing; put it back, the git history has its value.")
    settings = Settings(**as_fields(Settings, values), **surroundings)
    if not settings.source or settings.source_schema is not None:
        return settings
    override_file = settings.source_folder / FILE_NAME
    if override_file != top_file and override_file.exists():
        return Settings(**as_fields(Settings, merged(values, _read_file(override_file))), **surroundings)
    return settings


def find_source_schema(source: str, warehouse_url: str) -> SourceSchema | None:
    """Return the schema that a source names, or None where it names a folder or a sample.

    Args:
        source: `schema:<name>` means a schema of the warehouse, `postgresql://...?schema=<name>` one anywhere else.
        warehouse_url: address of the warehouse.

    Raises:
        SettingsError: the schema has no name, or the address cannot be read.
    """
    if source.startswith(SCHEMA_PREFIX):
        url, schema = warehouse_url, source.removeprefix(SCHEMA_PREFIX)
    elif re.match(r"postgres(ql)?(\+\w+)?://", source):
        parts = urlsplit(normalised_url(source))
        options = parse_qsl(parts.query, keep_blank_values=True)
        schema = next((value for name, value in options if name == "schema"), "")
        others = urlencode([(name, value) for name, value in options if name != "schema"])
        url = urlunsplit(parts._replace(query=others))
    else:
        return None
    if not schema:
        raise SettingsError("The source names no schema: write schema:<name> or postgresql://...?schema=<name>.")
    connection_parameters(url)
    return SourceSchema(url, schema)


def normalised_url(url: str) -> str:
    """Return the address as libpq reads it, without the driver that SQLAlchemy writes into its own."""
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)


def connection_parameters(url: str) -> dict[str, Any]:
    """Split the address of a warehouse into host, port, user, password, dbname and so on.

    Raises:
        SettingsError: the address is empty or no address of a Postgres.
    """
    if not url:
        raise SettingsError("No warehouse is known yet: type `make run`, or set WAREHOUSE_URL.")
    try:
        return dict(conninfo_to_dict(url))
    except ProgrammingError as error:
        # The address may hold a password, so it is not repeated here.
        raise SettingsError(
            "The address of the warehouse cannot be read: WAREHOUSE_URL must look like "
            "postgresql://user:password@host:5432/database."
        ) from error


def _attribute_column(name: str) -> str:
    """Return the column of features that an attribute of users becomes."""
    return f"attribute_{re.sub('[ -]', '_', name).lower()}"


def _first_known(variable: str, file: Path) -> str:
    value = os.environ.get(variable, "").strip()
    if value:
        return value
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read ({error.strerror}): give it to yourself, or set {variable}."
        ) from error


def _read_file(file: Path) -> dict[str, Any]:
    """Read one rekindle.toml and check every key and value in it."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8: save it in that encoding.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}.") from error
    return checked(values, Settings, file)
