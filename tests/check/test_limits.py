"""What a check may take of the memory of the container that it runs in."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from automata.check.limits import LEAST_BYTES, MEMORY_BYTES, SHARE, Shape, container_memory, shape_of
from automata.proposals.service import MAX_CHECKS

MIB = 1 << 20
ROOT = Path(__file__).parents[2]
NESTED = {"sys/fs/cgroup/a/memory.max": "1000\n"}
NONE = 9223372036854771712  # what the first generation says where there is no bound


def test_without_a_bound_it_is_the_machines() -> None:
    assert shape_of(None, 8) == Shape(8, MEMORY_BYTES)


@pytest.mark.parametrize("container", [1200 * MIB, 2048 * MIB, 3000 * MIB, 8192 * MIB, 65536 * MIB, 1 << 42])
@pytest.mark.parametrize("processors", [1, 2, 8, 64])
def test_all_processes_of_all_checks_leave_room_for_the_server(container: int, processors: int) -> None:
    shape = shape_of(container, processors)
    assert 1 <= shape.jobs <= processors
    assert shape.data_bytes >= LEAST_BYTES
    assert (shape.jobs + 1) * shape.data_bytes * MAX_CHECKS <= container * SHARE * MAX_CHECKS + 1
    assert (shape.jobs + 1) * shape.data_bytes <= MEMORY_BYTES


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2147483648\n"}, 2048 * MIB),
        ({"proc/self/cgroup": "0::/a/b\n", **NESTED, "sys/fs/cgroup/a/b/memory.max": "max\n"}, 1000),
        ({"proc/self/cgroup": "0::/a/b\n", **NESTED, "sys/fs/cgroup/a/b/memory.max": "7\n"}, 7),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"proc/self/cgroup": "4:memory:/p\n", "sys/fs/cgroup/memory/p/memory.limit_in_bytes": "4096\n"}, 4096),
        ({"proc/self/cgroup": "4:cpu,memory:/p\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "4096\n"}, 4096),
        ({"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{NONE}\n"}, None),
        ({"proc/self/cgroup": "rubbish\n\n0::\n"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_bound_of_a_container_is_the_least_of_its_groups(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_memory(tmp_path) == expected


def test_the_pod_of_the_api_has_room_for_its_checks_and_itself() -> None:
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes/base/api.yaml").read_text())
    (pod,) = [one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment"]
    resources = pod["containers"][0]["resources"]
    limit = int(resources["limits"]["memory"].removesuffix("Gi")) * 1024 * MIB
    asked = int(resources["requests"]["memory"].removesuffix("Mi")) * MIB
    shape = shape_of(limit, 64)
    assert MAX_CHECKS * (shape.jobs + 1) * shape.data_bytes + asked <= limit
