"""Ask the doctor about one thing, and do exactly what it says."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from cli.calling import call
from jobctl.model.health import Diagnosis, Health
from jobctl.ops.doctor.checks import all_checks
from jobctl.ops.doctor.patient import Patient
from jobctl.settings import Settings
from ops.world import World
from postgres import system_binaries, wheel_binaries


def diagnosis(world: World, name: str) -> Diagnosis:
    """What one check finds in a world."""
    return diagnosis_of(world.settings, name)


def diagnosis_of(settings: Settings, name: str) -> Diagnosis:
    """What one check finds in an installation."""
    patient = Patient(settings)
    (check,) = [check for check in all_checks(patient.database) if check.name == name]
    with closing(patient):
        return check.examine(patient)


def mend(world: World, found: Diagnosis) -> None:
    """Run the very command that a diagnosis names: jobctl's own in this process, which is quicker."""
    assert found.command
    here = {"JOBCTL_DATABASE_URL": world.url, "JOBCTL_HOST_ID": world.host}
    words = shlex.split(found.command)
    if words[0] == "jobctl" and "&&" not in words:
        result = call(*words[1:], env=here)
        assert result.exit_code == 0, result.output
        return
    places = [str(Path(sys.executable).parent), *map(str, _server_programs()), os.environ["PATH"]]
    ran = subprocess.run(
        found.command,
        shell=True,
        env={**os.environ, **here, "PATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _server_programs() -> list[Path]:
    """Where psql is, if it is not on the path."""
    if shutil.which("psql"):
        return []
    return [place for place in (system_binaries(), wheel_binaries()) if place and (place / "psql").exists()]


def is_ill(found: Diagnosis) -> bool:
    return found.health in {Health.WARN, Health.FAIL}
