"""The figures as one SVG drawing, in two columns: sessions a second as lines, everything else as bars.

Servers differ by colour and, where lines cross, by marker; each bar carries its name and its value, so that a
print in black says as much.
"""

import math
import typing
from xml.sax.saxutils import escape

from tests.bench.figures import CROWDS, FIGURES, NAMES, Values, written

COLOURS = {"netcat": "#0072b2", "prefork": "#d55e00", "exim": "#009e73", "exim_bs": "#56b4e9", "postfix": "#aa3377",
           "floor": "#777777", "raw": "#777777"}            # Okabe and Ito's, told apart by everyone
MARKERS = {
    "netcat": "M-4-4h8v8h-8z", "prefork": "M0-5L5 4H-5z", "exim": "M0-5L5 0L0 5L-5 0z", "exim_bs": "M-4-4L4 4M-4 4L4-4",
    "postfix": "M0 5L5-4H-5z", "floor": "M-5 0h10M0-5v10",
}
BARS = (("greeting_ms", ""), ("delivery_ms", ""), ("small_accepted", "small_stored"),
        ("large_accepted", "large_stored"), ("memory_kib", ""))
WIDTH, HEIGHT = 900, 850            # the whole
PANEL_WIDTH, PANEL_HEIGHT = 430, 270
LEFT, TOP, BOTTOM, RIGHT = 118, 34, 40, 46      # a panel's margins
STYLE = "text{font-family:DejaVu Sans,Helvetica,Arial,sans-serif;font-size:11px;fill:#222}" \
        ".t{font-size:13px;font-weight:bold}"


def drawing(values: Values) -> str:
    """The SVG for these medians."""
    panels = [lines_panel(values), *(bars_panel(values, figure, mark) for figure, mark in BARS)]
    placed = ['<g transform="translate(%d %d)">%s</g>' % (
        10 + number % 2 * (PANEL_WIDTH + 20), 10 + number // 2 * (PANEL_HEIGHT + 10), panel)
        for number, panel in enumerate(panels)]
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
            'width="%d" height="%d">\n<style>%s</style>\n<rect width="100%%" height="100%%" fill="#fff"/>\n%s\n</svg>\n'
            % (WIDTH, HEIGHT, WIDTH, HEIGHT, STYLE, "\n".join(placed)))


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (
        x, y, anchor, ' class="%s"' % kind if kind else "", escape(words))


def line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return '<path d="M%.1f %.1fL%.1f %.1f" stroke="%s"/>' % (x1, y1, x2, y2, colour)


# -- bars --------------------------------------------------------------------------------------------

def bars_panel(values: Values, figure: str, mark: str) -> str:
    """A bar for each server; `mark`: a second figure, shown as a stroke across the bar."""
    title, unit, digits, _ = FIGURES[figure]
    servers = [name for name in NAMES if figure in values.get(name, {})]
    if not servers:
        return ""
    step = nice_step(max(values[name][figure] for name in servers))
    top = step * math.ceil(max(values[name][figure] for name in servers) / step)
    scale = (PANEL_WIDTH - LEFT - RIGHT) / top
    height = (PANEL_HEIGHT - TOP - BOTTOM) / len(servers)
    parts = [text(0, 16, title, kind="t"), *value_axis(step, top, scale, unit)]
    for number, name in enumerate(servers):
        parts += bar(name, values[name], figure, mark, scale, TOP + number * height, height, digits)
    return "".join(parts)


def bar(name: str, own: typing.Dict[str, float], figure: str, mark: str, scale: float, y: float, height: float,
        digits: int) -> typing.List[str]:
    length = own[figure] * scale
    parts = ['<rect x="%d" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % (
                 LEFT, y + height * 0.15, length, height * 0.7, COLOURS[name]),
             text(LEFT - 6, y + height / 2 + 4, NAMES[name], "end"),
             text(LEFT + length + 4, y + height / 2 + 4, written(own[figure], digits))]
    if mark in own and own[mark] < 0.98 * own[figure]:
        x = LEFT + own[mark] * scale
        parts.append('<path d="M%.1f %.1fv%.1f" stroke="#000" stroke-width="2"/>'
                     % (x, y + height * 0.08, height * 0.84))
    return parts


def value_axis(step: float, top: float, scale: float, unit: str) -> typing.List[str]:
    bottom = PANEL_HEIGHT - BOTTOM
    parts = [line(LEFT, bottom, PANEL_WIDTH - RIGHT, bottom, "#444"), line(LEFT, TOP, LEFT, bottom, "#444")]
    for number in range(round(top / step) + 1):
        x = LEFT + number * step * scale
        parts += [line(x, TOP, x, bottom, "#ddd") if number else "",
                  text(x, bottom + 14, written(number * step, 1 if step < 1 else 0), "middle")]
    return [*parts, text((LEFT + PANEL_WIDTH - RIGHT) / 2, bottom + 30, unit, "middle")]


def nice_step(top: float) -> float:
    """1, 2 or 5 times a power of ten, so that three to seven of them reach `top`."""
    power = 10 ** math.floor(math.log10(top / 3))
    return next(factor * power for factor in (1, 2, 5, 10) if top / (factor * power) <= 6)


# -- lines -------------------------------------------------------------------------------------------

def lines_panel(values: Values) -> str:
    """Sessions a second by how many are open at once, both axes logarithmic."""
    servers = [name for name in MARKERS if "sessions_1" in values.get(name, {})]
    series = {name: [values[name].get("sessions_%d" % size) or 1 for size in CROWDS] for name in servers}
    low = math.floor(math.log10(min(map(min, series.values()))))
    high = math.ceil(math.log10(max(map(max, series.values()))))
    left, right, bottom = 48, PANEL_WIDTH - 130, PANEL_HEIGHT - BOTTOM

    def x_of(number: int) -> float:
        return left + (right - left) * (number + 0.3) / (len(CROWDS) - 0.4)

    def y_of(value: float) -> float:
        return bottom - (bottom - TOP) * (math.log10(value) - low) / (high - low)

    parts = [text(0, 16, "Sessions par seconde", kind="t"), line(left, bottom, right, bottom, "#444"),
             line(left, TOP, left, bottom, "#444"),
             text((left + right) / 2, bottom + 30, "sessions à la fois", "middle")]
    for power in range(low, high + 1):
        parts += [line(left, y_of(10 ** power), right, y_of(10 ** power), "#ddd"),
                  text(left - 6, y_of(10 ** power) + 4, "%d" % 10 ** power, "end")]
    parts += [text(x_of(number), bottom + 14, str(size), "middle") for number, size in enumerate(CROWDS)]
    for place, name in enumerate(servers):
        points = [(x_of(number), y_of(value)) for number, value in enumerate(series[name])]
        parts += [polyline(points, name), *legend(right + 14, TOP + 10 + 20 * place, name)]
    return "".join(parts)


def polyline(points: typing.Sequence[typing.Tuple[float, float]], name: str) -> str:
    path = "M" + "L".join("%.1f %.1f" % point for point in points)
    marks = "".join(marker(x, y, name) for x, y in points)
    return '<path d="%s" fill="none" stroke="%s" stroke-width="2"/>%s' % (path, COLOURS[name], marks)


def marker(x: float, y: float, name: str) -> str:
    return '<path transform="translate(%.1f %.1f)" d="%s" fill="%s" stroke="%s" stroke-width="1.5"/>' % (
        x, y, MARKERS[name], COLOURS[name], COLOURS[name])


def legend(x: float, y: float, name: str) -> typing.List[str]:
    return [marker(x, y, name), text(x + 10, y + 4, NAMES[name])]
