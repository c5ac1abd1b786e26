"""One module per analysis: a frozen row dataclass and a function that returns a Report.

Analyzers import trees, sketches and reports; never a file format, click or rich.
"""
