"""Reads what rekindle.toml may hold from the annotations of the settings classes, and checks values against it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

__all__ = ["Between", "Flag", "SettingsError", "Worded", "as_fields", "checked", "merged", "missing_key"]

_Shape = TypeVar("_Shape")


class SettingsError(ValueError):
    """A setting is unknown, missing or wrong; the message names the file, the key and what is allowed."""


@dataclass(frozen=True)
class Between:
    """What a number in rekindle.toml may be: from `lowest` to `highest`."""

    lowest: int
    highest: int


@dataclass(frozen=True)
class Worded:
    """What a text in rekindle.toml may be: all of it matches `pattern`, which `meaning` tells a person."""

    pattern: str
    meaning: str


@dataclass(frozen=True)
class Flag:
    """What true or false in rekindle.toml is: no limits."""


@dataclass(frozen=True)
class Key:
    """One key of rekindle.toml: a value within limits, a table of further keys, or tables of free names."""

    kind: Any
    limits: Between | Worded | Flag | None
    is_optional: bool
    is_named: bool = False


def keys_of(shape: type) -> dict[str, Key]:
    """Read the keys of a settings class from its annotations; fields that no file sets are left out."""
    keys: dict[str, Key] = {}
    for name, hint in get_type_hints(shape, include_extras=True).items():
        if is_dataclass(hint):
            keys[name] = Key(cast(type, hint), None, is_optional=False)
        elif get_origin(hint) is dict:
            keys[name] = Key(get_args(hint)[1], None, is_optional=True, is_named=True)
        elif get_origin(hint) is Annotated:
            declared, limits = get_args(hint)
            choices = [choice for choice in get_args(declared) if choice is not type(None)]
            is_optional = type(None) in get_args(declared)
            keys[name] = Key(choices[0] if is_optional else declared, limits, is_optional)
    return keys


def checked(values: Mapping[str, Any], shape: type, file: Path, prefix: str = "") -> dict[str, Any]:
    """Check every key and value of a file (or of one of its tables) and bring numbers to their type.

    Raises:
        SettingsError: a key is unknown or a value is not allowed.
    """
    keys = keys_of(shape)
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in keys:
            raise SettingsError(f"{file}: unknown key {prefix}{name}; the keys are {', '.join(keys)}.")
        key, where = keys[name], f"{file}: {prefix}{name}"
        if isinstance(key.limits, Between):
            found[name] = _checked_number(value, key.kind, key.limits, where)
        elif isinstance(key.limits, Worded):
            found[name] = _checked_text(value, key.kind, key.limits, where)
        elif isinstance(key.limits, Flag):
            if not isinstance(value, bool):
                raise SettingsError(f"{where} = {value!r} is not allowed; it must be true or false.")
            found[name] = value
        elif not isinstance(value, dict):
            raise SettingsError(f"{file}: {name} = {value!r} is not allowed; it is a table, written as [{name}].")
        elif key.is_named:
            found[name] = {}
            for inner, table in value.items():
                if not isinstance(table, dict):
                    raise SettingsError(f"{where}.{inner} = {table!r} is not allowed; write [{name}.{inner}].")
                found[name][inner] = checked(table, key.kind, file, f"{name}.{inner}.")
        else:
            found[name] = checked(value, key.kind, file, f"{name}.")
    return found


def missing_key(values: Mapping[str, Any], shape: type) -> str | None:
    """Name the first key that a file lacks, None where it has all."""
    for name, key in keys_of(shape).items():
        if key.limits is None:
            below = None if key.is_named else missing_key(values.get(name, {}), key.kind)
            if below is not None:
                return f"{name}.{below}"
        elif name not in values and not key.is_optional:
            return name
    return None


def merged(values: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those of another file laid over them, key by key."""
    result = dict(values)
    for name, value in override.items():
        result[name] = merged(result.get(name, {}), value) if isinstance(value, dict) else value
    return result


def as_fields(shape: type[_Shape], values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn checked values into arguments of a settings class."""
    found: dict[str, Any] = {}
    for name, key in keys_of(shape).items():
        if key.limits is not None:
            found[name] = values.get(name)
        elif key.is_named:
            found[name] = {inner: key.kind(**table) for inner, table in values.get(name, {}).items()}
        else:
            found[name] = key.kind(**values[name])
    return found


def _checked_number(value: Any, kind: type, limits: Between, where: str) -> int | float | Decimal:
    is_number = isinstance(value, int) if kind is int else isinstance(value, int | float)
    if not is_number or isinstance(value, bool) or not limits.lowest <= value <= limits.highest:
        noun = "a whole number" if kind is int else "a number"
        raise SettingsError(
            f"{where} = {value!r} is not allowed; it must be {noun} from {limits.lowest} to {limits.highest}."
        )
    # Through text, so that 0.1 stays 0.1 where it is money.
    return Decimal(str(value)) if kind is Decimal else kind(value)


def _checked_text(value: Any, kind: Any, limits: Worded, where: str) -> str | tuple[str, ...]:
    is_list = kind is not str
    noun = f"a list of {limits.meaning}" if is_list else limits.meaning
    if is_list != isinstance(value, list):
        raise SettingsError(f"{where} = {value!r} is not allowed; it must be {noun}.")
    texts = value if is_list else [value]
    for text in texts:
        if not isinstance(text, str) or re.fullmatch(limits.pattern, text) is None:
            found = f"{where} holds {text!r}, which" if is_list else f"{where} = {text!r}"
            raise SettingsError(f"{found} is not allowed; it must be {noun}.")
    return tuple(texts) if is_list else str(value)
