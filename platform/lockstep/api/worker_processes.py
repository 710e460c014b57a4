"""What the workers of one server take of its machine."""

import os
from collections.abc import Iterator
from contextlib import suppress

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class WorkerProcesses(Collector):
    """Memory and processor time, summed over the supervisor of this worker and its workers.

    They have the names that one process's figures have.
    """

    def collect(self) -> Iterator[Metric]:
        resident, cpu_s = 0, 0.0
        supervisor = psutil.Process(os.getppid())
        for process in (supervisor, *supervisor.children()):
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                resident += process.memory_info().rss
                times = process.cpu_times()
                cpu_s += times.user + times.system
        yield GaugeMetricFamily(
            "process_resident_memory_bytes", "Of the server's processes.", value=resident
        )
        yield CounterMetricFamily(
            "process_cpu_seconds", "Of the server's processes that run now.", value=cpu_s
        )
