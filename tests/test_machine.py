"""What is read from the system, on a system made up in a folder."""

import numpy as np
import pytest
import torch

from recae import machine
from recae.models.precision import product_type

CPU_INFO = """processor\t: 0
model name\t: Some Processor 9000
flags\t\t: fpu sse2 avx2 avx512f {more}

processor\t: 1
model name\t: Some Processor 9000
flags\t\t: fpu
"""


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Where the system's files are looked for; a file that is not written is not there."""
    for name in ("CPU_INFO", "MEMORY_INFO", "OWN_CGROUP", "CGROUPS"):
        monkeypatch.setattr(machine, name, tmp_path / name)
    machine.processor_flags.cache_clear()
    yield tmp_path
    machine.processor_flags.cache_clear()


@pytest.mark.parametrize(
    ("feature", "wanted"),
    [("avx512_bf16", torch.bfloat16), ("amx_bf16", torch.bfloat16), ("avx512_vnni", torch.float32)],
)
def test_products_are_bfloat16_where_the_processor_has_instructions_for_it(system, feature, wanted):
    (system / "CPU_INFO").write_text(CPU_INFO.format(more=feature))

    assert product_type("auto", torch.device("cpu")) == wanted


def test_a_precision_that_is_named_is_taken_whatever_the_processor_has(system):
    assert product_type("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert product_type("float32", torch.device("cpu")) == torch.float32


def test_the_processor_is_named_with_the_features_that_matter(system):
    (system / "CPU_INFO").write_text(CPU_INFO.format(more="avx512_bf16"))

    found = machine.processor()

    assert found["name"] == "Some Processor 9000"
    assert found["features"] == ["avx2", "avx512f", "avx512_bf16"]


def test_the_lowest_limit_on_the_way_up_is_the_control_groups(system):
    (system / "OWN_CGROUP").write_text("0::/jobs/one\n")
    (system / "CGROUPS/jobs/one").mkdir(parents=True)
    (system / "CGROUPS/jobs/one/memory.max").write_text("max\n")
    (system / "CGROUPS/jobs/memory.max").write_text("2000000\n")
    (system / "CGROUPS/memory.max").write_text("3000000\n")

    assert machine.memory()["limit"] == 2_000_000


def test_the_limit_of_the_older_interface_is_found_too(system):
    (system / "OWN_CGROUP").write_text("5:cpu:/\n4:memory:/job\n")
    (system / "CGROUPS/memory/job").mkdir(parents=True)
    (system / "CGROUPS/memory/job/memory.limit_in_bytes").write_text("7000\n")
    (system / "CGROUPS/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")

    assert machine.memory()["limit"] == 7_000


def group(folder, **files):
    """Write a control group's files; ``memory_max`` is memory.max, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def test_the_budget_is_what_the_control_group_leaves_less_what_its_processes_hold(system):
    (system / "MEMORY_INFO").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    (system / "OWN_CGROUP").write_text("0::/jobs/one\n")
    group(
        system / "CGROUPS/jobs/one",
        memory_max=3_000_000,
        memory_current=1_200_000,
        memory_stat="anon 900000\ninactive_file 200000\nactive_file 1",
    )
    budget = machine.memory_budget()

    assert budget.size == 3_000_000 - (1_200_000 - 200_000), "files in the cache make room"
    assert "control group" in budget.bound_by


def test_a_group_above_may_leave_less_than_ones_own(system):
    (system / "OWN_CGROUP").write_text("0::/jobs/one\n")
    group(system / "CGROUPS/jobs/one", memory_max=3_000_000, memory_current=100_000)
    group(system / "CGROUPS/jobs", memory_max=3_500_000, memory_current=3_400_000)  # its other jobs hold it

    assert machine.memory_budget().size == 100_000
    group(system / "CGROUPS/jobs", memory_current=3_600_000)
    assert machine.memory_budget().size == 0, "over the limit, nothing is left"


def test_what_the_machine_has_available_counts_where_it_is_less_than_the_limit(system):
    (system / "MEMORY_INFO").write_text("MemTotal: 9000 kB\nMemAvailable: 1000 kB\n")
    (system / "OWN_CGROUP").write_text("0::/\n")
    group(system / "CGROUPS", memory_max="max", memory_current=5)
    assert machine.memory_budget() == (1_024_000, "this machine's memory")

    group(system / "CGROUPS", memory_max=9_000_000)
    assert machine.memory_budget().size == 1_024_000


def test_the_budget_by_the_older_interface(system):
    (system / "OWN_CGROUP").write_text("5:cpu:/\n4:memory:/docker/elsewhere\n0::/user\n")
    group(  # in a container the path is the host's, and the files lie at the top
        system / "CGROUPS/memory",
        memory_limit_in_bytes=7_000,
        memory_usage_in_bytes=5_000,
        memory_stat="inactive_file 0\ntotal_inactive_file 1500",
    )

    assert machine.memory_budget().size == 3_500


def test_memory_is_in_bytes(system):
    (system / "MEMORY_INFO").write_text("MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\n")

    assert machine.memory() == {"total": 2_097_152, "available": 1_048_576, "limit": None}


def test_a_system_that_tells_nothing_is_no_error(system):
    assert machine.processor()["features"] == []
    assert machine.memory()["available"] is None
    assert product_type("auto", torch.device("cpu")) == torch.float32


def test_peak_memory_counts_what_was_held_and_given_back():
    before = machine.peak_memory()
    held = np.ones(40 * 2**20, dtype=np.uint8)
    del held
    assert machine.peak_memory() >= max(before, 40 * 2**20)


def test_the_hash_of_the_code_is_that_of_every_source_file(tmp_path, monkeypatch):
    (tmp_path / "part").mkdir()
    (tmp_path / "machine.py").write_text("")
    (tmp_path / "part" / "one.py").write_text("1")
    (tmp_path / "notes.txt").write_text("no code")
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))

    def hashed():
        machine.code_sha256.cache_clear()
        return machine.code_sha256()

    first = hashed()
    (tmp_path / "notes.txt").write_text("still no code")
    assert hashed() == first
    (tmp_path / "part" / "one.py").write_text("2")
    changed = hashed()
    (tmp_path / "part" / "one.py").rename(tmp_path / "part" / "two.py")
    assert len({first, changed, hashed()}) == 3
    machine.code_sha256.cache_clear()
