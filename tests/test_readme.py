"""The front door works as it says."""

import re
from pathlib import Path
from textwrap import indent

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

README = (Path(__file__).parents[1] / "README.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_runs(capsys):
    code = CODE[0]
    (output,) = re.findall(r"```text\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 15
    exec(code, {})
    assert capsys.readouterr().out == output


def test_the_home_page_shows_the_same_example():
    code = CODE[0]
    home = (Path(__file__).parents[1] / "docs" / "index.rst").read_text()
    assert indent(code.rstrip(), "   ") in home


def test_the_way_from_videos_to_a_picture_runs(tmp_path, monkeypatch):
    pytest.importorskip("av", reason="PyAV (extra media) is not installed")
    assert len([line for line in CODE[1].splitlines() if line]) <= 15
    few = CODE[1].replace("n_clips=300", "n_clips=60, random_state=0").replace("1::70", "1::20")
    monkeypatch.chdir(tmp_path)
    plt.close("all")
    plt.switch_backend("agg")
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: drawn.append((self, path)))
    exec(few, {})
    ((figure, path),) = drawn
    assert path == "found.png"
    captions = [axes.get_xlabel() for axes in figure.axes]
    assert len([caption for caption in captions if caption[0] in "✓✗"]) == 3 * 5
    assert len([caption for caption in captions if caption[0] == "✓"]) > 7  # chance: 2 or 3
    plt.close("all")


def test_the_methods_table_is_complete():
    import cca_estimators
    from cca_estimators._base import CrossModalEstimator

    listed = set(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE))
    public = {
        name
        for name in cca_estimators.__all__
        if isinstance(getattr(cca_estimators, name), type)
        and issubclass(getattr(cca_estimators, name), CrossModalEstimator)
    }
    assert listed == public


def test_map_figures_are_those_of_the_results():
    results = Path(__file__).parents[1] / "benchmarks" / "results"
    figures = r"([\d.]+ / [\d.]+|-)"
    lines = re.findall(rf"^\| (\S+) \|.*\| {figures} \| {figures} \|$", README, re.M)
    assert len(lines) == 16
    for column, name in ((1, "poster_table_digits.md"), (2, "poster_table_grid_digits.md")):
        table = (results / name).read_text()
        measured = {
            " / ".join(re.findall(r"\| ([\d.]+) ±", line))
            for line in table.splitlines()
            if "±" in line
        }
        assert {line[column] for line in lines} - {"-"} == measured
