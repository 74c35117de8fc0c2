"""The file of a purchase-intent model that somebody else has made: refused before a tree of it is walked."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from ml.purchase_intent.model import IntentSettings, matrix, train
from ml.purchase_intent.model_file import UntrustedError, fault_in, read_classifier
from tests.open_carts import carts

SETTINGS = IntentSettings(folds=3, isotonic_from=10_000)
CARTS = carts(400)
GOOD = train(CARTS, SETTINGS, seed=7).classifier


def trees_of(classifier: Any) -> Any:
    return classifier.calibrated_classifiers_[0].estimator[-1]


def file_of(folder: Path, classifier: Any) -> Path:
    skops.io.dump(classifier, folder / "model.skops")
    return folder / "model.skops"


@pytest.mark.parametrize("isotonic_from", [100, 10_000])
def test_ours_are_read_and_say_the_same(tmp_path: Path, isotonic_from: int) -> None:
    rows = carts(1500) if isotonic_from == 100 else CARTS
    model = train(rows, replace(SETTINGS, isotonic_from=isotonic_from), seed=7).classifier
    read = read_classifier(file_of(tmp_path, model))
    assert read.predict_proba(matrix(rows)).tobytes() == model.predict_proba(matrix(rows)).tobytes()


def set_node(field: str, value: float) -> Callable[[np.ndarray], None]:
    def change(nodes: np.ndarray) -> None:
        nodes[field][0] = value

    return change


CRAFTED: dict[str, Callable[[np.ndarray], None]] = {
    "left child is not behind it": set_node("left", 4_000_000_000),
    "right child is not behind it": set_node("right", 4_000_000_000),
    "left child is not": set_node("left", 0),
    "right child is not": set_node("right", 0),
    "asks for a feature": set_node("feature_idx", 2**40),
    "asks for a feature that": set_node("feature_idx", -1),
    "threshold or value": set_node("num_threshold", np.nan),
    "or value is no number": set_node("value", np.inf),
    "asks for a category": set_node("is_categorical", 1),
}


@pytest.mark.parametrize("fault", CRAFTED)
def test_a_crafted_tree_is_refused(tmp_path: Path, fault: str) -> None:
    read = skops.io.loads(skops.io.dumps(GOOD), trusted=skops.io.get_untrusted_types(data=skops.io.dumps(GOOD)))
    CRAFTED[fault](trees_of(read)._predictors[-1][0].nodes)
    with pytest.raises(UntrustedError, match=fault):
        read_classifier(file_of(tmp_path, read))


def test_a_tree_in_another_shape_is_refused(tmp_path: Path) -> None:
    nodes = trees_of(GOOD)._predictors[0][0].nodes
    for wrong in (nodes[:0], nodes.reshape(1, -1), nodes["value"], None):
        assert fault_in(wrong, 25)
    assert fault_in(nodes, 25) == ""
    assert "feature" in fault_in(nodes, 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_let_through_ends_in_a_leaf(data: st.DataObject) -> None:
    """Each node stands for all values that a file can give it; a plain walk looks where scikit-learn's would go."""
    size = data.draw(st.integers(1, 6))
    nodes = np.zeros(size, trees_of(GOOD)._predictors[0][0].nodes.dtype)
    place = st.one_of(st.integers(0, size), st.just(2**32 - 1))
    for number in range(size):
        for field, values in (("left", place), ("right", place), ("is_leaf", st.integers(0, 1))):
            nodes[field][number] = data.draw(values)
        nodes["feature_idx"][number] = data.draw(st.sampled_from([0, 1, 2, -1]))
    if fault_in(nodes, 2):
        return
    left = {0}
    for _ in range(size):
        walked = [at for at in left if not nodes["is_leaf"][at]]
        assert all(0 <= nodes["feature_idx"][at] < 2 for at in walked)
        left = {int(nodes[side][at]) for at in walked for side in ("left", "right")}
        assert all(at < size for at in left)
    assert not left


@pytest.mark.parametrize("other", [SVC(), DummyClassifier(), {"a": [1.5]}], ids=lambda other: type(other).__name__)
def test_what_is_no_model_of_ours_is_refused(tmp_path: Path, other: Any) -> None:
    """skops by itself takes them all, and a support vector machine is native code too."""
    if hasattr(other, "fit"):
        other.fit([[0.0], [1.0]], [0, 1])
    assert skops.io.get_untrusted_types(data=skops.io.dumps(other)) == []
    with pytest.raises(UntrustedError):
        read_classifier(file_of(tmp_path, other))


def test_another_step_before_the_trees_is_refused(tmp_path: Path) -> None:
    read = skops.io.loads(skops.io.dumps(GOOD), trusted=skops.io.get_untrusted_types(data=skops.io.dumps(GOOD)))
    read.calibrated_classifiers_[0].estimator.steps[0] = ("x", FunctionTransformer())
    with pytest.raises(UntrustedError, match=r"types that no model of ours has \(sklearn\.preprocessing\._func"):
        read_classifier(file_of(tmp_path, read))


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 100, b"{}"])
def test_what_is_no_file_of_skops_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(UntrustedError, match="cannot be read"):
        read_classifier(tmp_path / "model.skops")


@pytest.mark.parametrize("schema", ["", "[]", "{}", "[" * 100_000, json.dumps({"__class__": "system"})])
def test_a_schema_that_is_none_is_refused(tmp_path: Path, schema: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        out.writestr("schema.json", schema)
    (tmp_path / "model.skops").write_bytes(packed.getvalue())
    with pytest.raises(UntrustedError):
        read_classifier(tmp_path / "model.skops")
