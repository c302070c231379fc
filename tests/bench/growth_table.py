"""Each step at two sizes in turn, and what came of it as a table."""

import contextlib
import os
import statistics
import typing

from tests.bench.figures import written
from tests.bench.growth_steps import Row, Step

ROUNDS = 7
WIDTH = 11
TITLE_WIDTH = 54
Medians = typing.Dict[str, typing.List[float]]      # {who: [at the small size, at the large one]}


def measure(row: Row, tiny: bool) -> Medians:
    """The medians of what a row's steps take, ours and Exim's if it has one."""
    sizes = sizes_of(row, tiny)
    steps: typing.Dict[str, Step] = {"": row.step, **({"exim": row.exim} if row.exim else {})}
    found: typing.Dict[typing.Tuple[str, int], typing.List[float]] = {}
    with contextlib.ExitStack() as stack:
        probes = {(who, size): stack.enter_context(step(size)) for who, step in steps.items() for size in sizes}
        for _ in range(1 if tiny else row.rounds or ROUNDS):
            for key, probe in probes.items():
                found.setdefault(key, []).append(probe())
    return {who: [statistics.median(found[who, size]) for size in sizes] for who in steps}


def sizes_of(row: Row, tiny: bool) -> typing.Tuple[int, int]:
    return row.tiny if tiny else row.sizes


def heading() -> str:
    ours = ["peu", "beaucoup", "rapport"]
    return _joined("", [*ours, *("Exim " + name for name in ours)])


def line(row: Row, tiny: bool) -> str:
    """A row of the table, measured."""
    medians = measure(row, tiny)
    title = "%s (%s ; %s, %s)" % (row.title, row.unit or "nombre", *map(_count, sizes_of(row, tiny)))
    return _joined(title, [cell for values in medians.values() for cell in (*map(_value, values), _ratio(*values))])


def notes() -> str:
    return "Charge de la machine : %s. Médianes, les tailles mesurées en alternance." % written(os.getloadavg()[0], 1)


def _joined(title: str, cells: typing.Iterable[str]) -> str:
    return (title.ljust(TITLE_WIDTH) + "".join(cell.rjust(WIDTH + 3) for cell in cells)).rstrip()


def _value(value: float) -> str:
    return written(value, 2 if value < 10 else 0)


def _ratio(small: float, large: float) -> str:
    return written(large / small, 1) if small else "-"


def _count(number: int) -> str:
    return "{:,}".format(number).replace(",", " ")
