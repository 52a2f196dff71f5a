"""The demonstration: a service loses its job table, and jobctl brings the jobs back.

Everything is real: the videos are encoded, the store is SQLite, the commands are the
installed program's. It works in a directory of its own and removes what it made there;
``--keep DIR`` makes that directory, and leaves it to be played with.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import demo_tree
from jobctl import clock
from jobctl.evidence.executor import current_executor
from jobctl.model.job import Executor, Job
from jobctl.model.status import Cause, Status
from jobctl.settings import load_settings
from jobctl.store import jobs
from jobctl.store.engine import open_store

_PROGRAM = Path(sys.executable).with_name("jobctl")


class Demo:
    """One run of the demonstration in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.outputs = directory / "output"
        self.database = directory / "jobs.db"
        width = min(110, max(80, shutil.get_terminal_size((100, 24)).columns))
        self.environment = {
            **os.environ,
            "JOBCTL_DATABASE_URL": str(self.database),
            "JOBCTL_CONFIG": os.devnull,
            "COLUMNS": str(width),
        }

    def say(self, text: str) -> None:
        """Tell what happens next."""
        print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)

    def run(self, *arguments: str) -> None:
        """Run the program as a user would, and show it."""
        print(f"$ {shlex.join(('jobctl', *arguments))}", flush=True)
        ended = subprocess.run([_PROGRAM, *arguments], env=self.environment, check=False)
        if ended.returncode:
            print(f"(exit {ended.returncode})", flush=True)

    def ask(self, *arguments: str) -> dict[str, object]:
        """Run the program for its JSON answer."""
        command = [str(_PROGRAM), *arguments, "--json"]
        said = subprocess.run(command, env=self.environment, capture_output=True, check=True).stdout
        answer: dict[str, object] = json.loads(said)
        return answer

    def record_jobs(self) -> None:
        """What the restarted service still knows: three jobs that were being processed."""
        settings = load_settings(environ=self.environment)
        here = current_executor(settings.host_id)
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        elsewhere = Executor("render-2", "another-boot", 4711, 1)
        self._start("at-99-percent", here._replace(pid=ended.pid), progress=99.0)
        self._start("lost-at-75-percent", here._replace(pid=ended.pid), progress=75.0)
        self._start("on-another-server", elsewhere, progress=40.0)

    def write_log(self) -> Path:
        """What the service printed before it was restarted: one job failed, another was cut short."""
        cut, failed = demo_tree.job_id("cut-short"), demo_tree.job_id("no-luck")
        at = (clock.now() - timedelta(hours=3)).replace(tzinfo=None).isoformat()
        service = "INFO:app.presentations:"
        lines = [
            f"{service}Created presentation job: {failed}",
            f"{service}Created presentation job: {cut}",
            f"{service}[JOB_STATUS_UPDATE] Job {cut}: processing→processing, 5.0%→62.5%",
            f"{service}[JOB_STATUS_UPDATE] Timestamp: {at}",
            f"ERROR:app.presentations:Presentation {failed} failed: no space left on device",
            "INFO:     Started server process [1]",
        ]
        log = self.outputs.parent / "app.log"
        log.write_text("".join(f"app-1  | {line}\n" for line in lines), encoding="utf-8")
        return log

    def _start(self, name: str, executor: Executor, *, progress: float) -> None:
        job_id, actor = demo_tree.job_id(name), "service"
        store = open_store(str(self.database))
        with store.write() as connection:
            at = clock.now() - timedelta(hours=3)
            jobs.create_job(connection, Job(job_id=job_id, owner="ada@example.org"), actor=actor, at=at)
            jobs.change_status(
                connection,
                job_id,
                Status.PROCESSING,
                expect=Status.QUEUED,
                cause=Cause.CLAIM,
                actor=actor,
                at=at,
                changes={"executor": executor, "progress": progress, "max_progress": progress},
            )
        store.close()


@contextmanager
def _directory(kept: str | None) -> Iterator[Path]:
    """A new directory, which is left only where it was named."""
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="jobctl-demo-") as name:
            yield Path(name)
        return
    directory = Path(kept).resolve()
    try:
        directory.mkdir()
    except OSError as error:
        raise SystemExit(f"{kept} cannot be made: {error.strerror}; name a new directory") from None
    yield directory


def main() -> int:
    """Lose the jobs, find them, bring them back, and take it back."""
    parser = argparse.ArgumentParser(description="Lose a job table, and get it back.")
    parser.add_argument("--keep", metavar="DIR", help="make this new directory, and leave it")
    kept: str | None = parser.parse_args().keep
    with _directory(kept) as directory:
        demo = Demo(directory)
        demo.say("A video service has just been restarted. Its outputs are still on disk:")
        tree = demo_tree.build(demo.outputs)
        try:
            _show(demo)
        finally:
            tree.stop_writers()
    if kept is None:
        demo.say("Done. Nothing of this demonstration is left on your disk.")
    else:
        demo.say(f"Done. All of it is left in {directory}, to go on with:")
        print(f"$ {shlex.join([str(_PROGRAM), 'status', '--database', str(demo.database)])}")
    return 0


def _show(demo: Demo) -> None:
    files = sum(len(names) for _, _, names in os.walk(demo.outputs))
    print(f"{files} files: finished videos, a cut one, one still being written, leftovers, users' uploads")
    demo.say("Make a job store, and name the outputs directory.")
    demo.run("init", "--root", str(demo.outputs))
    demo.record_jobs()
    demo.say("All but three jobs are gone from the job table. What is wrong?")
    demo.run("scan")
    demo.say("Bring the lost jobs back. (At a terminal, recover shows this plan and asks.)")
    demo.run("recover", "--dry-run")
    demo.run("recover", "--yes")
    demo.say("One of them: its record, its files, its history, and where each fact comes from.")
    job = demo_tree.job_id("lesson-2")
    demo.run("show", job)
    demo.run("explain", job)
    demo.say("The server's log turns up. It knows of jobs that left no video behind.")
    log = demo.write_log()
    demo.run("recover", "--yes", "--log", str(log))
    demo.run("show", demo_tree.job_id("cut-short"))
    demo.say("What happened, for those who ask: restarts, what each took, and what came back.")
    demo.run("report", "--since", "1d")
    demo.say("Run it again: there is nothing left to do.")
    demo.run("recover", "--yes")
    demo.say("Take the last run back.")
    answer = demo.ask("runs")
    run_id = _newest(answer)
    demo.run("undo", run_id, "--yes")
    demo.run("list")


def _newest(answer: dict[str, object]) -> str:
    data = answer["data"]
    runs = data["runs"] if isinstance(data, dict) and "runs" in data else data["items"]  # type: ignore[index]
    return str(runs[0]["run_id"])


if __name__ == "__main__":
    sys.exit(main())
