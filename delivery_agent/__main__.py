"""Started with this folder's path: `python3 -ES .../delivery_agent`, which serveur.sh does as root. TERM ends it."""
import sys

sys.path[0] = sys.path[0].rpartition("/")[0]

from delivery_agent.pool import main    # noqa: E402: the path comes first

main()
