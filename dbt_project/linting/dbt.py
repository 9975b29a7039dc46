"""Stand-ins for dbt's date macros, so that sqlfluff can render the models without a warehouse."""


def dateadd(datepart: str, interval: object, from_date_or_timestamp: str) -> str:
    """Render what dbt renders for Postgres."""
    return f"{from_date_or_timestamp} + interval '1 {datepart}' * ({interval})"


def datediff(first_date: str, second_date: str, datepart: str) -> str:
    """Render a difference in days; other parts are not used in the project."""
    return f"(cast({second_date} as date) - cast({first_date} as date))"


def date_trunc(datepart: str, date: str) -> str:
    """Render what dbt renders for Postgres."""
    return f"date_trunc('{datepart}', {date})"


def string_literal(value: str) -> str:
    """Render a SQL string."""
    return f"'{value}'"
