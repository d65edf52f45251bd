"""README's speed table is what the committed race gives."""

import json

from bench.report import RESULTS, ROOT, with_table


def test_the_readme_table_is_made_from_the_committed_race():
    race = json.loads((RESULTS / "race.json").read_text())
    text = (ROOT / "README.md").read_text()
    assert with_table(text, race) == text, "run `python -m bench.report --readme`"
