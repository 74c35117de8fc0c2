"""`python -m dashboards` writes what is kept in this folder and in docs/images; a test compares."""

from __future__ import annotations

from pathlib import Path

from dashboards.datasource import Live
from dashboards.files import write_documents
from dashboards.plan import DASHBOARDS
from dashboards.render import path_of, picture

if __name__ == "__main__":
    write_documents(Path(__file__).parent, Live())
    for each in DASHBOARDS:
        path_of(each).write_text(picture(each), encoding="utf-8")
