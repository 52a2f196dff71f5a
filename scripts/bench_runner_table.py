"""What contestants reached, row by row: on a terminal, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import bench

OURS, FLOOR = "jobctl", "raw driver"


class Row(NamedTuple):
    """One thing that is measured.

    ``of_floor``: the share of the raw driver's that is aimed at; ``limit``: at most.
    """

    name: str
    unit: str
    more_is_better: bool
    of_floor: float | None = None
    limit: float | None = None


ROWS = (
    Row("enqueue one by one", "jobs/s", more_is_better=True, of_floor=0.5),
    Row("enqueue in bulk", "jobs/s", more_is_better=True, of_floor=0.8),
    Row("drain by one worker", "jobs/s", more_is_better=True, of_floor=0.8),
    Row("pick-up p50", "ms", more_is_better=False),
    Row("pick-up p95", "ms", more_is_better=False, limit=10.0),
    Row("idle worker", "% of a core", more_is_better=False, limit=1.0),
    Row("kill -9 to running again", "s", more_is_better=False, limit=15.0),
)
SINGLES, BULK, DRAIN, PICK_UP, PICK_UP_95, IDLE, RESCUE = ROWS


@dataclass
class Table:
    """The best of what each contestant reached; a text says what one does not do."""

    title: str
    cells: dict[str, dict[str, float | str]] = field(default_factory=dict)

    def note(self, row: Row, contestant: str, value: float | str) -> None:
        """Keep a value, where it is better than the one there is."""
        cells = self.cells.setdefault(row.name, {})
        before = cells.get(contestant)
        if isinstance(before, float) and isinstance(value, float):
            value = max(before, value) if row.more_is_better else min(before, value)
        cells[contestant] = value

    def ratio(self, row: Row, other: str) -> float | None:
        """How many times as good as another jobctl is."""
        cells = self.cells.get(row.name, {})
        ours, theirs = cells.get(OURS), cells.get(other)
        if not isinstance(ours, float) or not isinstance(theirs, float) or not ours or not theirs:
            return None
        return ours / theirs if row.more_is_better else theirs / ours

    def best_peer(self, row: Row) -> tuple[str, float] | None:
        """The best of those that are neither jobctl nor the floor, and how many times as good jobctl is."""
        peers = [name for name in self.cells.get(row.name, {}) if not name.startswith((OURS, FLOOR))]
        ratios = [(ratio, name) for name in peers if (ratio := self.ratio(row, name)) is not None]
        return min(ratios)[::-1] if ratios else None

    def show(self) -> None:
        """Print all of it: the table, and each aim."""
        contestants = list(dict.fromkeys(name for cells in self.cells.values() for name in cells))
        print(self.title)
        rows = [["", *contestants, "best peer"]]
        notes: list[str] = []
        for row in self._rows():
            best = self.best_peer(row)
            said = [_said(self.cells[row.name].get(name, ""), notes, name) for name in contestants]
            rows.append([f"{row.name}, {row.unit}", *said, f"{best[1]:.2f} of {best[0]}" if best else ""])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for cells in rows:
            first, *rest = (
                cell.rjust(width) if n else cell.ljust(width)
                for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            print("  ".join(["", first, *rest]).rstrip())
        for note in notes:
            print(f"  {note}")
        for row in self._rows():
            self._tell_aim(row)
        print(flush=True)

    def as_json(self) -> dict[str, Any]:
        """The same as data: ``null`` where nothing can be compared."""
        return {
            "title": self.title,
            "rows": [
                {
                    "name": row.name,
                    "unit": row.unit,
                    "more_is_better": row.more_is_better,
                    "reached": self.cells[row.name],
                    "of_raw_driver": self.ratio(row, FLOOR),
                    "aim_of_raw_driver": row.of_floor,
                    "at_most": row.limit,
                    "best_peer": best[0] if (best := self.best_peer(row)) else None,
                    "of_best_peer": best[1] if best else None,
                }
                for row in self._rows()
            ],
        }

    def _rows(self) -> list[Row]:
        return [row for row in ROWS if row.name in self.cells]

    def _tell_aim(self, row: Row) -> None:
        ours, floor = (self.cells[row.name].get(name) for name in (OURS, FLOOR))
        if row.limit is not None and isinstance(ours, float):
            bench.tell(f"  {row.name}, {row.unit}", ours, 1.0, row.limit)
        if row.of_floor is not None and isinstance(ours, float) and isinstance(floor, float):
            bench.tell(f"  {row.name}, of the raw driver", ours, floor, row.of_floor, at_least=True)


def _said(value: float | str, notes: list[str], who: str) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    short, _, why = value.partition(": ")
    if why:
        notes.append(f"{who} {value}")
    return short
