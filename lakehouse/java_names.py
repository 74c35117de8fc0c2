"""Names of Java's classes and methods, asked for once.

py4j asks the JVM for each part of a name at each use, and the JVM then looks through a class path of 300 jars: a tenth
of what the thread of a stream did (docs/performance.md). What a name means does not change while a JVM runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from py4j.java_gateway import JavaClass, JavaMember, JavaPackage, JVMView

_NAMES = (JavaPackage, JavaClass, JavaMember)


def keep_java_names() -> None:
    """From now on. What a name's value is, such as a static field's, is asked for each time, as before."""
    for kind in (JVMView, JavaPackage, JavaClass):
        if not hasattr(kind.__getattr__, "asked"):
            kind.__getattr__ = _kept(kind.__getattr__)


def _kept(ask: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def known(parent: Any, name: str) -> Any:
        found = ask(parent, name)
        if isinstance(found, _NAMES):
            vars(parent)[name] = found  # Python finds it there, and does not ask again
        return found

    known.asked = ask  # type: ignore[attr-defined]
    return known
