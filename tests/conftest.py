"""One thread in this process, signals as in the foreground, and a data cache of the tests' own."""

import os
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        # A job in a shell's background ignores some, and so would every child that is tested.
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Prepared data of these tests; children see it through the environment."""
    folder = tmp_path_factory.mktemp("smol-cache")
    if "PYTEST_XDIST_WORKER" in os.environ:  # what is known of a part, the other worker knows too
        shared = tmp_path_factory.getbasetemp().parent / "smol-parts"
        shared.mkdir(exist_ok=True)
        (folder / "parts").symlink_to(shared)
    before = os.environ.get("SMOL_CACHE")
    os.environ["SMOL_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["SMOL_CACHE"]
    else:
        os.environ["SMOL_CACHE"] = before


def pytest_collection_modifyitems(config, items):
    """Two workers: one takes the end-to-end tests, whose trained runs are made once a worker, and
    whatever else it has time for; a file is never divided."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        together = "e2e" if "e2e" in item.path.parts else str(item.path)
        item.add_marker(pytest.mark.xdist_group(together))
    items.sort(key=lambda item: "e2e" not in item.path.parts)  # the longest group begins first
