"""What is particular to one engine other than SQLite; nothing else knows of it."""
