"""Reading X: its form, its containers, its blocks of rows."""

import h5py
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch

from cca_estimators import CCA, Views, _reading


@pytest.fixture
def views():
    rng = np.random.default_rng(0)
    return {"audio": rng.standard_normal((50, 2, 3)), "visual": rng.standard_normal((50, 4))}


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        ({"a": 0}, True),
        (Views(), True),
        (np.ones((2, 3)), False),
        ([[1, 2], [3, 4]], False),
        ([[[1, 2]], [[3, 4]], [[5, 6]]], False),
        (pd.DataFrame(np.ones((2, 2))), False),
    ],
    ids=["dict", "Views", "array", "two rows", "three arrays", "DataFrame"],
)
def test_the_form_of_X_is_told(X, expected):
    assert _reading.is_mapping(X) is expected


@pytest.mark.parametrize("container", [list, tuple])
def test_two_arrays_without_names_are_refused(container):
    message = rf"X is a {container.__name__} of two arrays.*X = Views\(audio=X\[0\]"
    with pytest.raises(TypeError, match=message):
        _reading.is_mapping(container([np.ones((5, 2)), np.ones((5, 3))]))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f8"])
@pytest.mark.parametrize("working_memory", [1024, 1e-3])
def test_blocks_cover_all_rows_within_the_budget(dtype, working_memory, monkeypatch):
    monkeypatch.setattr(_reading, "_BLOCK_BYTES", 4000)
    rows = (np.arange(900) % 200).reshape(300, 3).astype(dtype)
    with sklearn.config_context(working_memory=working_memory):
        parts = list(_reading.blocks({"a": rows, "b": rows[:, :1]}))
    np.testing.assert_array_equal(np.vstack([blocks[0] for _, blocks in parts]), rows)
    np.testing.assert_array_equal(np.vstack([rows[taken] for taken, _ in parts]), rows)
    budget = min(4000, working_memory * 2**20)
    assert budget / 2 < max(sum(block.nbytes for block in blocks) for _, blocks in parts) <= budget
    expected = np.float32 if dtype == np.float32 else np.float64
    assert {block.dtype for _, blocks in parts for block in blocks} == {np.dtype(expected)}


def test_a_row_above_the_budget_is_a_block(monkeypatch):
    monkeypatch.setattr(_reading, "_BLOCK_BYTES", 10)
    assert len(list(_reading.blocks({"a": np.ones((7, 3))}))) == 7


def test_blocks_flatten_sequences(views):
    ((taken, (audio, visual)),) = _reading.blocks(views)
    assert taken == slice(0, 50)
    np.testing.assert_array_equal(audio, views["audio"].reshape(50, 6))
    assert np.shares_memory(audio, views["audio"])
    assert np.shares_memory(visual, views["visual"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(value, monkeypatch):
    monkeypatch.setattr(_reading, "_BLOCK_BYTES", 400)
    rows = np.ones((60, 5), np.float32)
    rows[[43, 44], 2] = value
    with pytest.raises(ValueError, match=rf"View 'a' .* {value} in row 43, feature 2\..*PerView"):
        list(_reading.blocks({"a": rows}))


def test_sums_that_overflow_are_finite_values():
    rows = np.full((40, 2), np.finfo(np.float32).max, np.float32)
    ((_, (block,)),) = _reading.blocks({"a": rows})
    np.testing.assert_array_equal(block, rows)


def test_named_views_are_read_as_they_lie(views, tmp_path):
    read = _reading.named_views(views)
    assert all(read[name] is views[name] for name in views)
    with h5py.File(tmp_path / "views.h5", "w") as file:
        file["audio"] = views["audio"]
        read = _reading.named_views({"audio": file["audio"], "visual": views["visual"]})
        assert isinstance(read["audio"], h5py.Dataset)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_tensors_of_any_type(dtype):
    tensor = torch.arange(6.0).reshape(3, 2).to(dtype).requires_grad_(dtype.is_floating_point)
    read = _reading.named_views({"a": tensor}, known=["a", "b"])
    np.testing.assert_array_equal(read["a"], [[0, 1], [2, 3], [4, 5]])
    assert isinstance(read["a"], np.ndarray)


def test_data_frames_of_mixed_types():
    frame = pd.DataFrame(
        {
            "count": np.arange(4),
            "level": np.float32([0.5, 1, 2, 4]),
            "on": [True, False, True, True],
            "nullable": pd.array([1, 2, 3, 4], dtype="Int64"),
        }
    )
    read = _reading.named_views({"a": frame}, known=["a"])["a"]
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read[2], [2, 2, 1, 3])
    for column in (["x"] * 4, pd.array([1, 2, 3, None], dtype="Int64")):
        with pytest.raises((TypeError, ValueError), match="View 'a' .* not all numbers"):
            _reading.named_views({"a": frame.assign(other=column)}, known=["a"])


@pytest.mark.parametrize("column", ["chunks", "detach", "dtype"])
def test_data_frames_with_any_column_names(column):
    frame = pd.DataFrame({column: np.arange(3.0), "other": np.ones(3)})
    read = _reading.named_views(Views(a=frame)[1:], known=["a"])
    np.testing.assert_array_equal(read["a"], [[1, 1], [2, 1]])


@pytest.mark.parametrize(("view_split", "widths"), [(None, (2, 3)), (1, (1, 4)), (4, (4, 1))])
def test_one_array_is_two_views(view_split, widths):
    X = np.arange(10.0).reshape(2, 5)
    views = _reading.side_by_side(X, view_split)
    assert list(views) == ["first", "second"]
    assert tuple(rows.shape[1] for rows in views.values()) == widths
    np.testing.assert_array_equal(np.hstack(list(views.values())), X)


def test_names_of_mixed_types_name_the_view():
    frame = pd.DataFrame(np.ones((3, 2)), columns=["a", 1])
    with pytest.raises(TypeError, match="View 'audio': Feature names are only supported"):
        _reading.feature_names({"audio": frame})


def test_names_of_one_frame_hold_for_views_by_name():
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((20, 5)), columns=list("abcde"))
    fitted = CCA(1, view_split=2).fit(frame)
    fitted.transform({"second": frame[["c", "d", "e"]]})
    with pytest.raises(ValueError, match="View 'second'"):
        fitted.transform({"second": frame[["d", "c", "e"]]})


def test_frames_whose_rows_have_other_names_are_refused():
    rng = np.random.default_rng(0)
    names = [f"clip {i}" for i in range(40)]
    audio = pd.DataFrame(rng.normal(size=(40, 3)), index=names).add_prefix("a")
    visual = (audio @ rng.normal(size=(3, 4))).rename(columns=str)
    shuffled = visual.sample(frac=1, random_state=0)
    for other, said in (
        (shuffled, "the same rows in another order"),
        (visual.reset_index(drop=True), "other rows"),
    ):
        with pytest.raises(ValueError, match=f"'audio' and 'visual' are DataFrames.*{said}"):
            CCA(2).fit({"audio": audio, "visual": other})
    aligned = CCA(2, reg=1e-6).fit({"audio": audio, "visual": shuffled.loc[audio.index]})
    assert aligned.correlations_[0] > 0.95
    with pytest.raises(ValueError, match=r"X\['visual'\].loc\[X\['audio'\].index\]"):
        aligned.transform({"audio": audio, "visual": shuffled})
    CCA(2).fit({"audio": audio, "visual": shuffled.to_numpy()})
