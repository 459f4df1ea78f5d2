"""Write the file with the JSON schema of ``sites.json``: ``python -m gateway.config``."""

from gateway.config.schema import SCHEMA_PATH, schema_text

if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
