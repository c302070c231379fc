"""The dialogue: bytes, syntax, replies, states. Nothing here opens a mailbox."""
