"""Names that not every supported version of other packages has."""

import numpy as np
import pytest

from cca_estimators import _compat


@pytest.mark.parametrize("count", [_compat.bitwise_count, _compat._bitwise_count_of_table])
def test_bits_are_counted(count):
    words = np.random.default_rng(0).integers(0, 2**64, (5, 7), dtype=np.uint64)
    words[0, :3] = [0, 1, 2**64 - 1]
    for array in (words, words[:, ::2], words.T):
        expected = [[int(word).bit_count() for word in row] for row in array]
        assert count(array).dtype == np.uint8
        assert np.array_equal(count(array), expected)
