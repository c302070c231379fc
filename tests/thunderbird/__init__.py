"""A real Thunderbird (Debian's, under Xvfb) sends through serveur.sh: tests/run -thunderbird.

    marionette.py   the protocol over which Thunderbird is driven
    profile.py      the folder it starts with: one account, one outgoing server, nothing that asks or phones home
    chrome.js       what runs inside it: the hands of a user
    program.py      Xvfb and Thunderbird as processes, and chrome.js's functions as methods
    sending.py      the tests; ordinary discovery does not find them by this name, for they need 600 MB of packages
    captures.py     the screenshots of the report
"""
