"""Checks that raise, hang, die, print or lie hurt no other one; those of installed packages are found."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from jobctl import clock
from jobctl.errors import UsageError
from jobctl.model.health import Diagnosis, Examined, Health, fail, ok, together, unknown, warn
from jobctl.ops.doctor import examine as examining
from jobctl.ops.doctor.check import HealthCheck
from jobctl.ops.doctor.checks import OWN, STORE, all_checks, chosen
from jobctl.ops.doctor.examine import examine
from jobctl.ops.doctor.patient import Patient
from jobctl.runner.tasks import load_tasks
from jobctl.settings import Settings
from jobctl.work import Work
from ops.world import World

# Python 3.12 warns of a fork beside the test runner's own thread; the program has one thread.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def check(name: str, look: Callable[[Patient], Diagnosis], *, needs_store: bool = False) -> HealthCheck:
    return HealthCheck(name=name, theme="test", why="It is a test.", examine=look, needs_store=needs_store)


def well(patient: Patient) -> Diagnosis:
    return ok("well")


@pytest.fixture
def bare(tmp_path: Path) -> Settings:
    """An installation without a store."""
    return Settings(database=str(tmp_path / "nowhere.db"), host_id="host-a")


def told(settings: Settings, *checks: HealthCheck, limit_s: float = 30.0) -> dict[str, Diagnosis]:
    return {each.check: each.diagnosis for each in examine(Patient(settings), checks, limit_s=limit_s)}


def _raise(patient: Patient) -> Diagnosis:
    raise ValueError("no such \x1b[31mthing\nat all")


def _refuse(patient: Patient) -> Diagnosis:
    raise UsageError("not like this", hint="like that")


def _print(patient: Patient) -> Diagnosis:
    os.write(1, b"noise")
    os.write(2, b"noise")
    print("noise")
    return ok("quiet")


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (_raise, "the check broke: ValueError: no such \x1b[31mthing"),
        (_refuse, "not like this"),
        (lambda patient: os._exit(0), "its process ended without an answer"),
        (lambda patient: os.kill(os.getpid(), signal.SIGKILL), "it died of SIGKILL"),
        (lambda patient: exit(3), "the check broke: SystemExit: 3"),
        (lambda patient: None, "the check returned None, not a jobctl.Diagnosis"),
        (lambda patient: Diagnosis("poorly", "x"), "the check broke: KeyError: 'poorly'"),
    ],
    ids=["raises", "refuses", "leaves", "is killed", "exits", "returns nothing", "invents a word"],
)
def test_a_check_that_breaks_is_unknown_and_the_others_go_on(
    bare: Settings, look: Callable[[Patient], Diagnosis], said: str
) -> None:
    found = told(bare, check("before", well), check("odd", look), check("after", well))
    assert list(found) == ["before", "odd", "after"]
    assert (found["odd"].health, found["odd"].said.startswith(said)) == (Health.UNKNOWN, True)
    assert found["before"] == found["after"] == ok("well")


def test_a_check_that_forks_and_answers_twice_answers_for_no_other_one(bare: Settings) -> None:
    found = told(
        bare, check("odd", lambda patient: ok("twice" if os.fork() >= 0 else "")), check("after", well)
    )
    assert found == {"odd": ok("twice"), "after": ok("well")}


def test_a_check_that_hangs_costs_its_time_and_no_other_one(bare: Settings) -> None:
    began = clock.monotonic()
    hanging = check("hanging", lambda patient: time.sleep(3600) or ok(""))
    found = told(bare, hanging, check("after", well), limit_s=1.0)
    assert found["hanging"] == unknown("it gave no answer within 1 s")
    assert found["after"].health is Health.OK
    assert clock.monotonic() - began < 300


def test_what_a_check_prints_is_not_in_the_answer(bare: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert told(bare, check("loud", _print))["loud"] == ok("quiet")
    assert capfd.readouterr() == ("", "")


def test_passwords_are_taken_out_of_what_a_check_says(bare: Settings) -> None:
    secret = "postgresql://ops:hunter2@db/x"
    found = told(bare, check("odd", lambda patient: warn(secret, secret, f"psql {secret}")))
    assert "hunter2" not in repr(found)


def test_a_store_that_hangs_is_waited_for_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobctl.ops.doctor.patient.open_site", lambda *_, **__: time.sleep(3600))
    needing = [check(name, lambda patient: ok(patient.site.host), needs_store=True) for name in "abc"]
    began = clock.monotonic()
    found = told(world.settings, STORE, *needing, check("other", well), limit_s=1.0)
    assert clock.monotonic() - began < 300
    assert found["store"].health is Health.FAIL
    assert found["store"].said == "it gave no answer within 1 s"
    assert {found[name].said for name in "abc"} == {"the store cannot be used: see 'store'"}
    assert found["other"].health is Health.OK


def test_the_store_is_looked_at_first_and_told_only_where_it_was_asked_for(world: World) -> None:
    needing = check("needing", lambda patient: ok(patient.site.host), needs_store=True)
    assert told(world.settings, needing) == {"needing": ok("host-a")}
    nowhere = replace(world.settings, database=str(world.root / "nowhere.db"))
    assert told(nowhere, needing) == {"needing": unknown("the store cannot be used: see 'store'")}


def test_no_process_is_left_behind(bare: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fork, pids = os.fork, []

    def remember() -> int:
        pids.append(fork())
        return pids[-1]

    monkeypatch.setattr(examining.os, "fork", remember)
    examined = examine(Patient(bare), [check("a", well), check("b", well)])
    assert next(examined).check == "a"
    examined.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], 0)


# --- all of jobctl's own ---------------------------------------------------------------------------


def test_every_check_of_ours_tells_something_and_breaks_on_no_database(world: World) -> None:
    patient = Patient(world.settings)
    examined = list(examine(patient, all_checks(patient.database)))
    assert len(examined) > 20
    # Where no service writes a dict and a store there is nothing to be told of it.
    assert [each.check for each in examined if each.diagnosis.health is Health.UNKNOWN] == ["migration"]
    assert all(each.diagnosis.said and each.why.endswith(".") for each in examined)
    for each in examined:
        assert (each.diagnosis.fix == "") == (each.diagnosis.health is Health.OK), each


def test_without_a_store_the_rest_is_still_told(world: World, tmp_path: Path) -> None:
    patient = Patient(replace(world.settings, database=str(tmp_path / "no" / "jobs.db")))
    found = {each.check: each for each in examine(patient, all_checks("sqlite"))}
    assert found["store"].diagnosis.health is Health.FAIL
    for name in ("configuration", "command-lines", "codecs", "room", "file-system"):
        assert found[name].diagnosis.health is Health.OK
    assert found["roots"].diagnosis.health is Health.UNKNOWN


def test_names_of_checks_are_told_apart_in_each_database() -> None:
    for database in ("sqlite", "postgresql"):
        names = [each.name for each in OWN if each.concerns(database)]
        assert len(names) == len(set(names))
        assert all(name == name.lower() and " " not in name for name in names)


# --- choosing ------------------------------------------------------------------------------------


def names(checks: Sequence[HealthCheck]) -> list[str]:
    return [each.name for each in checks]


def test_checks_are_chosen_by_name() -> None:
    checks = all_checks("sqlite")
    everything = names(chosen(checks, only=[], skip=[], every=False))
    assert "running-jobs" not in everything
    assert names(chosen(checks, only=["wal", "store"], skip=[], every=False)) == ["store", "wal"]
    assert names(chosen(checks, only=[], skip=["wal"], every=False)) == [n for n in everything if n != "wal"]
    assert "running-jobs" in names(chosen(checks, only=[], skip=[], every=True))
    assert names(chosen(checks, only=["running-jobs"], skip=[], every=False)) == ["running-jobs"]
    with pytest.raises(UsageError, match="'wall'") as refused:
        chosen(checks, only=["wall"], skip=[], every=False)
    assert "did you mean wal?" in refused.value.hint
    # One script for both databases: what concerns only the other one is no mistake.
    assert chosen(checks, only=["bloat"], skip=[], every=False) == []


# --- checks of installed packages ----------------------------------------------------------------

CHECKS = '''
from jobctl import Diagnosis, Health


def licence(patient):
    """Without a licence the renderer stops at midnight."""
    return Diagnosis(Health.WARN, f"it ends tomorrow on {patient.site.host}", "renew it")


def odd(patient):
    return "fine"
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages with checks: a good one, one that lies, one that does not import, taken names."""
    place = tmp_path / "site-packages"
    (place / "acme_checks-1.0.dist-info").mkdir(parents=True)
    (place / "acme_checks.py").write_text(CHECKS)
    (place / "acme_checks-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n"
    )
    (place / "acme_checks-1.0.dist-info" / "entry_points.txt").write_text(
        "[jobctl.checks]\nlicence = acme_checks:licence\nodd = acme_checks:odd\n"
        "broken = acme_nothing:check\nwal = acme_checks:licence\n"
    )
    (place / "bcme-1.0.dist-info").mkdir()
    (place / "bcme-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bcme\nVersion: 1.0\n"
    )
    (place / "bcme-1.0.dist-info" / "entry_points.txt").write_text(
        "[jobctl.checks]\nlicence = acme_checks:licence\n"
    )
    monkeypatch.syspath_prepend(str(place))


@pytest.mark.usefixtures("package")
def test_an_installed_package_adds_checks_and_a_broken_one_is_told(world: World) -> None:
    patient = Patient(world.settings)
    theirs = [each for each in all_checks(patient.database) if each.theme == "installed"]
    assert sorted(names(theirs)) == [
        "acme-checks:licence",
        "acme-checks:wal",
        "bcme:licence",
        "broken",
        "odd",
    ]
    found: dict[str, Examined] = {each.check: each for each in examine(patient, theirs)}
    assert found["acme-checks:licence"].diagnosis == warn("it ends tomorrow on host-a", "renew it")
    assert found["bcme:licence"].why == "Without a licence the renderer stops at midnight."
    assert "returned 'fine', not a jobctl.Diagnosis" in found["odd"].diagnosis.said
    assert "ModuleNotFoundError" in found["broken"].diagnosis.said
    assert {found[name].diagnosis.health for name in ("odd", "broken")} == {Health.UNKNOWN}


def test_a_package_that_was_installed_in_part_costs_no_other_ones_checks(
    world: World, package: None, tmp_path: Path
) -> None:
    torn = tmp_path / "site-packages" / "torn-1.0.dist-info"
    torn.mkdir()
    (torn / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 1.0\n")
    (torn / "entry_points.txt").write_text("[jobctl.checks]\nlice")
    theirs = [each for each in all_checks("sqlite") if each.theme == "installed"]
    assert {"acme-checks:licence", "bcme:licence", "torn:entry-points"} <= set(names(theirs))
    (found,) = examine(Patient(world.settings), [theirs[-1]])
    assert found.diagnosis == unknown("what this package adds cannot be read", "install it anew")
    assert load_tasks([], Work()).troubles == ["the entry points of the package torn cannot be read"]


# --- several things in one diagnosis ---------------------------------------------------------------


def test_of_several_things_the_worst_counts_and_comes_first() -> None:
    found = together(
        [ok("a"), warn("b", "mend b", "fix b"), fail("c", "mend c", "fix c"), unknown("d")], well="all"
    )
    assert found == Diagnosis(Health.FAIL, "c; b; d", "mend c; mend b", "fix c && fix b")
    assert together([ok("a")], well="all") == ok("all")
    assert together([warn(f"{n}") for n in range(9)], well="").said == "0; 1; 2; 3; 4; and 4 more"
