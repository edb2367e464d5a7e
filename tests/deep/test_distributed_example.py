"""The example runs by torchrun, on the embedded data and on memory-mapped files."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from two_ranks import needs_ranks

EXAMPLE = Path(__file__).parents[2] / "examples" / "distributed" / "train.py"


@needs_ranks
@pytest.mark.parametrize("from_files", [True, False])
def test_each_rank_trains_on_its_own_rows(tmp_path, from_files):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += [str(EXAMPLE), "--epochs", "3", "--out", str(tmp_path / "model.skops")]
    if from_files:
        command += ["--folder", str(tmp_path / "views"), "--checkpoint", str(tmp_path)]
    root = EXAMPLE.parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    told = sorted(re.findall(r"rank (\d): (\d+) rows, loss (-[\d.]+)", done.stdout))
    assert [(rank, n_rows) for rank, n_rows, _ in told] == [("0", "673"), ("1", "674")]
    assert told[0][2] == told[1][2]
    assert float(re.search(r"MAP of the test part: ([\d.]+)", done.stdout)[1]) > 0.5
    assert (tmp_path / "model.skops").exists()
    assert not list(tmp_path.glob("*.pt"))
    if from_files:
        assert len(np.load(tmp_path / "views" / "labels.npy")) == 1347
