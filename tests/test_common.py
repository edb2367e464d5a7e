"""scikit-learn's checks and our own contract, for every estimator of the registry."""

import pickle

import h5py
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from registry import embeddings, estimators, is_hashing, is_supervised
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cca_estimators import CCA, PerView, Views
from cca_estimators.datasets import make_views


class RenamedCCA(CCA):
    """CCA by another name: scikit-learn's checks expect its own `transform(X, y)` of a "CCA"."""


def checked():
    """Return what scikit-learn checks."""
    return [RenamedCCA() if type(one) is CCA else one for one in estimators()]


def name_of(value):
    return type(value).__name__


# of scikit-learn's own, of what its scaler masks afterwards
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning:array_api_strict")
@parametrize_with_checks(checked())
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it, its array API check skips itself
    check(estimator)


each = pytest.mark.parametrize("estimator", estimators(), ids=name_of)
each_embedding = pytest.mark.parametrize("estimator", embeddings(), ids=name_of)


@pytest.fixture(scope="module")
def data():
    """Return two views of 60 rows in 3 classes, one of them a sequence, and labels."""
    X, y = make_views(60, 3, (8, 12), shared_rank=3, random_state=0)
    return Views(audio=X["audio"].reshape(60, 2, 4), visual=X["visual"]), y


def transformed(estimator, X):
    return {name: np.asarray(rows) for name, rows in estimator.transform(X).items()}


def assert_same(left, right, rtol=1e-6):
    assert list(left) == list(right)
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=rtol, atol=1e-8)


def containers(X, folder):
    """Yield the same views in each container that may hold them."""
    flat = {name: rows.reshape(len(rows), -1) for name, rows in X.items()}
    yield "dict", dict(X)
    yield "lists", {name: rows.tolist() for name, rows in X.items()}
    yield "DataFrame", {name: pd.DataFrame(rows) for name, rows in flat.items()}
    yield "tensor", {name: torch.from_numpy(rows) for name, rows in X.items()}
    yield "Fortran order", {name: np.asfortranarray(rows) for name, rows in X.items()}
    yield "read-only", {name: _read_only(rows) for name, rows in X.items()}
    files = {}
    with h5py.File(folder / "views.h5", "w") as file:
        for name, rows in X.items():
            np.save(folder / f"{name}.npy", rows)
            files[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
            file[name] = rows
        yield "memmap", files
        yield "h5py", {name: file[name] for name in X}
        yield "h5py in Views", Views({name: file[name] for name in X})


def _read_only(rows):
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


@each
def test_every_container_gives_the_same(estimator, data, tmp_path):
    X, y = data
    expected = transformed(clone(estimator).fit(X, y), X)
    flat_steps = name_of(estimator) == "PerView" or getattr(estimator, "_sequential", False)
    for form, views in containers(X, tmp_path):
        if form == "DataFrame" and flat_steps:
            continue  # a DataFrame has no steps, which matter here
        fitted = clone(estimator).fit(views, y)
        assert_same(transformed(fitted, views), expected)


@each_embedding
def test_one_array_gives_the_same_as_two_views(estimator, data):
    X, y = data
    flat = Views({name: rows.reshape(len(rows), -1) for name, rows in X.items()})
    by_name = transformed(clone(estimator).fit(flat, y), flat)
    side_by_side = np.hstack(list(flat.values()))
    together = clone(estimator).set_params(view_split=8).fit(side_by_side, y)
    np.testing.assert_allclose(
        together.transform(side_by_side), np.hstack(list(by_name.values())), rtol=1e-6, atol=1e-8
    )
    assert together.view_names_in_ == ["first", "second"]


@each_embedding
def test_one_array_in_any_container(estimator, data, tmp_path):
    X, y = data
    rows = np.hstack([view.reshape(60, -1) for view in X.values()])
    fitted = clone(estimator).fit(rows, y)
    expected = fitted.transform(rows)
    for form, views in containers({"both": rows}, tmp_path):
        if not form.endswith("Views"):
            np.testing.assert_allclose(fitted.transform(views["both"]), expected, rtol=1e-6)


@each
def test_a_view_alone_gives_its_part_of_both(estimator, data):
    X, y = data
    fitted = clone(estimator).fit(X, y)
    both = transformed(fitted, X)
    for name in X:
        assert_same(transformed(fitted, {name: X[name]}), {name: both[name]})


@each
def test_a_row_does_not_depend_on_its_batch(estimator, data):
    X, y = data
    fitted = clone(estimator).fit(X, y)
    whole = transformed(fitted, X)
    for rows in (slice(7, 8), slice(3, 20)):
        part = transformed(fitted, X[rows])
        for name in whole:
            np.testing.assert_allclose(part[name], whole[name][rows], rtol=1e-5, atol=1e-6)


@each
def test_refit_forgets(estimator, data):
    X, y = data
    fresh = clone(estimator).fit(X[:40], y[:40])
    again = clone(estimator).fit(X[::-1], y[::-1]).fit(X[:40], y[:40])
    assert_same(transformed(again, X), transformed(fresh, X))
    assert set(vars(again)) == set(vars(fresh))


@each
def test_fit_transform_is_fit_then_transform(estimator, data):
    X, y = data
    both = clone(estimator).fit_transform(X, y)
    assert isinstance(both, Views)
    assert_same(both, transformed(clone(estimator).fit(X, y), X))


@each
def test_a_second_view_as_y_is_refused(estimator, data):
    """The call of scikit-learn's own CCA must not correlate the two halves of X."""
    X, y = data
    audio, visual = X["audio"].reshape(60, -1), X["visual"]
    fitted = clone(estimator).fit(audio, y)
    before = fitted.transform(audio)
    calls = [fitted.fit, fitted.fit_transform]
    if hasattr(fitted, "score"):
        calls.append(fitted.score)
    if hasattr(fitted, "partial_fit"):
        calls.append(clone(estimator).partial_fit)
    others = [visual, pd.DataFrame(visual), visual.tolist(), torch.from_numpy(visual)]
    for call in calls:
        for other in [*others, {"visual": visual}, visual[:, :, None]]:
            with pytest.raises(ValueError, match=r"X = Views\(first=X, second=y\)"):
                call(audio, other)
    np.testing.assert_array_equal(fitted.transform(audio), before)


@each_embedding
def test_a_column_of_labels(estimator, data):
    X, y = data
    audio, column = X["audio"].reshape(60, -1), y[:, None]
    if is_supervised(estimator):
        with pytest.warns(DataConversionWarning):
            clone(estimator).fit(audio, column)
    else:
        with pytest.raises(ValueError, match=r"y is of shape \(60, 1\), like a second view"):
            clone(estimator).fit(audio, column)


@each_embedding
def test_views_by_name_ignore_y_where_labels_are_not_used(estimator, data):
    X, y = data
    if is_supervised(estimator):
        several = y[:, None] + np.arange(2)  # no indicator
        with pytest.raises(ValueError, match=r"y has shape \(60, 2\)"):
            clone(estimator).fit(X, several)
        expected = transformed(clone(estimator).fit(X, y), X)
        assert_same(transformed(clone(estimator).fit(X, np.eye(3)[y]), X), expected)
    else:
        expected = transformed(clone(estimator).fit(X), X)
        for target in (np.eye(3)[y], [{label} for label in y]):
            assert_same(transformed(clone(estimator).fit(X, target), X), expected)


@each
def test_failed_fit_changes_nothing(estimator, data):
    X, y = data
    broken = Views({name: rows.copy() for name, rows in X.items()})
    broken["visual"][5, 1] = np.inf
    fresh = clone(estimator)
    with pytest.raises(ValueError, match="visual|infinity"):
        fresh.fit(broken, y)
    assert vars(fresh).keys() == vars(clone(estimator)).keys()
    with pytest.raises(NotFittedError):
        fresh.transform(X)
    fitted = clone(estimator).fit(X, y)
    before, attributes = transformed(fitted, X), set(vars(fitted))
    with pytest.raises(ValueError, match="visual|infinity"):
        fitted.fit(broken, y)
    if is_supervised(estimator):
        with pytest.raises(ValueError, match="requires y to be passed"):
            fitted.fit(X)
        with pytest.raises(ValueError, match="one class only"):
            fitted.fit(X, np.zeros(60))
    assert_same(transformed(fitted, X), before)
    assert set(vars(fitted)) == attributes


@each
def test_pickle_and_joblib_keep_the_result(estimator, data, tmp_path):
    X, y = data
    fitted = clone(estimator).fit(X, y)
    expected = transformed(fitted, X)
    assert_same(transformed(pickle.loads(pickle.dumps(fitted)), X), expected, rtol=0)
    joblib.dump(fitted, tmp_path / "model.joblib")
    assert_same(transformed(joblib.load(tmp_path / "model.joblib"), X), expected, rtol=0)


@each_embedding
def test_float32_stays_float32(estimator, data):
    X, y = data
    single = Views({name: rows.astype(np.float32) for name, rows in X.items()})
    embedded = clone(estimator).fit(single, y).transform(single)
    if is_hashing(estimator):
        assert {rows.dtype for rows in embedded.values()} == {np.dtype(np.uint8)}
        return
    assert {rows.dtype for rows in embedded.values()} == {np.dtype(np.float32)}
    embedded = clone(estimator).fit(X, y).transform(X)
    assert {rows.dtype for rows in embedded.values()} == {np.dtype(np.float64)}


@each_embedding
def test_feature_names_and_pandas_output(estimator, data):
    X, y = data
    fitted = clone(estimator).set_output(transform="pandas").fit(X, y)
    embedded = fitted.transform(X)
    prefix, n = name_of(estimator).lower(), fitted.n_components_
    names = [f"{view}_{prefix}{i}" for view in X for i in range(n)]
    assert fitted.get_feature_names_out().tolist() == names
    assert embedded["visual"].columns.tolist() == names[n:]
    frame = pd.DataFrame(np.hstack([rows.reshape(60, -1) for rows in X.values()]))
    frame.columns = [f"f{i}" for i in range(frame.shape[1])]
    frame.index = np.arange(60) + 100
    embedded = clone(estimator).set_output(transform="pandas").fit(frame, y).transform(frame)
    assert embedded.columns[0] == f"first_{prefix}0"
    assert embedded.index.equals(frame.index)


def named_frames(X):
    flat = {name: rows.reshape(len(rows), -1) for name, rows in X.items()}
    return Views(
        {
            name: pd.DataFrame(rows, columns=[f"{name}{i}" for i in range(rows.shape[1])])
            for name, rows in flat.items()
        }
    )


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")  # a transformer's
@each
def test_names_of_features_are_kept_and_checked(estimator, data):
    """As scikit-learn checks those of one DataFrame: reordered or renamed columns are refused."""
    X, y = data
    frames = named_frames(X)
    fitted = clone(estimator).fit(frames, y)
    assert list(fitted.feature_names_in_) == ["audio", "visual"]
    assert fitted.feature_names_in_["visual"].tolist() == frames["visual"].columns.tolist()
    expected = transformed(fitted, frames)
    assert_same(transformed(fitted, frames[::-1][::-1]), expected)
    audio = frames["audio"]
    with pytest.raises(ValueError, match=r"View 'audio': the feature names .* order differs"):
        fitted.transform({"audio": audio[audio.columns[::-1]]})
    renamed = audio.rename(columns={"audio3": "other"})
    with pytest.raises(ValueError, match=r"unseen .*'other'.*missing: \['audio3'\]"):
        fitted.transform({"audio": renamed})
    flat = {name: rows.to_numpy() for name, rows in frames.items()}
    with pytest.warns(UserWarning, match="'audio' has no feature names, but .* fitted with them"):
        assert_same(transformed(fitted, {"audio": flat["audio"]}), {"audio": expected["audio"]})
    mixed = clone(estimator).fit({"audio": flat["audio"], "visual": frames["visual"]}, y)
    assert list(mixed.feature_names_in_) == ["visual"]
    with pytest.warns(UserWarning, match="'audio' has feature names, but .* fitted without"):
        mixed.transform({"audio": audio})
    assert not hasattr(clone(estimator).fit(flat, y), "feature_names_in_")


@each_embedding
def test_labels_of_any_type(estimator, data):
    X, y = data
    fitted = clone(estimator).fit(X, y)
    named = clone(estimator).fit(X, np.array(["cat", "dog", "bird"])[y])
    if is_supervised(estimator):
        assert named.classes_.tolist() == ["bird", "cat", "dog"]
        assert fitted.classes_.tolist() == [0, 1, 2]
    else:
        assert_same(transformed(named, X), transformed(fitted, X))
        assert_same(transformed(clone(estimator).fit(X), X), transformed(fitted, X))


@each_embedding
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_a_pipeline(estimator, data, n_jobs):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), clone(estimator))
    grid = {"perview__transformer__with_std": [True, False]}
    cv = StratifiedKFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(pipe, grid, cv=cv, n_jobs=n_jobs, error_score="raise").fit(X, y)
    assert 1 / 3 < search.best_score_ <= 1
    assert search.score(X, y) == pytest.approx(search.best_estimator_.score(X, y))
    assert list(search.transform({"audio": X["audio"][:2]})) == ["audio"]


@each_embedding
def test_beats_chance_on_its_training_data(estimator, data):
    X, y = data
    assert clone(estimator).fit(X, y).score(X, y) > 0.45
