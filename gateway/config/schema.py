"""The JSON schema of ``sites.json``. It is made from the models, so that the two never differ.

It is shipped as ``gateway/sites.schema.json``; editors complete and check ``sites.json`` with it.
After a change to the models, write the file again: ``python -m gateway.config``.
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
    """Return the text of the schema file (JSON Schema, draft 2020-12)."""
    schema = Document.model_json_schema(by_alias=True)
    dialect = GenerateJsonSchema.schema_dialect
    return json.dumps({"$schema": dialect, **_tidy(schema)}, indent=2) + "\n"


def _tidy(node: Any) -> Any:
    """Adapt a part of pydantic's schema for editors.

    Titles are removed, because they only repeat the names. (A title is a string; a property called
    ``title`` would be an object.) Keys of objects with a pattern are forbidden if they do not match
    it: pydantic's schema leaves them open.
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
