"""What the preflight found: one finding a check, and all of them as a report."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What one check saw. `passed` is None where it could not be asked (no tokenizer was given, say)."""

    name: str
    passed: bool | None
    told: str
    """What was seen, in one line."""
    advice: str = ""
    """What to do about a failure."""


@dataclass(frozen=True)
class Report:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The checks that failed."""
        return tuple(finding for finding in self.findings if finding.passed is False)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def __str__(self) -> str:
        return "\n".join(_line(finding) for finding in self.findings)

    def __rich__(self) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("")
        table.add_column("check")
        table.add_column("what was seen", overflow="fold")
        for finding in self.findings:
            mark, style = _MARKS[finding.passed]
            said = Text(finding.told)
            if finding.passed is False and finding.advice:
                said.append(f"\n{finding.advice}", style="bold")
            table.add_row(Text(mark, style=style), finding.name, said)
        return table

    def complaint(self) -> str:
        """The failures alone, each with what to do."""
        return "\n".join(_line(finding) for finding in self.failures)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": self.passed, "findings": [asdict(finding) for finding in self.findings]}


_MARKS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("-", "dim")}


def _line(finding: Finding) -> str:
    advice = f". {finding.advice}" if finding.passed is False and finding.advice else ""
    return f"{_MARKS[finding.passed][0]:6}  {finding.name}: {finding.told}{advice}"
