"""Draw what five sounds of clips find, by the very code of the README.

python docs/images/make_clips.py
"""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
from PIL import Image

mpl.use("Agg")
here = Path(__file__).resolve()
_, code = re.findall(r"```python\n(.*?)```", (here.parents[2] / "README.md").read_text(), re.DOTALL)
with TemporaryDirectory() as folder:
    os.chdir(folder)
    exec(code.replace("n_clips=300", "n_clips=300, random_state=0"), {})
    picture = Image.open("found.png").convert("P", palette=Image.Palette.ADAPTIVE, colors=48)
    picture.save(here.with_name("clips.png"), optimize=True)
    os.chdir(here.parent)
