"""The JSON schema of ``sites.json``, made from the models so that the two never differ.

It is shipped as ``gateway/sites.schema.json``; editors complete and check the file with it. After
a change to the models, write it anew: ``python -m gateway.config``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

import gateway
from gateway.config.document import Document

SCHEMA_PATH: Final = Path(gateway.__file__).with_name("sites.schema.json")


def schema_text() -> str:
    """Return the schema (JSON Schema, draft 2020-12) as the text of its file."""
    schema = Document.model_json_schema(by_alias=True)
    dialect = GenerateJsonSchema.schema_dialect
    return json.dumps({"$schema": dialect, **_tidy(schema)}, indent=2) + "\n"


def _tidy(node: Any) -> Any:
    """Make of pydantic's schema what an editor should see.

    The titles go: they only repeat the names. (A title is a string; a property of that name would
    be an object.) And keys that do not have the form of a name or variable are refused: pydantic
    describes them as a pattern that says nothing about all others.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {
        key: _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
    }
    if "patternProperties" in tidied:
        tidied["additionalProperties"] = False
    return tidied
