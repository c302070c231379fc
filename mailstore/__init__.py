"""Where mail comes to rest: mailboxes, their formats, and the queue. Nothing here speaks SMTP."""
