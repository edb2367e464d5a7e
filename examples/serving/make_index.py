"""Write the index of a folder of clips: ``python make_index.py CLIPS INDEX``.

A folder CLIPS that is not there is filled with little clips of moving shapes first.
"""

import argparse
from pathlib import Path

from pipeline import RATE, embedding

from cca_estimators import CrossModalIndex
from cca_estimators.media import make_clips, read_clips


def make_index(folder, path):
    """Read the clips of a folder, a subfolder for each class, and write their index."""
    clips = read_clips(folder, rate=RATE)
    names = [Path(name).relative_to(folder).as_posix() for name in clips.filenames]
    index = CrossModalIndex(embedding()).fit(clips.data, clips.target, ids=names)
    index.save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("index", type=Path)
    options = parser.parse_args()
    if not options.clips.exists():
        make_clips(options.clips, n_clips=120, random_state=0)
    make_index(options.clips, options.index)
