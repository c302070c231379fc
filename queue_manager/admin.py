"""What a person may ask of the queue. Only who holds its lock may call these: the runner, else the command."""
from mailstore.envelope import FAILED, WAITING
from queue_manager.queue_store import Unreadable


def remove(backlog, mainlog, message_id, user):
    """Remove a message, from the queue or from aside. Nobody is told but the log."""
    backlog.forget(message_id)
    backlog.forget(message_id, aside=True)
    mainlog.write(f"removed by {user}", message_id)
    mainlog.write("Completed", message_id)


def thaw(backlog, mainlog, message_id):
    """Put a message that was set aside back into the queue, to be tried anew."""
    try:
        envelope = backlog.load(message_id, aside=True)
    except Unreadable as error:
        mainlog.write(f"still frozen (queue file cannot be read: {error})", message_id)
        return
    for recipient in envelope.recipients:
        if recipient.state == FAILED:
            recipient.state = WAITING
    backlog.take_back(message_id)
    backlog.replace(envelope)
    mainlog.write("Unfrozen by forced delivery", message_id)
