"""What the documentation draws or lists is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.sites import state

ROOT = Path(__file__).resolve().parent.parent


def test_the_life_of_a_site_is_drawn_from_the_table() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    assert f"```mermaid\n{state.mermaid()}\n```" in text


def test_links_between_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
