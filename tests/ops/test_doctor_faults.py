"""The faults that the doctor knows: which test makes each, and which runs the command that mends it.

A check that is added has no line here until a test makes its fault.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from jobctl.ops.doctor.check import HealthCheck
from jobctl.ops.doctor.checks import OWN
from ops import test_doctor_places as places
from ops import test_doctor_setup as setup
from ops import test_doctor_store as store
from ops import test_doctor_work as work

Test = Callable[..., Any]


class Made(NamedTuple):
    """A test that makes the fault, and one that runs the command; ``None`` where no command mends it."""

    made_by: Test
    mended_by: Test | None = None


FAULTS = {
    "store": Made(store.test_no_store_is_a_failing_check_that_says_what_to_do),
    "schema": Made(*[store.test_an_older_schema_is_named_and_init_mends_it] * 2),
    # SQLite; a backup is put in the place of a damaged file by tests/ops/test_restore.py.
    "sqlite integrity": Made(store.test_a_damaged_page_is_found),
    "sqlite wal": Made(
        *[store.test_a_log_that_a_reader_holds_is_found_with_the_reader_and_then_written_back] * 2
    ),
    "sqlite durability": Made(store.test_a_journal_mode_the_disk_does_not_allow_is_told),
    "free-pages": Made(*[store.test_a_file_of_empty_pages_is_made_small] * 2),
    "left-copies": Made(*[store.test_what_a_killed_restore_left_is_removed_and_what_one_kept_stays] * 2),
    "file-system": Made(store.test_a_file_on_a_network_file_system_is_told),
    "hosts": Made(store.test_a_file_that_two_hosts_use_is_told_with_their_names),
    "postgresql integrity": Made(*[store.test_an_index_whose_build_broke_off_is_rebuilt] * 2),
    "postgresql wal": Made(*[store.test_a_slot_that_nobody_reads_is_told_once_it_keeps_much] * 2),
    "postgresql durability": Made(
        store.test_a_server_without_fsync_is_told_with_who_set_it_so,
        store.test_commits_that_do_not_wait_are_made_to_wait_again,
    ),
    "transactions": Made(*[store.test_a_transaction_that_is_open_for_long_is_named_and_ended] * 2),
    "autovacuum": Made(store.test_autovacuum_that_is_off_is_told),
    "bloat": Made(*[store.test_dead_rows_are_found_and_cleared_away] * 2),
    "statistics": Made(*[store.test_tables_the_planner_knows_nothing_of_are_analyzed] * 2),
    "store-clock": Made(places.test_a_host_whose_clock_is_off_is_told),
    "clock-jumps": Made(places.test_a_clock_that_jumped_since_it_was_last_looked_at_is_told),
    "disk-clock": Made(places.test_a_file_server_two_hours_off_is_told),
    "roots": Made(places.test_a_root_that_is_away_is_found_once_and_is_well_when_it_is_back),
    "absence": Made(
        places.test_after_a_restore_since_when_and_from_which_backup_is_told_until_a_complete_recover,
        places.test_a_root_whose_older_copy_was_put_back_is_trusted_again_after_a_recover,
    ),
    "writable": Made(*[places.test_a_read_only_directory_is_found_as_its_owner_and_made_writable] * 2),
    "quarantine-place": Made(places.test_a_mount_below_a_roots_own_directory_is_found),
    "room": Made(
        places.test_a_disk_that_is_really_full_is_found,
        places.test_what_may_go_from_a_full_disk_is_told_by_what_is_named,
    ),
    "root-sharing": Made(places.test_a_shared_root_on_a_local_disk_is_told_once_there_is_a_second_host),
    "locks": Made(
        work.test_the_lock_of_a_dead_process_is_named_and_taken_over,
        work.test_a_stuck_process_that_holds_a_lock_is_named_ended_and_taken_over,
    ),
    "leases": Made(*[work.test_the_jobs_of_a_killed_worker_are_told_and_given_back] * 2),
    "runs": Made(*[work.test_a_run_that_broke_off_is_named_and_gone_on_with] * 2),
    # Its command starts a worker, which does not end: the test is one with a worker beside it.
    "workers": Made(work.test_a_task_that_no_worker_knows_is_told_and_later_fails),
    "tasks": Made(work.test_workers_that_declare_a_task_differently_are_told_until_they_are_of_one_version),
    "schedule": Made(*[work.test_the_command_that_is_named_installs_a_schedule] * 2),
    "backup": Made(*[work.test_where_no_backup_is_known_the_command_that_is_named_makes_one] * 2),
    "running-jobs": Made(
        *[work.test_before_a_deploy_running_jobs_are_told_with_host_and_pid_and_drained] * 2
    ),
    "configuration": Made(*[setup.test_a_file_that_others_reach_is_closed_to_them] * 2),
    "command-lines": Made(setup.test_a_password_on_the_command_line_of_a_worker_is_told),
    "codecs": Made(setup.test_decoders_that_are_missing_are_named),
}


def name_of(check: HealthCheck) -> str:
    both = sum(each.name == check.name for each in OWN) > 1
    return f"{check.database} {check.name}" if both else check.name


def test_every_check_has_a_test_that_makes_its_fault() -> None:
    # Whether a dict and the store agree is tests/service/test_shadow.py's.
    assert {name_of(check) for check in OWN} == FAULTS.keys() | {"migration"}


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_looked_for_by_its_name_and_mended_by_what_the_doctor_says(name: str) -> None:
    made_by, mended_by = FAULTS[name]
    check = name.rpartition(" ")[2]
    source = inspect.getsource(made_by).replace("ON_A_FULL_DISK", places.ON_A_FULL_DISK)
    assert f'"{check}"' in source
    assert mended_by is None or "mend(" in inspect.getsource(mended_by)
