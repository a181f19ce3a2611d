"""What `swing algorithms` and docs/algorithms.md say of the algorithms is what these do."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import swing
from swing.__main__ import main
from swing.algorithms import SHIPPED
from swing.algorithms.algorithm import Algorithm
from swing.algorithms.facts import facts
from swing.schedules.collectives import COLLECTIVES
from tests.algorithm_table import PAGE, page

TORI = [swing.Torus(d) for d in ((1,), (7,), (8,), (2, 3), (5, 3), (4, 4), (2, 2, 2), (3, 1, 4))]
TORI += [swing.Torus((3, 4), wrap=wrap) for wrap in ((True, False), (False, False))]


def test_the_page_has_the_tables_as_they_are_now():
    assert PAGE.read_text() == page(), "renew them: python -m tests.algorithm_table --write"


def test_the_command_prints_the_same_facts():
    rows = [facts(each) for each in swing.ALGORITHMS.values()]
    printed = CliRunner().invoke(main, ["algorithms", "--json"]).output
    assert list(map(json.loads, printed.splitlines())) == rows
    text = CliRunner().invoke(main, ["algorithms"]).output
    for row in rows:
        assert f"{row['name']}\n  idea: {row['idea']}\n" in text
        assert row["source"] in text


@pytest.mark.parametrize("name", SHIPPED)
def test_an_algorithm_runs_on_the_tori_and_serves_the_collectives_in_the_table(name):
    row, algorithm = facts(swing.ALGORITHMS[name]), swing.ALGORITHMS[name]
    refused = []
    for torus in TORI:
        try:
            algorithm(torus)
        except ValueError:
            refused.append(torus.name)
    assert bool(refused) == (row["tori"] != "any"), refused
    served = COLLECTIVES if row["collectives"] == "all" else row["collectives"].split(", ")
    for collective in COLLECTIVES:
        if collective in served:
            made = algorithm(swing.Torus((3, 3)), collective=collective)
            assert made.collective == collective
        else:
            with pytest.raises(ValueError, match="does not serve"):
                algorithm(swing.Torus((3, 3)), collective=collective)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_option_in_the_table_has_the_default_and_the_values_that_stand_there(name):
    algorithm = swing.ALGORITHMS[name]
    usual = algorithm(swing.Torus((4, 4)))
    assert all(facts(algorithm).values()) or name in ("bruck", "linear", "pairwise")
    for word in filter(None, facts(algorithm)["options"].split(", ")):
        option, _, values = word.partition("=")
        default, *others = [int(v) if v.isdecimal() else v for v in values.split("|")]
        assert option in algorithm.options
        if default != "":
            assert str(algorithm(swing.Torus((4, 4)), **{option: default})) == str(usual)
        for value in others:
            hybrid = {"k": 1} if value == "hybrid" else {}
            assert algorithm(swing.Torus((4, 4)), **{option: value}, **hybrid).nsteps


def test_of_a_plain_function_only_what_it_says_is_known():
    def reverse(torus, *, turns: int = 2, collective: str = "allreduce"):
        """Go round the other way.

        More of this is left out.
        """

    row = facts(Algorithm("reverse", reverse))
    assert (row["idea"], row["options"]) == ("Go round the other way.", "turns=2, segments=")
    assert (row["collectives"], row["source"]) == ("all", "")
    assert facts(Algorithm("silent", lambda torus: None))["idea"] == ""
    assert facts(Algorithm("compiled", dict))["options"] == ""
