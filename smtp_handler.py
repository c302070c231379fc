#!/usr/bin/python3 -ES
"""What netcat runs for one connection: SMTP on descriptors 0 and 1.

It stays this short because a script's own text is compiled anew at every start, and an imported
module's is not.
"""
from smtp import handler

handler.main()
