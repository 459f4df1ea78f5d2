"""Turn pydantic's errors into messages for the author of ``sites.json``.

Values of ``env`` may be secrets, so they never appear in a message.
"""

from __future__ import annotations

import json
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.document import NAME_RULE, Document, LimitsEntry, SiteEntry
from gateway.config.faults import Loc, fault_at, kind, nearest, shown
from gateway.errors import Fault

_WANTED: Final = {
    "string_type": "a string",
    "bool_type": "true or false, without quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}


def type_faults(error: ValidationError) -> tuple[list[Fault], frozenset[Loc]]:
    """Return the faults, and the places of the values that must not be used."""
    faults = []
    errors = error.errors(include_url=False)
    for details in errors:
        loc = details["loc"]
        match details["type"]:
            case "extra_forbidden":
                fault = fault_at(loc, _unknown_key(loc, details["input"]))
            case "missing":
                fault = fault_at(loc[:-1], _missing_key(loc))
            case "string_pattern_mismatch" | "string_too_long" if loc[-1] == "[key]":
                # With "[key]" pydantic says that the key is wrong, not its value.
                fault = fault_at(loc[:-1], _bad_key(loc[:-1]))
            case _:
                fault = fault_at(loc, _bad_value(loc, details))
        faults.append(fault)
    return faults, frozenset(details["loc"] for details in errors)


def _model_of(loc: Loc) -> type[BaseModel] | None:
    """Return the model of the object that contains the key at ``loc``, if there is one."""
    match loc[:-1]:
        case ():
            return Document
        case ("sites", _):
            return SiteEntry
        case ("limits",) | ("sites", _, "limits"):
            return LimitsEntry
    return None


def _example(loc: Loc) -> str | None:
    """Return an example of a value for ``loc`` as JSON; ``None`` for an item of a list."""
    if len(loc) == 2 and loc[0] == "sites":
        return json.dumps({"path": "projects/shop"})
    model = _model_of(loc)
    for name, field in model.model_fields.items() if model else ():
        if loc[-1] == (field.alias or name) and field.examples:
            return json.dumps(field.examples[0])
    return None


def _unknown_key(loc: Loc, value: object) -> str:
    key = str(loc[-1])
    if len(loc) == 1 and isinstance(value, dict) and SiteEntry.model_fields.keys() & value.keys():
        return f'unknown key; if {shown(key)} is a site, move it into "sites"'
    model = _model_of(loc)
    assert model is not None, "only an object with a model has unknown keys"
    fields = model.model_fields.items()
    return f"unknown key; {nearest(key, (field.alias or name for name, field in fields))}"


def _missing_key(loc: Loc) -> str:
    key = shown(loc[-1])
    return f"the key {key} is missing; add {key}: {_example(loc)}"


def _bad_key(loc: Loc) -> str:
    if len(loc) == 2:
        return f"{shown(loc[-1])} cannot be the name of a site: {NAME_RULE}"
    return (
        f"{shown(loc[-1])} cannot be the name of a variable: "
        'one has at least one character, and neither white space nor "="'
    )


def _bad_value(loc: Loc, details: ErrorDetails) -> str:
    value, error, example = details["input"], details["type"], _example(loc)
    within_env = len(loc) > 2 and loc[2] == "env"
    found = kind(value) if within_env else shown(value)
    if error in _WANTED:
        such_as = f" such as {example}" if example and error != "bool_type" else ""
        quotes = "; put it in quotes" if isinstance(value, int | float) and within_env else ""
        return f"must be {_WANTED[error]}{such_as}, not {found}{quotes}"
    if error in ("string_too_short", "too_short"):
        remedy = f"something like {example}" if example else "something, or leave it out"
        return f"must not be empty; write {remedy}"
    if loc[-1] == "wsgi":
        return f"{found} is not a module; write it with dots and without .py, such as {example}"
    if loc[-1] == "default_site":
        return f"{found} cannot be the name of a site: {NAME_RULE}"
    return f"{found}: {details['msg']}"
