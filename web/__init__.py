"""The page that shows dialogues, queue and log (`serveur.sh -web`). It reads files; all it changes is that it removes
old dialogues."""
