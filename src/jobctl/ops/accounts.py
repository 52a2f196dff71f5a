"""Accounts of jobs: what the stored evidence comes to, for scan, recover and explain."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from jobctl.core.accounts import Account, Lives, Statement, account_of, heirs_of
from jobctl.core.logbook import boots_from_json, stream_of, trace_from_json
from jobctl.core.render_facts import facts_of_renders, notes_of_renders
from jobctl.model.evidence import Fact
from jobctl.model.renders import KnownRender
from jobctl.store import evidence
from jobctl.store.engine import Connection


def load_lives(connection: Connection) -> Lives:
    """The lives of every instance whose log was read."""
    boots, names, last_life = {}, {}, {}
    for row in evidence.get_streams(connection):
        for speaker, state in row.state.items():
            stream = stream_of(row.stream, speaker)
            boots[stream] = boots_from_json(state)
            names[stream] = speaker or os.path.basename(row.name)
            last_life[stream] = int(state["life"])
    shared = [
        (job_id, [_statement(row) for row in rows])
        for job_id, rows in (evidence.shared_jobs(connection) if len(names) > 1 else {}).items()
    ]
    return Lives(boots, names, heirs_of(shared, last_life))


def account_of_rows(
    job_id: str,
    rows: Iterable[tuple[Any, ...]],
    lives: Lives,
    facts: Iterable[Fact] = (),
    renders: Sequence[KnownRender] = (),
) -> Account:
    """The account of one job from its rows of the table of evidence, and what others say of it."""
    known = [*facts, *facts_of_renders(renders)]
    account = account_of(job_id, [_statement(row) for row in rows], lives, known)
    account.notes += notes_of_renders(renders)
    return account


def _statement(row: tuple[Any, ...]) -> Statement:
    _, stream, life, claims = row
    return Statement(stream, life, trace_from_json(evidence.claims_of(claims)))
