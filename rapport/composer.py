"""What rapport/construire runs in its environment: typst, with nothing taken from this machine or this moment.

Arguments: the source, the PDF. The variables of construire go to the source as sys.inputs, lists one item a line.
"""
import datetime
import os
import sys

import typst

INPUTS = ("AUTEURS", "DATE", "CAPTURES", "MESURES", "CORPUS", "DIALOGUES")


def main(source, target):
    date = datetime.datetime.fromisoformat(os.environ["DATE"]).replace(tzinfo=datetime.timezone.utc)
    try:
        typst.compile(source, output=target, root=os.path.dirname(source), ignore_system_fonts=True, timestamp=date,
                      sys_inputs={name.lower(): os.environ[name] for name in INPUTS})
    except typst.TypstError as error:
        sys.exit(error.diagnostic)


main(*sys.argv[1:])
