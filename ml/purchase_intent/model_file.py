"""The file of a purchase-intent model (skops), read as if a stranger had made it.

skops runs no code of a file, but scikit-learn walks trees in native code without looking at bounds: what a file says of
nodes would be read beyond the array, or walked for ever.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skops.io  # type: ignore[import-untyped]
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.pipeline import Pipeline

TRUSTED = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
"""What skops does not vouch for by itself, and boosted trees with a calibration are made of."""

_TYPES = frozenset(TRUSTED) | {
    *("builtins.dict", "builtins.list", "builtins.str", "builtins.tuple"),
    *("numpy.float64", "numpy.ndarray", "numpy.random._generator.Generator", "numpy.uint64"),
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.impute._base.MissingIndicator",
    "sklearn.impute._base.SimpleImputer",
    "sklearn.isotonic.IsotonicRegression",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._label.LabelEncoder",
}
"""All that a file of ours is made of. skops by itself lets in most classes of scikit-learn and SciPy, of which others
take arrays of a file into native code too.
"""


class UntrustedError(Exception):
    """A file holds no model as we make them; what is wrong, as the rest of a sentence about its version."""


def read_classifier(file: Path) -> CalibratedClassifierCV:
    """The classifier in a file.

    :raises UntrustedError: the file has other types, or trees that cannot be walked, or cannot be read at all.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            foreign = sorted(set(_types(json.loads(packed.read("schema.json")))) - _TYPES)
        if foreign:
            raise UntrustedError(f"is made of types that no model of ours has ({', '.join(foreign[:5])})")
        classifier = skops.io.load(file, trusted=list(TRUSTED))
        _refuse_crafted(classifier)
    except UntrustedError:
        raise
    except Exception as error:  # whatever a file that nobody has looked at brings about
        raise UntrustedError(f"cannot be read ({type(error).__name__})") from error
    return classifier


def _types(schema: Any) -> Iterator[str]:
    """Full names of all classes that a schema of skops names."""
    if isinstance(schema, dict):
        if "__class__" in schema or "__module__" in schema:
            yield f"{schema.get('__module__')}.{schema.get('__class__')}"
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _types(each)


def _refuse_crafted(classifier: Any) -> None:
    if not isinstance(classifier, CalibratedClassifierCV):
        raise UntrustedError("is no calibrated classifier")
    for calibrated in classifier.calibrated_classifiers_:
        if not isinstance(calibrated.estimator, Pipeline):
            raise UntrustedError("has no pipeline that is calibrated")
        trees = calibrated.estimator[-1]
        # A preprocessor would change which column a feature is; scikit-learn itself holds rows to n_features_in_.
        if not isinstance(trees, HistGradientBoostingClassifier) or trees._preprocessor is not None:
            raise UntrustedError("has no boosted trees that take features as they are")
        for predictors in trees._predictors:
            for predictor in predictors:
                if fault := fault_in(predictor.nodes, trees.n_features_in_):
                    raise UntrustedError(f"has a tree that cannot be walked: {fault}")


def fault_in(nodes: Any, features: int) -> str:
    """Why scikit-learn must not walk a tree with these nodes on rows of so many features; empty if it may.

    Children stand behind their parent, as training writes them: a walk then ends.
    """
    if not isinstance(nodes, np.ndarray) or nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or not len(nodes):
        return "its nodes are no array of nodes"
    inner = nodes[nodes["is_leaf"] == 0]
    places = np.flatnonzero(nodes["is_leaf"] == 0)
    if np.any(nodes["is_categorical"]):
        return "a node asks for a category, and no feature is one"
    for side in ("left", "right"):
        if np.any(inner[side] >= len(nodes)) or np.any(inner[side] <= places):
            return f"a node's {side} child is not behind it"
    if np.any(inner["feature_idx"] < 0) or np.any(inner["feature_idx"] >= features):
        return "a node asks for a feature that there is not"
    if np.any(np.isnan(inner["num_threshold"])) or not np.all(np.isfinite(nodes["value"])):
        return "a node's threshold or value is no number"
    return ""
