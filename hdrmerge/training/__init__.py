"""The recipe of every shipped weight file; nothing else imports it."""
