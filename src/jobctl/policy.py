"""Policy: how long jobs wait, how long ended ones are kept, when files may go. From ``jobctl.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple

from jobctl.durations import format_duration, parse_duration
from jobctl.errors import ConfigurationError

ENDED = ("completed", "failed", "cancelled")
"""The statuses that retention may be set for."""

_RULE_KEYS = frozenset({"queued_ttl", "retain"})
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """The life of jobs of one kind. ``None``, or a status left out: kept without end."""

    queued_ttl: timedelta | None = None
    retain: Mapping[str, timedelta] = field(default_factory=dict)


class Backups(NamedTuple):
    """Where backups go, unless a command says otherwise, and how many of them are kept; ``None``: all."""

    directory: str | None = None
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What expires and what is cleaned up. Nothing expires that no rule names."""

    rule: Rule = field(default_factory=Rule)
    kinds: Mapping[str, Rule] = field(default_factory=dict)
    grace: timedelta = _DAY
    """How long a file must have been without any reference before it may be moved away."""
    quarantine: timedelta = 14 * _DAY
    """How long a file stays in quarantine at least."""
    max_bytes: int | None = None
    """How many bytes one run may take of one category before a brake holds them."""

    def of_kind(self, kind: str) -> Rule:
        """The rule for jobs of a kind: its own, where it says something, over the general one."""
        own = self.kinds.get(kind)
        if own is None:
            return self.rule
        return Rule(own.queued_ttl or self.rule.queued_ttl, {**self.rule.retain, **own.retain})

    def with_flags(self, *, queued_ttl: timedelta | None, retain: Mapping[str, timedelta]) -> Policy:
        """The policy of one run: what its flags say holds for every kind."""
        if queued_ttl is None and not retain:
            return self
        rules = [
            Rule(queued_ttl or rule.queued_ttl, {**rule.retain, **retain})
            for rule in (self.rule, *self.kinds.values())
        ]
        return replace(self, rule=rules[0], kinds=dict(zip(self.kinds, rules[1:], strict=True)))

    def shape(self) -> list[Any]:
        """What shapes a plan made under this policy."""
        named = {"": self.rule, **self.kinds}
        rules = {name: [str(rule.queued_ttl), _shown(rule.retain)] for name, rule in named.items()}
        return [rules, str(self.grace), str(self.quarantine), self.max_bytes]


def _shown(retain: Mapping[str, timedelta]) -> dict[str, str]:
    return {status: format_duration(age) for status, age in sorted(retain.items())}


def policy_from_tables(tables: Mapping[str, Any], path: str) -> Policy:
    """The policy of the tables ``expire``, ``cleanup`` and ``quarantine``.

    Raises ``ConfigurationError`` naming the key and what it may be.
    """
    expire = _table(tables, "expire", _RULE_KEYS | {"kinds"}, path)
    cleanup = _table(tables, "cleanup", frozenset({"grace", "max_bytes"}), path)
    quarantine = _table(tables, "quarantine", frozenset({"retention"}), path)
    kinds = _table(expire, "kinds", None, f"{path}: expire")
    where = f"{path}: expire"
    return Policy(
        rule=_rule(expire, where),
        kinds={
            kind: _rule(_table(kinds, kind, _RULE_KEYS, f"{where}.kinds"), f"{where}.kinds.{kind}")
            for kind in kinds
        },
        grace=_duration(cleanup, "grace", f"{path}: cleanup") or _DAY,
        quarantine=_duration(quarantine, "retention", f"{path}: quarantine") or 14 * _DAY,
        max_bytes=_bytes(cleanup, f"{path}: cleanup"),
    )


def backups_from_table(table: Any, path: str) -> Backups:
    """The table ``backup``. Raises ``ConfigurationError`` naming the key and what it may be."""
    known = _table({"backup": table}, "backup", frozenset(Backups._fields), path)
    directory, keep = known.get("directory"), known.get("keep")
    if directory is not None and not (isinstance(directory, str) and directory):
        raise ConfigurationError(
            f"{path}: backup: directory must be text", hint='write directory = "/srv/backups/jobctl"'
        )
    if keep is not None and not (type(keep) is int and keep > 0):
        raise ConfigurationError(
            f"{path}: backup: keep must be a whole number above 0, not {keep!r}", hint="write keep = 14"
        )
    return Backups(directory, keep)


def parse_retain(text: str) -> dict[str, timedelta]:
    """Read ``completed=30d,failed=7d``. Raises ``ValueError`` saying what is wrong."""
    retain = {}
    for part in text.split(","):
        status, _, age = part.strip().partition("=")
        if status not in ENDED:
            raise ValueError(f"{status!r} is none of {', '.join(ENDED)}")
        retain[status] = parse_duration(age)
    return retain


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    retain = _table(table, "retain", frozenset(ENDED), where)
    ages = {status: _duration(retain, status, f"{where}.retain") for status in retain}
    known = {status: age for status, age in ages.items() if age is not None}
    return Rule(_duration(table, "queued_ttl", where), known)


def _table(
    tables: Mapping[str, Any], name: str, known: frozenset[str] | None, where: str
) -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where}: {name} must be a table", hint=f"write [{name}]")
    for key in table:
        if known is not None and key not in known:
            hint = f"known keys: {', '.join(sorted(known))}"
            raise ConfigurationError(f"{where}: {name} has the unknown key {key!r}", hint=hint)
    return table


def _duration(table: Mapping[str, Any], name: str, where: str) -> timedelta | None:
    value = table.get(name)
    if value is None:
        return None
    try:
        duration = parse_duration(value) if isinstance(value, str) else None
    except ValueError:
        duration = None
    if not duration:
        raise ConfigurationError(
            f"{where}: {name} must be a duration above 0, not {value!r}", hint=f'write {name} = "24h"'
        )
    return duration


def _bytes(table: Mapping[str, Any], where: str) -> int | None:
    value = table.get("max_bytes")
    if value is None or (type(value) is int and value > 0):
        return value
    raise ConfigurationError(
        f"{where}: max_bytes must be a whole number above 0, not {value!r}",
        hint="write max_bytes = 50_000_000_000",
    )
