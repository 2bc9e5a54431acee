"""pytest-benchmark suites: `nox -s bench`."""
