"""The figures' names and units, the aims, and what is made of the values measured: medians and ratios."""

import statistics
import typing

Values = typing.Dict[str, typing.Dict[str, float]]      # {server: {figure: value}}


class Figure(typing.NamedTuple):
    """title and unit as the table and the plot have them; digits behind the comma; more_is_better."""
    title: str
    unit: str
    digits: int = 0
    more_is_better: bool = True


CROWDS = (1, 4, 16, 64)
FIGURES = {
    "greeting_ms": Figure("Accueil : de la connexion au 220", "ms", 2, False),
    **{"sessions_%d" % size: Figure("Sessions, %d à la fois" % size, "par s") for size in CROWDS},
    "small_accepted": Figure("Messages de 1 Kio acceptés, une session", "par s"),
    "small_stored": Figure("Messages de 1 Kio remis, une session", "par s"),
    "large_accepted": Figure("Messages de 1 Mio acceptés, une session", "par s", 1),
    "large_stored": Figure("Messages de 1 Mio remis, une session", "par s", 1),
    "delivery_ms": Figure("De la connexion au fichier dans new/", "ms", 2, False),
    "memory_kib": Figure("Mémoire (PSS) par session, 100 ouvertes", "Kio", 0, False),
    "whole_memory_kib": Figure("Mémoire (PSS) de tout, par session d'un message", "Kio", 0, False),
    "submissions": Figure("Soumissions : STARTTLS, AUTH, 1 Kio, à la suite", "par s", 1),
    "failed": Figure("Sessions échouées sur 2000, 100 clients", "", 0, False),
}
NAMES = {
    "netcat": "serveur, netcat", "prefork": "serveur, prefork", "exim": "Exim, démon", "exim_bs": "exim -bs, netcat",
    "postfix": "Postfix", "floor": "Python nu, netcat", "raw": "Maildir nu",
}


class Aim(typing.NamedTuple):
    """`server`'s figure is to be at least, or at most, `factor` times that of `other`; with other "", `factor`
    itself."""
    server: str
    figure: str
    other: str
    relation: str
    factor: float


AIMS = (
    Aim("netcat", "greeting_ms", "floor", "≤", 1.15),
    *(Aim("netcat", "sessions_%d" % size, "floor", "≥", 0.85) for size in CROWDS),
    *(Aim("netcat", "sessions_%d" % size, "exim_bs", "≥", 1.5) for size in CROWDS),
    Aim("netcat", "small_accepted", "exim", "≥", 4),
    Aim("netcat", "large_accepted", "exim", "≥", 3),
    Aim("netcat", "delivery_ms", "exim", "≤", 0.7),
    Aim("netcat", "failed", "", "≤", 0),
    Aim("prefork", "sessions_1", "postfix", "≥", 1.3),
    Aim("prefork", "sessions_16", "postfix", "≥", 1.3),
    Aim("prefork", "small_accepted", "postfix", "≥", 1.5),
    Aim("prefork", "large_accepted", "postfix", "≥", 1.5),
    Aim("prefork", "delivery_ms", "postfix", "≤", 0.7),
    Aim("prefork", "memory_kib", "", "≤", 1024),
    Aim("netcat", "memory_kib", "floor", "≤", 1.3),
    Aim("prefork", "whole_memory_kib", "postfix", "≤", 1.2),
    Aim("prefork", "submissions", "exim", "≥", 2),
    Aim("prefork", "failed", "", "≤", 0),
)


def medians(rounds: typing.Sequence[Values]) -> Values:
    """The median of each figure over the rounds; of failures, the worst."""
    found: Values = {}
    for server, figure in {(name, kind) for values in rounds for name in values for kind in values[name]}:
        series = [values[server][figure] for values in rounds if figure in values.get(server, {})]
        found.setdefault(server, {})[figure] = max(series) if figure == "failed" else statistics.median(series)
    return found


def reached(aim: Aim, rounds: typing.Sequence[Values]) -> typing.Optional[float]:
    """What the aim's factor is to be compared with: the median of the rounds' own ratios, for a round's measures
    lie close together in time; None if it was not measured."""
    found = []
    for values in rounds:
        own, other = values.get(aim.server, {}).get(aim.figure), values.get(aim.other, {}).get(aim.figure)
        if own is not None and (other or not aim.other):
            found.append(own / other if aim.other else own)
    if not found:
        return None
    return max(found) if aim.figure == "failed" else statistics.median(found)


def is_met(aim: Aim, value: float) -> bool:
    return value >= aim.factor if aim.relation == "≥" else value <= aim.factor


def written(value: float, digits: int) -> str:
    """A number as French has it."""
    return ("%.*f" % (digits, value)).replace(".", ",")
