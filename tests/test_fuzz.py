"""Importers stand up to any file: no crash but ValueError, no hang, bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import READERS, fuzz

ROOT = Path(__file__).parent.parent
GIGABYTE = 2**30


@pytest.mark.parametrize("format", READERS)
def test_mutated_files_are_read_or_refused(format):
    found = fuzz(format, 200, seed=os.getpid())
    assert found["taken"] + found["refused"] == 200
    assert found["refused"] > 20


@pytest.mark.nightly
@pytest.mark.parametrize("format", READERS)
def test_a_hundred_thousand_mutated_files_fit_into_memory(format):
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_DATA, ({GIGABYTE}, {GIGABYTE}))
from tests.fuzz import fuzz
print(fuzz({format!r}, 10**5))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
