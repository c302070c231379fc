"""What a person may ask of the queue. Only who holds its lock may call these: the queue manager, else the command."""
from mailstore.envelope import FAILED, WAITING
from queue_manager.queue_store import UnreadableMessage


def remove_message(store, mainlog, message_id, user):
    """Remove a message, from the queue or from aside. The sender is not told."""
    store.forget(message_id)
    store.forget(message_id, aside=True)
    mainlog.write(f"removed by {user}", message_id)
    mainlog.write("Completed", message_id)


def unfreeze(store, mainlog, message_id):
    """Put a message that was set aside back into the queue, to be tried anew."""
    try:
        envelope = store.load(message_id, aside=True)
    except UnreadableMessage as error:
        mainlog.write(f"still frozen (queue file cannot be read: {error})", message_id)
        return
    for recipient in envelope.recipients:
        if recipient.state == FAILED:
            recipient.state = WAITING
    store.take_back(message_id)
    store.replace(envelope)
    mainlog.write("Unfrozen by forced delivery", message_id)
