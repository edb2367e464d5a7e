"""Draw what four sounds find among the images of the test split: the picture of the front page.

python docs/images/make_retrieved.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CKCCA, PerView, RetrievalDisplay
from cca_estimators.datasets import load_spoken_digits

mpl.use("Agg")
train, test = (load_spoken_digits(subset=part) for part in ("train", "test"))
method = make_pipeline(PerView(StandardScaler()), CKCCA()).fit(train.X, train.y)
words = np.array(test.target_names)[test.y]
rows = [np.flatnonzero(test.y == digit)[0] for digit in (3, 5, 8, 9)]
display = RetrievalDisplay.from_estimator(
    method,
    {"audio": test.X["audio"][rows]},
    {"visual": test.X["visual"]},
    words[rows],
    words,
    query_items=test.X["audio"][rows].transpose(0, 2, 1),
    query_kw={"cmap": "magma", "origin": "lower"},
)
display.figure_.savefig(Path(__file__).with_name("retrieved.png"), dpi=110)
