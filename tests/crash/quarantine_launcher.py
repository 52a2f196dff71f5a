"""The launcher for the file layer of quarantine: one operation of it instead of the program.

``take DIR``, ``give_back DIR`` or ``purge DIR``; ``link`` after that: on a file system without
renameat2, as NFS; ``careless``: a deliberately wrong variant that moves before it tells.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import launcher

from jobctl.errors import JobctlError
from jobctl.model.files import FileIdentity
from jobctl.model.plan import Outcome
from jobctl.model.quarantine import Item, Released, Taken
from jobctl.outputs import effects
from jobctl.outputs.entries import entries
from jobctl.outputs.quarantine import take
from jobctl.outputs.release import give_back, purge
from jobctl.outputs.root import OpenRoot
from jobctl.outputs.turn import hold_files

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import quarantined


def run() -> None:
    """Carry out one operation; exit 3 where a step did not succeed."""
    operation, directory, *how = sys.argv[1:]
    if "link" in how:
        effects._renameat2 = lambda *_: False
    if "careless" in how:
        launcher.tell_late()
    try:
        with quarantined.opened(Path(directory)) as root, hold_files(root):
            outcomes = [told.outcome for told in _carry_out(operation, root)]
    except JobctlError as error:
        print(error.message, file=sys.stderr)
        sys.exit(error.exit_code)
    print(json.dumps(outcomes))
    sys.exit(0 if set(outcomes) <= {Outcome.DONE, Outcome.ALREADY} else 3)


def _carry_out(operation: str, root: OpenRoot) -> Iterable[Taken | Released]:
    at = quarantined.AT
    if operation == "take":
        return take(root, quarantined.RUN, _planned(Path(root.path)), at=at)
    if operation == "give_back":
        return give_back(root, entries(root), at=at)
    return purge(root, entries(root), older_than=timedelta(0), keep=lambda _: None, at=at)


def _planned(outputs: Path) -> Iterator[Item]:
    """The plan, made before the first try and saved beside the root."""
    for fields in json.loads((outputs.parent / "plan.json").read_text()):
        yield Item(**{**fields, "identity": FileIdentity(*fields["identity"])})


if __name__ == "__main__":
    launcher.main(run)
