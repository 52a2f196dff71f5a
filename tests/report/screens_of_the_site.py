"""Screens of the site: runs, roots, backups, checks; and reports."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import RenderableType

import reported
from jobctl.model import health
from jobctl.model.backup import BackupKind, Contents, Lost, PutBack, RestorePlan
from jobctl.model.health import Diagnosis, Examined
from jobctl.report.backup_screen import plan_screen, run_item
from jobctl.report.billing_page import billing_page
from jobctl.report.doctor_screen import check_line, troubles_screen
from jobctl.report.listings import root_columns, run_columns
from jobctl.report.page_screen import page_screen
from jobctl.report.plan_screen import run_screen
from jobctl.report.screen import table
from jobctl.report.story_page import story_page
from jobctl.report.users_page import users_page
from report.screens import HOSTILE, NOW, Screen, ago
from reported import DAY, ZONE, a_story, some_bills, users

RESTORE = RestorePlan(
    file=f"/srv/{HOSTILE}.db",
    size=311_296,
    kind=BackupKind.SQLITE,
    made_at=datetime(2026, 11, 22, 1, 37, 55, tzinfo=UTC),
    backup=Contents("45f1c9d7cdee4317", "0004", {"completed": 1_187, "failed": 17}, 10_412, 10_412, NOW),
    now=Contents(
        "45f1c9d7cdee4317", "0005", {"completed": 1_212, "failed": 18, HOSTILE: 1}, 10_566, 10_566, NOW
    ),
    now_said=None,
    lost=Lost(27, 9, 154),
    kept_as=f"/var/lib/{HOSTILE}.before-20261123T120000.118204Z",
    migrates_from="0004",
    already=(
        ago(minutes=5),
        PutBack(f"/srv/{HOSTILE}.db", BackupKind.SQLITE, None, f"/var/lib/{HOSTILE}.before", was_sound=True),
    ),
)


class _Run(NamedTuple):
    run_id: str
    command: str
    state: str
    actor: str
    host: str
    undo_of: str | None
    counts: dict[str, int]
    exit_code: int | None
    actions: int
    started_at: datetime
    finished_at: datetime | None


RUNS = [
    _Run(
        run_id="20261123-115500-77aa",
        command="undo",
        state="applying",
        actor="ada",
        host="web-1",
        undo_of="20261123-110000-4f1a",
        counts={},
        exit_code=None,
        actions=1_200,
        started_at=ago(minutes=5),
        finished_at=None,
    ),
    _Run(
        run_id="20261123-110000-4f1a",
        command="recover",
        state="finished",
        actor="ada",
        host="web-1",
        undo_of=None,
        counts={"done": 1_200, "skipped": 4},
        exit_code=3,
        actions=1_204,
        started_at=ago(hours=1),
        finished_at=ago(minutes=59),
    ),
]
RESTORED = {
    **RUNS[1]._asdict(),
    "command": "restore",
    "counts": {"jobs": 1_204, "events": 10_412},
    "exit_code": 0,
    "actions": 0,
    "restored": PutBack(
        f"/srv/backups/{HOSTILE}.db",
        BackupKind.SQLITE,
        ago(days=1),
        f"/var/lib/{HOSTILE}.before-20261123T110000.118204Z",
        was_sound=True,
    ),
}


class _Root(NamedTuple):
    root_id: str
    path: str
    layout: str
    host: str | None
    generation: int
    registered_at: datetime
    state: str


ROOTS = [
    _Root("r0a1b2c3d", "/srv/video/output/presentations", "presentations", None, 12, ago(days=90), "ready"),
    _Root(
        "r99887766",
        "/scratch/renders",
        "presentations",
        "web-2",
        0,
        ago(days=2),
        "only host web-2 can see it",
    ),
]


def _examined(check: str, theme: str, why: str, diagnosis: Diagnosis) -> Examined:
    return Examined(check, theme, why, diagnosis, 0.004)


EXAMINED = [
    _examined("store", "store", "Everything rests on it.", health.ok("/var/lib/jobctl/jobctl.db")),
    _examined(
        "wal",
        "store",
        "A log that a reader keeps from being written back grows without bound, and slows all reading down.",
        health.warn(
            "the write-ahead log has grown to 72.1 MiB, and a reader keeps it from being written back",
            "end the transaction that has been reading for long (it is open in pid 4711 (python)), then give "
            "the room back",
            "/opt/jobctl/bin/python -m sqlite_utils query /var/lib/jobctl/jobctl.db"
            " 'PRAGMA wal_checkpoint(TRUNCATE)'",
        ),
    ),
    _examined(
        "roots",
        "roots",
        "Nothing is scanned below a root that is away.",
        health.fail(
            "root /srv/out cannot be opened: No such file or directory; nothing was changed", "mount it"
        ),
    ),
    _examined("writable", "roots", "Why.", health.unknown("/srv/out cannot be opened: see 'roots'")),
    _examined("licence", "installed", HOSTILE, health.warn(HOSTILE, HOSTILE)),
]


def _doctor(width: int) -> Iterable[RenderableType]:
    yield from (check_line(one, 16) for one in EXAMINED)
    yield from troubles_screen(EXAMINED, width)


SCREENS = [
    Screen("story", lambda width: page_screen(story_page(a_story()), width)),
    Screen("story-hostile", lambda width: page_screen(story_page(a_story(reported.HOSTILE)), width)),
    Screen("users", lambda width: page_screen(users_page(users(), DAY, ZONE, NOW), width)),
    Screen("billing", lambda width: page_screen(billing_page(some_bills(), DAY), width)),
    Screen("runs", lambda width: [table(run_columns(NOW), RUNS, width)]),
    Screen("run", lambda _: run_screen(RUNS[1]._asdict())),
    Screen("run-restore", lambda _: run_screen(run_item(RESTORED))),
    Screen("restore", lambda width: plan_screen(RESTORE, width)),
    Screen("roots", lambda width: [table(root_columns(NOW), ROOTS, width)]),
    Screen("doctor", _doctor),
]
