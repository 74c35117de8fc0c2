"""The lists in requirements/ pin what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from operate.lock import LISTS

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "requirements").iterdir())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]


def entries(text: str) -> list[str]:
    """Each package with its hashes, on one line."""
    return text.replace("\\\n", " ").splitlines()


def pins(file: Path) -> dict[str, str]:
    found = [Requirement(entry.split("--hash")[0]) for entry in entries(file.read_text(encoding="utf-8"))]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in found}


def asked_for(extras: Iterable[str], groups: Iterable[str]) -> list[Requirement]:
    """What pyproject.toml asks for by these extras and groups; an extra may name others."""
    ours = PROJECT["project"]["name"]
    found = []
    for text in [text for extra in extras for text in EXTRAS[extra]]:
        wanted = Requirement(text)
        found += asked_for(wanted.extras, []) if wanted.name == ours else [wanted]
    return found + [Requirement(text) for group in groups for text in PROJECT["dependency-groups"][group]]


def unmet(wanted: Iterable[Requirement], pinned: dict[str, str]) -> set[str]:
    """What is not pinned, or not by a version that fits."""
    return {
        str(each) for each in wanted if not each.specifier.contains(pinned.get(canonicalize_name(each.name), "0.dev0"))
    }


@pytest.mark.parametrize("name", LISTS)
def test_every_package_of_pyproject_is_pinned_by_a_version_that_fits(name: str) -> None:
    parts = LISTS[name]
    extras = [value for flag, value in pairwise(parts) if flag == "--extra"]
    groups = [value for flag, value in pairwise(parts) if flag == "--group"]
    base = [Requirement(text) for text in PROJECT["project"]["dependencies"]] if "pyproject.toml" in parts else []
    wanted = base + asked_for(extras, groups)
    assert wanted
    assert unmet(wanted, pins(ROOT / "requirements" / f"{name}.txt")) == set()


def test_a_pin_that_does_not_fit_is_found() -> None:
    pinned = {"numpy": "3.0.0", "ruamel-yaml": "0.19.1"}
    wanted = [Requirement("numpy>=2,<3"), Requirement("pandas>=2.3"), Requirement("ruamel.yaml==0.19.1")]
    assert unmet(wanted, pinned) == {"numpy<3,>=2", "pandas>=2.3"}


def test_each_extra_and_group_is_in_a_list() -> None:
    in_lists = {part for parts in LISTS.values() for part in parts}
    through_test = {extra for text in EXTRAS["test"] for extra in Requirement(text).extras}
    assert set(EXTRAS) | set(PROJECT["dependency-groups"]) <= in_lists | through_test


def test_a_package_has_one_version_in_all_lists() -> None:
    everything = pins(ROOT / "requirements" / "test.txt")
    for name in ("run", "setup"):
        assert pins(ROOT / "requirements" / f"{name}.txt").items() <= everything.items()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_entry_has_an_exact_version_and_hashes_and_says_no_place(file: Path) -> None:
    for entry in entries(file.read_text(encoding="utf-8")):
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; [^@/]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry
