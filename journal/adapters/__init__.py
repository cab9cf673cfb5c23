"""Adapters: what other code expects of a session store, kept by a journal."""
