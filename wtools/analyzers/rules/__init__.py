"""The rules of `wtools check`: each a function from a Subject to Findings, listed in `RULES`."""

from .model import SEVERITIES, Finding, Rule, Severity, Subject
from .structure import RULES as STRUCTURE
from .values import RULES as VALUES

RULES: tuple[Rule, ...] = (*STRUCTURE, *VALUES)

__all__ = ["RULES", "SEVERITIES", "Finding", "Rule", "Severity", "Subject"]
