"""What rapport/construire runs in its environment: typst, with nothing taken from this machine or this moment.

Arguments: the source, the PDF. The variables of construire go to the source as sys.inputs, lists one item a line; with
them what rapport/faits.py reads out of the code.
"""
import datetime
import json
import os
import pathlib
import sys

sys.dont_write_bytecode = True

import typst

import faits

INPUTS = ("AUTEURS", "DATE", "CAPTURES", "MESURES")


def main(source, target):
    folder = pathlib.Path(source).resolve().parent
    date = datetime.datetime.fromisoformat(os.environ["DATE"]).replace(tzinfo=datetime.timezone.utc)
    found = json.dumps(faits.facts(folder.parent, faits.texts(folder)), sort_keys=True)
    inputs = {name.lower(): os.environ[name] for name in INPUTS}
    try:
        typst.compile(source, output=target, root=str(folder), ignore_system_fonts=True, timestamp=date,
                      sys_inputs={**inputs, "faits": found})
    except typst.TypstError as error:
        sys.exit(error.diagnostic)


main(*sys.argv[1:])
