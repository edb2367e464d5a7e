"""The container of two views: a dictionary by name, an array by rows."""

import pickle

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score, train_test_split

from cca_estimators import CCA, Views, cross_modal_map


@pytest.fixture
def views():
    return Views(audio=np.arange(12.0).reshape(6, 2), visual=np.arange(18).reshape(6, 3, 1))


def test_views_are_a_dict_by_name(views):
    assert list(views) == ["audio", "visual"]
    assert isinstance(views, dict)
    assert views["audio"].shape == (6, 2)
    assert "visual" in views
    assert repr(views) == "Views(audio=(6, 2), visual=(6, 3, 1))"
    assert (len(views), views.shape, bool(views), bool(Views())) == (6, (6,), True, False)
    assert isinstance(views.copy(), Views)


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (slice(1, 3), [1, 2]),
        ([4, 0, 4], [4, 0, 4]),
        (np.array([True, False] * 3), [0, 2, 4]),
        (-1, [5]),
        ([-1, 0, -6], [5, 0, 0]),
        (np.int64(2), [2]),
        ((np.array([3, 1]), Ellipsis), [3, 1]),
        (([3, 1],), [3, 1]),
        ([], []),
        (Ellipsis, range(6)),
        (slice(None, None, -1), [5, 4, 3, 2, 1, 0]),
        (slice(4, 0, -2), [4, 2]),
        (slice(5, 2), []),
        (slice(-100, 100, 4), [0, 4]),
        (range(1, 3), [1, 2]),
        ([True, False] * 3, [0, 2, 4]),
        (np.zeros(6, bool), []),
        (np.array([2, 0], np.uint8), [2, 0]),
        (torch.tensor([2, 0]), [2, 0]),
    ],
)
@pytest.mark.parametrize("container", ["array", "h5py", "DataFrame", "tensor"])
def test_views_are_an_array_by_rows(views, key, rows, container, tmp_path):
    expected = {name: values[rows] for name, values in views.items()}
    with h5py.File(tmp_path / "views.h5", "w") as file:
        for name, values in views.items():
            file.create_dataset(name, data=values, chunks=True)
        held = {
            "array": lambda name: views[name],
            "h5py": lambda name: file[name],
            "DataFrame": lambda name: pd.DataFrame(views[name].reshape(6, -1)),
            "tensor": lambda name: torch.from_numpy(views[name]),
        }[container]
        taken = Views({name: held(name) for name in views})[key]
        for name in views:
            values = np.asarray(taken[name])
            np.testing.assert_array_equal(values.reshape(expected[name].shape), expected[name])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (np.ones(5, bool), r"mask has shape \(5,\), and there are 6 rows"),
        (np.ones((6, 2), bool), r"mask has shape \(6, 2\)"),
        (True, "mask"),
        (6, "Row 6 is out of range: there are 6 rows"),
        ([0, -7], "Row -7 is out of range"),
        ((slice(None), slice(2)), r"by rows alone.*X\['audio'\]\[:, :2\]"),
        ((0, 0), "by rows alone"),
        ([[0, 1]], "in one dimension"),
        ([0.0, 1.0], "float64"),
        (None, "object"),
        (("audio", "visual"), "by rows alone"),
    ],
)
@pytest.mark.parametrize("container", ["array", "h5py", "DataFrame", "tensor"])
def test_what_selects_no_rows_is_refused(views, key, message, container, tmp_path):
    with h5py.File(tmp_path / "views.h5", "w") as file:
        file["audio"] = views["audio"]
        held = {
            "array": views["audio"],
            "h5py": file["audio"],
            "DataFrame": pd.DataFrame(views["audio"]),
            "tensor": torch.from_numpy(views["audio"]),
        }[container]
        with pytest.raises(IndexError, match=message):
            Views(audio=held)[key]


def test_slices_of_arrays_are_not_copied(views):
    for name, rows in views[1:3].items():
        assert np.shares_memory(rows, views[name])


def test_what_joins_views_keeps_them_aligned(views):
    joined = views | {"text": np.ones((6, 1))}
    assert list(joined) == ["audio", "visual", "text"]
    assert isinstance(joined, Views)
    assert isinstance({"text": np.ones((6, 1))} | views, Views)
    assert list({"text": np.ones((6, 1))} | views) == ["text", "audio", "visual"]
    assert views.setdefault("audio", None).shape == (6, 2)
    for join in (
        lambda: views | {"text": np.ones((5, 1))},
        lambda: {"text": np.ones((5, 1))} | views,
        lambda: views.setdefault("text", np.ones((5, 1))),
        lambda: views.__ior__({"text": np.ones((5, 1))}),
    ):
        with pytest.raises(ValueError, match="do not align"):
            join()
    views |= {"text": np.ones((6, 1))}
    assert views.setdefault("more", [[1]] * 6).shape == (6, 1)
    with pytest.raises(TypeError):
        views | [1]


def test_scikit_learn_splits_views(views):
    left, right = train_test_split(views, test_size=2, random_state=0)
    assert (left.shape, right.shape) == ((4,), (2,))
    for train, test in KFold(3).split(views):
        np.testing.assert_array_equal(
            np.sort(np.r_[views[train]["audio"], views[test]["audio"]], axis=0), views["audio"]
        )


def test_views_pickle(views):
    again = pickle.loads(pickle.dumps(views))
    assert isinstance(again, Views)
    np.testing.assert_array_equal(again["visual"], views["visual"])


def test_datasets_in_files_are_pickled_by_their_place(tmp_path):
    rng = np.random.default_rng(0)
    rows = {"audio": rng.standard_normal((200, 3)), "visual": rng.standard_normal((200, 2, 2))}
    with h5py.File(tmp_path / "views.h5", "w") as file:
        for name, values in rows.items():
            file[f"part/{name}"] = values
    with h5py.File(tmp_path / "views.h5", "r") as file:
        views = Views({name: file[f"part/{name}"] for name in rows})
        stored = pickle.dumps(views)
        assert len(stored) < 400
        again = pickle.loads(stored)
        for name, values in rows.items():
            np.testing.assert_array_equal(again[[5, 3, -1]][name], values[[5, 3, -1]])
            np.testing.assert_array_equal(again[name], values)
            handle = again[name]
            assert (handle.shape, handle.ndim, len(handle)) == (values.shape, values.ndim, 200)
            assert handle.dtype == values.dtype
        assert pickle.dumps(again) == stored
        expected = CCA(2).fit(rows)
        np.testing.assert_array_equal(CCA(2).fit(again).correlations_, expected.correlations_)
        y = np.arange(200) % 3
        folds = StratifiedKFold(2, shuffle=True, random_state=0)
        scores = [
            cross_val_score(CCA(2), X, y, scoring=cross_modal_map, cv=folds, n_jobs=n_jobs)
            for X, n_jobs in ((Views(rows), 1), (views, 2), (again, 2))
        ]
        np.testing.assert_array_equal(scores, scores[:1] * 3)


@pytest.mark.parametrize("driver", [None, "core"])
def test_datasets_that_no_other_process_can_open_are_named(driver, tmp_path):
    options = {} if driver is None else {"driver": "core", "backing_store": False}
    with h5py.File(tmp_path / "views.h5", "w", **options) as file:
        file["audio"] = np.ones((3, 2))
        with pytest.raises(
            ValueError, match=r"View 'audio' is a dataset .* h5py.File\(path, 'r'\)"
        ):
            pickle.dumps(Views(audio=file["audio"]))


def test_lists_become_arrays():
    assert Views(a=[[1, 2], [3, 4]], b=[[1], [2]])["a"].shape == (2, 2)


@pytest.mark.parametrize("name", [0, None, ("audio", 0)])
def test_names_are_strings(views, name):
    with pytest.raises(TypeError, match=r"named .* of type \w+; names of views are strings"):
        Views({name: np.ones((6, 2))})


def test_update_keeps_the_rows_aligned(views):
    views.update({"audio": [[1], [2], [3], [4], [5], [6]]})
    assert views["audio"].shape == (6, 1)
    with pytest.raises(ValueError, match="view 'audio' has 5 rows, view 'visual' has 6"):
        views.update(audio=np.ones((5, 2)))


def test_views_that_do_not_align_are_refused(views):
    with pytest.raises(ValueError, match="view 'visual' has 5 rows, view 'audio' has 6"):
        Views(audio=np.ones((6, 2)), visual=np.ones((5, 2)))
    with pytest.raises(ValueError, match="view 'audio' has 7 rows, view 'visual' has 6"):
        views["audio"] = np.ones((7, 2))
    views["audio"] = np.ones((6, 9))
    assert views["audio"].shape == (6, 9)
