"""The selection tables of collectives other than allreduce that come with the library."""

import json
from importlib import resources

import pytest

import netsim
import swing
from netsim.search.case import Case, asked_collective
from swing.schedules.collectives import ALLREDUCE, COLLECTIVES, has_root
from swing.select.candidates import spelled
from swing.select.table import SelectionTable, shipped

TABLES = {c: shipped(c) for c in COLLECTIVES if c != ALLREDUCE and shipped(c).entries}
MANY = 32
"""Ranks above which proofs and simulations take more than a moment."""


def test_all_collectives_but_the_barrier_have_tables_with_a_name_that_says_which():
    assert set(TABLES) == {*COLLECTIVES} - {ALLREDUCE, "barrier"}
    assert all(table.collective == collective for collective, table in TABLES.items())


@pytest.mark.parametrize("collective", TABLES)
def test_a_table_obeys_the_schema(collective):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((resources.files("swing.select") / "tables" / "schema.json").read_text())
    jsonschema.validate(json.loads(str(TABLES[collective])), schema)


@pytest.mark.parametrize("collective", TABLES)
def test_the_least_time_is_chosen_and_above_the_lower_bound(collective):
    for name, entry in TABLES[collective].entries.items():
        torus, network = swing.Torus.parse(name), netsim.paper_network(name)
        for n in entry.sizes:
            seconds, winner = entry.ranked(n)[0]
            assert seconds >= netsim.lower_bound(network, n, collective) * (1 - 1e-9), (name, n)
            root = torus.size - 1 if has_root(collective) else None
            choice = swing.choose(torus, n, collective=collective, root=root)
            assert (choice.seconds, choice.algorithm) == (seconds, winner.algorithm)
            assert choice.why.startswith("by the table of machine 'paper'")


@pytest.mark.parametrize("collective", TABLES)
def test_winners_are_correct_for_any_root(collective):
    for name, entry in TABLES[collective].entries.items():
        torus = swing.Torus.parse(name)
        if torus.size > MANY:
            continue
        for root in {0, torus.size - 1} if has_root(collective) else {0}:
            for winner in {entry.ranked(n)[0][1] for n in entry.sizes}:
                options = dict(winner.options) | spelled(collective, root)
                swing.verify(swing.schedule(winner.algorithm, torus, **options))


@pytest.mark.parametrize("collective", TABLES)
def test_a_sample_of_the_times_is_what_a_simulation_says_today(collective):
    table = TABLES[collective]
    assert table.made["model"] == "packet up to 8 MiB, flow above"
    for name, entry in table.entries.items():
        torus, network = swing.Torus.parse(name), netsim.paper_network(name)
        if torus.size > MANY:
            continue
        asked = asked_collective(torus, collective, None)
        for n, model in ((2**13, "packet"), (2**19, "packet"), (2**24, "flow")):
            seconds, winner = entry.ranked(n)[0]
            fresh = Case(network, winner.algorithm, (*winner.options, *asked.items())).run(n, model)
            assert fresh["seconds"] == pytest.approx(seconds, rel=1e-9), (name, n, winner)


def test_a_table_is_not_taken_for_the_reverse_of_its_collective():
    """A reduce and a broadcast take different times: their messages queue in other places."""
    table = SelectionTable.read(str(TABLES["broadcast"]))
    with pytest.raises(ValueError, match="is for broadcast, not for reduce"):
        swing.choose(swing.Torus((4, 4)), 1024, table, collective="reduce")
