"""The JSON schema that is shipped for editors, and that it says what the gateway does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

from gateway.config.document import Document, SiteEntry
from gateway.config.environment import INHERITED, INHERITED_PREFIX
from gateway.config.schema import SCHEMA_PATH, schema_text

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "sites-json.md"
SITE: dict[str, Any] = {"hosts": ["shop.example"], "path": "projects/shop"}
WHOLE_SITE: dict[str, Any] = {
    "hosts": ["guestbook.localhost", "*.guestbook.localhost"],
    "path": "projects/guestbook",
    "wsgi": "core.wsgi",
    "env": {"DJANGO_SETTINGS_MODULE": "core.settings", "SECRET_KEY": "${KEY:-dev}"},
    "env_file": ".env",
    "venv": "projects/guestbook/.venv",
    "preload": False,
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def site(**changes: object) -> dict[str, Any]:
    return {"sites": {"shop": {**SITE, **changes}}}


def is_accepted(document: object) -> bool:
    try:
        Document.model_validate(document)
    except ValidationError:
        return False
    return True


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), (
        "write it anew: python -m gateway.config"
    )


def test_editors_get_a_description_and_a_sample_for_each_key() -> None:
    schema = json.loads(schema_text())
    objects = [schema, *schema["$defs"].values()]
    for key, value in (item for node in objects for item in node["properties"].items()):
        assert value["description"], key
        assert value["examples"], key
        assert "title" not in value, key
    assert list(schema["$defs"]["SiteEntry"]["properties"]) == list(SiteEntry.model_fields)


@pytest.mark.parametrize(
    "document",
    [
        {"sites": {}},
        {"sites": {}, "default_site": None},
        {"$schema": "./gateway/sites.schema.json", "sites": {}},
        {"sites": {"guestbook": WHOLE_SITE}, "default_site": "guestbook"},
        {
            "sites": {
                "project-one.com": {
                    "env": {"DJANGO_SETTINGS_MODULE": "core.settings"},
                    "path": "project-one",
                    "wsgi": "core.wsgi",
                }
            }
        },
        site(wsgi=None, env_file=None, venv=None, hosts=None),
        site(wsgi="wsgi:app", env={}, preload=True),
        {"sites": {"a" * 63: SITE, "0": SITE, "a.b-c_d.": SITE}},
    ],
)
def test_what_the_gateway_accepts_is_valid(
    validator: jsonschema.Draft202012Validator, document: object
) -> None:
    assert is_accepted(document)
    validator.validate(document)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"sites": []},
        {"sites": {}, "site": {}},
        {"sites": {}, "default_site": 1},
        {"sites": {}, "default_site": "My Shop"},
        {"sites": {"shop": None}},
        {"sites": {"shop": {}}},
        {"sites": {"Shop": SITE}},
        {"sites": {"a..b": SITE}},
        {"sites": {".a": SITE}},
        {"sites": {"": SITE}},
        {"sites": {"a/b": SITE}},
        {"sites": {"a" * 64: SITE}},
        site(host=["shop.example"]),
        site(hosts="shop.example"),
        site(hosts=[]),
        site(hosts=[""]),
        site(hosts=[1]),
        site(path=""),
        site(path=None),
        site(path=1),
        site(wsgi="core/wsgi.py"),
        site(wsgi="core.wsgi:"),
        site(wsgi=""),
        site(env=None),
        site(env=["A=1"]),
        site(env={"A": 1}),
        site(env={"A": None}),
        site(env={"A B": "1"}),
        site(env={"": "1"}),
        site(venv=True),
        site(env_file=""),
        site(preload="true"),
        site(preload=1),
        site(preload=None),
    ],
)
def test_what_the_gateway_refuses_is_not_valid(
    validator: jsonschema.Draft202012Validator, document: object
) -> None:
    assert not is_accepted(document)
    assert not validator.is_valid(document)


def test_the_documented_samples_are_valid(validator: jsonschema.Draft202012Validator) -> None:
    samples = re.findall(r"```json\n(.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    assert len(samples) >= 2
    for sample in map(json.loads, samples):
        assert is_accepted(sample)
        validator.validate(sample)


def test_every_key_and_inherited_variable_is_documented() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    keys = [field.alias or name for name, field in Document.model_fields.items()]
    assert [key for key in [*keys, *SiteEntry.model_fields] if f"| `{key}` |" not in text] == []
    assert [name for name in [*INHERITED, f"{INHERITED_PREFIX}*"] if f"`{name}`" not in text] == []
