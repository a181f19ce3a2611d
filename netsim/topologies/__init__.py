"""Networks as graphs of directed links, and the routes of messages on them; no units."""
