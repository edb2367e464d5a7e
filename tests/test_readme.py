"""The front door works as it says."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 12
    exec(code, {})
    assert re.match(
        r"MAP 0\.[5-9]\d in cross-validation, Views\(audio=\(5, 9\)\)", capsys.readouterr().out
    )


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
    lines = re.findall(r"^\| (\S+) \|.*\| ([\d.]+ / [\d.]+) \| ([\d.]+ / [\d.]+) \|$", README, re.M)
    assert len(lines) == 13
    for column, name in ((1, "poster_table_digits.md"), (2, "poster_table_grid_digits.md")):
        table = (results / name).read_text()
        measured = {
            " / ".join(re.findall(r"\| ([\d.]+) ±", line))
            for line in table.splitlines()
            if "±" in line
        }
        assert {line[column] for line in lines} == measured
