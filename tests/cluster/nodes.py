"""A Ray cluster of two nodes on this machine: two raylets of one CPU each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIZES: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 100 * 2**20,
    "include_dashboard": False,
}
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # other work on this machine is not the nodes' business
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_period_ms": "1000",
    "RAY_raylet_start_wait_time_s": "300",  # nor how busy it is
}


@contextmanager
def two_nodes() -> Iterator[Any]:
    """The cluster; `address` is where it is, and `add` and `lose` its second node."""
    before = dict(os.environ)
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=SIZES)
    try:
        cluster.second = cluster.add_node(**SIZES)
        yield cluster
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)
