"""Report -> HTML: a page that stands alone (no network, no fonts), and a fragment for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from ..errors import printable
from ..reports import Column, Report
from .numbers import is_numeric, summary_lines, text

NOTEBOOK_ROWS = 200


def render(report: Report) -> str:
    """A whole page: summary, notes, a table that sorts by a click and filters as one types."""
    return page(report.title, f"<section>{section(report)}</section>")


def page(title: str, body: str) -> str:
    """A whole page around sections."""
    title = escape(printable(title))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main class="wtools">
<h1>{title}</h1>
{body}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def section(report: Report) -> str:
    """Summary, notes, and the table with its filter; to be put into a `section` of a page."""
    return f"""{figures(summary_lines(report))}
{_notes(report)}
<p><input type="search" placeholder="Filter rows" aria-label="Filter rows"></p>
<div class="scroll">{_table(report, report.columns, sortable=True)}</div>
"""


def fragment(report: Report) -> str:
    """For `_repr_html_`: the columns of the first rows that say something, no script."""
    short = report.limit(NOTEBOOK_ROWS)
    table = f'<div class="scroll">{_table(short, report.used_columns)}</div>' if short.rows else ""
    return (
        f'<div class="wtools"><style>{FRAGMENT_STYLE}</style>'
        f"<strong>{escape(printable(report.title))}</strong>"
        f"{table}{figures(summary_lines(short))}{_notes(short)}</div>"
    )


def _table(report: Report, columns: tuple[Column, ...], *, sortable: bool = False) -> str:
    right = [is_numeric([getattr(row, c.name) for row in report.rows]) for c in columns]
    tag = ' aria-sort="none" tabindex="0"' if sortable else ""
    head = "".join(
        f'<th{_align(r)}{tag} title="{escape(c.meaning)}">{escape(c.heading)}</th>'
        for c, r in zip(columns, right, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            _cell(getattr(row, c.name), c, r, sortable) for c, r in zip(columns, right, strict=True)
        )
        + "</tr>\n"
        for row in report.rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _cell(value: Any, column: Column, right: bool, sortable: bool) -> str:
    shown = escape(text(value, column))
    exact = ""
    if sortable and right and value is not None:
        exact = f' data-v="{value!r}"'
    return f"<td{_align(right)}{exact}>{shown}</td>"


def _align(right: bool) -> str:
    return ' class="n"' if right else ""


def figures(lines: list[tuple[str, str]]) -> str:
    """(label, text) pairs as tiles."""
    items = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in lines
    )
    return f"<dl>{items}</dl>" if items else ""


def _notes(report: Report) -> str:
    items = "".join(f"<li>{escape(printable(note))}</li>" for note in report.notes)
    return f"<ul>{items}</ul>" if items else ""


# Notebooks style what they show, by two classes and a tag.
FRAGMENT_STYLE = """
div.wtools.wtools div.scroll{overflow-x:auto}
div.wtools.wtools table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:4px 0}
div.wtools.wtools tr th,div.wtools.wtools tr td{text-align:left;padding:2px 10px;white-space:nowrap}
div.wtools.wtools tr th.n,div.wtools.wtools tr td.n{text-align:right}
div.wtools.wtools dl{display:flex;flex-wrap:wrap;gap:4px 20px;margin:8px 0}
div.wtools.wtools dl div{display:flex;gap:6px}
div.wtools.wtools dl dt{opacity:.65;font-weight:normal}
div.wtools.wtools dl dt,div.wtools.wtools dl dd{float:none;width:auto;margin:0;padding:0}
div.wtools.wtools ul{opacity:.75;margin:4px 0;padding-left:18px}
"""

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--dim:#777}
body{margin:0;font:14px/1.45 system-ui,sans-serif;background:Canvas;color:CanvasText}
main{max-width:1500px;margin:0 auto;padding:24px 16px}
h1{font-size:20px;overflow-wrap:anywhere}
dl{display:flex;flex-wrap:wrap;gap:8px;margin:16px 0}
dl div{border:1px solid var(--line);border-radius:8px;padding:6px 12px}
dt{color:var(--dim);font-size:12px}dd{margin:0;font-weight:600;overflow-wrap:anywhere}
ul{color:var(--dim);padding-left:18px}
input{font:inherit;padding:6px 10px;border:1px solid var(--line);border-radius:8px;
width:min(360px,100%);box-sizing:border-box;background:Canvas;color:CanvasText}
.scroll{overflow:auto;max-height:85vh;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 12px;white-space:nowrap;border-bottom:1px solid var(--line)}
td:first-child{font-family:ui-monospace,monospace;position:sticky;left:0;background:Canvas}
th{position:sticky;top:0;background:Canvas;cursor:pointer;user-select:none}
th[aria-sort=ascending]::after{content:" \\25B2"}th[aria-sort=descending]::after{content:" \\25BC"}
.n{text-align:right}tbody tr:hover{background:var(--soft)}
nav{display:flex;flex-wrap:wrap;gap:8px 16px;position:sticky;top:0;background:Canvas;z-index:1;
padding:10px 0;border-bottom:1px solid var(--line)}
section[id]{scroll-margin-top:44px;padding-top:8px}h2{font-size:17px;margin:20px 0 0}
section[id] .scroll{max-height:60vh}
li.error{color:#c62828;font-weight:600}li.warning{color:#b26a00;font-weight:600}
"""

_SCRIPT = """
const special={inf:Infinity,'-inf':-Infinity};
const number=text=>text in special?special[text]:Number(text);
const value=(row,i)=>{
  const cell=row.cells[i];
  return 'v' in cell.dataset?number(cell.dataset.v):cell.textContent;
};
const empty=x=>x===''||Number.isNaN(x);
for(const section of document.querySelectorAll('section')){
  const table=section.querySelector('table'),body=table.tBodies[0];
  const heads=[...table.tHead.rows[0].cells];
  const sort=i=>{
    const up=heads[i].getAttribute('aria-sort')!=='ascending';
    heads.forEach((h,k)=>h.setAttribute('aria-sort',k!==i?'none':up?'ascending':'descending'));
    const rows=[...body.rows].sort((a,b)=>{
      const x=value(a,i),y=value(b,i);
      if(empty(x)||empty(y))return empty(x)-empty(y);
      const c=typeof x==='number'&&typeof y==='number'?x-y:String(x).localeCompare(String(y));
      return up?c:-c;
    });
    body.append(...rows);
  };
  heads.forEach((h,i)=>{
    h.onclick=()=>sort(i);
    h.onkeydown=e=>{if(e.key==='Enter'||e.key===' '){e.preventDefault();sort(i)}};
  });
  section.querySelector('input').oninput=e=>{
    const wanted=e.target.value.toLowerCase();
    for(const row of body.rows)row.hidden=!row.textContent.toLowerCase().includes(wanted);
  };
}
"""
