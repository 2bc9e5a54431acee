"""One thread in this process, and one data cache for the whole session, away from the user's."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Prepared data of these tests; children see it through the environment."""
    folder = tmp_path_factory.mktemp("smol-cache")
    before = os.environ.get("SMOL_CACHE")
    os.environ["SMOL_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["SMOL_CACHE"]
    else:
        os.environ["SMOL_CACHE"] = before
