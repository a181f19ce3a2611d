"""Selection tables of other libraries: a table is read as its library applies it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from swing import formats
from swing.formats import nccl, openmpi
from swing.formats.limits import MAX_INTEGER
from swing.formats.rules import DEFAULT, Rule, first_matches
from tests.test_formats import whole


def naive(entries, size):
    """The algorithm of the first entry that covers a size."""
    return next((a for first, last, a in entries if first <= size <= last), DEFAULT)


def test_the_first_entry_that_covers_a_size_decides():
    dice = random.Random(5)
    for _ in range(200):
        entries = [
            (dice.randrange(12), dice.randrange(12), dice.choice("abc"))
            for _ in range(dice.randrange(6))
        ]
        rules = first_matches(entries)
        assert bool(rules) == bool(entries)
        assert all(a.algorithm != b.algorithm for a, b in pairwise(rules))
        for size in range(14) if rules else ():
            assert [r for r in rules if r.first <= size][-1].algorithm == naive(entries, size)
    assert first_matches([(0, 2**64 - 1, "ring")]) == [(0, "ring")]
    assert first_matches([(5, MAX_INTEGER, "ring")]) == [(0, DEFAULT), (5, "ring")]


NCCL = b"""# for one node, four nodes, and any number of nodes
collective_type,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks,numPipeOps,regBuff
allreduce,0,65536,tree,simple,2,1,-1,-1,1
allreduce, 65537 ,1048576,nvls,simple,4,4,32,1,0
allreduce,1048577,4294967295,ring,ll128,-1,-1,-1,4
broadcast,0,4294967295,tree,simple,-1,1,-1
allreduce,0,1023,collnet_chain,ll,-1,-1,32,-1,-1
allreduce,512,4095,pat,ll,-1,4,-1
"""


@pytest.mark.parametrize(
    ("known", "right"),
    [
        ({}, [(0, "collnet_chain"), (1024, DEFAULT)]),
        ({"nodes": 1}, [(0, "collnet_chain"), (1024, DEFAULT)]),
        ({"nodes": 1, "registered": True}, [(0, "tree"), (65537, DEFAULT)]),
        ({"nodes": 4}, [(0, "collnet_chain"), (1024, "pat"), (4096, DEFAULT)]),
        ({"nodes": 4, "pipe_ops": 1, "registered": False},
         [(0, "collnet_chain"), (1024, "pat"), (4096, DEFAULT), (65537, "nvls"),
          (2**20 + 1, DEFAULT)]),
        ({"pipe_ops": 4},
         [(0, "collnet_chain"), (1024, DEFAULT), (2**20 + 1, "ring"), (2**32, DEFAULT)]),
    ],
)  # fmt: skip
def test_a_line_of_nccl_applies_to_its_nodes_operations_and_buffers(known, right):
    rules = nccl.read(NCCL, 32, **known)
    assert rules == right
    copy = whole(nccl.write(rules, 32))
    assert DEFAULT not in copy.decode()
    assert nccl.read(copy, 32) == rules  # a gap in the file is a gap again
    assert nccl.read(copy, 16) == []


def test_other_sizes_of_communicators_have_other_lines():
    assert nccl.read(NCCL, 16, nodes=4) == [(0, DEFAULT), (512, "pat"), (4096, DEFAULT)]
    assert nccl.read(NCCL, 16) == []


VERSION_2 = b"""rule-file-version-2
2 # collectives
7 1 8 1 0 6 0 0 3 # bcast
2 # allreduce
2
8 2
0    3 0 0
4096 4 0 0 64  # at most 64 requests
64
3
0 3 0 0 1
512 6 0 1024
1024 5 0 65536 8
"""


@pytest.mark.parametrize(
    ("ranks", "right"),
    [
        (7, []),
        (8, [(0, "recursive_doubling"), (4096, "ring")]),
        (63, [(0, "recursive_doubling"), (4096, "ring")]),
        (64, [(0, "recursive_doubling"), (512, "rabenseifner"), (1024, "segmented_ring")]),
    ],
)
def test_a_rule_of_version_2_may_end_with_a_number_of_requests(ranks, right):
    assert openmpi.read(VERSION_2, ranks) == right


def test_a_fifth_number_needs_version_2():
    without = VERSION_2.replace(b"rule-file-version-2\n", b"")
    with pytest.raises(ValueError, match="line"):
        openmpi.read(without, 64)
    four = b"1 2 1 4 2\n0 3 0 0\n8 4 0 0\n"
    for head in (b"", b"rule-file-version-1\n", b"rule-file-version-2\n"):
        assert openmpi.read(head + four, 4) == [(0, "recursive_doubling"), (8, "ring")]
    with pytest.raises(ValueError, match="version is a whole number from 1 to 2"):
        openmpi.read(b"rule-file-version-3\n" + four, 4)


JSON = b"""{
  "$schema": "tuned_schema.json",
  "rule_file_version": 3, "module": "tuned",
  "collectives": {
    "bcast": [],
    "allreduce": [
      {"comm_size_min": 64, "comm_size_max": 128, "rules": [
        {"msg_size_min": 512, "msg_size_max": 511999, "alg": 2,},
        {"msg_size_min": 512000, "msg_size_max": "inf", "alg": "recursive_doubling", "reqs": 8},
      ]},
      {"comm_size_max": 16, "comm_rank_distribution": "single-node", "rules": [{"alg": "ring"}]},
      {"comm_size_max": 16, "comm_rank_distribution": "one-per-node", "rules": [
        {"alg": "of_another_version"}, {"alg": 99},
        {"msg_size_min": 9, "msg_size_max": 8, "alg": 1},
        {"msg_size_max": 7, "alg": "rabenseifner", "seg_size": 4096, "faninout": 2},
        {"msg_size_max": 15, "alg": "ignore"}, {"alg": 4}]},
      {"comm_size_min": 8, "comm_size_max": "Inf", "rules": [{"alg": 7}]}
    ]
  }
}"""


@pytest.mark.parametrize(
    ("ranks", "nodes", "right"),
    [
        (64, None, [(0, DEFAULT), (512, "nonoverlapping"), (512000, "recursive_doubling")]),
        (128, 4, [(0, DEFAULT), (512, "nonoverlapping"), (512000, "recursive_doubling")]),
        (129, None, [(0, "allgather_reduce")]),
        (16, None, [(0, "allgather_reduce")]),
        (16, 2, [(0, "allgather_reduce")]),
        (16, 1, [(0, "ring")]),
        (16, 16, [(0, "rabenseifner"), (8, DEFAULT), (16, "ring")]),
        (7, None, []),
    ],
)
def test_the_json_of_open_mpi_6_is_read(ranks, nodes, right):
    assert openmpi.read(JSON, ranks, nodes) == right


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"rule_file_version": 3', '"rule_file_version": 4', "must be 3"),
        ('"module": "tuned"', '"module": "han"', "must be 'tuned'"),
        ('"bcast"', '"broadcast"', "unknown field 'broadcast'"),
        ('"alg": "ring"', '"algorithm": "ring"', "unknown field 'algorithm'"),
        ('"alg": "ring"', '"alg": null', "a number or a name"),
        ('"alg": "ring"', '"alg": true', "a number or a name"),
        ('"single-node"', '"two-per-node"', "one of any, one-per-node"),
        ('"comm_size_min": 64', '"comm_size_min": -1', "whole number"),
        ('"comm_size_min": 64', '"comm_size_min": "many"', "whole number"),
        ('"rules": [{"alg": 7}]', '"rule": [{"alg": 7}]', "unknown field 'rule'"),
        ('"collectives"', '"collective"', "field"),
    ],
)
def test_json_that_is_no_such_table_is_refused(old, new, why):
    assert JSON.count(old.encode()) == 1
    with pytest.raises(ValueError, match=why) as error:
        openmpi.read(JSON.replace(old.encode(), new.encode()), 64)
    assert len(str(error.value).splitlines()) == 1


def test_a_comma_in_a_name_stays():
    """Only a comma that no entry follows is taken away, and none inside a string."""
    named = JSON.replace(b"tuned_schema.json", b'a,} \\" ,]')
    assert openmpi.read(named, 129) == [(0, "allgather_reduce")]
    with pytest.raises(ValueError, match="not JSON"):
        openmpi.read(JSON.replace(b'"alg": 2,}', b'"alg": 2,,}'), 64)


def test_rules_may_leave_sizes_to_the_library():
    rules = [Rule(0, DEFAULT), Rule(64, "ring"), Rule(128, DEFAULT)]
    assert nccl.read(whole(nccl.write(rules, 4)), 4) == rules
    assert openmpi.read(whole(openmpi.write(rules, 4)), 4) == rules


@pytest.mark.parametrize("format", ["openmpi", "nccl", "mpich"])
@pytest.mark.parametrize("ranks", [0, -1, 1.5, "4"])
def test_a_table_is_for_one_rank_or_more(format, ranks):
    with pytest.raises(ValueError, match="ranks is the size of a communicator, 1 or more"):
        "".join(formats.table([Rule(0, "ring")], format, ranks, b""))
