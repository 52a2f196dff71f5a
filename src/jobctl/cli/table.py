"""The table of commands: what is there and what it is for, without importing any of it."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command: the module below ``cli.commands``, the function in it, help, and its own options.

    ``streams``: it also takes ``--jsonl``.
    """

    module: str
    function: str
    help: str
    options: str = ""
    streams: bool = False


GROUPS = {
    "evidence": "What server logs say of jobs.",
    "quarantine": "Files that were moved aside.",
    "remote": "The remote renderer.",
    "root": "The registered outputs directories.",
    "run": "One applied plan.",
}

SHARED_OPTIONS = "--database --config --as-root --json --quiet --verbose --help"

_CONSENT = "--yes --dry-run --wait"

COMMANDS = {
    "init": Entry(
        "init",
        "init",
        "Create the store and register outputs directories.",
        "--root --layout --host-local",
    ),
    "scan": Entry(
        "scan",
        "scan",
        "Compare the outputs directories with the records.",
        "--finding --job --since --root --tier --full --all --exit-code --jitter",
        streams=True,
    ),
    "duplicates": Entry(
        "duplicates",
        "duplicates",
        "Find videos with the same bytes, and jobs that ask for the same.",
        f"{_CONSENT} --plan --by --root --quarantine --allow",
        streams=True,
    ),
    "recover": Entry(
        "recover",
        "recover",
        "Rebuild lost records from files, logs and other evidence.",
        f"{_CONSENT} --jitter --plan --root --include-declined --log --log-timezone",
    ),
    "apply": Entry("apply", "apply", "Apply a saved plan, exactly as it was saved.", _CONSENT),
    "expire": Entry(
        "expire",
        "expire",
        "End stale, forgotten and outdated jobs, by the policy.",
        f"{_CONSENT} --jitter --plan --root --stale-after --queued-ttl --retain --allow --explain",
    ),
    "cleanup": Entry(
        "cleanup",
        "cleanup",
        "Move leftovers, orphans and broken files into quarantine.",
        f"{_CONSENT} --jitter --plan --root --finding --older-than --max-bytes --allow"
        " --include-pinned --explain",
    ),
    "quarantine list": Entry(
        "quarantine",
        "list_",
        "List what is in quarantine.",
        "--root --run --job --all",
        streams=True,
    ),
    "quarantine show": Entry("quarantine", "show", "Show one file in quarantine, and where it came from."),
    "quarantine restore": Entry(
        "quarantine",
        "restore",
        "Give files back to where they were; nothing is replaced.",
        f"{_CONSENT} --plan --root --run --job",
    ),
    "quarantine purge": Entry(
        "quarantine",
        "purge",
        "Remove for good what was in quarantine long enough.",
        f"{_CONSENT} --jitter --plan --root --run --job --older-than --max-bytes --allow --explain",
    ),
    "undo": Entry("undo", "undo", "Take back what a run did.", f"{_CONSENT} --plan"),
    "import": Entry(
        "import_",
        "import_",
        "Record the jobs of a dump, or of an export; no record is overwritten.",
        f"{_CONSENT} --plan --format --table --source --timezone",
    ),
    "export": Entry("export", "export", "Write the records, whole, to a new file.", "--format --status"),
    "runs": Entry("runs", "runs", "List applied plans and restores, newest first.", "--limit", streams=True),
    "run show": Entry("run", "show", "Show one run and what became of each step.", "--result", streams=True),
    "list": Entry(
        "list",
        "list_",
        "List jobs, newest first.",
        "--status --kind --queue --owner --origin --error-code --since --until --by --older --newer --text"
        " --root --sort --reverse --columns --limit --after",
        streams=True,
    ),
    "show": Entry("show", "show", "Show one job with its files, its attempts and its history."),
    "events": Entry(
        "events",
        "events",
        "Show what happened to jobs, when, and by whom; the newest last.",
        "--from --to --event --cause --actor --run --kind --queue --owner --since --until --text"
        " --limit --after --before --reverse --follow",
        streams=True,
    ),
    "enqueue": Entry(
        "enqueue",
        "enqueue",
        "Hand a job to the workers, and print its id.",
        "--payload --each-line --jobs --key --queue --priority --delay --at --owner --job-id --retries",
    ),
    "cancel": Entry("cancel", "cancel", "End jobs: queued ones at once, running ones once they stopped."),
    "retry": Entry("retry", "retry", "Enqueue failed or cancelled jobs again."),
    "requeue": Entry(
        "requeue",
        "requeue",
        "Enqueue many failed or cancelled jobs again: tell which and why they failed, ask, do it.",
        "--where --older --newer --limit --dry-run --yes",
    ),
    "workers": Entry("workers", "workers", "List the workers and what they run.", "--all", streams=True),
    "worker": Entry(
        "worker",
        "worker",
        "Take jobs from the queues and run them, until asked to stop.",
        "--tasks --queue --slots --isolation --burst --lease --grace",
    ),
    "serve": Entry(
        "serve",
        "serve",
        "Serve the status API: enqueue jobs, tell how they stand, hand out their videos.",
        "--host --port --tokens-file --no-tokens --cors-origin --task --max-body --max-waiters --grace "
        "--root-path",
    ),
    "status": Entry(
        "status",
        "status",
        "Tell on one screen whether all is well, and if not, what is wrong and what to run.",
        "--watch --exit-code",
        streams=True,
    ),
    "top": Entry(
        "top", "top", "Watch queues, jobs, workers and failures live; retry and cancel jobs, asked first."
    ),
    "doctor": Entry(
        "doctor",
        "doctor",
        "Look at everything jobctl rests on; say what is not well, why it matters and what mends it.",
        "--only --skip --before-deploy --migration --exit-code --timeout --list",
        streams=True,
    ),
    "metrics": Entry(
        "metrics",
        "metrics",
        "Tell throughput, success, waits, runs and failures by hour, day, kind, queue or owner.",
        "--since --until --by --top --plot --csv --prometheus --output",
    ),
    "metrics serve": Entry(
        "metrics_serve",
        "serve",
        "Answer Prometheus over HTTP, on this machine only.",
        "--port --listen --top",
    ),
    "metrics push": Entry(
        "metrics_push", "push", "Send the metrics once to an OpenTelemetry collector.", "--top"
    ),
    "metrics rebuild": Entry(
        "metrics_rebuild", "rebuild", "Add the history up anew; metrics are right all the while."
    ),
    "report": Entry(
        "report",
        "report",
        "Tell what happened in a day, week or month: jobs, restarts, losses, recoveries, storage.",
        "--day --week --month --since --until --format --output --measure --force",
    ),
    "bundle": Entry(
        "bundle",
        "bundle",
        "Gather what a ticket needs into one archive: doctor, status, runs, events, settings; no secrets.",
        "--to --with-payloads",
    ),
    "verify": Entry(
        "verify",
        "verify",
        "Compare journal, disk and store; say what mends a difference.",
        "--root --history --exit-code",
        streams=True,
    ),
    "backup": Entry(
        "backup",
        "backup",
        "Copy the store while it is in use, check the copy, and keep it.",
        "--to --keep --jitter",
    ),
    "restore": Entry(
        "restore",
        "restore",
        "Put a backup in the store's place; the store that is there is kept beside it.",
        "--yes --dry-run",
    ),
    "schedule": Entry(
        "schedule",
        "schedule",
        "Print, or install, what cron or systemd is to run.",
        "--cron --systemd --install --remove --worker --only --every --user --directory --environment-file "
        "--yes",
    ),
    "explain": Entry("explain", "explain", "Tell where each field of a job comes from."),
    "evidence ingest": Entry(
        "evidence",
        "ingest",
        "Read server logs, from where an earlier reading stopped.",
        "--log-timezone --name --wait",
        streams=True,
    ),
    "evidence list": Entry("evidence", "list_", "List the logs that were read.", streams=True),
    "evidence forget": Entry(
        "evidence", "forget", "Drop what one log said; jobs and files stay as they are.", "--yes"
    ),
    "remote list": Entry(
        "remote",
        "list_",
        "Ask the renderer what it has, and match it to jobs.",
        "--offline",
        streams=True,
    ),
    "remote download": Entry(
        "remote",
        "download",
        "Bring a finished render home, checked and whole.",
        "--job --as-video --root --yes --wait",
    ),
    "root list": Entry("root", "list_", "List the registered outputs directories."),
    "root adopt": Entry(
        "root", "adopt", "Accept a directory or a store that was put back.", "--of-lost-store --layout"
    ),
}


def names_below(prefix: str = "") -> dict[str, str]:
    """The commands and groups one level below a group, each with its help."""
    start = f"{prefix} " if prefix else ""
    found: dict[str, str] = {}
    for name, entry in COMMANDS.items():
        if name.startswith(start):
            first, _, rest = name.removeprefix(start).partition(" ")
            if start + first in COMMANDS:
                found[first] = COMMANDS[start + first].help
            else:
                found.setdefault(first, GROUPS[start + first] if rest else entry.help)
    return found


def options_of(name: str) -> list[str]:
    """Every long option of a command."""
    entry = COMMANDS[name]
    streams = " --jsonl" if entry.streams else ""
    return f"{entry.options} {SHARED_OPTIONS}{streams}".split()


def command_in(words: list[str]) -> str:
    """The command or group that a command line names, as far as it does: ``root list``, or empty."""
    named = [word for word in words if not word.startswith("-")][:2]
    for name in (" ".join(named), *named[:1]):
        if name in COMMANDS or name in GROUPS:
            return name
    return ""
