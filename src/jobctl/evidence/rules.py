"""Rules: which lines of a log say what of which job.

A rule set is a TOML list of rules: what a line says, and a regular expression of its
message whose named groups are the fields. What stands before the message (container,
time, level, logger, client) is known to the reader. RE2 matches in time linear in the
text, whatever the expression.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jobctl.core.layout import JOB_ID, UUID
from jobctl.errors import ConfigurationError
from jobctl.model.logs import Dating, Says

BUILT_IN = ("presentations", "access")

_MOMENT = (
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
    r"(?:Z| ?[+-][0-9]{2}:?[0-9]{2})?"
    r"|[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4})"
)
_NUMBER = r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?"
PLACEHOLDERS = {
    "{job_id}": f"(?P<job_id>{JOB_ID})",
    "{uuid}": f"(?P<job_id>{UUID})",
    # After an id that ends the message: no more of it follows, though a record without its newline may.
    "{end}": r"(?:[^0-9a-f-]|\z)",
    "{at}": f"(?P<at>{_MOMENT})",
    "{status}": "(?P<status>[a-z_]{1,40})",
    "{progress}": f"(?P<progress>{_NUMBER})",
    "{remote_id}": "(?P<remote_id>[0-9a-f]{24})",
    # Nothing: the rest of the record, wherever that ends.
    "{text}": "(?P<text>)",
}
"""What may stand in a pattern for a group that many need."""

_FIELDS = frozenset({"job_id", "at", "status", "progress", "remote_id", "text"})
_SET_KEYS = ("rules",)
_RULE_KEYS = ("name", "says", "contains", "pattern", "dates", "within", "field", "continues")
_NEEDED = {Says.TIME: ("at",), Says.BOOT: (), Says.FORK: (), Says.RENDER: ("job_id", "remote_id")}
_DATED_FIELDS = ("", "started", "created")
_FURTHEST = 100
_LONGEST_PATTERN = 2_000


class Rule(NamedTuple):
    """One kind of line. ``pattern`` is a compiled RE2 expression over bytes.

    ``fields`` are its groups by number, but for the text, whose number is ``text_group`` (0 for none).
    ``contains`` is a text without which no line
    fits: expressions that do not begin with plain text are quicker with one.
    """

    name: str
    says: Says
    pattern: Any
    fields: tuple[tuple[int, str], ...]
    text_group: int = 0
    contains: bytes = b""
    dating: Dating | None = None
    continues: bool = False
    """Whether the text goes on in the following lines, up to the next record."""


class RuleSet(NamedTuple):
    """The rules of one kind of log."""

    name: str
    rules: tuple[Rule, ...]


@cache
def built_in(name: str) -> RuleSet:
    """One of the rule sets that come with jobctl."""
    text = files("jobctl.evidence").joinpath("rulesets", f"{name}.toml").read_text(encoding="utf-8")
    return rules_from_mapping(name, tomllib.loads(text))


def rule_sets(configured: Mapping[str, Any]) -> list[RuleSet]:
    """The configured rule sets (``[logs.NAME]``), then those built in whose names they do not take.

    Raises ``ConfigurationError`` naming the rule that is wrong.
    """
    own = [rules_from_mapping(name, table) for name, table in configured.items()]
    return own + [built_in(name) for name in BUILT_IN if name not in configured]


def rules_from_mapping(name: str, table: Any) -> RuleSet:
    """The rule set of a ``[logs.NAME]`` table. Raises ``ConfigurationError`` naming what is wrong."""
    if not isinstance(table, Mapping):
        raise _wrong(name, "it is not a table", f"write [logs.{name}]")
    _refuse_unknown(name, "", table, _SET_KEYS)
    entries = table.get("rules", [])
    if not isinstance(entries, list) or not entries:
        raise _wrong(name, "it has no rules", f"write [[logs.{name}.rules]] with name, says and pattern")
    rules = tuple(_rule(name, number, entry) for number, entry in enumerate(entries, start=1))
    known = {rule.name for rule in rules}
    for rule in rules:
        for dated in sorted((rule.dating.rules if rule.dating else frozenset()) - known):
            raise _wrong(
                name, f"rule {rule.name} dates {dated!r}, which is no rule of it", "name one of its rules"
            )
    return RuleSet(name, rules)


def compiled(rule_set: str, what: str, pattern: str) -> Any:
    """``pattern`` over bytes. Raises ``ConfigurationError`` where RE2 does not take it."""
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - only where logs are read

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    if len(pattern) > _LONGEST_PATTERN:
        raise _wrong(
            rule_set, f"{what} is longer than {_LONGEST_PATTERN} characters", "split it in several rules"
        )
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise _wrong(
            rule_set,
            f"{what} {pattern!r} is no regular expression of RE2: {said}",
            "mend it; see docs/evidence.md",
        ) from None


def _rule(rule_set: str, number: int, entry: Any) -> Rule:
    what = f"rule {number}"
    if not isinstance(entry, Mapping):
        raise _wrong(rule_set, f"{what} is not a table", "write name, says and pattern")
    _refuse_unknown(rule_set, f"{what}: ", entry, _RULE_KEYS)
    name, pattern = (_text(rule_set, what, entry, key) for key in ("name", "pattern"))
    what = f"rule {name}"
    says = _says(rule_set, what, entry)
    expression = compiled(rule_set, what, _filled_in(pattern))
    groups = {group.decode(): index for group, index in expression.groupindex.items()}
    if len(groups) != expression.groups:
        raise _wrong(rule_set, f"{what} has a group without a name", "write (?:…) for grouping")
    _check_fields(rule_set, what, says, groups)
    text_group = groups.pop("text", 0)
    fields = tuple((index, group) for group, index in groups.items())
    contains = _text(rule_set, what, entry, "contains") if "contains" in entry else ""
    continues = entry.get("continues", False)
    if not isinstance(continues, bool):
        raise _wrong(rule_set, f"{what}: continues is neither true nor false", "write continues = true")
    dating = _dating(rule_set, what, says, entry)
    return Rule(name, says, expression, fields, text_group, contains.encode(), dating, continues)


def _dating(rule_set: str, what: str, says: Says, entry: Mapping[str, Any]) -> Dating | None:
    dates = entry.get("dates", [])
    if not isinstance(dates, list) or not all(isinstance(each, str) for each in dates):
        raise _wrong(rule_set, f"{what}: dates is no list of rules", 'write dates = ["status"]')
    if bool(dates) is not (says is Says.TIME):
        refused = f"{what}: rules that say time date others, and only they"
        raise _wrong(rule_set, refused, 'write dates = ["status"]')
    within = entry.get("within", 1)
    if not isinstance(within, int) or isinstance(within, bool) or not 1 <= within <= _FURTHEST:
        raise _wrong(rule_set, f"{what}: within is no number of lines up to {_FURTHEST}", "write within = 1")
    field = entry.get("field", "")
    if field not in _DATED_FIELDS:
        raise _wrong(rule_set, f"{what}: field is neither started nor created", 'write field = "started"')
    return Dating(frozenset(dates), within, field) if dates else None


def _says(rule_set: str, what: str, entry: Mapping[str, Any]) -> Says:
    try:
        return Says(entry.get("says", ""))  # type: ignore[call-arg]
    except ValueError:
        known = ", ".join(each.value for each in Says)
        raise _wrong(rule_set, f"{what} says {entry.get('says')!r}", f"it may say: {known}") from None


def _check_fields(rule_set: str, what: str, says: Says, fields: Collection[str]) -> None:
    strange = sorted(set(fields) - _FIELDS)
    if strange:
        known = ", ".join(sorted(_FIELDS))
        raise _wrong(rule_set, f"{what} has the unknown group {strange[0]!r}", f"known groups: {known}")
    for needed in _NEEDED.get(says, ("job_id",)):
        if needed not in fields:
            said = f"{what} says {says} without a group {needed}"
            raise _wrong(rule_set, said, f"put {{{needed}}} into its pattern")


def _filled_in(pattern: str) -> str:
    for placeholder, expression in PLACEHOLDERS.items():
        pattern = pattern.replace(placeholder, expression)
    return pattern


def _text(rule_set: str, what: str, entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise _wrong(rule_set, f"{what} has no {key}", f"write {key} = '…'")
    return value


def _refuse_unknown(rule_set: str, where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise _wrong(rule_set, f"{where}unknown key {unknown[0]!r}", f"known keys: {', '.join(known)}")


def _wrong(rule_set: str, what: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"log rules {rule_set}: {what}; nothing was read", hint=hint)
