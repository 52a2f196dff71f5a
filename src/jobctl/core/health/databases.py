"""Whether the database of the store is sound, durable, and in good shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobctl.durations import age_said
from jobctl.model.amounts import counted
from jobctl.model.commands import shell_line
from jobctl.model.health import Diagnosis, fail, ok, together, unknown, warn
from jobctl.sizes import format_size

WAL_WARN_BYTES = 64 << 20
WAL_FAIL_BYTES = 1 << 30
LONG_TRANSACTION_S = 900.0
ENDLESS_TRANSACTION_S = 3_600.0
MANY_DEAD_ROWS = 10_000
MANY_UNCOUNTED_ROWS = 1_000
_MANY_FREE_BYTES = 64 << 20
_RECENTLY_S = 3_600.0
_FULL = 2
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
    | {"fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "ocfs2", "gfs2", "davfs"}
)


class Wal(NamedTuple):
    """A write-ahead log: its bytes, the frames it holds, and how many of them are in the file already."""

    size: int
    frames: int
    written_back: int


class Setting(NamedTuple):
    """A setting of PostgreSQL, and where its value comes from (``pg_settings.source``)."""

    name: str
    value: str
    source: str


class Slot(NamedTuple):
    """A replication slot that nobody reads. ``kept``: bytes of log that it keeps from being removed."""

    name: str
    kept: int


class Transaction(NamedTuple):
    """An open transaction. ``pid`` is the server's process."""

    pid: int
    application: str
    state: str
    age_s: float


class TableRows(NamedTuple):
    """What the statistics of PostgreSQL say of a table. ``vacuumed_s``: how long ago, if ever."""

    table: str
    live: int
    dead: int
    vacuumed_s: float | None
    is_analyzed: bool


def judge_damage(damages: Sequence[str]) -> Diagnosis:
    """Whether the file of an embedded store is sound."""
    return together(
        [
            fail(
                f"the file is damaged: {damage}",
                "stop what writes to it, and put a backup in its place with 'jobctl restore BACKUP'",
            )
            for damage in damages
        ],
        well="every page is sound",
    )


def judge_indexes(invalid: Mapping[str, str]) -> Diagnosis:
    """Whether every index is used. ``invalid``: those that are not, and the command that rebuilds each."""
    return together(
        [
            fail(
                f"the index {name} is invalid: no query uses it, and it promises nothing", "rebuild it", mend
            )
            for name, mend in invalid.items()
        ],
        well="every index is valid",
    )


def judge_wal(wal: Wal, users: Sequence[str], mend: str) -> Diagnosis:
    """Whether the write-ahead log is written back. ``users``: the other processes that have it open."""
    size = format_size(wal.size)
    if wal.size < WAL_WARN_BYTES:
        return ok(f"{size}, {wal.frames - wal.written_back:,} of {wal.frames:,} pages to write back")
    ill = fail if wal.size >= WAL_FAIL_BYTES else warn
    if wal.written_back >= wal.frames:
        return ill(f"the write-ahead log has grown to {size}", "give its room back", mend)
    whose = f" (it is open in {', '.join(users)})" if users else ""
    return ill(
        f"the write-ahead log has grown to {size}, and a reader keeps it from being written back",
        f"end the transaction that has been reading for long{whose}, then give the room back",
        mend,
    )


def judge_sqlite_durability(journal_mode: str, synchronous: int) -> Diagnosis:
    """Whether what was committed survives a power loss."""
    if journal_mode != "wal":
        return fail(
            f"the journal mode is {journal_mode}, not wal: readers and writers stop each other",
            "see that the store lies on a local file system, and that nothing else sets its journal mode",
        )
    if synchronous < _FULL:
        return fail(
            f"synchronous is {synchronous}: a power loss takes what was committed last",
            "report it: it is a fault in jobctl",
        )
    return ok("journal_mode wal, synchronous full")


def judge_settings(settings: Sequence[Setting], mends: Mapping[str, str]) -> Diagnosis:
    """Whether settings are on that promises rest on. ``mends``: the command for each, where one helps."""
    off = [each for each in settings if each.value == "off"]
    return together(
        [
            fail(
                f"{each.name} is off, by {_source(each)}: {_RISKS[each.name]}",
                f"set {each.name} = on",
                mends.get(each.name, ""),
            )
            for each in off
        ],
        well=", ".join(f"{each.name} {each.value}" for each in settings),
    )


def judge_autovacuum(setting: Setting, mends: Mapping[str, str]) -> Diagnosis:
    """Whether anything clears dead rows away."""
    if setting.value == "on":
        return ok("autovacuum is on")
    return warn(
        f"autovacuum is off, by {_source(setting)}: {_RISKS[setting.name]}",
        "set autovacuum = on, or run VACUUM (ANALYZE) from cron",
        mends.get(setting.name, ""),
    )


def _source(setting: Setting) -> str:
    return f"the {setting.source}" if setting.source != "default" else "default"


_RISKS = {
    "fsync": "a crash of the machine destroys the database",
    "full_page_writes": "a crash of the machine can leave torn pages behind",
    "synchronous_commit": "a crash of the server takes what was committed last",
    "autovacuum": "tables and indexes only grow",
}


def judge_slots(slots: Sequence[Slot], most: int, mends: Mapping[str, str]) -> Diagnosis:
    """Whether a replication slot that nobody reads fills the disk. ``most``: bytes of log that are usual."""
    return together(
        [
            warn(
                f"nobody reads the replication slot {slot.name}, which keeps {format_size(slot.kept)} of log",
                "start its replica, or, if that is gone for good, drop the slot",
                mends[slot.name],
            )
            for slot in slots
            if slot.kept > most
        ],
        well=f"{counted(len(slots), 'idle slot')}, none of which keeps more than {format_size(most)}"
        if slots
        else "no slot is idle",
    )


def judge_transactions(open_ones: Sequence[Transaction], mends: Mapping[int, str]) -> Diagnosis:
    """Whether a transaction is open for so long that dead rows cannot be cleared away."""
    ill = []
    for each in open_ones:
        if each.age_s >= LONG_TRANSACTION_S:
            say = fail if each.age_s >= ENDLESS_TRANSACTION_S else warn
            who = f"pid {each.pid} ({each.application or 'unnamed'}, {each.state})"
            said = f"{who} has had a transaction open for {age_said(each.age_s)}"
            ill.append(say(said, "end it in its program, or end its connection", mends[each.pid]))
    oldest = max((each.age_s for each in open_ones), default=0.0)
    well = f"{counted(len(open_ones), 'transaction')} open, the oldest for {age_said(oldest)}"
    return together(ill, well=well if open_ones else "no transaction is open")


def judge_bloat(tables: Sequence[TableRows], mends: Mapping[str, str]) -> Diagnosis:
    """Whether tables are full of dead rows."""
    ill = []
    for each in tables:
        if each.dead >= MANY_DEAD_ROWS and each.dead * 5 > each.live:
            say = fail if each.dead >= 10 * MANY_DEAD_ROWS and each.dead > each.live else warn
            when = "never" if each.vacuumed_s is None else f"{age_said(each.vacuumed_s)} ago"
            rows = f"{each.dead:,} dead rows beside {each.live:,} live ones"
            said = f"{each.table} has {rows}, last vacuumed: {when}"
            ill.append(say(said, "clear them away", mends[each.table]))
    dead, live = (sum(getattr(each, name) for each in tables) for name in ("dead", "live"))
    return together(ill, well=f"{dead:,} dead rows beside {live:,} live ones")


def judge_statistics(tables: Sequence[TableRows], mends: Mapping[str, str]) -> Diagnosis:
    """Whether the planner knows its tables."""
    return together(
        [
            warn(
                f"{each.table} has {each.live:,} rows and was never analyzed: the planner guesses",
                "gather its statistics",
                mends[each.table],
            )
            for each in tables
            if each.live >= MANY_UNCOUNTED_ROWS and not each.is_analyzed
        ],
        well="the planner knows every table that is not small",
    )


def judge_free_pages(pages: int, free: int, page_size: int, mend: str) -> Diagnosis:
    """Whether the file of an embedded store is mostly empty."""
    size = format_size(free * page_size)
    if free * page_size >= _MANY_FREE_BYTES and free * 2 > pages:
        return warn(
            f"{size} of the file are empty pages, more than half of it",
            "when nothing is busy, give them back",
            mend,
        )
    return ok(f"{size} of {format_size(pages * page_size)} are empty")


def judge_left_copies(left: Mapping[str, int]) -> Diagnosis:
    """Whether restores left files behind that nothing needs. ``left``: their paths, and sizes in bytes."""
    if not left:
        return ok("restores left none behind")
    files, size = counted(len(left), "file"), format_size(sum(left.values()))
    return warn(
        f"restores that were killed left {files} beside the store, {size}; nothing is in "
        f"{'it' if len(left) == 1 else 'them'} that is not elsewhere",
        "remove what was left",
        shell_line(["rm", "--", *left]),
    )


def judge_file_system(path: str, file_system: str) -> Diagnosis:
    """Whether locks and shared memory work where an embedded store lies."""
    if not file_system:
        return unknown(f"the system does not tell on which file system {path} lies")
    if file_system in _NETWORK:
        return fail(
            f"{path} lies on {file_system}, where locks and shared memory between hosts do not hold",
            "move it to a local disk; for several hosts take PostgreSQL: jobctl export, then jobctl import",
        )
    if file_system.startswith("fuse"):
        return warn(f"{path} lies on {file_system}, whose locks may not hold", "move it to a local disk")
    return ok(f"on {file_system}")


def judge_hosts(seen_s: Mapping[str, float], here: str) -> Diagnosis:
    """Whether an embedded store is used by one host only. ``seen_s``: host to how long ago, lately."""
    others = {host: age for host, age in seen_s.items() if host != here}
    if not others:
        return ok(f"only by this host, {here}")
    named = ", ".join(f"{host} ({age_said(age)} ago)" for host, age in sorted(others.items()))
    ill = fail if min(others.values()) < _RECENTLY_S else warn
    return ill(
        f"one SQLite file is used by this host, {here}, and by {named}",
        "let several hosts share a PostgreSQL store: jobctl export, then jobctl import; "
        "if it is one host that was renamed, set host_id in jobctl.toml",
    )
