"""Make the lists of exact versions with their hashes anew. They do not say where anything comes from.

`make lock` pins the packages of pyproject.toml in requirements/. What is pinned and still fits stays, but for
`--upgrade` and `--upgrade-package NAME`. `python -m operate.lock jars` resolves ivy.xml, with the Ivy that pyspark
brings, into jars.sha256.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from operate import jars
from operate.java import java_home
from operate.packages import REQUIREMENTS

ROOT = REQUIREMENTS.parent
MODULES = Path(__file__).with_name("ivy.xml")
EVERYTHING = "test"
# Each list, and what of pyproject.toml is in it. All are parts of the first, so that a package has one version.
LISTS = {
    EVERYTHING: ["pyproject.toml", "--extra", "test", "--group", "setup", "--group", "schema"],
    "run": ["pyproject.toml", "--extra", "avro", "--extra", "ml", "--extra", "auth", "--group", "setup"],
    "setup": ["--group", "setup"],
    "java": ["--group", "java"],
    "uv": ["--group", "uv"],
}
COMPILE = ["pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
COMPILE += ["--no-annotate", "--no-header"]


def lock_packages(options: list[str]) -> None:
    uv = Path(sys.prefix) / "bin" / "uv"
    for name, parts in LISTS.items():
        file = REQUIREMENTS / f"{name}.txt"
        same = options if name == EVERYTHING else ["--constraints", str(REQUIREMENTS / f"{EVERYTHING}.txt")]
        subprocess.run([uv, *COMPILE, *parts, *same, "--output-file", file], cwd=ROOT, check=True)


def lock_jars() -> None:
    import pyspark

    ivy = next((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    confs = [conf.attrib["name"] for conf in ElementTree.parse(MODULES).iterfind("configurations/conf")]
    place = Path(tempfile.mkdtemp())
    command = [str(java_home() / "bin" / "java"), "-jar", str(ivy), "-cache", str(jars.cache().with_name("ivy"))]
    command += ["-settings", os.environ["IVY_SETTINGS"]] if "IVY_SETTINGS" in os.environ else []  # a company's mirror
    command += ["-ivy", str(MODULES), "-confs", *confs, "-types", "jar", "bundle", "archive"]
    pattern = "[conf]/[organisation]:[artifact]:[ext](:[classifier]):[revision]"
    subprocess.run([*command, "-retrieve", f"{place}/{pattern}"], check=True)
    lines = [f"{digest}  {name}\n" for name, digest in jars.sums(place, confs).items()]
    jars.PINS.write_text("".join(lines), encoding="utf-8")
    shutil.rmtree(place)


if __name__ == "__main__":
    lock_jars() if sys.argv[1:] == ["jars"] else lock_packages(sys.argv[1:])
