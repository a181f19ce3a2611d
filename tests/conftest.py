"""Settings of every test, and a browser for the pages of reports."""

import pytest
from hypothesis import settings

from netsim.report.page import page
from tests import browser

# The machines are shared: no deadline on one example, and as many as fit in a minute.
settings.register_profile("default", deadline=None, max_examples=15)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """On a busy machine, short work is no long work that says how far it is."""
    monkeypatch.setattr("swing.progress.INTERVAL", 600.0)


@pytest.fixture(scope="session")
def chromium():
    if browser.program() is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with browser.Browser() as found:
        yield found


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens the report of some runs; in the end nothing has gone wrong, and nothing was asked."""

    def call(data):
        path = tmp_path / "report.html"
        path.write_text(page(data))
        chromium.media()
        chromium.open(path)
        chromium.run("new Promise(done => requestAnimationFrame(() => done(1)))")
        return chromium

    yield call
    assert chromium.complaints == []
    assert len(chromium.requests) == 1  # the file itself
    assert chromium.run("document.getElementById('wrong').hidden")
