"""Files of earlier releases open, and give what they gave."""

from pathlib import Path

import numpy as np
import pytest

from cca_estimators import CrossModalIndex

RELEASES = sorted(path for path in (Path(__file__).parent / "data").iterdir() if path.is_dir())
FILES = [path for release in RELEASES for path in sorted(release.glob("*.index"))]


def test_there_are_files_of_each_kind():
    for release in RELEASES:
        kinds = {path.stem for path in release.glob("*.index")}
        assert kinds >= {"linear", "moments", "kernel", "deep", "codes"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_index_of_an_earlier_release_opens(path):
    index = CrossModalIndex.load(path)
    with np.load(path.parent / "expected.npz") as expected:
        for name in ("audio", "visual"):
            queries = {name: expected[name]}
            embedded = np.asarray(index.estimator_.transform(queries)[name])
            np.testing.assert_allclose(
                embedded, expected[f"{path.stem}_{name}"], rtol=1e-5, atol=1e-6
            )
            np.testing.assert_allclose(
                index.kneighbors(queries)[0], expected[f"{path.stem}_{name}_distances"], atol=1e-6
            )


def test_moments_of_an_earlier_release_take_further_rows():
    path = RELEASES[0] / "moments.index"
    estimator = CrossModalIndex.load(path).estimator_
    with np.load(path.parent / "expected.npz") as expected:
        X = {name: expected[name] for name in ("audio", "visual")}
        labels = expected["labels"]
    before = estimator.weights_["audio"].copy()
    estimator.partial_fit(X, labels)
    np.testing.assert_allclose(estimator.weights_["audio"], before, rtol=1e-8)  # same rows twice
