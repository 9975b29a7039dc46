"""The contract of a table as SQL: how a received value becomes a typed one, and what can be wrong with a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from warehouse.contract import ColumnContract, TableContract

__all__ = ["DUCKDB_TYPES", "Problem", "TableChecks", "identifier", "literal"]

# Contract type -> type in DuckDB, as wide as the column of raw.<table>.
DUCKDB_TYPES = {
    "text": "varchar",
    "timestamptz": "timestamptz",
    "integer": "bigint",
    "numeric": "decimal(24, 6)",
    "float": "double",
    "boolean": "boolean",
    "json": "varchar",
}
NOUNS = {
    "text": "text",
    "timestamptz": "a time such as 2018-01-31T12:00:00Z from 1900 to 2299",
    "integer": "a whole number",
    "numeric": "a number",
    "float": "a number",
    "boolean": "true or false",
    "json": "a JSON object",
}
EARLIEST, LATEST = "1900-01-01 00:00:00+00", "2300-01-01 00:00:00+00"

# A key has to fit into an index entry of Postgres (2,704 bytes), two of them where a key has two columns.
LONGEST_IDENTIFIER = 1000

# What DuckDB takes for JSON and Postgres does not: NaN and infinity, commas too many, numbers and nesting beyond
# reason, and a NUL character. Strings are taken out first, so that only the structure is looked at.
JSON_SUSPECT = r"(?i)nan|inf|,\s*[\]}]|\\u0000|[0-9]{300}|e[+-]?[0-9]{4}|([\[{][^\[{\]}]*){200}"
JSON_STRING = r'"([^"\\]|\\.)*"'
JSON_BAD_STRUCTURE = r"(?i)nan|inf|,\s*[\]}]|[0-9]{300}|e[+-]?[0-9]{4}|([\[{][^\[{\]}]*){200}"
JSON_NUL = r"(^|[^\\])(\\\\)*\\u0000"

# Numbers as nearly all come: the cast of other texts to wide decimals takes a hundred times as long.
PLAIN_NUMBER = r"[+-]?[0-9]{1,11}(\.[0-9]{1,6})?"
PLAIN_WHOLE_NUMBER = "[+-]?[0-9]{1,18}"

NATIVE_TIMES = ("TIMESTAMP", "DATE")
WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
BROKEN_NUMBERS = ("DOUBLE", "FLOAT", "DECIMAL", "UBIGINT", "HUGEINT", "UHUGEINT")


@dataclass(frozen=True)
class Problem:
    """What can be wrong with a row: the column and a sentence without the value.

    `may_pass` marks what later landings can mend: the row refers to something that has not landed yet.
    """

    column: str
    reason: str
    may_pass: bool = False


class TableChecks:
    """The checks of one table; `problems[code]` is what a row with that code breaks. Code 0 means nothing here.

    Rows pass through two SELECTs: `typed_columns` turns what was received into `value_<column>`, beside
    `given_<column>` (whether anything was there), and `code` gives the first problem of a row or NULL.
    """

    def __init__(self, table: TableContract) -> None:
        self.table = table
        self.problems: list[Problem] = [Problem("", "")]
        self._cases: list[str] = []
        for column in table.columns:
            self._check_column(column)
        self.references = [
            (column.name, column.references, self._add(column, f"is not in {column.references}", may_pass=True))
            for column in table.columns
            if column.references is not None
        ]
        self.conflict = self._problem(
            Problem(", ".join(table.key), f"{' and '.join(table.key)} came before with other content")
        )

    @property
    def code(self) -> str:
        """SQL for the code of the first problem of a row, NULL where there is none."""
        return f"cast(case {' '.join(self._cases)} end as smallint)"

    def typed_columns(self, received: Mapping[str, str]) -> list[str]:
        """SQL for `value_` and `given_` of each column, from columns with the types of `received` (DuckDB's names)."""
        columns = []
        for column in self.table.columns:
            kind = received.get(column.name)
            value = "null" if kind is None else _typed(column, kind)
            columns.append(f"cast({value} as {DUCKDB_TYPES[column.type]}) as value_{column.name}")
            columns.append(f"{'false' if kind is None else _given(column, kind)} as given_{column.name}")
        return columns

    def _check_column(self, column: ColumnContract) -> None:
        value, given = f"value_{column.name}", f"given_{column.name}"
        if not column.nullable:
            self._when(f"not {given}", column, "is missing")
        self._when(f"{given} and {value} is null", column, f"is not {NOUNS[column.type]}")
        if column.type == "text":
            self._when(f"contains({value}, chr(0))", column, "holds a NUL byte")
        if column.is_identifier:
            self._when(f"strlen({value}) > {LONGEST_IDENTIFIER}", column, f"is longer than {LONGEST_IDENTIFIER} bytes")
        if column.allowed:
            allowed = ", ".join(literal(word) for word in column.allowed)
            self._when(f"{value} not in ({allowed})", column, f"is none of {', '.join(column.allowed)}")
        if column.pattern is not None:
            matches = f"regexp_full_match({value}, {literal(column.pattern)})"
            self._when(f"not {matches}", column, f"is not {column.wanted}")
        if column.minimum is not None:
            self._when(f"{value} < {column.minimum}", column, f"is below {column.minimum}")
        if column.maximum is not None:
            self._when(f"{value} > {column.maximum}", column, f"is above {column.maximum}")
        if column.above is not None:
            self._when(f"{value} <= {column.above}", column, f"is not above {column.above}")
        if column.below is not None:
            self._when(f"{value} >= {column.below}", column, f"is not below {column.below}")
        if column.after is not None:
            self._when(f"{value} <= value_{column.after}", column, f"is not after {column.after}")

    def _when(self, condition: str, column: ColumnContract, what: str) -> None:
        self._cases.append(f"when {condition} then {self._add(column, what)}")

    def _add(self, column: ColumnContract, what: str, *, may_pass: bool = False) -> int:
        return self._problem(Problem(column.name, f"{column.name} {what}", may_pass))

    def _problem(self, problem: Problem) -> int:
        self.problems.append(problem)
        return len(self.problems) - 1


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Quote a text for SQL."""
    return "'" + value.replace("'", "''") + "'"


def _given(column: ColumnContract, kind: str) -> str:
    name = identifier(column.name)
    if kind in ("VARCHAR", "BLOB"):
        return f"coalesce({name} <> '', false)"
    if kind in ("DOUBLE", "FLOAT") and column.type == "text":
        return f"({name} is not null and not isnan({name}))"
    return f"({name} is not null)"


def _typed(column: ColumnContract, kind: str) -> str:
    """SQL that gives the value in the contract's type, or NULL where it is none."""
    name = identifier(column.name)
    text = _as_text(name, kind)
    match column.type:
        case "text":
            return text
        case "timestamptz":
            if kind.startswith(NATIVE_TIMES):
                moment = f"try_cast({name} as timestamptz)"
            else:
                # Words such as infinity are no times of ours.
                moment = f"case when {text} < ':' then try_cast({text} as timestamptz) end"
            return _within(moment)
        case "integer" if kind in WHOLE_NUMBERS:
            return f"cast({name} as bigint)"
        case "integer":
            number = _number(text, name, kind)
            whole = f"case when {number} = floor({number}) then try_cast({number} as bigint) end"
            if kind.startswith(BROKEN_NUMBERS):
                return whole
            is_plain = f"regexp_full_match({text}, {literal(PLAIN_WHOLE_NUMBER)})"
            return f"case when {is_plain} then cast({text} as bigint) else {whole} end"
        case "numeric":
            return _number(text, name, kind)
        case "float":
            value = name if kind in ("DOUBLE", "FLOAT") else f"try_cast({text} as double)"
            return f"case when isfinite({value}) then {value} end"
        case "boolean":
            return name if kind == "BOOLEAN" else f"try_cast({text} as boolean)"
        case _:
            return _json_object(text)


def _as_text(name: str, kind: str) -> str:
    if kind == "VARCHAR":
        return f"nullif({name}, '')"
    if kind == "BLOB":
        return f"nullif(try(decode({name})), '')"
    if kind.startswith(BROKEN_NUMBERS):
        # Identifiers that went through a float or decimal column: 17.0 is 17.
        whole = f"try_cast({name} as hugeint)"
        nothing = f"when isnan({name}) then null " if kind in ("DOUBLE", "FLOAT") else ""
        return f"case {nothing}when {whole} = {name} then cast({whole} as varchar) else cast({name} as varchar) end"
    if kind.startswith(("STRUCT", "MAP")) or kind.endswith("[]"):
        return f"cast(to_json({name}) as varchar)"
    return f"cast({name} as varchar)"


def _within(moment: str) -> str:
    return f"case when {moment} >= timestamptz '{EARLIEST}' and {moment} < timestamptz '{LATEST}' then {moment} end"


def _number(text: str, name: str, kind: str) -> str:
    if kind.startswith((*WHOLE_NUMBERS, *BROKEN_NUMBERS)):
        return f"try_cast({name} as decimal(24, 6))"
    is_plain = f"regexp_full_match({text}, {literal(PLAIN_NUMBER)})"
    plain = f"cast(cast({text} as decimal(18, 6)) as decimal(24, 6))"
    # DuckDB reads 1_000 as a thousand; nobody who exports data means that.
    other = f"case when not contains({text}, '_') then try_cast({text} as decimal(24, 6)) end"
    return f"case when {is_plain} then {plain} else {other} end"


def _json_object(text: str) -> str:
    structure = f"regexp_replace({text}, {literal(JSON_STRING)}, '', 'g')"
    is_fine = (
        f"(not regexp_matches({text}, {literal(JSON_SUSPECT)}) or not "
        f"(regexp_matches({structure}, {literal(JSON_BAD_STRUCTURE)}) or regexp_matches({text}, {literal(JSON_NUL)})))"
    )
    return f"case when json_valid({text}) and json_type({text}) = 'OBJECT' and {is_fine} then {text} end"
