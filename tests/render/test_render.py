"""What a person and a machine see of a report."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtools.errors import CorruptError, NameNotFoundError
from wtools.render import FORMS, render, terminal
from wtools.render.numbers import nbytes, number, percent
from wtools.render.terminal import NAME_LEAST, cell_len, shorten, shorten_name
from wtools.reports import Report, column


@dataclass(frozen=True)
class Row:
    name: str = column("a name")
    shape: tuple[int, ...] = column("a shape")
    value: float | None = column("a number")
    size: int = column("bytes", unit="bytes")
    share: float = column("a fraction", unit="fraction", short="share%")
    hidden: str = column("not for people", shown=False, default="secret")


def report(*rows: Row, **fields: object) -> Report:
    return Report("wtools.test/1", "A title", Row, list(rows), **fields)  # type: ignore[arg-type]


ROWS = (
    Row("dense/kernel", (3, 4), 0.123456789, 48, 0.5),
    Row("dense/bias", (), math.nan, 2_000_000, 0.00001),
    Row("evil\x1b[31m\n", (0, 7), -math.inf, 0, 0.999999),
)


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.0501234, "0.05012"),
        (-1.23456e-7, "-1.235e-07"),
        (12.0, "12"),
        (12345678.0, "12,345,678"),
        (1.5e20, "1.5e+20"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_numbers_have_four_significant_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(-1e307, 1e307, allow_subnormal=False))
def test_a_shown_number_is_near_the_true_one(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=6e-4, abs=0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.00%"),
        (1e-9, "<0.01%"),
        (0.5, "50.00%"),
        (1 - 1e-9, ">99.99%"),
        (1.0, "100.00%"),
        (math.nan, "NaN"),
    ],
)
def test_a_percentage_never_rounds_to_a_false_extreme(value: float, shown: str) -> None:
    assert percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (5 << 40, "5.0 TiB")]
)
def test_bytes_in_binary_units(value: int, shown: str) -> None:
    assert nbytes(value) == shown


# --- a terminal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 40, 60, 80, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = [Row("a/very/long/name" * 9, (10,) * 5, 1.0, 1, 0.5), *ROWS]
    text = terminal.render(report(*rows, notes=["a note " * 30]), width=width)
    assert max(len(line) for line in text.splitlines()) <= width


def test_columns_without_room_are_named() -> None:
    text = terminal.render(report(*ROWS), width=30)
    assert "no room for:" in text and "share" in text


def test_a_pipe_gets_every_column_whole() -> None:
    long = "encoder/" * 40
    text = terminal.render(report(Row(long, (1,), 1.0, 1, 0.5)))
    assert long in text and "share%" in text and "no room" not in text


def test_numbers_are_aligned_to_the_right() -> None:
    lines = terminal.render(report(*ROWS), width=120).splitlines()
    end = lines[1].index("value") + len("value")
    assert [line[:end].split()[-1] for line in lines[2:5]] == ["0.1235", "NaN", "-Infinity"]


def test_a_hostile_name_cannot_drive_the_terminal() -> None:
    for form in (None, *FORMS):
        text = render(report(*ROWS), form) if form else terminal.render(report(*ROWS))
        assert "\x1b" not in text
    assert "evil\\x1b[31m\\n" in terminal.render(report(*ROWS))


def test_controls_beyond_ascii_are_escaped_in_json_and_letters_are_not() -> None:
    name = "é重み\x7f\x9b31m\u202e\U000e0041"
    text = render(report(Row(name, (), 0.0, 0, 0.0)), "json")
    assert "é重み\\u007f\\u009b31m\\u202e\\udb40\\udc41" in text
    assert json.loads(text)["rows"][0]["name"] == name


def test_columns_without_a_value_are_left_out() -> None:
    text = terminal.render(report(Row("a", (1,), None, 1, 0.5)))
    assert "value" not in text
    chosen = report(Row("a", (1,), None, 1, 0.5)).choose(["name", "value"])
    assert "value" in terminal.render(chosen)


def test_color_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[1m" in terminal.render(report(*ROWS), color=True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.wants_color(True) and not terminal.wants_color(False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.wants_color(True)


@given(st.text(max_size=60), st.integers(8, 40))
def test_a_shortened_name_fits_and_keeps_both_ends(name: str, width: int) -> None:
    short = shorten(name, width)
    if cell_len(name) <= width:
        assert short == name
    elif name.isascii():
        assert len(short) == width and short.split("…")[0] == name[: short.index("…")]
        assert name.endswith(short.split("…")[1])


# --- machines ------------------------------------------------------------------------------------


def test_json_is_strict_and_whole() -> None:
    text = render(report(*ROWS, summary={"n": 3, "worst": math.inf}, notes=["x"]), "json")
    value = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(value) == ["schema", "path", "format", "rows", "summary", "notes"]
    assert value["rows"][0] == {
        "name": "dense/kernel",
        "shape": [3, 4],
        "value": 0.123456789,
        "size": 48,
        "share": 0.5,
        "hidden": "secret",
    }
    assert [row["value"] for row in value["rows"][1:]] == ["NaN", "-Infinity"]
    assert value["summary"] == {"n": 3, "worst": "Infinity"}


def test_json_takes_any_name() -> None:
    """A lone surrogate is no Unicode text; what is printed must still be UTF-8."""
    text = render(report(Row("bad\udc80", (), 1.0, 0, 0.0)), "json")
    assert json.loads(text.encode("utf-8"))["rows"][0]["name"] == "bad\\udc80"


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@SUM(A1)"])
def test_csv_has_no_formulas(name: str) -> None:
    lines = render(report(replace(ROWS[0], name=name)), "csv").splitlines()
    (line,) = csv.DictReader(io.StringIO("\n".join(lines)))
    assert line["name"] == f"'{name}"


def test_csv_keeps_negative_numbers() -> None:
    assert "'" not in render(report(replace(ROWS[0], value=-0.5)), "csv")


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("embeddings.position_embeddings.weight", 24, "embeddi….positio….weight"),
        ("encoder.layer.11.attention.self.key.bias", 28, "en….la….11.at….se….key.bias"),
        ("batch_normalization_12/moving_variance", 26, "batch_…_12/moving_variance"),
        ("short.name", 28, "short.name"),
        ("x" * 40, 28, "xxxxxxxxx…xxxxxxxxxxxxxxxxxx"),
    ],
)
def test_names_keep_their_numbers_and_their_last_word(name: str, width: int, shown: str) -> None:
    assert len(shorten_name(name, width)) <= width
    assert shorten_name(name, width) == shown


def test_names_of_equal_layers_stay_different() -> None:
    names = [f"encoder.layer.{k}.attention.self.{part}.weight" for k in range(12) for part in "qkv"]
    assert len({shorten_name(name, 28) for name in names}) == len(names)


def test_the_last_text_is_shortened_before_its_column_goes() -> None:
    @dataclass(frozen=True)
    class Told:
        name: str = column("a name")
        told: str = column("a text")
        value: float = column("a number")

    rows = [Told("n" * 30, "begins " + "x" * 60 + " ends", 1.5)]
    made = Report("wtools.test/1", "A title", Told, rows)
    lines = terminal.render(made, width=60).splitlines()
    assert all(len(line) <= 60 for line in lines[1:3]) and lines[2].startswith("nnn")
    assert "begins" in lines[2] and lines[2].endswith("ends")
    assert "no room for: value" in lines[-1]
    lines = terminal.render(made, width=NAME_LEAST + 10).splitlines()
    assert "no room for: told, value" in " ".join(lines)


@pytest.mark.parametrize("width", range(2, 30))
def test_wide_characters_are_shortened_by_their_cells(width: int) -> None:
    name = "编码器.层0.注意力.weight.日本語"
    assert cell_len(shorten(name, width)) <= width
    assert cell_len(shorten(name, width)) >= min(width, cell_len(name)) - 2


def test_csv_keeps_every_digit() -> None:
    lines = list(csv.DictReader(io.StringIO(render(report(*ROWS), "csv"))))
    assert lines[0]["value"] == "0.123456789" and lines[0]["shape"] == "3x4"
    assert lines[1]["shape"] == "scalar" and lines[0]["hidden"] == "secret"


def test_markdown_escapes_what_would_be_markup() -> None:
    text = render(report(Row("a|b*c", (), 1.0, 0, 0.0)), "markdown")
    assert "a\\|b\\*c" in text and "---:" in text


class Tags(HTMLParser):
    """Open tags and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("whole", [True, False])
def test_html_is_well_formed_and_inert(whole: bool) -> None:
    evil = Row("<script>alert(1)</script>", (), 1.0, 0, 0.0)
    shown = report(evil, *ROWS, notes=["<b>"])
    text = render(shown, "html") if whole else shown._repr_html_()
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert "<script>alert(1)</script>" in tags.text and "<script>alert(1)" not in text


def test_a_notebook_shows_the_columns_that_say_something() -> None:
    shown = report(Row("a", (), None, 1, 0.5), Row("b", (), None, 2, 0.25))
    assert ">size</th>" in shown._repr_html_() and ">value</th>" not in shown._repr_html_()
    assert ">value</th>" in shown.choose(["name", "value"])._repr_html_()


def test_a_page_needs_nothing_from_outside() -> None:
    text = render(report(*ROWS), "html")
    assert "http" not in text and "src=" not in text and "url(" not in text


def test_long_figures_are_wrapped_to_the_terminal_and_whole_in_a_pipe() -> None:
    summary = {"tensors": 3, "parameters_by_dtype": {f"float{i}": i for i in range(40)}}
    shown = report(*ROWS, summary=summary)
    lines = terminal.render(shown, width=60).splitlines()
    assert max(map(cell_len, lines)) <= 60
    assert any(line.startswith("parameters by dtype  float0 0, ") for line in lines)
    assert "float38 38, float39 39" in terminal.render(shown)


# --- choosing rows and columns -------------------------------------------------------------------


def test_sorting_puts_missing_values_last_either_way() -> None:
    rows = [
        Row(n, (), v, 0, 0.0) for n, v in [("a", 2.0), ("b", None), ("c", math.nan), ("d", 1.0)]
    ]
    up = [row.name for row in report(*rows).sort("value").rows]
    down = [row.name for row in report(*rows).sort("value", descending=True).rows]
    assert (up, down) == (["d", "a", "b", "c"], ["a", "d", "b", "c"])


def test_a_limit_says_what_it_left_out() -> None:
    short = report(*ROWS).limit(1)
    assert len(short) == 1 and "showing 1 of 3 rows" in short.notes
    assert report(*ROWS).limit(3).notes == ()


def test_chosen_columns_come_in_that_order_in_every_form() -> None:
    chosen = report(*ROWS).choose(["hidden", "name"])
    assert render(chosen, "csv").splitlines()[0] == "hidden,name"
    assert list(chosen.to_dict()["rows"][0]) == ["hidden", "name"]
    assert terminal.render(chosen).splitlines()[1].split() == ["hidden", "name"]


def test_an_unknown_column_is_a_usage_error_with_a_near_name() -> None:
    with pytest.raises(NameNotFoundError, match="'value'") as error:
        report(*ROWS).sort("valeu")
    assert error.value.exit_code == 2


def test_a_column_goes_by_its_heading_too() -> None:
    by_heading = report(*ROWS).choose(["name", "share%"])
    assert by_heading.chosen == ("name", "share")
    up = [row.share for row in report(*ROWS).sort("share%").rows]
    assert up == sorted(row.share for row in ROWS)


def test_to_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = report(*ROWS).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns)[:2] == ["name", "shape"] and len(frame) == 3


def test_an_error_names_file_place_reason_and_advice() -> None:
    error = CorruptError("is cut", path="a.pt", place="byte 7", advice="Copy it again.")
    assert str(error) == "a.pt: byte 7: is cut. Copy it again."
