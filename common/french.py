"""What the system answers, in French: for whoever starts the server or types a command.

The log says the same in English, with strerror's words.
"""
import errno

REASONS = {
    errno.EPERM: "opération interdite",
    errno.ENOENT: "il n'existe pas",
    errno.EIO: "erreur de lecture ou d'écriture du disque",
    errno.ENOMEM: "mémoire insuffisante",
    errno.EACCES: "permission refusée",
    errno.EBUSY: "il est occupé",
    errno.EEXIST: "il existe déjà, et ce n'est pas un dossier",
    errno.ENOTDIR: "un des dossiers de ce chemin n'est pas un dossier",
    errno.EISDIR: "c'est un dossier",
    errno.EINVAL: "le système n'en veut pas",
    errno.ENFILE: "trop de fichiers ouverts sur cette machine",
    errno.EMFILE: "trop de fichiers ouverts",
    errno.ETXTBSY: "c'est un programme qui tourne",
    errno.EFBIG: "fichier trop grand",
    errno.ENOSPC: "plus de place sur le disque",
    errno.EROFS: "ce système de fichiers est en lecture seule",
    errno.EMLINK: "trop de liens",
    errno.ENAMETOOLONG: "chemin trop long",
    errno.ELOOP: "trop de liens symboliques",
    errno.EOVERFLOW: "fichier trop grand",
    errno.ENXIO: "personne n'est à l'autre bout",
    errno.ESTALE: "il a disparu du serveur de fichiers",
    errno.EDQUOT: "quota de disque dépassé",
    errno.ECONNREFUSED: "personne n'écoute là",
    errno.ETIMEDOUT: "il reste muet",
    errno.EHOSTUNREACH: "aucun chemin n'y mène",
    errno.ENETUNREACH: "aucun chemin n'y mène",
}


def reason(error):
    """Why `error`, an OSError, came about: what can stand behind "/some/path : "."""
    return REASONS.get(error.errno) or f"erreur {errno.errorcode.get(error.errno, error.errno)} du système"
