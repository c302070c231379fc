"""What was found, as a text for people and as JSON for programs."""

import json
import typing

from tests.bench.campaign import Findings
from tests.bench.figures import AIMS, FIGURES, NAMES, Aim, is_met, reached, written

TITLE_WIDTH, COLUMN_WIDTH = 42, 18
NOTES = """\
Médianes de {rounds} tour(s), les serveurs mesurés l'un après l'autre à chaque tour ; échecs : le pire tour.
{machine} ; charge au début des tours : {load}.
Tous écrivent dans de vrais Maildirs et font fsync. « Acceptés » : jusqu'au dernier 250 ; « remis » : jusqu'au
dernier fichier dans new/. « Python nu » : un Python qui ne fait que répondre ; « Maildir nu » : écrire, fsync,
rename, fsync du dossier. Une session : connexion, 220, EHLO, QUIT, 221. Le générateur de charge partage les
processeurs ; il y prend, à 16 sessions à la fois : {generator}.
"""


def table(found: Findings) -> str:
    """The figures, the aims, and what there is to know about them."""
    values = found.medians()
    columns = [name for name in NAMES if name in values]
    lines = [_row("", [NAMES[name] for name in columns])]
    for figure, (title, unit, digits, _) in FIGURES.items():
        cells = [written(values[name][figure], digits) if figure in values[name] else "-" for name in columns]
        lines.append(_row("%s%s" % (title, " (%s)" % unit if unit else ""), cells))
    return "\n".join([*lines, "", *_aims(found), "", *_notes(found)])


def _row(title: str, cells: typing.Sequence[str]) -> str:
    return title.ljust(TITLE_WIDTH + 8) + "".join(cell.rjust(COLUMN_WIDTH) for cell in cells)


def _aims(found: Findings) -> typing.List[str]:
    lines = ["Buts"]
    for aim in AIMS:
        value = reached(aim, found.rounds)
        if value is not None:
            mark = "atteint" if is_met(aim, value) else "manqué"
            lines.append("  %-8s%s : %s" % (mark, _wording(aim), written(value, 2)))
    return lines


def _wording(aim: Aim) -> str:
    figure = FIGURES[aim.figure]
    what = "%s, %s" % (NAMES[aim.server], figure.title[0].lower() + figure.title[1:])
    if not aim.other:
        return "%s %s %s %s" % (what, aim.relation, written(aim.factor, 0), figure.unit)
    return "%s %s %s × %s" % (what, aim.relation, written(aim.factor, 2), NAMES[aim.other])


def _notes(found: Findings) -> typing.List[str]:
    values = found.medians()
    generator = ", ".join("%s %s %%" % (NAMES[name], written(100 * values[name]["generator_16"], 0))
                          for name in NAMES if "generator_16" in values.get(name, {}))
    text = NOTES.format(rounds=len(found.rounds), machine=found.machine, generator=generator,
                        load=", ".join(written(load, 1) for load in found.load))
    missing = ["%s absent : %s" % (NAMES[name], why) for name, why in found.missing.items()]
    return [text.rstrip(), *missing, *("Mesure manquée : " + trouble for trouble in found.troubles), ""]


def as_json(found: Findings) -> str:
    """medians, rounds, aims (with what was reached), missing servers, the machine."""
    aims = [{**aim._asdict(), "reached": reached(aim, found.rounds)} for aim in AIMS]
    return json.dumps({"medians": found.medians(), "rounds": found.rounds, "aims": aims, "missing": found.missing,
                       "troubles": found.troubles, "machine": found.machine, "load": found.load},
                      indent=1, ensure_ascii=False, sort_keys=True) + "\n"
