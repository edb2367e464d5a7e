"""Files of earlier releases open, and give what they gave."""

import os
from pathlib import Path

import numpy as np
import pytest

from cca_estimators import CCA, CrossModalIndex, _storage

RELEASES = sorted(path for path in (Path(__file__).parent / "data").iterdir() if path.is_dir())
FILES = [path for release in RELEASES for path in sorted(release.glob("*.index"))]


def test_there_are_files_of_each_kind():
    for release in RELEASES:
        kinds = {path.stem for path in release.glob("*.index")}
        assert kinds >= {"linear", "moments", "kernel", "deep", "codes"}


# what a later scikit-learn wrote opens in an earlier one, which warns of it
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
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


def test_a_file_takes_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    with _storage.replacing(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_the_old_file_and_nothing_beside_it(error, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write():
        with _storage.replacing(path) as unfinished:
            unfinished.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with _storage.replacing(link) as unfinished:
        unfinished.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_only_a_regular_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with (
            pytest.raises(ValueError, match="is a (folder|device or a pipe)"),
            _storage.replacing(path),
        ):
            pass
    assert not Path(os.devnull).is_file()


def test_a_save_that_fails_half_way_keeps_the_old_index(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    X = {"audio": rng.standard_normal((20, 3)), "visual": rng.standard_normal((20, 4))}
    path = tmp_path / "index"
    index = CrossModalIndex(CCA(2)).fit(X)
    index.save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_storage.npy, "write_array", full)
    with pytest.raises(OSError, match="No space"):
        index.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
