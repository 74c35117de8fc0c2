"""Spark's own configuration in this venv, so that `spark-submit` needs no environment. Standard library only."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = Path(__file__).resolve().parents[1] / "deploy" / "spark"
FILES = ("spark-env.sh", "spark-defaults.conf", "log4j2.properties")
FIND_HOME = """\
# Sourced by Spark's commands in this folder.
# pip's version asks whatever `python3` is on the path, which need not be this venv's.
export SPARK_HOME="{home}"
"""


def write(venv: Path, pyspark: Path, java_home: Path, jars: Path) -> None:
    """Fill the templates of deploy/spark in and put them where Spark's launcher looks."""
    values = {"@JAVA_HOME@": str(java_home), "@JARS@": str(jars / "spark"), "@PYTHON@": str(venv / "bin" / "python")}
    conf = pyspark / "conf"
    conf.mkdir(exist_ok=True)
    for name in FILES:
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        (conf / name).write_text(text, encoding="utf-8")
    find_home = venv / "bin" / "find-spark-home"
    find_home.unlink(missing_ok=True)  # the file in uv's cache may be the same one
    find_home.write_text(FIND_HOME.format(home=pyspark), encoding="utf-8")
