"""The tables of docs/estimators.md are what the compiler says."""

from pathlib import Path

import pytest

from scg.estimators.estimator import ESTIMATORS
from tests.estimator_tables import FAMILY_GRAPHS, TABLES, filled
from tests.laws.checks import shipped

PAGE = Path(__file__).parents[2] / "docs" / "estimators.md"


def test_tables(request):
    page = PAGE.read_text()
    made = filled(page)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(made)
    else:
        assert page == made, "make them anew with --update-golden, and look at them"


@pytest.mark.parametrize("title", TABLES)
def test_each_table_has_its_place(title):
    assert PAGE.read_text().count(f"<!-- table: {title} -->") == 1


@pytest.mark.parametrize("name", sorted(shipped(ESTIMATORS)))
def test_each_estimator_has_a_section(name):
    """Its idea, its formula, when to take it, and a line that runs."""
    text = PAGE.read_text()
    assert f"\n### {name}\n" in text, f"docs/estimators.md says nothing of {name}"
    section = text.split(f"\n### {name}\n")[1].split("\n### ")[0].split("\n## ")[0]
    assert f"scg.{name}(" in section and "*When*" in section


def test_families_are_all_there():
    from scg.distributions.distribution import FAMILIES

    own = {"Custom", "Simulator"}  # these have what their authors give them
    assert set(FAMILY_GRAPHS) == set(shipped(FAMILIES)) - own
