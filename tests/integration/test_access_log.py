"""The configuration of the access log that the documentation gives."""

from __future__ import annotations

import re
from pathlib import Path

from .servers import REPOSITORY, Gateway
from .sites import echo_site


def test_the_documented_format_names_site_generation_and_request(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "http.md").read_text("utf-8")
    (config,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "logging.json").write_text(config)
    site = echo_site(tmp_path, "one")
    options = ["--log-config", "logging.json"]
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as gateway:
        identity = gateway.client(site.host).get("/seen").json()["headers"]["x-request-id"]
    log = (tmp_path / "gateway.log").read_text()
    assert re.search(rf'127\.0\.0\.1:\d+ one#1 "GET /seen HTTP/1\.1" 200 OK {identity}\n', log), log
